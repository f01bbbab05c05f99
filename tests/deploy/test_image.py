"""The image, built here and run as it is meant to be: what is in it, its roles, its health, its end.

`scripts/benchmark container` puts it under load, in two gigabytes, and stops it with jobs accepted.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import animegan
from harness.deployment.containers import (
    ROOT,
    Container,
    ContainerImage,
    podman,
    run_once,
    started_container,
    volume,
)
from harness.servers import wait_until

pytestmark = pytest.mark.slow

GRACE_S = 60
HOME = "opt/animegan"
HOME_ENTRIES = {".venv", "LICENSE", "config", "gateway", "handler", "model_store", "requirements", "scripts"}


@pytest.fixture(scope="module")
def description(image: ContainerImage) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(podman("image", "inspect", image.name).stdout)[0]
    return about


@pytest.fixture(scope="module")
def files(whole_image: ContainerImage) -> Iterator[Path]:
    """The built image's root."""
    try:
        yield Path(podman("image", "mount", whole_image.name).stdout.strip())
    finally:
        podman("image", "unmount", whole_image.name)


@pytest.fixture(scope="module")
def serving(image: ContainerImage) -> Iterator[Container]:
    """All of it in one container, without a network."""
    with volume() as data:
        run_once(image, "keys", "add", "tester", data=data)
        with started_container(image, data=data) as container:
            container.wait_until_healthy()
            yield container


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    process = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout


def test_it_says_what_it_is_and_how_it_runs(description: dict[str, Any]) -> None:
    config = description["Config"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["title"] == "AnimeGAN Serve"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == animegan.__version__
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["/usr/bin/tini", "--", "animegan"]
    assert config["Cmd"] == ["serve"]
    assert config["StopSignal"] == "SIGTERM"
    assert [*config["Volumes"]] == ["/var/lib/animegan"]
    assert "ANIMEGAN_DEVICE=cpu" in config["Env"]


@pytest.mark.image
def test_it_carries_no_compiler_and_no_installer(files: Path) -> None:
    tools = ("cc", "gcc", "g++", "c++", "clang", "ld", "as", "make", "javac", "pip", "pip3")
    folders = ("usr/bin", "usr/local/bin", f"{HOME}/.venv/bin")
    assert not [tool for folder in folders for tool in tools if (files / folder / tool).exists()]
    packages = next((files / HOME).glob(".venv/lib/python3.*/site-packages"))
    assert (packages / "torch").is_dir()
    assert not (packages / "pip").exists()


@pytest.mark.image
def test_it_carries_what_is_served_built_and_compiled(files: Path) -> None:
    assert {file.name for file in (files / HOME).iterdir()} == HOME_ENTRIES
    assert (files / HOME / "model_store" / "animegan.mar").is_file()
    assert [*(files / HOME).glob("handler/animegan/operators/native/*.so")]
    assert [*(files / HOME).glob("gateway/animegan_gateway/drawing/__pycache__/dispatcher.cpython-*.pyc")]


@pytest.mark.image
def test_it_carries_no_secret_and_no_leavings(files: Path, whole_image: ContainerImage) -> None:
    [about] = json.loads(podman("image", "inspect", whole_image.name).stdout)
    lines = [*about["Config"]["Env"], *(layer.get("created_by", "") for layer in about["History"])]
    assert not [line for line in lines if re.search(r"(?i)secret=|token=|password=|://", line)]
    for name in ("etc/pip.conf", "etc/apt/auth.conf", "root/.config", "root/.cache", "root/.netrc"):
        assert not (files / name).exists(), name
    for name in ("tmp", "var/tmp", "var/lib/animegan", "var/lib/apt/lists"):
        assert not [*(files / name).iterdir()], name
    assert not [*(files / "var/cache/apt").rglob("*.deb")]


def test_without_a_key_it_does_not_start_and_says_how_to_make_one(image: ContainerImage) -> None:
    with volume() as empty:
        process = run_once(image, data=empty, check=False)
        assert process.returncode == 1
        assert "animegan keys add NAME" in process.stderr
        assert re.fullmatch(r"ag_\S{40,}", run_once(image, "keys", "add", "alice", data=empty).stdout.strip())


@pytest.mark.server
def test_it_is_ready_without_a_network_and_builds_nothing(serving: Container) -> None:
    assert serving.health() == (True, "animegan_gateway is ready")
    log = serving.logs()
    assert not re.search("Compiling|Tracing|Packing|installing|left out", log), log


@pytest.mark.server
def test_only_the_data_and_tmp_can_be_written(serving: Container) -> None:
    folders = "/ /etc /home /opt/animegan /opt/animegan/model_store /run /tmp /usr /var/lib/animegan /var/tmp"
    tries = f"for f in {folders}; do touch $f/try 2>/dev/null && rm $f/try && echo $f; done; id -u"
    assert serving.run("sh", "-c", tries).stdout.split() == ["/tmp", "/var/lib/animegan", "10001"]


@pytest.mark.server
def test_what_is_sized_by_memory_is_sized_by_the_containers(serving: Container) -> None:
    ask = "import psutil; from animegan.resources import cgroups; print(cgroups.memory().limit >> 20)"
    ask += "; print(*{w for p in psutil.process_iter() for w in p.cmdline() if w.startswith('-Xmx')})"
    assert serving.run("python", "-c", ask).stdout.split() == ["2048", "-Xmx512m"]


def test_a_role_that_can_not_do_its_work_is_not_healthy(image: ContainerImage) -> None:
    with volume() as data:
        with started_container(image, "1000", data=data, options=["--entrypoint=sleep"]) as container:
            assert container.health() == (False, "animegan_cli.serving.serve does not run yet.")
        with started_container(image, "agent", data=data) as alone:
            wait_until(lambda: "503" in alone.health()[1], "an agent that answers")
            assert not alone.health()[0]
            assert alone.stop(GRACE_S) == 0


@pytest.mark.server
def test_each_role_runs_in_a_container_of_its_own(image: ContainerImage) -> None:
    with volume() as data, ExitStack() as stack:
        key = run_once(image, "keys", "add", "tester", data=data).stdout.strip()
        torchserve = stack.enter_context(started_container(image, "serve", "--no-gateway", "--no-agent", data=data))
        beside = f"container:{torchserve.name}"
        agent = stack.enter_context(started_container(image, "agent", data=data, network=beside))
        gateway = stack.enter_context(started_container(image, "gateway", data=data, network=beside))
        for role, name in ((torchserve, "ts.model_server"), (agent, "animegan_agent"), (gateway, "animegan_gateway")):
            role.wait_until_healthy()
            assert role.health() == (True, f"{name} is ready")
        gateway.run("python", "-c", "from PIL import Image; Image.radial_gradient('L').save('/tmp/in.png')")
        door = ("--server=http://127.0.0.1:8000", f"--key={key}")
        gateway.run("animegan", "stylize", "/tmp/in.png", "--out=/tmp/out.png", *door)
        gateway.run("python", "-c", "from PIL import Image; assert Image.open('/tmp/out.png').size == (256, 256)")
        assert [role.stop(GRACE_S) for role in (gateway, agent, torchserve)] == [0, 0, 0]
