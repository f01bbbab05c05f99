"""Take jobs from the store while TorchServe has room, have them drawn, and store the results."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import structlog

from animegan.errors import AnimeganError, InternalError
from animegan.options import REQUEST_ID
from animegan_gateway import tracing
from animegan_gateway.drawing.fleet import Fleet
from animegan_gateway.drawing.torchserve import Drawn, NoAnswer, Outcome, Refusal, TorchServe
from animegan_gateway.drawing.verdicts import Verdict, give_up, verdict
from animegan_gateway.errors import StorageFull, StoreUnavailable
from animegan_gateway.metrics import Metrics
from animegan_gateway.queue.blobs.blobs import Blobs
from animegan_gateway.queue.board import Board
from animegan_gateway.queue.jobs import Job, Result, State
from animegan_gateway.queue.stores.store import Store
from animegan_service.bell import Bell, wait
from animegan_service.cancellation import cancel

T = TypeVar("T")

LOOK_EVERY_S = 0.5  # for jobs whose pause is over, and for changes that rang no bell
STORE_PAUSE_S = 1.0

log = structlog.get_logger(__name__)


class Dispatcher:
    """One for each gateway. `spool` is a folder for pictures on their way into the blob store."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        fleet: Fleet,
        bell: Bell,
        metrics: Metrics,
        board: Board,
        *,
        spool: Path,
        retries: int,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._fleet = fleet
        self._bell = bell
        self._metrics = metrics
        self._board = board
        self._spool = spool
        self._retries = retries
        self.owner = secrets.token_hex(8)
        self._drawing: dict[str, TorchServe] = {}  # the TorchServe of each job that is being drawn
        self._tasks: dict[asyncio.Task[None], Job] = {}
        self._taking = asyncio.Lock()
        self._draining = False

    async def run(self) -> None:
        """Take and draw until `drain`."""
        with self._bell.listening() as change:
            while not self._draining:
                change.clear()
                async with self._taking:
                    job = await self._next()
                if not job:
                    await wait(change, LOOK_EVERY_S)

    async def drain(self, grace_s: float) -> None:
        """Take no more; let what runs finish within the grace, and put the rest back into the queue."""
        self._draining = True
        self._bell.ring()
        async with self._taking:
            pass  # a job that is being taken is among the tasks then
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        tasks = dict(self._tasks)
        await cancel(tasks)
        for job in tasks.values():
            with contextlib.suppress(AnimeganError):  # whoever recovers the lease will
                await self._store.move(job.id, State.QUEUED, attempt=job.attempt)

    async def _next(self) -> Job | None:
        """Take a job and begin to draw it, if there is one and a place for it.

        The place is reserved first, so that the agent is never told of fewer pictures than there will be.
        """
        # A suspected crasher runs alone, so that the next crash identifies it.
        suspicion = any(job.lost for job in self._tasks.values())
        place = None if self._draining or suspicion else self._fleet.reserve()
        if place is None:
            return None
        job = await self._take(idle=not self._tasks)
        if job is None:
            place.release()
            return None
        place.alone = job.alone
        self._drawing[job.id] = place
        task = asyncio.create_task(self._process(job, place))
        self._tasks[task] = job
        task.add_done_callback(self._finish)
        return job

    async def _take(self, *, idle: bool) -> Job | None:
        try:
            return await self._store.take(self.owner, idle=idle)
        except AnimeganError as error:
            log.warning("take_failed", reason=error.code)
            await asyncio.sleep(STORE_PAUSE_S)
            return None

    def _finish(self, task: asyncio.Task[None]) -> None:
        job = self._tasks.pop(task)
        self._leave(job)
        if not task.cancelled() and (error := task.exception()):
            log.error("dispatch_failed", job=job.id[:8], exc_info=error)

    def _leave(self, job: Job) -> None:
        """Release TorchServe's place; the rest of the job's work happens in the gateway."""
        if place := self._drawing.pop(job.id, None):
            place.release()
            self._bell.ring()

    async def _process(self, job: Job, place: TorchServe) -> None:
        structlog.contextvars.bind_contextvars(request_id=job.ask.request_id, job=job.id[:8])
        try:
            await self._attempt(job, place)
        except Exception as error:  # in recording the attempt, not in the attempt itself
            log.error("attempt_lost", exc_info=error)
            changes = {"lost": job.lost + 1, "alone": True}
            await retry_while_away(lambda: self._store.move(job.id, State.QUEUED, attempt=job.attempt, changes=changes))

    async def _attempt(self, job: Job, place: TorchServe) -> None:
        self._metrics.record_wait(job)
        tracing.record_wait(job)
        if final := give_up(job):
            await self._settle(job, final)
            return
        try:
            outcome = await self._draw(job, place)
            self._leave(job)
            self._metrics.record_attempt(outcome)
            if isinstance(outcome, Drawn):
                with tracing.store_span(job):
                    await self._keep(job, outcome)
                return
        except FileNotFoundError:  # somebody deleted the drawn picture before it was stored
            outcome = NoAnswer()
        except Exception as error:
            log.error("attempt_failed", exc_info=error)
            outcome = Refusal(InternalError("The gateway failed at this picture; its log has the details.").problem())
        await self._settle(job, verdict(job, outcome, now=time.time(), retries=self._retries))

    async def _draw(self, job: Job, place: TorchServe) -> Outcome:
        picture = await retry_while_away(lambda: self._blobs.get(job.upload_key))
        if picture is None:
            return Refusal(InternalError("The uploaded picture is gone from the store. Send it again.").problem())
        file = self._spool / f"{job.result_key}.drawn"
        withdrawal = asyncio.create_task(self._withdraw(job, place))
        try:
            with tracing.attempt(job) as record_outcome:
                outcome = await place.draw(job.ask, job.result_key, picture, file)
                record_outcome(outcome.name, isinstance(outcome, Drawn))
        finally:
            await cancel([withdrawal])
            self._board.forget_progress(job)
        if not isinstance(outcome, Drawn):
            file.unlink(missing_ok=True)
        return outcome

    async def _withdraw(self, job: Job, place: TorchServe) -> None:
        """Have the drawing end once the job is not this attempt's any more: its worker is free within a second.

        Until then, note how far it is.
        """
        with self._bell.listening(job.id) as change:
            while True:
                await wait(change, LOOK_EVERY_S)
                change.clear()
                with contextlib.suppress(AnimeganError):
                    current = await self._store.get(job.id)
                    if current and (current.state, current.attempt) == (State.RUNNING, job.attempt):
                        if (share := await place.progress(job.result_key)) is not None:
                            self._board.record_progress(job, share)
                        continue
                    if await place.cancel(job.result_key):
                        log.info("withdrawn")
                        return

    async def _keep(self, job: Job, picture: Drawn) -> None:
        try:
            await retry_while_away(lambda: self._blobs.put(job.result_key, picture.file))
        finally:
            picture.file.unlink(missing_ok=True)
        headers = {name: value for name, value in picture.headers.items() if name != REQUEST_ID.lower()}
        self._board.learn(job.ask, picture.seconds)
        result = Result(content_type=picture.content_type, bytes=picture.bytes, run_s=picture.seconds, headers=headers)
        if not await self._settle(job, Verdict(State.DONE, {"result": result})):
            await retry_while_away(lambda: self._blobs.delete(job.result_key))  # cancelled, or another's by now

    async def _settle(self, job: Job, next_: Verdict) -> bool:
        record = await retry_while_away(
            lambda: self._store.move(job.id, next_.to, attempt=job.attempt, changes=next_.changes)
        )
        if record is None:  # or it was moved, and the answer was lost
            current = await retry_while_away(lambda: self._store.get(job.id))
            record = current if current and (current.state, current.attempt) == (next_.to, job.attempt) else None
        code = (next_.changes.get("error") or {}).get("code")
        log.info("attempt", attempt=job.attempt, to=next_.to, code=code, counted=record is not None)
        if record is None:
            return False
        if record.ended:
            self._metrics.record_end(record)
            await retry_while_away(lambda: self._blobs.delete(job.upload_key))
        return True


async def retry_while_away(call: Callable[[], Awaitable[T]]) -> T:
    """Call until the store is neither away nor full, as a picture that is drawn must not be thrown away."""
    while True:
        try:
            return await call()
        except (StoreUnavailable, StorageFull) as error:
            log.warning("store_waited_for", reason=error.code)
            await asyncio.sleep(STORE_PAUSE_S)
