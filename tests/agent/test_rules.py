"""When a worker is due to be replaced, and what becomes of one that is."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from animegan_agent import recycling
from animegan_agent.dispatch import Dispatch
from animegan_agent.errors import NotIdle, NoWorker
from animegan_agent.management import Model, Worker
from animegan_agent.recycling import Recycling
from animegan_agent.settings import Settings

WORKER = Worker("9000", os.getpid(), "READY", gpu=False)


class FakeWorkers:
    """What is known of one worker: this process."""

    def __init__(self, requests: float, age_s: float) -> None:
        self.model = Model((WORKER,), target=1, batch_size=1, pending=0, startup_s=60)
        self.requests, self.age = requests, age_s

    async def look(self) -> Model:
        return self.model

    def requests_of(self, _: Worker) -> float:
        return self.requests

    def age_s(self, _: Worker) -> float:
        return self.age


class FakeOperations:
    """Operations that say what they are told to."""

    under_way = False

    def __init__(self, answer: Exception | None) -> None:
        self.answer = answer
        self.recycling = asyncio.Event()

    async def tidy(self) -> None: ...

    async def recycle(self, _: str) -> None:
        self.recycling.set()
        if self.answer:
            raise self.answer


def by_rule(settings: dict[str, Any], requests: float, age_s: float, answer: Exception | None = None) -> dict[Any, int]:
    """Return the counts after the rules were evaluated."""

    async def run() -> dict[Any, int]:
        torchserve = FakeOperations(answer)
        rules = Recycling(Settings(**settings), FakeWorkers(requests, age_s), torchserve, Dispatch())  # type: ignore[arg-type]
        task = asyncio.create_task(rules.run())
        for _ in range(100):
            await asyncio.sleep(0)
            if torchserve.recycling.is_set():
                break
            await asyncio.sleep(0.001)
        task.cancel()
        return {reason: min(count, 1) for reason, count in rules.counts.items()}

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recycling, "LOOK_EVERY_S", 0.0)


@pytest.mark.parametrize(
    ("settings", "requests", "age_s", "reason"),
    [
        ({"recycle_after_requests": 10}, 10, 0, "requests"),
        ({"recycle_after_requests": 10}, 9, 1e6, None),
        ({"recycle_above_mb": 1}, 1, 0, "memory"),
        ({"recycle_above_mb": 1}, 0, 1e6, None),  # the next one would be as large
        ({"recycle_above_mb": 1_000_000}, 1e6, 1e6, None),
        ({"recycle_every_s": 60}, 0, 60, "schedule"),
        ({"recycle_every_s": 60}, 1e6, 59, None),
        ({}, 1e6, 1e6, None),
    ],
)
def test_a_rule(settings: dict[str, Any], requests: float, age_s: float, reason: str | None) -> None:
    assert by_rule(settings, requests, age_s) == ({(reason, "done"): 1} if reason else {})


@pytest.mark.parametrize(("answer", "result"), [(NotIdle("Busy."), "put_off"), (NoWorker("Dead."), "failed")])
def test_what_became_of_it_is_counted(answer: Exception, result: str) -> None:
    assert by_rule({"recycle_every_s": 1}, 0, 1, answer) == {("schedule", result): 1}
