"""How long it takes, as callers are told."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from animegan_gateway.queue.board import MOST_PROGRESS, Board
from animegan_gateway.queue.jobs import FRAME_WORK, Job, State, new_id
from animegan_gateway.queue.stores.sqlite_store import SqliteStore
from animegan_service.bell import Bell
from animegan_service.protocol import Presence
from harness.stores import ask

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class One:
    """One picture is drawn at a time."""

    presence: Presence = Presence.READY
    width: int = 1


@pytest.fixture
async def board(tmp_path: Path) -> AsyncIterator[Board]:
    store = SqliteStore(tmp_path / "queue.sqlite", Bell())
    await store.open()
    yield Board(store, One())
    await store.close()


def running(**changes: object) -> Job:
    request = ask().model_copy(update=changes)
    return Job(id=new_id(), ask=request, state=State.RUNNING, attempt=1, started_at=time.time())


@pytest.mark.parametrize("elapsed_s", [0, 10, 30, 39])
async def test_the_estimate_of_what_is_drawn_counts_down(
    board: Board, monkeypatch: pytest.MonkeyPatch, elapsed_s: int
) -> None:
    job = running()
    board.learn(job.ask, 40.0)
    monkeypatch.setattr("animegan_gateway.queue.board.time", _at((job.started_at or 0) + elapsed_s))
    place = await board.place(job)
    assert place.eta_s == pytest.approx(40 - elapsed_s)
    assert place.progress == pytest.approx(elapsed_s / 40)


async def test_what_takes_longer_than_the_estimate_is_never_said_to_be_done(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = running()
    board.learn(job.ask, 40.0)
    monkeypatch.setattr("animegan_gateway.queue.board.time", _at((job.started_at or 0) + 400))
    place = await board.place(job)
    assert (place.eta_s, place.progress) == (0.0, MOST_PROGRESS)


async def test_what_the_worker_says_goes_before_the_estimate(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    job = running()
    board.learn(job.ask, 40.0)
    monkeypatch.setattr("animegan_gateway.queue.board.time", _at((job.started_at or 0) + 10))
    board.record_progress(job, 0.2)
    place = await board.place(job)
    assert place.eta_s == pytest.approx(40)
    assert place.progress == 0.2
    board.record_progress(job, 1.0)
    assert (await board.place(job)).progress == MOST_PROGRESS
    board.forget_progress(job)
    assert (await board.place(job)).progress == pytest.approx(0.25)


async def test_an_animation_is_work_for_each_of_its_frames() -> None:
    still = ask().model_copy(update={"fast": True})
    clip = ask().model_copy(update={"drawn_frames": 10})
    best = clip.model_copy(update={"best": True})
    assert best.work_px - clip.work_px == pytest.approx(10 * (ask().work_px - still.work_px), rel=0.01)
    assert best.work_px > 10 * ask().work_px  # its frames are decoded and encoded too
    large = clip.model_copy(update={"original_size": (3840, 2160)})
    assert large.work_px - clip.work_px == pytest.approx(
        10 * FRAME_WORK * (3840 * 2160 - math.prod(clip.original_size)), rel=0.01
    )


async def test_small_and_large_networks_are_not_taken_for_each_other(board: Board) -> None:
    job = running()
    for _ in range(5):
        board.learn(running(fast=True).ask, 2.0)
    board.learn(job.ask, 40.0)
    assert (await board.place(job)).eta_s == pytest.approx(40, abs=1)
    assert (await board.place(running(fast=True))).eta_s == pytest.approx(2, abs=1)


async def test_nothing_is_said_before_anything_was_drawn(board: Board) -> None:
    place = await board.place(running())
    assert (place.eta_s, place.progress) == (None, None)


def _at(moment: float) -> SimpleNamespace:
    return SimpleNamespace(time=lambda: moment, monotonic=time.monotonic)
