"""What has to happen again and again: leases, lost jobs, expiry, files that nothing refers to, gauges."""

from __future__ import annotations

import asyncio
import math
import time

import structlog

from animegan.errors import AnimeganError
from animegan_gateway.drawing.dispatcher import Dispatcher
from animegan_gateway.drawing.fleet import Fleet
from animegan_gateway.http.door import Door
from animegan_gateway.metrics import Metrics
from animegan_gateway.queue.blobs import Blobs
from animegan_gateway.queue.clock import Clock
from animegan_gateway.queue.jobs import State
from animegan_gateway.queue.rates import Rates
from animegan_gateway.queue.store import Store

EVERY_S = 1.0
SWEEP_EVERY_S = 600.0
SWEEP_OLDER_THAN_S = 3600.0  # a file whose job is not in the store yet is on its way
AT_ONCE = 100

log = structlog.get_logger(__name__)


class Housekeeper:
    """Where several gateways have a `shared` store, jobs whose leases of `lease_s` seconds ran out are put back."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        door: Door,
        dispatcher: Dispatcher,
        fleet: Fleet,
        rates: Rates,
        metrics: Metrics,
        *,
        shared: bool,
        lease_s: float,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._door = door
        self._dispatcher = dispatcher
        self._fleet = fleet
        self._rates = rates
        self._metrics = metrics
        self._shared = shared
        self._lease_s = lease_s
        self._clock = Clock()
        self._rates_ahead = False
        self._there_since = math.inf
        self._sweep_at = 0.0

    async def renew(self) -> None:
        """Keep the leases, until cancelled; in a task of its own, as what else there is to do may take longer."""
        while True:
            try:
                await self._store.renew(self._dispatcher.owner)
                self._there_since = min(self._there_since, time.monotonic())
            except AnimeganError as error:
                self._there_since = math.inf
                log.warning("renewal_waits", reason=error.code)
            await asyncio.sleep(EVERY_S)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._round()
            except AnimeganError as error:
                self._metrics.store_away()
                log.warning("housekeeping_waits", reason=error.code)
            await asyncio.sleep(EVERY_S)

    async def _round(self) -> None:
        await self._heed_the_clock()
        # After the store was away, every gateway has the time of a lease to say that it lives.
        if self._shared and time.monotonic() - self._there_since > self._lease_s:
            for job in await self._store.recover():
                log.warning("recovered", job=job.id[:8], attempt=job.attempt)
        await self._expire()
        tally = await self._store.tally()
        oldest_s = 0.0 if tally.oldest_accepted_at is None else self._clock.age(tally.oldest_accepted_at)
        self._metrics.show(tally, oldest_s, self._fleet)
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_EVERY_S
            await self._blobs.sweep(SWEEP_OLDER_THAN_S, self._store.knows)

    async def _heed_the_clock(self) -> None:
        if jump_s := self._clock.look():
            log.warning("clock_was_set", by_s=round(jump_s, 1))
        if jump_s > 0:  # files look older than they are
            self._sweep_at = time.monotonic() + SWEEP_OLDER_THAN_S
        self._rates_ahead |= jump_s < 0
        if self._rates_ahead:
            await self._rates.forget()
            self._rates_ahead = False

    async def _expire(self) -> None:
        settings, ago = self._door.settings, self._clock.ago
        for job in await self._store.ended_before(ago(settings.keep_s), AT_ONCE):
            if expired := await self._store.move(job.id, State.EXPIRED):
                await self._door.clear(expired)
        await self._store.forget(ago(settings.expired_for_s))
