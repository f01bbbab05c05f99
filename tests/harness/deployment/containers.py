"""The image and its containers, for tests and benchmarks, by podman and buildah; and what is missing where that fails.

The base image is made by debootstrap where that is installed, so that no registry of images is needed, else pulled.
What is built stays in podman's store: the next run builds what changed alone. Packages come as this machine's pip gets
them: its configuration goes into the build as a secret, and the files and folders that it names are mounted.
"""

from __future__ import annotations

import atexit
import configparser
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from animegan.resources.cgroups import CGROUPS
from harness.servers import wait_until

ROOT = Path(__file__).resolve().parents[3]
IMAGE = "localhost/animegan-serve:test"
PUBLIC_BASE = "docker.io/library/debian:bookworm-slim"
OWN_BASE = "localhost/animegan-test-base:bookworm"
TOOLS = ("podman", "buildah", "runc")
HOST = Path("/run/host")  # where the build sees this machine's files
DATA = "/var/lib/animegan"

# What makes Debian's slim image slim.
SLIM = """\
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
"""
EMPTY_FOLDERS = (
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
)


def missing() -> str:
    """Why there can be no containers here; empty where there can."""
    if absent := [tool for tool in TOOLS if not shutil.which(tool)]:
        return f"not installed: {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "only root may limit a container's memory everywhere"


