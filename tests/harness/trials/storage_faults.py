"""Faults of what the gateway keeps: its disk, the folder of its pictures, the database of its queue."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.gateways import Gateway, running_gateway
from harness.servers import wait_until
from harness.trials.services import Beside, Fault, Services, on_files

DISK_MIB = 24
AWAY_S = 8.0
PAGE_BYTES = 4096
TABLE_LEAF = 13


@contextmanager
def _on_a_small_disk(services: Services) -> Iterator[Services]:
    """The services with a gateway whose queue and pictures lie on a disk of `DISK_MIB`."""
    with ExitStack() as stack:
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="animegan-disk-")))
        size = f"size={DISK_MIB}m"
        try:
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "animegan-test", disk], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no disk of a given size can be mounted here: that takes root, and no container")
        stack.callback(lambda: subprocess.run(["umount", disk], check=True))
        gateway = stack.enter_context(running_gateway(disk, services.server, rate_per_minute=0))
        yield replace(services, gateway=gateway)


def _fill_disk(services: Services) -> Beside:
    filler = services.gateway.folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    wait_until(lambda: _count_rejections(services, "storage_full"), "a caller who is told that the disk is full")
    time.sleep(2)
    filler.unlink()
    return Beside()


def pictures_away(seconds: float) -> Fault:
    def strike(services: Services) -> Beside:
        pictures, away = services.gateway.folder / "pictures", services.gateway.folder / "away"
        pictures.rename(away)
        pictures.mkdir()
        time.sleep(seconds)
        pictures.rmdir()
        away.rename(pictures)
        return Beside()

    what = "another one, empty, in its place: what a mount point is without its disk; put back after that time"
    name = f"The folder of pictures is away for {seconds:g} s"
    return Fault(name, what, strike, frozenset({"503 store_unavailable"}), on_files)


def database_away(seconds: float) -> Fault:
    def strike(services: Services) -> Beside:
        file, away = services.gateway.folder / "queue.sqlite", services.gateway.folder / "away.sqlite"
        file.rename(away)
        time.sleep(seconds / 2)
        file.write_bytes(b"another")
        time.sleep(seconds / 2)
        away.replace(file)
        assert "removed or replaced" in services.gateway.log
        return Beside("the log says that it was removed or replaced")

    what = "renamed; after half of that time another file is in its place; put back in the end"
    name = f"The queue's database is away for {seconds:g} s"
    return Fault(name, what, strike, frozenset({"503 store_unavailable"}), on_files)


def _overwrite_the_indices(services: Services) -> Beside:
    """The jobs themselves can be read then. What is kept where they can't is tried on a copy."""
    gateway = services.gateway
    gateway.kill()
    file = gateway.folder / "queue.sqlite"
    with closing(sqlite3.connect(file)) as database:
        jobs = database.execute("SELECT id, state FROM jobs").fetchall()
        indices = [page - 1 for (page,) in database.execute("SELECT rootpage FROM sqlite_master WHERE type = 'index'")]
    with tempfile.TemporaryDirectory(prefix="animegan-copy-") as folder:
        copy = shutil.copytree(gateway.folder, Path(folder) / "data")
        leaves = pages_of_jobs(copy / "queue.sqlite")
        overwrite(copy / "queue.sqlite", *indices, *leaves[::2])
        words = _repair(replace(gateway, folder=copy), dict(jobs))
    overwrite(file, *indices)
    assert "`animegan gateway repair`" in gateway.refusal()
    process = gateway.command("repair")
    assert process.returncode == 0, process.stderr
    assert f"queue.sqlite: {len(jobs)} jobs.\n" in process.stdout
    gateway.start()
    return Beside(
        f"all {len(jobs)} jobs were kept. On a copy, every other of the {len(leaves)} pages of jobs was overwritten "
        f"too: {words}"
    )


def _repair(gateway: Gateway, states: dict[str, str]) -> str:
    """Repair the gateway's folder; see that each of the jobs is kept, or its picture; say in words how many are."""
    process = gateway.command("repair")
    assert process.returncode == 0, process.stderr
    with closing(sqlite3.connect(gateway.folder / "queue.sqlite")) as database:
        jobs = {job_id for (job_id,) in database.execute("SELECT id FROM jobs")}
    files = [file.stem for file in (gateway.folder / "unclaimed").iterdir()]
    photos, drawings = {*files} & {*states}, {name.removesuffix("-drawn") for name in files if name.endswith("-drawn")}
    assert jobs | photos | drawings == {*states}, "what is neither kept nor set aside"
    assert {job_id for job_id, state in states.items() if state in ("queued", "running")} <= jobs | photos
    return (
        f"{len(jobs)} jobs were kept, and of the others {len(photos)} photos that waited and {len(drawings)} drawn "
        "pictures are in `unclaimed`"
    )


def pages_of_jobs(file: Path) -> list[int]:
    """The pages, from 0, that hold jobs: leaves of a table, which begin with 13 (SQLite's file format, 1.6)."""
    data = file.read_bytes()
    pages = (data[start : start + PAGE_BYTES] for start in range(0, len(data), PAGE_BYTES))
    return [number for number, page in enumerate(pages) if page[0] == TABLE_LEAF and b"fingerprint" in page]


def overwrite(file: Path, *pages: int) -> None:
    """Overwrite these pages of a file, from 0, or from its end where they are below 0."""
    count, chance = file.stat().st_size // PAGE_BYTES, random.Random(0)
    with file.open("r+b") as stream:
        for page in pages:
            stream.seek(page % count * PAGE_BYTES)
            stream.write(chance.randbytes(PAGE_BYTES))


def _kill_gateway_on_a_full_disk(services: Services) -> Beside:
    filler = services.gateway.folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    services.gateway.kill()
    services.gateway.start()
    wait_until(lambda: _count_rejections(services, "storage_full"), "a caller who is told that the disk is full")
    time.sleep(2)
    filler.unlink()
    return Beside()


def _count_rejections(services: Services, reason: str) -> float:
    return services.gateway.metric("animegan_gateway_jobs_rejected_total", reason=reason)


DISK = Fault(
    "The disk of queue and pictures is full",
    f"SQLite and files on {DISK_MIB} MiB, filled to the last byte, and cleared after some seconds",
    _fill_disk,
    frozenset({"503 storage_full"}),
    _on_a_small_disk,
)
KILLED_WHILE_FULL = Fault(
    "The disk is full and the gateway is killed",
    f"the same {DISK_MIB} MiB, SIGKILL to the gateway on them, started again before there is room",
    _kill_gateway_on_a_full_disk,
    frozenset({"503 storage_full", "none"}),
    _on_a_small_disk,
)
PAGES = Fault(
    "Pages of the queue's database are overwritten",
    "SIGKILL to the gateway, garbage over each of the indices; it does not start, and says why in a line; "
    "`animegan gateway repair`, and it is started again",
    _overwrite_the_indices,
    frozenset({"none"}),
    on_files,
)
