"""A gateway on a disk without a byte left: it starts, says so, and goes on when there is room."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from harness.gateways import code, running_gateway
from harness.pictures import encoded, photo
from harness.servers import wait_until

PICTURE = encoded(photo(64, 48))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "test", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk of a given size can be mounted here: that takes root, and no container")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(4096))


@pytest.mark.slow
def test_killed_on_a_full_disk_it_starts_and_goes_on_when_there_is_room(disk: Path) -> None:
    with running_gateway(disk, None, rate_per_minute=0) as gateway:
        jobs = [gateway.submit(PICTURE).json()["id"] for _ in range(3)]
        fill(disk / "filler")
        gateway.kill()
        gateway.start()
        fill(disk / "more")  # what the killed one had in its folder
        wait_until(lambda: requests.get(f"{gateway.url}/readyz", timeout=30).status_code == 503, "it to be noticed")
        assert code(gateway.submit(PICTURE)) == (503, "storage_full")
        assert [gateway.job(job)["status"] for job in jobs] == ["queued"] * 3
        for name in ("filler", "more"):
            (disk / name).unlink()
        wait_until(lambda: requests.get(f"{gateway.url}/readyz", timeout=30).ok, "the room to be noticed")
        assert gateway.submit(PICTURE).status_code == 202
