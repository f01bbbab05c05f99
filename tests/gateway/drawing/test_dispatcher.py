"""What the dispatcher takes, and what becomes of a job when it is the dispatcher itself that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from animegan.errors import BadImage
from animegan_gateway.drawing.dispatcher import Dispatcher
from animegan_gateway.drawing.fleet import Fleet
from animegan_gateway.drawing.torchserve import Outcome, Refusal
from animegan_gateway.metrics import Metrics
from animegan_gateway.queue.blobs.file_blobs import FileBlobs
from animegan_gateway.queue.board import Board
from animegan_gateway.queue.jobs import Job, State
from animegan_gateway.queue.stores.sqlite_store import SqliteStore
from animegan_service.bell import Bell
from harness.stores import submit_job

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Place:
    """A TorchServe that refuses each picture once it may."""

    def __init__(self) -> None:
        self.in_flight, self.alone = 0, False
        self.may_answer = asyncio.Event()
        self.cancelled: list[str] = []
        self.share: float | None = None

    def release(self) -> None:
        self.in_flight -= 1

    async def cancel(self, attempt: str) -> bool:
        self.cancelled.append(attempt)
        self.may_answer.set()
        return True

    async def progress(self, _: str) -> float | None:
        return self.share

    async def draw(self, *_: object) -> Outcome:
        await self.may_answer.wait()
        return Refusal(BadImage("It is damaged.").problem())


class Places:
    """A fleet of several, of one place each."""

    def __init__(self, count: int) -> None:
        self.all = [Place() for _ in range(count)]

    def reserve(self) -> Place | None:
        free = next((place for place in self.all if not place.in_flight), None)
        if free:
            free.in_flight += 1
        return free


class Store(SqliteStore):
    """One that may fail as nothing expects."""

    fails = False

    async def move(
        self, job_id: str, to: State, *, attempt: int | None = None, changes: Mapping[str, Any] | None = None
    ) -> Job | None:
        if self.fails:
            self.fails = False
            raise RuntimeError("not foreseen")
        return await super().move(job_id, to, attempt=attempt, changes=changes)


@asynccontextmanager
async def dispatching(folder: Path, places: Places) -> AsyncIterator[tuple[Dispatcher, Store]]:
    """A dispatcher before a store in that folder; what an earlier one had is recovered."""
    store, blobs = Store(folder / "queue.sqlite", Bell()), FileBlobs(folder / "pictures")
    await store.open()
    await blobs.open("queue", has_pictures=False)
    await store.recover()
    fleet = cast(Fleet, places)
    dispatcher = Dispatcher(store, blobs, fleet, Bell(), Metrics(folder), Board(store, fleet), spool=folder, retries=2)
    try:
        yield dispatcher, store
    finally:
        for place in places.all:
            place.may_answer.set()
        await dispatcher.drain(60)
        await store.close()


async def upload(store: Store, folder: Path) -> str:
    job_id = await submit_job(store)
    (folder / "pictures" / f"{job_id}.upload").write_bytes(b"a picture")
    return job_id


async def state(store: Store, job_id: str) -> tuple[State, int]:
    job = await store.get(job_id)
    assert job
    return job.state, job.lost


async def test_of_pictures_that_were_lost_together_each_is_drawn_with_no_other(tmp_path: Path) -> None:
    async with dispatching(tmp_path, Places(0)) as (_, store):
        one, two, three = [await upload(store, tmp_path) for _ in range(3)]
        for _ in range(2):
            assert await store.take("killed", idle=True)
    places = Places(2)
    async with dispatching(tmp_path, places) as (dispatcher, store):
        assert await state(store, one) == await state(store, two) == (State.QUEUED, 1)
        for suspect in (one, two):
            job = await dispatcher._next()
            assert job
            assert job.id == suspect
            assert await dispatcher._next() is None, "another is beside it"
            places.all[0].may_answer.set()
            await asyncio.wait(dispatcher._tasks)
            assert await state(store, suspect) == (State.FAILED, 1)
            places.all[0].may_answer.clear()
        job = await dispatcher._next()
        assert job
        assert job.id == three


async def test_what_the_gateway_fails_to_write_down_is_drawn_again(tmp_path: Path) -> None:
    places = Places(1)
    async with dispatching(tmp_path, places) as (dispatcher, store):
        job_id = await upload(store, tmp_path)
        assert await dispatcher._next()
        store.fails = True
        places.all[0].may_answer.set()
        await asyncio.wait(dispatcher._tasks)
        assert await state(store, job_id) == (State.QUEUED, 1)
        assert await dispatcher._next()
        await asyncio.wait(dispatcher._tasks)
        assert await state(store, job_id) == (State.FAILED, 1)


async def test_a_job_that_is_cancelled_while_it_is_drawn_frees_its_place(tmp_path: Path) -> None:
    places = Places(1)
    async with dispatching(tmp_path, places) as (dispatcher, store):
        job_id = await upload(store, tmp_path)
        assert await dispatcher._next()
        assert await store.move(job_id, State.CANCELLED)
        await asyncio.wait(dispatcher._tasks, timeout=5)
        assert (places.all[0].cancelled, places.all[0].in_flight) == ([f"{job_id}.1"], 0)
        assert await state(store, job_id) == (State.CANCELLED, 0)


async def test_how_far_a_picture_is_follows_what_its_worker_says(tmp_path: Path) -> None:
    places = Places(1)
    places.all[0].share = 0.25
    async with dispatching(tmp_path, places) as (dispatcher, store):
        await upload(store, tmp_path)
        job = await dispatcher._next()
        assert job
        async with asyncio.timeout(10):
            while (await dispatcher._board.place(job)).progress != 0.25:
                await asyncio.sleep(0.05)
        places.all[0].may_answer.set()
        await asyncio.wait(dispatcher._tasks)
        assert (await dispatcher._board.place(job)).progress is None
