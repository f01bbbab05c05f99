"""The rules by which a worker is replaced, and counts of the replacements."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import structlog

from animegan.errors import AnimeganError
from animegan_agent.dispatch import Dispatch
from animegan_agent.errors import NotIdle, NoWorker, TorchServeAway, UnderWay
from animegan_agent.management import Worker
from animegan_agent.operations import Operations
from animegan_agent.settings import Settings
from animegan_agent.workers import Workers, resident_bytes

LOOK_EVERY_S = 1.0
AGAIN_AFTER_S = 60.0  # after a replacement that was postponed or failed
REASONS = ("requests", "memory", "schedule", "asked")
RESULTS = ("done", "put_off", "failed")

log = structlog.get_logger(__name__)


class Recycling:
    """`counts` are by reason and result; `seconds` is the total time of the replacements that succeeded."""

    def __init__(self, settings: Settings, workers: Workers, operations: Operations, dispatch: Dispatch) -> None:
        self._settings = settings
        self._workers = workers
        self._operations = operations
        self._dispatch = dispatch
        self.counts: Counter[tuple[str, str]] = Counter()
        self.seconds = 0.0

    async def run(self) -> None:
        """Apply the rules until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._operations.under_way or self._dispatch.draining:
                continue
            try:
                await self._operations.tidy()
                for worker, reason in self._due():
                    await self.replace(worker.id, reason)
            except AnimeganError as error:
                log.warning("recycling_put_off", reason=error.code, detail=error.detail)
                await asyncio.sleep(AGAIN_AFTER_S)

    async def all(self) -> list[str]:
        """Replace every ready worker, one after another, and return their ids. Raise as `Operations.recycle`."""
        model = await self._workers.look()
        if model is None:
            raise TorchServeAway("TorchServe does not answer on its management address. Look at its log.")
        if not model.ready:
            raise NoWorker("No worker is ready, so there is nothing to replace. Try again when one is.")
        for worker in model.ready:
            await self.replace(worker.id, "asked")
        return [worker.id for worker in model.ready]

    async def replace(self, worker_id: str, reason: str) -> None:
        """Replace one worker. Raise as `Operations.recycle`."""
        start = time.monotonic()
        try:
            await self._operations.recycle(worker_id)
        except (NotIdle, UnderWay):
            self.counts[reason, "put_off"] += 1
            raise
        except AnimeganError:
            self.counts[reason, "failed"] += 1
            raise
        self.counts[reason, "done"] += 1
        self.seconds += time.monotonic() - start

    def _due(self) -> list[tuple[Worker, str]]:
        model = self._workers.model
        due = [(worker, self._reason(worker)) for worker in (model.ready if model else ())]
        return [(worker, reason) for worker, reason in due if reason]

    def _reason(self, worker: Worker) -> str | None:
        settings = self._settings
        requests = self._workers.requests_of(worker)
        if settings.recycle_after_requests and requests >= settings.recycle_after_requests:
            return "requests"
        # A worker that has drawn nothing is as large as a new one would be.
        limit_bytes = settings.recycle_above_mb * 2**20
        if limit_bytes and requests and (resident_bytes(worker.pid) or 0) > limit_bytes:
            return "memory"
        if settings.recycle_every_s and self._workers.age_s(worker) >= settings.recycle_every_s:
            return "schedule"
        return None
