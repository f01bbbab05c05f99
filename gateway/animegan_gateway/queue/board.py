"""Places in the queue, and estimates from the measured rate of drawing."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from animegan_gateway.queue.jobs import Ask, Job, State
from animegan_gateway.queue.stores.store import Line, Run, Store
from animegan_service.protocol import Presence

FRESH_S = 0.25  # a thousand callers at once cost one query
RUNS_OF_A_KIND = 8  # pictures drawn alike, of which the estimate is made
MOST_PROGRESS = 0.99  # of a picture that takes longer than the estimate


@dataclass(frozen=True)
class Place:
    """`position` 1 is next; None unless the job waits. `eta_s`: seconds until it is done; None if unknown.

    `progress` is the part of a running job that is drawn, as its worker says, from 0 to `MOST_PROGRESS`; where it says
    nothing, the part of the estimated time that has passed.
    """

    position: int | None
    eta_s: float | None
    progress: float | None = None


class Capacity(Protocol):
    """All that draws: whether it is there, and how many pictures it takes at one time."""

    @property
    def presence(self) -> Presence: ...

    @property
    def width(self) -> int: ...


class Board:
    """A snapshot of the queue, no older than `FRESH_S`, shared by all callers.

    A running job of this gateway's is as far as its worker says. Elsewhere the estimate assumes a time proportional to
    the pixels: a running job's from its start, at the rate of the last pictures that were drawn alike, where this
    gateway saw any. A waiting job's is at the rate of all of the last pictures, and takes running ones to be half done.
    """

    def __init__(self, store: Store, capacity: Capacity) -> None:
        self._store = store
        self._capacity = capacity
        self._lock = asyncio.Lock()
        self._looked_at = float("-inf")
        self._line = Line()
        self._places: dict[str, tuple[int, int]] = {}  # position, and pixels up to and including the job's
        self._seconds_per_px: float | None = None
        self._shares: dict[str, float] = {}  # how much of a running job's picture, as its worker says
        self._alike: defaultdict[tuple[str, ...], deque[Run]] = defaultdict(lambda: deque(maxlen=RUNS_OF_A_KIND))

    async def place(self, job: Job) -> Place:
        """Return where the job stands now."""
        if job.state is State.RUNNING:
            await self._look()
            return self._running(job)
        if job.state is not State.QUEUED:
            return Place(None, None)
        await self._look(for_job=job.id)
        entry = self._places.get(job.id)
        if entry is None:
            return Place(None, None)  # it was taken a moment ago
        position, work_px = entry
        return Place(position, self._seconds(work_px + sum(each.work_px for each in self._line.running) / 2))

    async def holds(self, jobs: int) -> bool:
        """Return whether at least `jobs` wait or run. An old snapshot may admit a job; a refusal needs a new one."""
        if self._jobs() >= jobs:
            await self._look(fresh_s=0.0)
        return self._jobs() >= jobs

    async def tally(self) -> tuple[int, int]:
        """Return how many jobs wait, and how many run."""
        await self._look()
        return len(self._line.waiting), len(self._line.running)

    async def room_in_s(self, caller_share: float = 1.0) -> float:
        """Return the seconds until the next place is free for a caller who holds that part of the queue."""
        await self._look()
        jobs = [*self._line.waiting, *self._line.running]
        mean_px = sum(job.work_px for job in jobs) / max(1, len(jobs))
        seconds = self._seconds(mean_px)
        return 10.0 if seconds is None else seconds / max(caller_share, 0.001)  # before the first measurement

    def learn(self, ask: Ask, seconds: float) -> None:
        """Take in how long a picture took, for the estimates of those that are drawn alike."""
        self._alike[_kind(ask)].append(Run(ask.work_px, seconds))

    def record_progress(self, job: Job, share: float) -> None:
        """Take in how much of a running job is drawn, from 0 to 1."""
        self._shares[job.result_key] = share

    def forget_progress(self, job: Job) -> None:
        """Forget a job that runs no more."""
        self._shares.pop(job.result_key, None)

    def _running(self, job: Job) -> Place:
        share = self._shares.get(job.result_key, 0.0)
        if share > 0 and job.started_at is not None:
            elapsed_s = max(0.0, time.time() - job.started_at)
            return Place(None, elapsed_s * (1 - share) / share, min(share, MOST_PROGRESS))
        rate = _rate(self._alike.get(_kind(job.ask), ())) or self._seconds_per_px
        if rate is None or job.started_at is None:
            return Place(None, None)
        estimate_s, elapsed_s = job.ask.work_px * rate, max(0.0, time.time() - job.started_at)
        progress = min(elapsed_s / estimate_s, MOST_PROGRESS) if estimate_s else MOST_PROGRESS
        return Place(None, max(0.0, estimate_s - elapsed_s), progress)

    def _jobs(self) -> int:
        return len(self._line.waiting) + len(self._line.running)

    def _seconds(self, work_px: float) -> float | None:
        """Return the seconds for that many pixels with all that draws; None where no rate is known."""
        if self._seconds_per_px is None or self._capacity.presence is not Presence.READY:
            return None
        # The width includes the pictures of other gateways.
        width = max(1, self._capacity.width, len(self._line.running))
        return work_px * self._seconds_per_px / width

    async def _look(self, for_job: str | None = None, fresh_s: float = FRESH_S) -> None:
        async with self._lock:
            fresh = time.monotonic() - self._looked_at < fresh_s
            if fresh and (for_job is None or for_job in self._places):
                return
            line, runs = await self._store.line(), await self._store.runs()
            self._looked_at = time.monotonic()
            self._line = line
            self._seconds_per_px = _rate(runs)
            self._places.clear()
            sum_px = 0
            for position, waiting in enumerate(line.waiting, 1):
                sum_px += waiting.work_px
                self._places[waiting.id] = (position, sum_px)


def _kind(ask: Ask) -> tuple[str, ...]:
    """Return the options that decide how long a picture takes, beside its pixels."""
    return ask.style, str(ask.fast), ask.detail


def _rate(runs: Sequence[Run]) -> float | None:
    """Return the seconds for one pixel, over all pictures that were measured."""
    work_px = sum(run.work_px for run in runs)
    return sum(run.seconds for run in runs) / work_px if work_px else None