def podman(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run podman to its end."""
    return run("podman", *arguments, check=check)


# ---- The image -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ContainerImage:
    """An image, and what its containers see of this machine, as podman and compose write volumes."""

    name: str
    volumes: tuple[str, ...] = ()


@cache
def built_image() -> ContainerImage:
    """Return the image that the Dockerfile makes of the checkout as it is now, for the CPU."""
    before = podman("image", "ls", "--quiet", "--no-trunc", IMAGE).stdout.split()
    arguments = {"BASE": base_image(), "ANIMEGAN_TORCH_INDEX": os.environ.get("ANIMEGAN_TORCH_INDEX", "")}
    with tempfile.TemporaryDirectory(prefix="animegan-test-") as folder:
        settings, mounts = _pip(Path(folder))
        run(
            *("buildah", "bud", "--format", "docker", "--isolation", "chroot", "--network", "host", "--pull-never"),
            *("--layers", "--secret", f"id=pip,src={settings}"),
            *(f"--build-arg={name}={value}" for name, value in arguments.items()),
            *(word for source, target in mounts.items() for word in ("--volume", f"{source}:{target}:ro")),
            *("--tag", IMAGE, ROOT),
        )
    if before != podman("image", "ls", "--quiet", "--no-trunc", IMAGE).stdout.split():
        podman("image", "rm", *before, check=False)  # its layers would stay for ever; one that a container uses does
    return ContainerImage(IMAGE)


def image_bytes(image: ContainerImage) -> int:
    """The size of its layers together, unpacked."""
    return int(podman("image", "inspect", "--format", "{{.Size}}", image.name).stdout)


def base_image() -> str:
    """The base image, made or pulled if it is not there yet."""
    name = OWN_BASE if shutil.which("debootstrap") else PUBLIC_BASE
    if podman("image", "exists", name, check=False).returncode == 0:
        return name
    if name == PUBLIC_BASE:
        podman("pull", name)
        return name
    with tempfile.TemporaryDirectory(prefix="animegan-test-") as folder:
        root, packed = Path(folder) / "root", Path(folder) / "root.tar"
        run("debootstrap", "--variant=minbase", "bookworm", root)
        (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(SLIM)
        for path in EMPTY_FOLDERS:
            shutil.rmtree(root / path)
            (root / path).mkdir()
        run("tar", "--numeric-owner", "-C", root, "-cf", packed, ".")
        podman("import", str(packed), name)
    return name


def _pip(folder: Path) -> tuple[Path, dict[Path, Path]]:
    """This machine's settings of pip as a file for the build, and what has to be mounted: where here, where there."""
    process = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    settings = configparser.RawConfigParser()
    settings.add_section("global")
    mounts: dict[Path, Path] = {}

    def move(match: re.Match[str]) -> str:
        path = Path(match[0])
        if not path.exists():  # the path of a URL
            return match[0]
        whole = path.parent if path.name == "simple" else path  # an index on a disk has its files beside it
        mounts[whole] = HOST / whole.relative_to("/")
        return str(HOST / path.relative_to("/"))

    for line in process.stdout.splitlines():
        name, _, value = line.partition("=")
        settings["global"][name.rpartition(".")[2]] = re.sub(r"/\w[\w./+-]*", move, value.strip("'\""))
    file = folder / "pip.conf"
    with file.open("w") as stream:
        settings.write(stream)
    return file, mounts


# ---- Its containers --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Container:
    """A container that was started."""

    name: str

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as the container's user."""
        return podman("exec", self.name, *command, check=check)

    def logs(self) -> str:
        """Return its output."""
        process = podman("logs", self.name)
        return process.stdout + process.stderr

    def state(self) -> dict[str, Any]:
        """As podman knows it."""
        about: dict[str, Any] = json.loads(podman("inspect", "--format", "{{json .State}}", self.name).stdout)
        return about

    def health(self) -> tuple[bool, str]:
        """Run the image's HEALTHCHECK: whether it is healthy, and what the check said."""
        healthy = podman("healthcheck", "run", self.name, check=False).returncode == 0
        return healthy, (self.state()["Health"]["Log"] or [{"Output": ""}])[-1]["Output"].strip()

    def wait_until_healthy(self) -> None:
        """Fail with its log where it ends instead, or does not become healthy."""
        wait_until(lambda: self.health()[0] or not self.state()["Running"], "a healthy container")
        assert self.state()["Running"], self.logs()

    def stop(self, grace_s: int) -> int:
        """As `podman stop`: the image's signal, SIGKILL after the grace. Returns the exit status, 137 after a kill."""
        podman("stop", "--time", str(grace_s), self.name)
        return int(self.state()["ExitCode"])

    def memory(self) -> Path:
        """The folder of its memory cgroup, as this machine sees it."""
        top = CGROUPS / "memory" if (CGROUPS / "memory").is_dir() else CGROUPS
        return top / str(self.state()["CgroupPath"]).lstrip("/")


@contextmanager
def volume() -> Iterator[str]:
    """The name of a volume, empty at first and removed at the end."""
    name = f"animegan-test-{secrets.token_hex(4)}"
    podman("volume", "create", name)
    try:
        yield name
    finally:
        podman("volume", "rm", "--force", name)


def run_once(image: ContainerImage, *command: str, data: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command of the image to its end; `data` is the volume of its data directory."""
    return podman("run", "--rm", *_hardening(image, data), image.name, *command, check=check)


@contextmanager
def started_container(
    image: ContainerImage,
    *command: str,
    data: str,
    memory: str = "2g",
    network: str = "none",
    environment: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> Iterator[Container]:
    """A container, just started and removed at the end, run as it is meant to be; see `_hardening`."""
    container = Container(f"animegan-test-{secrets.token_hex(4)}")
    variables = [f"--env={name}={value}" for name, value in (environment or {}).items()]
    try:
        podman(
            *("run", "--detach", "--name", container.name, *_hardening(image, data, memory, network)),
            *(*variables, *options, image.name, *command),
        )
        yield container
    finally:
        podman("rm", "--force", "--time", "0", container.name, check=False)


def _hardening(image: ContainerImage, data: str, memory: str = "2g", network: str = "none") -> list[str]:
    """A root that is read-only but for the data and /tmp, no capabilities, memory limited and no swap beside it."""
    return [
        *("--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp:exec", f"--volume={data}:{DATA}"),
        *("--cap-drop=ALL", "--security-opt=no-new-privileges"),
        *(f"--memory={memory}", f"--memory-swap={memory}", f"--network={network}"),
        *(f"--volume={volume}" for volume in image.volumes),
    ]


# ---- podman ----------------------------------------------------------------------------------------------------------


def run(*command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CONTAINERS_CONF": str(_configuration())}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    assert not check or process.returncode == 0, f"{command}:\n{process.stdout}\n{process.stderr}"
    return process


@cache
def _configuration() -> Path:
    """podman's settings: runc, which both versions of cgroups obey, and what depends on systemd."""
    file = Path(tempfile.mkdtemp(prefix="animegan-test-")) / "containers.conf"
    atexit.register(shutil.rmtree, file.parent, ignore_errors=True)
    without_systemd = (
        "" if Path("/run/systemd/system").is_dir() else 'cgroup_manager="cgroupfs"\nevents_logger="file"\n'
    )
    file.write_text(
        '[containers]\ndefault_ulimits=["nofile=20000:20000","nproc=32768:32768"]\n'
        f'[engine]\nruntime="runc"\n{without_systemd}[network]\nnetwork_backend="netavark"\n'
    )
    return file
