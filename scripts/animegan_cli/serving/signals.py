"""Requests to stop: Ctrl-C, SIGTERM and SIGHUP, noticed at once and acted on where it is safe."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from types import FrameType

REQUESTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest(Exception):
    """A request to stop came; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Signals:
    """While it is entered, a signal is counted instead of ending the process, and cuts `pause` short.

    The end of a child process cuts it short too.
    """

    def __init__(self) -> None:
        self.requests: list[int] = []  # the numbers of the signals that came

    def __enter__(self) -> Signals:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in REQUESTS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        os.close(self._read)
        os.close(self._write)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.requests.append(number)

    def pause(self, seconds: float) -> None:
        """Wait that long, or until a signal comes."""
        select.select([self._read], [], [], seconds)
        with suppress(BlockingIOError):
            os.read(self._read, 4096)

    def check(self) -> None:
        """Raise `StopRequest` if a request came."""
        if self.requests:
            raise StopRequest(self.requests[0])

    def hurried(self) -> bool:
        """Return whether a second request came."""
        return len(self.requests) > 1
