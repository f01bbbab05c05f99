"""Events for tasks of this process that wait for a job, or anything, to change."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

ANY = ""  # instead of a job's id: every change


class Bell:
    """`ring(id)` sets each event that `listening` gave out for that id, and for `ANY`."""

    def __init__(self) -> None:
        self._events: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def listening(self, job_id: str = ANY) -> Iterator[asyncio.Event]:
        """Yield an event that is set by changes from now on; clear it before you look."""
        event = asyncio.Event()
        self._events[job_id].add(event)
        try:
            yield event
        finally:
            self._events[job_id].discard(event)
            if not self._events[job_id]:
                del self._events[job_id]

    def ring(self, job_id: str = ANY) -> None:
        for name in {job_id, ANY}:
            for event in self._events.get(name, ()):
                event.set()

    def ring_all(self) -> None:
        """Wake everyone: changes may have been missed."""
        for events in self._events.values():
            for event in events:
                event.set()


async def wait(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for the event, at most that long, and return whether it was set."""
    try:
        async with asyncio.timeout(max(0.0, timeout_s)):
            await event.wait()
    except TimeoutError:
        return False
    return True
