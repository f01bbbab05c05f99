"""A probe of the stores: it writes and reads back, as a job would."""

from __future__ import annotations

import asyncio
import time

import structlog

from animegan_gateway.errors import StorageFull, StoreUnavailable
from animegan_gateway.queue.blobs.blobs import Blobs
from animegan_gateway.queue.stores.store import Store

FRESH_S = 5.0
FRESH_WHILE_FAILING_S = 0.5

log = structlog.get_logger(__name__)


class Probe:
    """The last answer of both stores, shared by everyone who asks within `FRESH_S`."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs
        self._lock = asyncio.Lock()
        self._probed_at = float("-inf")
        self._problem: StoreUnavailable | StorageFull | None = None

    async def problem(self) -> StoreUnavailable | StorageFull | None:
        """Return the error with which a job would be refused now; None where it would be kept."""
        async with self._lock:
            fresh_s = FRESH_WHILE_FAILING_S if self._problem else FRESH_S
            if time.monotonic() - self._probed_at >= fresh_s:
                problem = await self._probe()
                if (problem and problem.code) != (self._problem and self._problem.code):
                    log.warning("store_probed", reason=problem and problem.code, detail=problem and problem.detail)
                self._problem, self._probed_at = problem, time.monotonic()
            return self._problem

    async def _probe(self) -> StoreUnavailable | StorageFull | None:
        try:
            await self._store.probe()
            await self._blobs.probe()
        except (StoreUnavailable, StorageFull) as problem:
            return problem
        return None
