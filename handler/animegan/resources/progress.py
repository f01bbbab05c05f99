"""How far a run is, told by what does the work to whoever asked for it. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class _Part:
    """From where to where of the whole, 0 to 1, the work at hand goes, and who is told."""

    tell: Callable[[float], None]
    first: float = 0.0
    last: float = 1.0

    def at(self, share: float) -> float:
        return self.first + share * (self.last - self.first)


_part: ContextVar[_Part | None] = ContextVar("part", default=None)


@contextmanager
def observer(tell: Callable[[float], None] | None) -> Iterator[None]:
    """Have `tell`, or nobody, called with what is done, from 0 to 1, in this thread, while open."""
    token = _part.set(_Part(tell) if tell else None)
    try:
        yield
    finally:
        _part.reset(token)


@contextmanager
def part(first: float, last: float) -> Iterator[None]:
    """Map what is reported inside to that part of the work at hand: 0.5 to 1 is its second half."""
    outer = _part.get()
    if outer is None:
        yield
        return
    token = _part.set(_Part(outer.tell, outer.at(first), outer.at(last)))
    try:
        yield
    finally:
        _part.reset(token)


def report(share: float) -> None:
    """Tell that this share of the work at hand is done, from 0 to 1; return at once where nobody asked."""
    at_hand = _part.get()
    if at_hand:
        at_hand.tell(at_hand.at(share))
