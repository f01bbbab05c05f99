"""One TorchServe: its presence, its width, and the outcome of a picture that is sent to it."""

from __future__ import annotations

import asyncio
import errno
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import structlog

from animegan.errors import CONTENT_TYPE
from animegan.options import ATTEMPT, BEST, FAST, ORIGINAL, REQUEST_ID
from animegan_gateway import tracing
from animegan_gateway.queue.jobs import Ask
from animegan_service.bell import wait
from animegan_service.cancellation import cancel
from animegan_service.protocol import MODEL, Presence

LOOK_EVERY_S = 5.0  # where there is no agent
LOOK_EVERY_WHILE_AWAY_S = 0.5
ANSWER_WITHIN_S = 5.0
AGENT_WITHIN_S = 5.0  # how long its answer waits for something new
CRASH_STATUSES = (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.INSUFFICIENT_STORAGE)  # the second: killed for memory

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Drawn:
    """The picture; `file` holds its `bytes`, `seconds` is from the request to the last of them."""

    name: ClassVar[str] = "drawn"

    file: Path
    bytes: int
    content_type: str
    headers: dict[str, str]
    seconds: float


@dataclass(frozen=True)
class Refusal:
    """The handler's own problem details."""

    name: ClassVar[str] = "refused"

    problem: dict[str, Any]


@dataclass(frozen=True)
class WorkerCrash:
    """The worker that had the picture died, or was ended for its silence."""

    name: ClassVar[str] = "worker_ended"


@dataclass(frozen=True)
class NoAnswer:
    """The connection broke, or the answer never came."""

    name: ClassVar[str] = "lost"


@dataclass(frozen=True)
class NotTaken:
    """TorchServe did not take the picture; `presence` is what it was afterwards."""

    name: ClassVar[str] = "not_taken"

    presence: Presence


@dataclass(frozen=True)
class NoRoom:
    """It could not be received: no room on the disk, no descriptor left, or the folder is away."""

    name: ClassVar[str] = "no_room"


FailedAttempt = Refusal | WorkerCrash | NoAnswer | NotTaken | NoRoom
Outcome = Drawn | FailedAttempt


