"""What has to happen again and again: leases, lost jobs, expiry, files that nothing refers to, gauges."""

from __future__ import annotations

import asyncio
import time

import structlog

from animegan.errors import AnimeganError
from animegan_gateway.blobs import Blobs
from animegan_gateway.dispatcher import Dispatcher
from animegan_gateway.door import Door
from animegan_gateway.jobs import State
from animegan_gateway.metrics import Metrics
from animegan_gateway.store import Store
from animegan_gateway.torchserve import TorchServe

EVERY_S = 1.0
SWEEP_EVERY_S = 600.0
SWEEP_OLDER_THAN_S = 3600.0  # a file whose job is not in the store yet is on its way
AT_ONCE = 100

log = structlog.get_logger(__name__)


class Housekeeper:
    """`lost` tells whether jobs of other gateways that died are looked for: where several share the store."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        door: Door,
        dispatcher: Dispatcher,
        torchserve: TorchServe,
        metrics: Metrics,
        *,
        lost: bool,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._door = door
        self._dispatcher = dispatcher
        self._torchserve = torchserve
        self._metrics = metrics
        self._lost = lost
        self._sweep_at = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._round()
            except AnimeganError as error:
                log.warning("housekeeping_waits", reason=error.code)
            await asyncio.sleep(EVERY_S)

    async def _round(self) -> None:
        await self._store.renew(self._dispatcher.owner)
        if self._lost:
            for job in await self._store.recover():
                log.warning("recovered", job=job.id[:8], attempt=job.attempt)
        await self._expire()
        self._metrics.show(await self._store.tally(), self._torchserve)
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_EVERY_S
            await self._blobs.sweep(SWEEP_OLDER_THAN_S, self._store.knows)

    async def _expire(self) -> None:
        settings, now = self._door.settings, time.time()
        for job in await self._store.ended_before(now - settings.keep_s, AT_ONCE):
            if expired := await self._store.move(job.id, State.EXPIRED):
                await self._door.clear(expired)
        await self._store.forget(now - settings.expired_for_s)
