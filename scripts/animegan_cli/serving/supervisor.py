"""Keeps services running: starts them in order, watches them, starts again what dies, and ends them in reverse.

It knows nothing of what a service is; `torchserve.TorchServeProcess` is one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from animegan.errors import AnimeganError, ServiceFailed
from animegan_cli.serving.signals import Signals

PAUSES_S = (1, 2, 4, 8, 10)  # from one start to the next, at the least, in a row; the last for all further ones
TELL_IN_VAIN_EVERY_S = 60.0  # that a service dies again and again
STEADY_S = 60.0  # once ready for this long, a death is the first of a new row
TELL_EVERY_S = 10.0
LOOK_EVERY_S = 0.5
LOOK_EVERY_WHILE_STARTING_S = 0.3


class Service(Protocol):
    """A part that the supervisor watches. Only `start` raises: an `AnimeganError`."""

    @property
    def name(self) -> str:
        """Return the name of the service in messages to the user."""

    def start(self) -> None:
        """Start its processes; nothing of an earlier start is left when this is called."""

    def trouble(self) -> str | None:
        """Return the reason to end the service and start it again; None while all is well."""

    def ready(self) -> bool:
        """Return whether the service can do its work now."""

    def patience_s(self) -> float:
        """Return the seconds that the service may go without being ready."""

    def end(self, hurried: Callable[[], bool]) -> None:
        """End all of its processes; without grace once `hurried()`."""

    def last_words(self) -> str:
        """Return the end of the service's log, which tells the user why it died."""


@dataclass
class _Entry:
    service: Service
    started_at: float = 0.0
    ready_since: float | None = None
    last_ready: float = 0.0  # or started
    deaths: int = 0  # in a row
    last_report: float = 0.0  # that it dies again and again
    start_at: float | None = None  # set while it pauses before a new start
    was_ready: bool = False  # has been ready once


class Supervisor:
    """`start`, then `watch`, then `end`; `say` gets a line for each thing that happens."""

    def __init__(
        self,
        services: Sequence[Service],
        signals: Signals,
        say: Callable[[str], None],
        pauses_s: Sequence[float] = PAUSES_S,
        steady_s: float = STEADY_S,
    ) -> None:
        self._entries = [_Entry(service) for service in services]
        self._signals = signals
        self._say = say
        self._pauses_s = pauses_s
        self._steady_s = steady_s

    def start(self) -> None:
        """Start each service once the one before is ready. Raises `ServiceFailed` if one fails, else as `watch`."""
        for entry in self._entries:
            self._say(f"Starting {entry.service.name}")
            self._begin(entry)
            tell_at_s = TELL_EVERY_S
            while not entry.was_ready:
                self._signals.check()
                self._look(entry)
                if time.monotonic() - entry.last_ready > tell_at_s:
                    self._say(f"{entry.service.name} is starting, {tell_at_s:.0f} s so far")
                    tell_at_s += TELL_EVERY_S
                self._signals.pause(LOOK_EVERY_WHILE_STARTING_S)

    def watch(self) -> None:
        """Keep them running, each for itself. Raises `StopRequest` on a request to stop."""
        while True:
            self._signals.check()
            for entry in self._entries:
                self._look(entry)
            all_ready = all(entry.ready_since is not None for entry in self._entries)
            self._signals.pause(LOOK_EVERY_S if all_ready else LOOK_EVERY_WHILE_STARTING_S)

    def end(self) -> None:
        """End them all, the last one first; a second request to stop takes their grace away."""
        for entry in reversed(self._entries):
            entry.service.end(self._signals.hurried)

    def _begin(self, entry: _Entry) -> None:
        entry.start_at = None
        entry.ready_since = None
        entry.last_ready = entry.started_at = time.monotonic()
        try:
            entry.service.start()
        except (AnimeganError, OSError) as error:  # such as a full disk
            if not entry.was_ready:
                raise
            self._bury(entry, f"can't be started ({error})")

    def _look(self, entry: _Entry) -> None:
        service, now = entry.service, time.monotonic()
        if entry.start_at is not None:
            if now >= entry.start_at:
                self._begin(entry)
            return
        trouble = service.trouble()
        if trouble is None and service.ready():
            if entry.ready_since is None:
                entry.ready_since = now
                if entry.was_ready:
                    self._say(f"{service.name} is ready again")
            entry.was_ready = True
            entry.last_ready = now
        elif trouble is None and now - entry.last_ready > service.patience_s():
            trouble = f"was not ready for {service.patience_s():.0f} s"
        if trouble is not None:
            self._bury(entry, trouble)

    def _bury(self, entry: _Entry, trouble: str) -> None:
        service = entry.service
        service.end(self._signals.hurried)
        self._signals.check()  # what ended may have ended for that
        if not entry.was_ready:
            raise ServiceFailed(f"{service.name} did not start: it {trouble}.\n{service.last_words()}")
        steady = entry.ready_since is not None and time.monotonic() - entry.ready_since >= self._steady_s
        entry.deaths = 1 if steady else entry.deaths + 1
        pause_s = self._pauses_s[min(entry.deaths, len(self._pauses_s)) - 1]
        left_s = max(0.0, entry.started_at + pause_s - time.monotonic())
        entry.start_at = time.monotonic() + left_s
        if entry.deaths <= len(self._pauses_s):
            soon = f"in {left_s:.0f} s" if left_s >= 1 else "at once"
            self._say(f"{service.name} {trouble}; starting it again {soon}")
        elif time.monotonic() - entry.last_report >= TELL_IN_VAIN_EVERY_S:
            entry.last_report = time.monotonic()
            self._say(
                f"{service.name} {trouble}: {entry.deaths} deaths in a row, starting it again every {pause_s:g} s.\n"
                f"{service.last_words()}"
            )
