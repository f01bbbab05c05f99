"""Periodic work: leases, lost jobs, expiry, orphaned pictures, gauges."""

from __future__ import annotations

import asyncio
import math
import time

import structlog

from animegan.errors import AnimeganError
from animegan_gateway.metrics import Metrics
from animegan_gateway.queue.backend import Backend
from animegan_gateway.queue.board import Capacity
from animegan_gateway.queue.clock import Clock
from animegan_gateway.queue.jobs import State
from animegan_gateway.settings import Settings

EVERY_S = 1.0
SWEEP_EVERY_S = 600.0
SWEEP_OLDER_THAN_S = 3600.0  # a younger file may be of a job that is not in the store yet
AT_ONCE = 100

log = structlog.get_logger(__name__)


class Housekeeper:
    """Keeps the leases of `owner`, and on a shared backend recovers the jobs of owners whose leases ran out."""

    def __init__(
        self, settings: Settings, backend: Backend, capacity: Capacity, metrics: Metrics, *, owner: str
    ) -> None:
        self._settings = settings
        self._backend = backend
        self._store = backend.store
        self._capacity = capacity
        self._metrics = metrics
        self._owner = owner
        self._clock = Clock()
        self._rates_ahead = False
        self._there_since = math.inf
        self._sweep_at = 0.0

    async def renew(self) -> None:
        """Keep the leases until cancelled, in a task of its own, as the other work may take longer."""
        while True:
            try:
                await self._store.renew(self._owner)
                self._there_since = min(self._there_since, time.monotonic())
            except AnimeganError as error:
                self._there_since = math.inf
                log.warning("renewal_waits", reason=error.code)
            await asyncio.sleep(EVERY_S)

    async def run(self) -> None:
        """Keep house until cancelled."""
        while True:
            try:
                await self._round()
            except AnimeganError as error:
                self._metrics.mark_store_away()
                log.warning("housekeeping_waits", reason=error.code, detail=error.detail)
            await asyncio.sleep(EVERY_S)

    async def _round(self) -> None:
        await self._check_clock()
        # After the store was away, each gateway has one lease to renew before its jobs are recovered.
        if self._backend.shared and time.monotonic() - self._there_since > self._settings.lease_s:
            await self._backend.recover()
        await self._expire()
        tally = await self._store.tally()
        oldest_s = 0.0 if tally.oldest_accepted_at is None else self._clock.age(tally.oldest_accepted_at)
        problem = await self._backend.probe.problem()
        self._metrics.update(tally, oldest_s, self._capacity, store_up=problem is None)
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_EVERY_S
            await self._backend.blobs.sweep(SWEEP_OLDER_THAN_S, self._store.knows)

    async def _check_clock(self) -> None:
        if jump_s := self._clock.look():
            log.warning("clock_was_set", by_s=round(jump_s, 1))
        if jump_s > 0:  # files look older than they are
            self._sweep_at = time.monotonic() + SWEEP_OLDER_THAN_S
        self._rates_ahead |= jump_s < 0
        if self._rates_ahead:
            await self._backend.rates.forget()
            self._rates_ahead = False

    async def _expire(self) -> None:
        settings, ago = self._settings, self._clock.ago
        for job in await self._store.ended_before(ago(settings.keep_s), AT_ONCE):
            if final := await self._store.move(job.id, State.EXPIRED):
                await self._backend.delete_pictures(final)
        await self._store.forget(ago(settings.expired_for_s))
