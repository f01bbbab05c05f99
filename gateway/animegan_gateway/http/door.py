"""The use cases of the API: accept a photo, find, follow and remove its job."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import structlog

from animegan.clips.opening import check, limits_of, moves
from animegan.errors import AnimeganError
from animegan.options import Options, merge, options_in_headers, parse, sift
from animegan.picture.formats.films import is_video
from animegan.picture.headers import content_type
from animegan.picture.sizes import Limits, fit_or_refuse, upright
from animegan.settings import Settings as HandlerSettings
from animegan_gateway import tracing
from animegan_gateway.errors import (
    Draining,
    IdempotencyMismatch,
    JobExpired,
    JobNotFound,
    QueueFull,
    ShareFull,
    StorageFull,
)
from animegan_gateway.http.access.callers import Caller
from animegan_gateway.http.answers.file_names import file_stem
from animegan_gateway.http.styles.catalogue import Catalogue
from animegan_gateway.http.uploads.pace import Pace
from animegan_gateway.http.uploads.picture_file import Upload, judge, temporary_file
from animegan_gateway.http.uploads.receive import receive
from animegan_gateway.metrics import Metrics
from animegan_gateway.queue.backend import Backend
from animegan_gateway.queue.board import Board, Place
from animegan_gateway.queue.jobs import ACTIVE_STATES, Ask, Job, State, new_id, upload_key
from animegan_gateway.queue.stores.store import Bounds, Full, Mismatch
from animegan_gateway.settings import Settings
from animegan_service.bell import Bell, wait

MIB = 2**20
HEARTBEAT_S = 15.0
PLACE_EVERY_S = 1.0  # between looks at the place of a job that somebody follows
GATEWAY = Caller("gateway")  # the gateway itself, for its thumbnails

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Acceptance:
    """A job, and the names of the fields in its request that are no options: they are ignored."""

    job: Job
    ignored: tuple[str, ...]


class Door:
    """The use cases. `spool` is a folder on the disk of the blob store, for uploads on their way in."""

    def __init__(
        self,
        settings: Settings,
        drawing: HandlerSettings,
        backend: Backend,
        board: Board,
        catalogue: Catalogue,
        bell: Bell,
        metrics: Metrics,
        spool: Path,
    ) -> None:
        self.settings = settings
        self.drawing = drawing
        self.draining = False
        self._backend = backend
        self._store = backend.store
        self._blobs = backend.blobs
        self._board = board
        self._catalogue = catalogue
        self._bell = bell
        self._metrics = metrics
        self._spool = spool
        self._limits = Limits(
            drawing.max_upload_mb * MIB, drawing.max_pixels_mpx * 1_000_000, drawing.max_side_ceiling_px**2
        )
        self._pace = Pace(settings.upload_idle_s, settings.upload_rate_kb_s * 1000)

    async def accept(
        self,
        caller: Caller,
        stream: AsyncIterator[bytes],
        headers: Mapping[str, str],
        query: Iterable[tuple[str, str]] = (),
        *,
        name: str = "",
        idempotency_key: str | None,
        request_id: str,
    ) -> Acceptance:
        """Judge an upload as it streams in, and queue it. Raise what is documented at POST v1/jobs.

        Options are in the query, in headers and in the body; `name` is the photo's file name, where the address has it.
        """
        try:
            if self.draining:
                raise Draining("This server is about to stop and takes no new pictures. Try again in a minute.")
            await self._backend.rates.admit(caller.name, caller.key.rate_per_minute if caller.key else None)
            if idempotency_key is None and await self._board.holds(self.settings.queue_jobs):
                await self._refuse(Full("jobs"), caller)  # before the caller sends the picture for nothing
            in_query, ignored = sift(query)
            options = merge(in_query, options_in_headers(headers.items()))
            with temporary_file(self._spool) as file:
                upload = await receive(stream, headers, file, self._limits, self._pace, name)
                ask = await self._ask(caller, upload, merge(options, upload.options), request_id)
                job = await self.submit(ask, file, caller, idempotency_key)
                return Acceptance(job, (*ignored, *upload.ignored))
        except AnimeganError as error:
            self._metrics.rejected.labels(error.code).inc()
            raise

    async def submit(self, ask: Ask, file: Path, caller: Caller, idempotency_key: str | None = None) -> Job:
        """Queue what was asked for; the file becomes the store's."""
        job_id = new_id()
        await self._blobs.put(upload_key(job_id), file)
        try:
            job = await self._store.submit(job_id, ask, self._bounds(caller), idempotency_key)
        except StorageFull:
            await self._blobs.delete(upload_key(job_id))
            raise
        except Full as full:
            await self._blobs.delete(upload_key(job_id))
            await self._refuse(full, caller)
        except Mismatch:
            await self._blobs.delete(upload_key(job_id))
            raise IdempotencyMismatch(
                f"The Idempotency-Key {idempotency_key!r} was used for another picture or other options. "
                "Send a new key with a new request."
            ) from None
        # If the store did not answer, the picture stays: the job may be in it; otherwise a sweep deletes the picture.
        if job.id != job_id:
            await self._blobs.delete(upload_key(job_id))
            return job
        self._metrics.accepted.inc()
        log.info("accepted", job=job.id[:8], bytes=ask.bytes, work_px=ask.work_px, style=ask.style)
        return job

    async def find(self, caller: Caller, job_id: str) -> Job:
        """Return the caller's job. Raise `JobNotFound` or `JobExpired`."""
        job = await self._store.get(job_id) if re.fullmatch(r"[\w-]{22}", job_id, re.ASCII) else None
        if job is None or (self.settings.keys_required and job.ask.caller != caller.name):
            raise JobNotFound(f"There is no job {job_id[:32]!r} of yours. It may have ended long ago.")
        if job.state is State.EXPIRED:
            raise JobExpired(f"The picture of the job {job_id!r} is deleted. Send the photo again for another.")
        return job

    async def place(self, job: Job) -> Place:
        return await self._board.place(job)

    async def tally(self) -> tuple[int, int]:
        """Return how many pictures wait, and how many are being drawn, of all callers."""
        return await self._board.tally()

    async def remove(self, caller: Caller, job_id: str) -> Job:
        """Cancel a job that has not ended; delete the picture of one that has. Raise as `find`."""
        while True:
            job = await self.find(caller, job_id)
            if job.state is State.CANCELLED:
                return job  # a repeated request
            to = State.CANCELLED if job.state in ACTIVE_STATES else State.EXPIRED
            if final := await self._store.move(job.id, to):
                await self._backend.delete_pictures(final)
                if to is State.CANCELLED:
                    self._metrics.record_end(final)
                return final

    async def follow(self, job: Job) -> AsyncGenerator[tuple[Job, Place] | None, None]:
        """Yield the job and its place, now and after each change, until it has ended; None as a heartbeat.

        It stops early where the gateway is about to stop.
        """
        with self._bell.listening(job.id) as change:
            sent_at, last = time.monotonic(), None
            looked_at = sent_at
            while True:
                place = await self._board.place(job)
                if (update := (job, place)) != last:
                    yield update
                    sent_at, last = time.monotonic(), update
                elif time.monotonic() - sent_at >= HEARTBEAT_S:
                    yield None
                    sent_at = time.monotonic()
                if job.ended or self.draining:
                    return
                rung = await wait(change, PLACE_EVERY_S)
                change.clear()
                is_fresh = time.monotonic() - looked_at < HEARTBEAT_S and (place.position or job.state is State.RUNNING)
                if rung or not is_fresh:
                    job = await self._store.get(job.id) or job.model_copy(update={"state": State.EXPIRED})
                    looked_at = time.monotonic()

    async def wait_for_end(self, job: Job) -> Job:
        """Return the job once it has ended or the gateway is about to stop."""
        with self._bell.listening(job.id) as change:
            while not (job.ended or self.draining):
                change.clear()
                job = await self._store.get(job.id) or job.model_copy(update={"state": State.EXPIRED})
                if not job.ended:
                    await wait(change, HEARTBEAT_S)
        return job

    def read(self, job: Job, first: int, last: int) -> AsyncGenerator[bytes, None]:
        """Return the bytes of the job's picture from `first` to `last`, both included, in chunks."""
        return self._blobs.read(job.result_key, first, last)

    async def store_problem(self) -> AnimeganError | None:
        """Return the error with which a photo would be refused for the stores' sake; None where it would be kept."""
        return await self._backend.probe.problem()

    def stop_accepting(self) -> None:
        """Take no jobs from now on, and keep nobody waiting."""
        self.draining = True
        self._bell.ring_all()

    async def _ask(self, caller: Caller, upload: Upload, fields: Mapping[str, str], request_id: str) -> Ask:
        options = parse(fields, self.drawing)
        self._catalogue.require(options.style)
        header = await judge(upload, self._limits)
        original_size, sides = header.size, (options.max_side, options.max_pixels)
        if is_video(header):
            original_size = upright(original_size, header.orientation)
        drawn_frames, size = 1, fit_or_refuse(original_size, *sides, self._limits)
        if header.motion and moves(header, options):
            size = check(header, *sides, self._limits, limits_of(header, self.drawing))
            drawn_frames = header.motion.frames
        return Ask(
            caller=caller.name,
            style=options.style,
            max_side=options.max_side,
            max_pixels=options.max_pixels,
            format=options.format,
            quality=options.quality,
            fast=options.fast,
            best=options.best,
            drawn_frames=drawn_frames,
            detail=options.wish.detail,
            strength=options.wish.strength,
            color=options.wish.color,
            tone=options.wish.tone,
            mode=options.wish.mode,
            content_type=content_type(header),
            name=file_stem(upload.name),
            bytes=upload.bytes,
            original_size=original_size,
            size=size,
            frames=header.frames,
            fingerprint=_fingerprint(upload, options),
            request_id=request_id,
            accepted_at=time.time(),
            trace=tracing.trace_context(request_id),
        )

    def _bounds(self, caller: Caller) -> Bounds:
        settings = self.settings
        share = (caller.key and caller.key.share_percent) or settings.share_percent
        return Bounds(settings.queue_jobs, settings.queue_mb * MIB, max(1, settings.queue_jobs * share // 100))

    async def _refuse(self, full: Full, caller: Caller) -> NoReturn:
        """Raise `QueueFull` or `ShareFull`."""
        bounds = self._bounds(caller)
        if full.bound == "caller_jobs":
            raise ShareFull(
                f"{bounds.caller_jobs} of your pictures wait or are drawn, as many as one caller may have here.",
                retry_after_s=await self._board.room_in_s(bounds.caller_jobs / bounds.jobs),
                limit_jobs=bounds.caller_jobs,
            )
        limit = f"{bounds.jobs} pictures" if full.bound == "jobs" else f"{bounds.bytes // MIB} MiB of pictures"
        raise QueueFull(
            f"The queue holds {limit}, all it may.",
            retry_after_s=await self._board.room_in_s(),
            limit_jobs=bounds.jobs,
            limit_bytes=bounds.bytes,
        )


def _fingerprint(upload: Upload, options: Options) -> str:
    return hashlib.sha256(repr((upload.sha256, options)).encode()).hexdigest()
