"""A damaged queue: told in one line, and as much kept as can be; a real gateway wrote it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from animegan.errors import BadSetting
from animegan_gateway.queue.jobs import new_id
from animegan_gateway.queue.repair import Patient
from animegan_gateway.queue.stores.sqlite_store import SqliteStore
from animegan_gateway.settings import Settings
from animegan_service.bell import Bell
from harness.gateways import Gateway, code, running_gateway
from harness.pictures import encoded, photo
from harness.servers import wait_until
from harness.stores import submit_job
from harness.trials.storage_faults import overwrite, pages_of_jobs

JOBS = 30
PICTURE = encoded(photo(64, 48))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    """A gateway that was stopped with jobs in its queue, and is left so."""
    with running_gateway(tmp_path_factory.mktemp("stopped"), None, rate_per_minute=0) as running:
        for _ in range(JOBS):
            assert running.submit(PICTURE).status_code == 202
        assert running.stop() == 0
        return running


@pytest.fixture
def gateway(original: Gateway, folder: Path) -> Iterator[Gateway]:
    """One on a copy of its folder."""
    shutil.copytree(original.folder, folder, dirs_exist_ok=True)
    copy = Gateway(folder, original.variables)
    yield copy
    if copy.process and copy.process.poll() is None:
        copy.stop()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    return data


def patient(gateway: Gateway) -> Patient:
    return Patient(Settings(data=gateway.folder))


def uploads(gateway: Gateway) -> int:
    return len([*(gateway.folder / "pictures").glob("*.upload")])


def overwrite_pages(*pages: int) -> Callable[[Path], None]:
    return lambda file: overwrite(file, *pages)


def overwrite_rows(file: Path) -> None:
    """Overwrite two of the pages that hold jobs."""
    leaves = pages_of_jobs(file)
    assert len(leaves) > 3
    overwrite(file, *leaves[1:3])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "least"),
    [(overwrite_rows, 10), (overwrite_pages(-1, -3), 10), (overwrite_pages(0), 0)],
    ids=["pages-in-the-middle", "the-last-pages", "the-first-page"],
)
def test_damage_is_told_in_a_line_and_what_can_be_read_is_kept(
    gateway: Gateway, damage: Callable[[Path], None], least: int
) -> None:
    damage(gateway.folder / "queue.sqlite")
    assert "animegan gateway repair" in gateway.refusal()
    queue = patient(gateway)
    before = {file: file.stat().st_mtime_ns for file in gateway.folder.rglob("*.sqlite*")}
    health = queue.check()
    assert not health.sound
    assert least <= health.jobs < JOBS
    assert len(health.orphans) == JOBS - health.jobs
    assert {file: file.stat().st_mtime_ns for file in before} == before
    repair = queue.repair()
    assert repair.jobs == health.jobs
    assert repair.damaged
    assert repair.damaged.exists()
    assert len(repair.pictures) == JOBS - health.jobs
    assert all(file.read_bytes() == PICTURE and file.suffix != ".upload" for file in repair.pictures)
    assert queue.check().sound
    gateway.start()
    wait_until(lambda: gateway.metric("animegan_gateway_queue_depth") == repair.jobs, "the jobs that were kept")
    assert uploads(gateway) == repair.jobs
    assert gateway.submit(PICTURE).status_code == 202


@pytest.mark.slow
def test_a_log_of_writes_that_is_damaged_is_found_by_photos_without_a_job(gateway: Gateway) -> None:
    gateway.start()
    job_ids = [gateway.submit(PICTURE).json()["id"] for _ in range(JOBS)]
    gateway.kill()
    log = gateway.folder / "queue.sqlite-wal"
    half = log.stat().st_size // 2
    with log.open("r+b") as stream:
        stream.seek(half)
        stream.write(os.urandom(half))
    gateway.start()
    wait_until(lambda: "photos_without_a_job" in gateway.log, "the loss to be told")
    assert gateway.stop() == 0
    orphans = [file.stem for file in patient(gateway).repair().pictures]
    assert orphans
    assert {*orphans} <= {*job_ids}


@pytest.mark.slow
@pytest.mark.parametrize("lose", [Path.unlink, lambda file: os.truncate(file, 0)], ids=["removed", "emptied"])
def test_pictures_are_not_lost_with_the_database(gateway: Gateway, lose: Callable[[Path], None]) -> None:
    lose(gateway.folder / "queue.sqlite")
    assert "pictures of another queue" in gateway.refusal()
    assert len(patient(gateway).repair().pictures) == JOBS
    gateway.start()
    assert gateway.submit(PICTURE).status_code == 202


@pytest.mark.slow
def test_a_database_that_is_removed_or_replaced_counts_as_away(gateway: Gateway) -> None:
    gateway.start()
    file, away = gateway.folder / "queue.sqlite", gateway.folder / "away.sqlite"
    job_id = gateway.submit(PICTURE).json()["id"]
    for replacement in (None, b"another"):
        file.rename(away)
        if replacement:
            file.write_bytes(replacement)
        assert code(gateway.submit(PICTURE)) == (503, "store_unavailable")
        wait_until(lambda: "removed or replaced" in gateway.log, "it to be told, whether anybody asks or not")
        wait_until(lambda: requests.get(f"{gateway.url}/readyz", timeout=30).status_code == 503, "it to be noticed")
        away.replace(file)
        wait_until(lambda: requests.get(f"{gateway.url}/readyz", timeout=30).ok, "it to be back")
    assert gateway.job(job_id)["status"] == "queued"


@pytest.mark.slow
def test_what_was_drawn_is_set_aside_too_and_who_had_signed_out_stays_so(gateway: Gateway) -> None:
    file, drawing = gateway.folder / "queue.sqlite", gateway.folder / "pictures" / f"{new_id()}.1"
    drawing.write_bytes(PICTURE)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("INSERT INTO ended_sessions VALUES ('a session', 1e12)")
    overwrite_rows(file)
    repair = patient(gateway).repair()
    (copy,) = [picture for picture in repair.pictures if picture.name.startswith(drawing.stem)]
    assert (copy.name, copy.read_bytes()) == (f"{drawing.stem}-drawn.jpeg", PICTURE)
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT * FROM ended_sessions").fetchall() == [("a session", 1e12)]


@pytest.mark.slow
def test_a_queue_in_use_is_left_alone(gateway: Gateway) -> None:
    gateway.start()
    for call in (patient(gateway).check, patient(gateway).repair):
        with pytest.raises(BadSetting, match="Another gateway"):
            call()


@pytest.mark.slow
def test_the_commands(gateway: Gateway) -> None:
    sound = gateway.command("check")
    assert (sound.returncode, sound.stderr) == (0, "")
    assert f"queue.sqlite: sound; {JOBS} jobs can be read, {JOBS} of them wait." in sound.stdout
    overwrite(gateway.folder / "queue.sqlite", -2)
    damaged = gateway.command("check")
    assert damaged.returncode == 1
    assert re.search(r"\d+ pictures have no job:\n  /", damaged.stdout)
    process = gateway.command("repair")
    assert process.returncode == 0, process.stderr
    assert "The damaged database is kept as" in process.stdout
    assert gateway.command("check").returncode == 0


@pytest.mark.parametrize("ask", [b"{}", b"\xff\xfe", b'{"caller": 3'])
def test_a_row_that_is_damaged_is_set_aside_and_the_queue_goes_on(folder: Path, ask: bytes) -> None:
    async def go_on() -> None:
        store = SqliteStore(folder / "queue.sqlite", Bell())
        await store.open()
        damaged, sound = [await submit_job(store) for _ in range(2)]
        store._db.execute("UPDATE jobs SET ask = CAST(? AS TEXT) WHERE id = ?", (ask, damaged))
        jobs = [await store.take("one", idle=True) for _ in range(2)]
        assert [job and job.id for job in jobs] == [None, sound]
        assert await store.get(damaged) is None
        assert await store.knows([damaged, sound]) == {damaged, sound}, "their pictures are kept"
        await store.close()

    asyncio.run(go_on())