class TorchServe:
    """One TorchServe. `watch` keeps `presence` and `width` up to date; `on_change` is called when they change.

    `url` is the address of its inference API and `agent` that of the agent beside it, which tells how many pictures it
    takes at one time; where there is no agent, `width` does. A `width` above 0 overrides the agent's.
    `gateway` is this gateway's name, by which the agent knows whose pictures are here: `in_flight` places of them.
    """

    def __init__(
        self,
        url: str,
        agent: str | None,
        width: int,
        timeout_s: float,
        gateway: str,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._url = url
        self._agent = agent
        self._fixed_width = width
        self._timeout_s = timeout_s
        self._gateway = gateway
        self._on_change = on_change
        self._look_now = asyncio.Event()
        self._state = ""  # the state that the agent told last
        self.presence = Presence.AWAY
        self.width = 0
        self.in_flight = 0
        self.alone = False  # the picture here has to be drawn alone
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(ANSWER_WITHIN_S, read=timeout_s, write=timeout_s),
            limits=httpx2.Limits(max_connections=None, keepalive_expiry=ANSWER_WITHIN_S),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    @property
    def free(self) -> int:
        """Return how many pictures may be sent now."""
        return 0 if self.alone else self.width - self.in_flight

    def release(self) -> None:
        """Give back a place that was `in_flight`."""
        self.in_flight -= 1
        self.alone = False

    async def watch(self) -> None:
        """Look again and again, until cancelled. The agent's answer waits until there is something new."""
        while True:
            looking = asyncio.create_task(self.look(self._state))
            cut_short = asyncio.create_task(self._look_now.wait())
            try:
                await asyncio.wait({looking, cut_short}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancel([looking, cut_short])
            if self._look_now.is_set():
                self._look_now.clear()
                await self.look()
            if not self._state:
                pause_s = LOOK_EVERY_S if self.presence is Presence.READY else LOOK_EVERY_WHILE_AWAY_S
                await wait(self._look_now, pause_s)

    async def look(self, state: str = "") -> Presence:
        """Return the presence now, or as soon as the state differs from `state`."""
        try:
            presence, width, self._state = await (self._ask_agent(state) if self._agent else self._ping())
            self._set(presence, width)
        except (httpx2.HTTPError, ValueError, KeyError, TypeError):
            self._state = ""
            self._set(Presence.AWAY, 0)
        return self.presence

    async def cancel(self, attempt: str) -> bool:
        """Have the agent end an attempt that nobody waits for; return whether it knows."""
        if not self._agent:
            return True  # the deadline ends it
        try:
            answer = await self._client.post(
                f"{self._agent}/v1/cancel", json={"attempt": attempt}, timeout=ANSWER_WITHIN_S
            )
        except httpx2.HTTPError:
            return False
        return answer.is_success

    async def progress(self, attempt: str) -> float | None:
        """Return how much of an attempt is drawn, from 0 to 1; None where that is unknown."""
        if not self._agent:
            return None
        try:
            answer = await self._client.get(
                f"{self._agent}/v1/progress", params={"attempt": attempt}, timeout=ANSWER_WITHIN_S
            )
            answer.raise_for_status()
            share = answer.json()["progress"]
        except (httpx2.HTTPError, ValueError, KeyError, TypeError):
            return None
        return float(share) if isinstance(share, int | float) else None

    async def draw(self, ask: Ask, attempt: str, picture: bytes, into: Path) -> Outcome:
        """Have it draw the picture into the file; `attempt` is the name under which that can be cancelled."""
        url = f"{self._url}/predictions/{MODEL}"
        headers = {
            **tracing.trace_headers(url),
            "Content-Type": ask.content_type,
            REQUEST_ID: ask.request_id,
            ATTEMPT: attempt,
            "X-Animegan-Style": ask.style,
            **_limits(ask),
            "X-Animegan-Format": ask.format,
            "X-Animegan-Quality": FAST if ask.fast else BEST if ask.best else str(ask.quality),
            "X-Animegan-Detail": ask.detail,
            "X-Animegan-Strength": f"{ask.strength:g}",
            "X-Animegan-Color": ask.color,
            "X-Animegan-Tone": ask.tone,
            "X-Animegan-Mode": ask.mode,
            "X-Animegan-Frames": "all" if ask.drawn_frames > 1 else "first",
        }
        start = time.monotonic()
        try:
            with into.open("wb") as file:  # before it is drawn, as it could be drawn in vain
                async with (
                    asyncio.timeout(self._timeout_s),
                    self._client.stream("POST", url, content=picture, headers=headers) as answer,
                ):
                    tracing.record_status(answer.status_code)
                    if answer.status_code != HTTPStatus.OK:
                        return await self._refusal(answer.status_code, await answer.aread(), answer.headers)
                    async for chunk in answer.aiter_bytes():
                        file.write(chunk)
                size = file.tell()
        except TimeoutError:
            return WorkerCrash()  # TorchServe's own timeout, which is shorter, has ended the worker
        except OSError as error:
            log.warning("not_received", reason=errno.errorcode.get(error.errno or 0, str(error)))
            return NoRoom()
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            self._set(Presence.AWAY, 0)
            self._look_now.set()
            return NotTaken(Presence.AWAY)
        except httpx2.HTTPError:
            self._look_now.set()
            return NoAnswer()
        headers = {
            name: value
            for name, value in answer.headers.items()
            if name.startswith("x-animegan-") or name == "server-timing"
        }
        return Drawn(into, size, answer.headers["content-type"], headers, time.monotonic() - start)

    async def _refusal(self, status: int, body: bytes, headers: httpx2.Headers) -> Outcome:
        if headers.get("content-type") == CONTENT_TYPE:
            return Refusal(json.loads(body))
        log.warning("torchserve_error", status=status, said=body[:200].decode(errors="replace"))
        if status in CRASH_STATUSES:
            self._look_now.set()
            return WorkerCrash()
        return NotTaken(await self.look())

    async def _ask_agent(self, state: str) -> tuple[Presence, int, str]:
        """Return presence, width and state; the width is 0 while the agent is paused."""
        question: dict[str, str | int] = {"gateway": self._gateway, "running": self.in_flight, "seen": state}
        answer = await self._client.get(
            f"{self._agent}/v1/torchserve", params=question, timeout=AGENT_WITHIN_S + ANSWER_WITHIN_S
        )
        answer.raise_for_status()
        view = answer.json()
        presence = Presence(view["presence"])
        width = 0 if view["paused"] or presence is not Presence.READY else self._fixed_width or int(view["width"])
        return presence, width, str(view["seen"])

    async def _ping(self) -> tuple[Presence, int, str]:
        answer = await self._client.get(f"{self._url}/ping", timeout=ANSWER_WITHIN_S)
        healthy = answer.status_code == HTTPStatus.OK
        return (Presence.READY, self._fixed_width, "") if healthy else (Presence.LOADING, 0, "")

    def _set(self, presence: Presence, width: int) -> None:
        if (presence, width) != (self.presence, self.width):
            log.info("torchserve", url=self._url, presence=presence, width=width)
            self.presence, self.width = presence, width
            self._on_change()


def _limits(ask: Ask) -> dict[str, str]:
    """Return the headers of the limits on the picture's size: at least one, or the handler's own would hold."""
    limits = {"X-Animegan-Max-Side": ask.max_side, "X-Animegan-Max-Pixels": ask.max_pixels}
    return {name: str(limit) for name, limit in limits.items() if limit} or {"X-Animegan-Max-Side": ORIGINAL}
