"""What is measured of a clip's frames, carried from one to the next, so that its brightness does not breathe.

A look measures each picture: how much of its tone curve is applied, what becomes black. Two frames of one scene measure
a little differently, which shows as a flicker of the whole. So what was measured of a scene's first frame stays, and
follows the scene slowly where it gets darker or lighter by more than `STILL`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from animegan.finish.tone import Corrections, shift_at

STILL = 0.02  # of a measure, by which it may differ without being followed
FOLLOW_SHARE = 0.1  # of the difference beyond, from frame to frame
KNOTS = 17  # at which corrections of tones are carried

Measures = list[tuple[float, ...]]


class Continuity:
    """The measures of one clip, in the order of its frames."""

    def __init__(self) -> None:
        self._measures: Measures | None = None
        self._shifts: tuple[float, ...] | None = None

    def forget(self) -> None:
        """Begin a scene: the next frame's measures are taken as they are."""
        self._measures = self._shifts = None

    def state(self) -> list[Any]:
        """Return what is carried, as lists and tuples of numbers."""
        return [self._measures, self._shifts]

    def restore(self, state: list[Any]) -> None:
        """Carry what another one did."""
        self._measures, self._shifts = state

    def measures(self, current: Measures) -> Measures:
        """Return what a frame is drawn with; `current` was measured of it."""
        before = self._measures or current
        self._measures = [_follow(*pair) for pair in zip(before, current, strict=True)]
        return self._measures

    def tones(self, changes: Corrections) -> Corrections:
        """Return the corrections of a frame's tones, of which those were measured (see `tone.corrections`)."""
        lightnesses = [knot / (KNOTS - 1) for knot in range(KNOTS)]
        shifts = tuple(shift_at(changes, lightness) for lightness in lightnesses)
        self._shifts = _follow(self._shifts or shifts, shifts)
        if not any(self._shifts):
            return ()
        return tuple((light, light + shift) for light, shift in zip(lightnesses, self._shifts, strict=True))


def _follow(before: Sequence[float], current: Sequence[float]) -> tuple[float, ...]:
    if all(abs(now - old) <= STILL for old, now in zip(before, current, strict=True)):
        return tuple(before)
    return tuple(old + FOLLOW_SHARE * (now - old) for old, now in zip(before, current, strict=True))
