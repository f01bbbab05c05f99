"""TorchServe's workers, polled: state, memory, age, requests, restarts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import structlog

from animegan_agent.management import Management, Model, Worker
from animegan_service.protocol import Presence

LOOK_EVERY_S = 0.5
WATCHED_FOR_S = 0.1  # a worker that takes no CPU time for this long, twice, is idle
BUSY_S = 0.015  # more than the clock's one tick

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Life:
    """A slot's process: when it was first seen, in s of the monotonic clock, and TorchServe's requests then."""

    pid: int
    since: float
    requests: float


class Workers:
    """`look` brings it up to date. Each look calls `on_look` with the pid of TorchServe's Java, or None, and calls
    `on_change` when presence or width have changed.
    """

    def __init__(
        self,
        management: Management,
        on_look: Callable[[int | None], None] = lambda _: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._management = management
        self._on_look = on_look
        self._on_change = on_change
        self._lives: dict[str, Life] = {}  # by the slot's id
        self._outgoing_pids: set[int] = set()  # pids of those that the agent ended
        self._java: int | None = None
        self._last: tuple[Presence, int] | None = None
        self.model: Model | None = None
        self.requests = 0.0
        self.restarts = 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> Model | None:
        """Ask TorchServe, bring everything here up to date, and return its model."""
        self.model = await self._management.describe()
        requests = await self._management.requests() if self.model else None
        self.requests = self.requests if requests is None else requests
        if self.model:
            self._count(self.model, self.java())
        self._on_look(self.java())
        if (now := (self.presence, self.width)) != self._last:
            log.info("torchserve", presence=now[0], width=now[1])
            self._last = now
            self._on_change()
        return self.model

    @property
    def presence(self) -> Presence:
        if self.model is None:
            return Presence.AWAY
        return Presence.READY if self.model.ready else Presence.LOADING

    @property
    def width(self) -> int:
        """Return how many pictures may be sent at one time; a worker above the target adds none."""
        return min(len(self.model.ready), self.model.target) * self.model.batch_size if self.model else 0

    def expect_end(self, worker: Worker) -> None:
        """Record that the agent ends this process, so that its successor does not count as a restart."""
        self._outgoing_pids.add(worker.pid)

    def age_s(self, worker: Worker) -> float:
        """Return the seconds since the first look that showed the process."""
        life = self._lives.get(worker.id)
        return time.monotonic() - life.since if life else 0.0

    def requests_of(self, worker: Worker) -> float:
        """Return the requests it has answered, as an equal share of all: TorchServe does not count for each worker."""
        life, target = self._lives.get(worker.id), self.model.target if self.model else 1
        return max(0.0, self.requests - life.requests) / (target or 1) if life else 0.0

    def java(self) -> int | None:
        """Return the pid of TorchServe's Java, which is the parent of workers that are ready."""
        for worker in self.model.ready if self.model else ():
            try:
                return psutil.Process(worker.pid).ppid()
            except psutil.Error:
                continue
        return None

    async def idle(self) -> bool:
        """Return whether nothing waits in TorchServe, if it answers, and no worker works."""
        if self.model and self.model.pending:
            return False
        pids = [life.pid for life in self._lives.values()]
        for _ in range(2):
            before = [_cpu_s(pid) for pid in pids]
            await asyncio.sleep(WATCHED_FOR_S)
            if any(_cpu_s(pid) - start > BUSY_S for pid, start in zip(pids, before, strict=True)):
                return False
        model = await self._management.describe()
        return model is None or not model.pending

    def _count(self, model: Model, java: int | None) -> None:
        if java and self._java and java != self._java:  # all of its workers, and its counters, are new
            self.restarts += len(self._lives)
            log.warning("torchserve_restarted")
            self._lives.clear()
        self._java = java or self._java
        for worker in model.ready:
            life = self._lives.get(worker.id)
            if life and life.pid == worker.pid:
                continue
            if life and life.pid not in self._outgoing_pids:
                self.restarts += 1
                log.warning("worker_restarted", worker=worker.id)
            self._lives[worker.id] = Life(worker.pid, time.monotonic(), self.requests)
        there = {worker.id for worker in model.workers}
        self._lives = {id_: life for id_, life in self._lives.items() if id_ in there}
        self._outgoing_pids &= {life.pid for life in self._lives.values()}


def resident_bytes(pid: int | None) -> int | None:
    """Return the resident memory of a process in bytes; None where it has ended or belongs to another user."""
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid else None
    except psutil.Error:
        return None


def _cpu_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:  # it ended, so it works no more
        return 0.0
    return float(times.user + times.system)
