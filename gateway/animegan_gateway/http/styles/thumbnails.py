"""A sample photo in each installed style, drawn by the running server through the queue, and kept in memory."""

from __future__ import annotations

import asyncio
import hashlib
import time
from importlib import resources
from pathlib import Path

import structlog

from animegan.errors import AnimeganError
from animegan.picture.headers import inspect
from animegan.picture.sizes import Limits, fit
from animegan.styles import Style
from animegan_gateway.http.door import GATEWAY, Door
from animegan_gateway.http.styles.catalogue import Catalogue
from animegan_gateway.http.uploads.picture_file import temporary_file
from animegan_gateway.queue.jobs import Ask, State
from animegan_service.cancellation import cancel

SIDE_PX = 448  # smaller, the strokes are too broad to tell the styles apart; a page shows it smaller
QUALITY = 85
DRAWN_WITHIN_S = 5.0

log = structlog.get_logger(__name__)


class Thumbnails:
    """Samples by style, drawn when they are first asked for."""

    def __init__(self, door: Door, catalogue: Catalogue, spool: Path) -> None:
        self._door = door
        self._catalogue = catalogue
        self._spool = spool
        self._pictures: dict[tuple[str, str | None], bytes] = {}
        self._tasks: dict[tuple[str, str | None], asyncio.Task[None]] = {}
        self._photo = resources.files("animegan_gateway.http").joinpath("page/images/sample.jpg").read_bytes()

    async def get(self, style_id: str) -> bytes | None:
        """Return a JPEG of at most `SIDE_PX`; None where drawing takes longer than `DRAWN_WITHIN_S`.

        Raise `UnknownStyle` or `StyleNotInstalled`.
        """
        style = self._catalogue.require(style_id)
        key = (style.id, style.sha256)
        if key not in self._pictures:
            await asyncio.wait({self._task(style)}, timeout=DRAWN_WITHIN_S)
        return self._pictures.get(key)

    def _task(self, style: Style) -> asyncio.Task[None]:
        """Return the one task that draws it."""
        key = (style.id, style.sha256)
        if key not in self._tasks:
            task = asyncio.create_task(self._draw(style))
            self._tasks[key] = task
            task.add_done_callback(lambda _: self._tasks.pop(key))
        return self._tasks[key]

    async def close(self) -> None:
        await cancel([*self._tasks.values()])

    async def _draw(self, style: Style) -> None:
        size = inspect(self._photo, Limits(len(self._photo), 10**8)).size
        ask = Ask(
            caller=GATEWAY.name,
            style=style.id,
            max_side=SIDE_PX,
            format="jpeg",
            quality=QUALITY,
            fast=style.fast is not None,  # shown small, they differ from the others by little but their cost
            content_type="image/jpeg",
            bytes=len(self._photo),
            original_size=size,
            size=fit(size, SIDE_PX),
            frames=1,
            fingerprint=hashlib.sha256(self._photo).hexdigest(),
            request_id=f"thumbnail-{style.id}",
            accepted_at=time.time(),
        )
        try:
            with temporary_file(self._spool) as file:
                await asyncio.to_thread(file.write_bytes, self._photo)
                job = await self._door.submit(ask, file, GATEWAY)
            try:
                job = await self._door.wait_for_end(job)
                if job.state is State.DONE and job.result:
                    parts = [part async for part in self._door.read(job, 0, job.result.bytes - 1)]
                    self._pictures[style.id, style.sha256] = b"".join(parts)
            finally:
                await self._door.remove(GATEWAY, job.id)
        except AnimeganError as error:
            log.info("thumbnail_failed", style=style.id, reason=error.code)
