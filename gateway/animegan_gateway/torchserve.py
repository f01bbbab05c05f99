"""TorchServe as the gateway sees it: whether it is there, how wide it runs, and what became of a picture sent to it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import structlog

from animegan.errors import CONTENT_TYPE
from animegan_gateway.jobs import Ask

MODEL = "animegan"
REQUEST_ID = "X-Animegan-Request-Id"
LOOK_EVERY_S = 5.0
LOOK_EVERY_WHILE_AWAY_S = 0.5
ANSWER_WITHIN_S = 5.0
WORKER_ENDED = (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.INSUFFICIENT_STORAGE)  # the second: killed for memory

log = structlog.get_logger(__name__)


class Presence(StrEnum):
    """What may be expected of TorchServe now."""

    READY = "ready"
    LOADING = "loading"  # it answers, and no worker is ready
    AWAY = "away"


@dataclass(frozen=True)
class Drawn:
    """The picture; `file` holds it, `seconds` is from the request to its last byte."""

    name: ClassVar[str] = "drawn"

    file: Path
    content_type: str
    headers: dict[str, str]
    seconds: float


@dataclass(frozen=True)
class Refused:
    """The handler's own problem details."""

    name: ClassVar[str] = "refused"

    problem: dict[str, Any]


@dataclass(frozen=True)
class WorkerEnded:
    """The worker that had the picture died, or was ended for its silence."""

    name: ClassVar[str] = "worker_ended"


@dataclass(frozen=True)
class Lost:
    """The connection broke, or the answer never came."""

    name: ClassVar[str] = "lost"


@dataclass(frozen=True)
class NotTaken:
    """TorchServe did not take the picture; `presence` is what a look at it said afterwards."""

    name: ClassVar[str] = "not_taken"

    presence: Presence


@dataclass(frozen=True)
class NoRoom:
    """It was drawn, and there was no room on the disk to receive it."""

    name: ClassVar[str] = "no_room"


Fruitless = Refused | WorkerEnded | Lost | NotTaken | NoRoom
Outcome = Drawn | Fruitless


class TorchServe:
    """`watch` keeps `presence` and `width` up to date; `changed` is called when they change.

    `url` and `management` are the addresses of its inference and its management API; where the latter is None, `width`
    tells how many pictures it takes at one time. `width` 0 takes it from the management API.
    """

    def __init__(
        self, url: str, management: str | None, width: int, timeout_s: float, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._url = url
        self._management = management
        self._fixed_width = width
        self._timeout_s = timeout_s
        self._changed = changed
        self._look_now = asyncio.Event()
        self.presence = Presence.AWAY
        self.width = 0
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(ANSWER_WITHIN_S, read=timeout_s, write=timeout_s),
            limits=httpx2.Limits(max_connections=None, keepalive_expiry=ANSWER_WITHIN_S),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            pause_s = LOOK_EVERY_S if self.presence is Presence.READY else LOOK_EVERY_WHILE_AWAY_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._look_now.wait()
            self._look_now.clear()

    async def look(self) -> Presence:
        """See how it is now."""
        try:
            self._set(*(await self._described() if self._management else await self._pinged()))
        except (httpx2.HTTPError, ValueError, KeyError, LookupError):
            self._set(Presence.AWAY, 0)
        return self.presence

    async def draw(self, ask: Ask, picture: bytes, into: Path) -> Outcome:
        """Have it draw the picture into the file."""
        headers = {
            "Content-Type": ask.content_type,
            REQUEST_ID: ask.request_id,
            "X-Animegan-Style": ask.style,
            "X-Animegan-Max-Side": str(ask.max_side),
            "X-Animegan-Format": ask.format,
            "X-Animegan-Quality": str(ask.quality),
        }
        start = time.monotonic()
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream(
                    "POST", f"{self._url}/predictions/{MODEL}", content=picture, headers=headers
                ) as answer,
            ):
                if answer.status_code != HTTPStatus.OK:
                    return await self._refusal(answer.status_code, await answer.aread(), answer.headers)
                with into.open("wb") as file:
                    async for chunk in answer.aiter_bytes():
                        file.write(chunk)
        except TimeoutError:
            return WorkerEnded()  # TorchServe's own patience, which is shorter, ends a worker
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return NoRoom()
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            self._set(Presence.AWAY, 0)
            return NotTaken(Presence.AWAY)
        except httpx2.HTTPError:
            self._look_now.set()
            return Lost()
        told = {
            name: value
            for name, value in answer.headers.items()
            if name.startswith("x-animegan-") or name == "server-timing"
        }
        return Drawn(into, answer.headers["content-type"], told, time.monotonic() - start)

    async def _refusal(self, status: int, body: bytes, headers: httpx2.Headers) -> Outcome:
        if headers.get("content-type") == CONTENT_TYPE:
            return Refused(json.loads(body))
        log.warning("torchserve_error", status=status, said=body[:200].decode(errors="replace"))
        if status in WORKER_ENDED:
            self._look_now.set()
            return WorkerEnded()
        return NotTaken(await self.look())

    async def _described(self) -> tuple[Presence, int]:
        answer = await self._client.get(f"{self._management}/models/{MODEL}", timeout=ANSWER_WITHIN_S)
        if answer.status_code != HTTPStatus.OK:
            return Presence.LOADING, 0
        [model] = answer.json()
        ready = sum(worker["status"] == "READY" for worker in model["workers"])
        if not ready:
            return Presence.LOADING, 0
        return Presence.READY, self._fixed_width or ready * model["batchSize"]

    async def _pinged(self) -> tuple[Presence, int]:
        answer = await self._client.get(f"{self._url}/ping", timeout=ANSWER_WITHIN_S)
        healthy = answer.status_code == HTTPStatus.OK
        return (Presence.READY, self._fixed_width) if healthy else (Presence.LOADING, 0)

    def _set(self, presence: Presence, width: int) -> None:
        if (presence, width) != (self.presence, self.width):
            log.info("torchserve", presence=presence, width=width)
            self.presence, self.width = presence, width
            self._changed()
