"""Pauses of dispatch to this TorchServe, and each gateway's pictures there."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from animegan_agent.errors import NotIdle
from animegan_service.bell import Bell, wait

NEWS_WITHIN_S = 5.0  # how long a gateway's question may wait for something new
GONE_AFTER_S = 2 * NEWS_WITHIN_S + 1  # a gateway that has not asked for this long


@dataclass(frozen=True)
class Question:
    """A gateway's last question: its time, its number of pictures at TorchServe, and the tag of the state it knew."""

    at: float
    running: int
    tag: str


class Dispatch:
    """Pauses and the gateways' questions. `tag` changes with each pause, so a question shows if its gateway knows it.

    `on_change` is called at each change.
    """

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._on_change = on_change
        self._questions = Bell()
        self._gateways: dict[str, Question] = {}
        self._pauses = 0
        self._turn = 0
        self._java: int | None = None
        self._drained: int | None = None
        self.draining = False

    @property
    def paused(self) -> bool:
        return self._pauses > 0 or self.draining

    @property
    def tag(self) -> str:
        return f"{self._turn}{'p' if self.paused else ''}"

    def record_question(self, gateway: str, running: int, tag: str) -> None:
        """Record a gateway's question: the tag of the state it knows, and its number of pictures at TorchServe."""
        self._gateways = {name: question for name, question in self._gateways.items() if _is_there(question)}
        self._gateways[gateway] = Question(time.monotonic(), running, tag)
        self._questions.ring()

    def drain(self, *, on: bool) -> None:
        """Stop new pictures, until it is called with `on=False` or another TorchServe is ready in this one's place."""
        if self.draining != on:
            self.draining = on
            self._drained = self._java
            self._announce()

    def record_java(self, java: int | None) -> None:
        """Record the pid of TorchServe's Java, or None where no worker is ready; to be called at each look."""
        self._java = java or self._java
        if self.draining and java and java != self._drained:
            self.drain(on=False)

    @asynccontextmanager
    async def pause(self) -> AsyncIterator[None]:
        """Stop new pictures while the context is open."""
        self._pauses += 1
        self._announce()
        try:
            yield
        finally:
            self._pauses -= 1
            self._announce()

    async def wait_until_idle(self, within_s: float) -> None:
        """Return once every gateway knows of the pause and has nothing left at TorchServe. Raise `NotIdle`."""
        deadline = time.monotonic() + within_s
        with self._questions.listening() as change:
            while busy := self._busy():
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise NotIdle(
                        f"{len(busy)} gateways still had pictures there after {within_s:g} s. Try again, or raise "
                        "idle_within_s."
                    )
                change.clear()
                await wait(change, min(left_s, 1.0))

    def gateways(self) -> list[Question]:
        """Return the last question of each gateway that is there. Safe in any thread."""
        return [question for question in list(self._gateways.values()) if _is_there(question)]

    def _busy(self) -> list[Question]:
        return [question for question in self.gateways() if question.running or question.tag != self.tag]

    def _announce(self) -> None:
        self._turn += 1
        self._on_change()


def _is_there(question: Question) -> bool:
    return time.monotonic() - question.at < GONE_AFTER_S
