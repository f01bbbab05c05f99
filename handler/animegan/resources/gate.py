"""How much may be in work at once. Imports no torch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Lets threads in while what they bring adds up to no more than `most`; one that brings more, when it is alone."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._inside = 0
        self._condition = threading.Condition()

    @contextmanager
    def __call__(self, amount: int) -> Iterator[None]:
        """Wait until there is room for `amount`, and hold it inside."""
        with self._condition:
            self._condition.wait_for(lambda: not self._inside or self._inside + amount <= self.most)
            self._inside += amount
        try:
            yield
        finally:
            with self._condition:
                self._inside -= amount
                self._condition.notify_all()
