"""The end of a run before its time: asked for between layers and bands. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_checks: ContextVar[tuple[Callable[[], None], ...]] = ContextVar("checks", default=())


@contextmanager
def checking(check: Callable[[], None]) -> Iterator[None]:
    """Have `interrupt_if_asked` call the check, which raises where the run is to end; in this thread, while open."""
    token = _checks.set((*_checks.get(), check))
    try:
        yield
    finally:
        _checks.reset(token)


def interrupt_if_asked() -> None:
    """Raise what a check of this run raises; return at once where there is none."""
    for check in _checks.get():
        check()
