"""An image that is described as the Dockerfile's, over this machine's own files: it takes a second to build.

What the Dockerfile says of how the image runs (its user, environment, entry point, health) is read from it. In place
of what it installs and copies, a container sees this machine's system and the checkout, read-only. What is in the real
image is shown by the tests that are marked `image`, which a release runs: `scripts/benchmark image`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from harness.deployment.containers import DATA, ROOT, ContainerImage, run

LIGHT = "localhost/animegan-serve:light"
STAND_IN = "localhost/animegan-test-stand-in"
PLACE = "/opt/animegan"
USER = "10001"
SYSTEM = ("/usr", "/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl", "/etc/java-17-openjdk")
LINKS = ("bin", "lib", "lib64", "sbin")  # into /usr, as on this machine
OWNERS = {"/data": "999", "/prometheus": "65534"}  # of the stand-in's folders
LEFT_OUT = ("FROM", "COPY", "RUN")


@cache
def light_image() -> ContainerImage:
    """Return the image, after what is served was built in the checkout."""
    for command in (("compile",), ("archive", "--if-stale")):
        subprocess.run([sys.executable, "-m", "animegan_cli", *command], check=True, capture_output=True)
    with tempfile.TemporaryDirectory(prefix="animegan-test-") as folder:
        root = Path(folder, "root")
        (root / "etc").mkdir(parents=True)
        (root / "etc/passwd").write_text(f"root:x:0:0::/:/bin/sh\nanimegan:x:{USER}:{USER}::{DATA}:/bin/sh\n")
        for link in (Path("/", name) for name in LINKS):
            if link.is_symlink():
                (root / link.name).symlink_to(link.readlink())
        _build(Path(folder), LIGHT, ["FROM scratch", "COPY root /", f"COPY --chown={USER} empty {DATA}", *_settings()])
    return ContainerImage(LIGHT, _volumes())


@cache
def stand_in() -> ContainerImage:
    """Return an image of this machine's Redis and Prometheus, where those that compose names can't be had."""
    with tempfile.TemporaryDirectory(prefix="animegan-test-") as folder:
        folders = [f"COPY --chown={user} empty {place}" for place, user in OWNERS.items()]
        _build(Path(folder), STAND_IN, [f"FROM {light_image().name}", *folders, "ENTRYPOINT []"])
    return ContainerImage(STAND_IN, _volumes())


def _build(context: Path, name: str, lines: Sequence[str]) -> None:
    (context / "empty").mkdir()
    (context / "Containerfile").write_text("\n".join(lines) + "\n")
    run("buildah", "bud", "--format", "docker", "--isolation", "chroot", "--pull-never", "--tag", name, context)


def _volumes() -> tuple[str, ...]:
    """Return where this machine's files are seen: each at its own place, and the checkout where the image has it."""
    own = [path for path in SYSTEM if Path(path).exists()]
    prefix = [] if sys.base_prefix.startswith("/usr") else [sys.base_prefix]
    return (f"{ROOT}:{PLACE}:ro", *(f"{path}:{path}:ro" for path in (*own, *prefix, ROOT)))


def _settings() -> list[str]:
    """Return what the Dockerfile's last stage says of how the image runs."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    last = max(place for place, line in enumerate(lines) if line.startswith("FROM"))
    return [line for line in lines[last:] if line and not line.startswith(LEFT_OUT)]
