"""Scaling, replacing and draining workers, one at a time, without a picture lost.

TorchServe itself ends a worker whether or not it draws, and takes the newest when it scales down. So dispatch is paused
first, and a process is ended once every gateway has nothing left here and no worker works. A process that ends is
started anew in its slot by TorchServe.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psutil
import structlog

from animegan.errors import BadOption
from animegan_agent import room
from animegan_agent.dispatch import Dispatch
from animegan_agent.errors import NotIdle, NoWorker, TorchServeAway, UnderWay
from animegan_agent.management import Management, Model, Worker
from animegan_agent.settings import Settings
from animegan_agent.workers import Workers

MOST_WORKERS = 64
LOOK_EVERY_S = 0.2
SOONEST_END_S = 5.0  # for a process that was asked to end

log = structlog.get_logger(__name__)


class Operations:
    """Every method raises `UnderWay` while another runs, and `TorchServeAway` where TorchServe does not answer."""

    def __init__(self, settings: Settings, management: Management, workers: Workers, dispatch: Dispatch) -> None:
        self._settings = settings
        self._management = management
        self._workers = workers
        self._dispatch = dispatch
        self._lock = asyncio.Lock()

    @property
    def under_way(self) -> bool:
        return self._lock.locked()

    async def scale(self, workers: int) -> None:
        """Have that many workers from now on. Raise `BadOption`, and `NotIdle` where fewer are asked for."""
        if not 1 <= workers <= MOST_WORKERS:
            raise BadOption(f"workers={workers}: use a number from 1 to {MOST_WORKERS}.", option="workers")
        async with self._alone():
            await self._scale(await self._model(), workers)

    async def recycle(self, worker_id: str) -> None:
        """Replace a worker's process by a new one. Raise `NotIdle`, and `NoWorker` where the new one fails."""
        async with self._alone():
            model = await self._model()
            worker = model.worker(worker_id)
            if worker is None or not worker.ready:
                raise NoWorker(f"No worker {worker_id} is ready, so there is nothing to replace.")
            if self._overlaps(worker):
                await self._start_further(model)
                async with self._idle():
                    await self._end(worker)
                await self._wait_until_ready(worker, model.startup_s)
                await self._scale(model, model.target)
            else:
                async with self._idle():
                    await self._end(worker)
                    await self._wait_until_ready(worker, model.startup_s)
            log.info("recycled", worker=worker.id)

    async def tidy(self) -> None:
        """End the surplus worker that a failed replacement has left. Raise `NotIdle`."""
        model = self._workers.model
        if model and len(model.ready) > model.target:
            async with self._alone():
                await self._scale(await self._model(), model.target)

    async def drain(self) -> None:
        """Pause dispatch until `resume`; return once nothing is being drawn. Raise `NotIdle`, and stay paused then."""
        self._dispatch.drain(on=True)
        log.info("draining")
        try:
            await self._wait_until_idle()
        except NotIdle as error:
            raise NotIdle(f"{error.detail} It stays drained: `animegan workers resume` takes that back.") from None

    def resume(self) -> None:
        """Take `drain` back."""
        self._dispatch.drain(on=False)

    async def _scale(self, model: Model, workers: int) -> None:
        if workers >= len(model.workers) and workers > model.target:
            await self._have(workers, model)
        else:
            async with self._idle():
                await self._have(workers, model)

    async def _start_further(self, model: Model) -> None:
        """Start a worker above the target and return once it is ready. Raise `NoWorker`, or `TorchServeAway`.

        The target includes it for a moment only: if the agent ends while the worker loads, the next agent finds a
        surplus worker and ends it (`tidy`), instead of a higher target.
        """
        workers = model.target + 1
        log.info("starting_further_worker")
        try:
            await self._management.want(workers, at_most=workers)
        finally:
            await self._management.want(model.target, at_most=workers)
        await self._until(lambda now: len(now.ready) >= workers, model.startup_s, "A further worker was not ready")

    async def _have(self, workers: int, model: Model) -> None:
        log.info("scaling", workers=workers)
        await self._management.scale(workers, model.startup_s, at_most=workers)
        await self._workers.look()

    async def _end(self, worker: Worker) -> None:
        """End the process and return when TorchServe has noticed. Raise `NoWorker` where it may not be ended."""
        now = (await self._model()).worker(worker.id)
        if now is None or now.pid != worker.pid:
            return  # it ended by itself, and another process may have its pid now
        self._workers.expect_end(worker)
        log.info("ending_worker", worker=worker.id, pid=worker.pid)
        try:
            process = psutil.Process(worker.pid)
            process.terminate()
            _, alive = await asyncio.to_thread(psutil.wait_procs, [process], SOONEST_END_S)
            for each in alive:
                each.kill()
        except psutil.NoSuchProcess:
            pass  # it ended by itself
        except psutil.AccessDenied:
            raise NoWorker(
                f"The worker {worker.id} (process {worker.pid}) belongs to another user. Run the agent as TorchServe's."
            ) from None

        def is_absent(model: Model) -> bool:
            now = model.worker(worker.id)
            return now is None or not now.ready or now.pid != worker.pid

        await self._until(is_absent, SOONEST_END_S * 2, f"TorchServe did not notice the end of its worker {worker.id}")

    async def _wait_until_ready(self, worker: Worker, within_s: float) -> None:
        def is_new(model: Model) -> bool:
            now = model.worker(worker.id)
            return now is not None and now.ready and now.pid != worker.pid

        await self._until(is_new, within_s, f"The worker {worker.id} did not become ready again")

    async def _until(self, holds: Callable[[Model], bool], within_s: float, otherwise: str) -> None:
        deadline = time.monotonic() + within_s
        while (model := await self._workers.look()) is None or not holds(model):
            if time.monotonic() > deadline:
                raise NoWorker(f"{otherwise} within {within_s:g} s. TorchServe's log says why.")
            await asyncio.sleep(LOOK_EVERY_S)

    def _overlaps(self, worker: Worker) -> bool:
        overlap = self._settings.recycle_overlap
        return overlap == "always" or (overlap == "auto" and room.fits_another(worker))

    @asynccontextmanager
    async def _idle(self) -> AsyncIterator[None]:
        """Pause dispatch while the context is open, which it is once nothing is being drawn. Raise `NotIdle`."""
        async with self._dispatch.pause():
            await self._wait_until_idle()
            yield

    async def _wait_until_idle(self) -> None:
        within_s = self._settings.idle_within_s
        start = time.monotonic()
        await self._dispatch.wait_until_idle(within_s)
        while not await self._workers.idle():  # direct clients of TorchServe know of no pause
            if time.monotonic() - start > within_s:
                raise NotIdle(f"TorchServe was drawing after {within_s:g} s still. Try again, or raise idle_within_s.")
            await asyncio.sleep(LOOK_EVERY_S)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        if self._lock.locked():
            raise UnderWay("The workers are being scaled or replaced right now. Try again when that has ended.")
        async with self._lock:
            yield

    async def _model(self) -> Model:
        model = await self._workers.look()
        if model is None:
            raise TorchServeAway("TorchServe does not answer on its management address. Look at its log.")
        return model
