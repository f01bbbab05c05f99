"""How long a picture may be drawn: by what the last ones took for the same work. Imports no torch."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from animegan.errors import PictureTooSlow
from animegan.networks.plan import Plan
from animegan.picture.sizes import Size, fit
from animegan.resources.interruption import checking
from animegan.settings import SMALLEST_SIDE_PX

MARGIN = 4.0  # on what is predicted: other work on the same machine, and what a rate of the last pictures misses
LAST = 16  # runs that the rate is of
FRAMES_BEFORE_FORETELLING = 3  # of a clip, as the first takes longer
LEAST_WORK_PX = 2**14  # of a run that is measured: what smaller ones take is mostly the same for any size


class Pace:
    """The measured rate of one network and the deadlines that follow from it.

    A picture's work is its network's pixels times the plan's `work`. Its deadline is `MARGIN` times what is predicted,
    at least `floor_s` and at most `ceiling_s`, which it is too until a picture was measured.
    """

    def __init__(self, floor_s: float, ceiling_s: float) -> None:
        self._floor_s = floor_s
        self._ceiling_s = ceiling_s
        self._runs: deque[tuple[float, float]] = deque(maxlen=LAST)  # work in px, seconds

    def predicted_s(self, plan: Plan) -> float | None:
        """Return how long the plan takes; None until a picture was measured."""
        runs = list(self._runs)
        work_px = sum(work for work, _ in runs)
        return _work_px(plan) * sum(seconds for _, seconds in runs) / work_px if work_px else None

    def deadline_s(self, plan: Plan) -> float:
        """Return how long the plan may take."""
        predicted_s = self.predicted_s(plan)
        if predicted_s is None:
            return self._ceiling_s
        return min(self._ceiling_s, max(self._floor_s, MARGIN * predicted_s))

    def clip(self, name: str, frames: int) -> ClipDeadline:
        """Return the deadline of so many frames, whose drawing begins now: the most time, for all of them together.

        `name`: what they are called, as in "The animation".
        """
        return ClipDeadline(self, self._ceiling_s, name, frames)

    @contextmanager
    def limit(self, plan: Plan, size: Size) -> Iterator[None]:
        """Measure the run of a plan, for pictures of that size in px, and end it at its deadline.

        Raise `PictureTooSlow` before it starts where it can't end by the ceiling, or once it has not ended in time.
        """
        predicted_s = self.predicted_s(plan)
        if predicted_s is not None and predicted_s > self._ceiling_s:
            share = self._ceiling_s / predicted_s
            raise _too_slow(f"and would take about {predicted_s:.0f} s", size, self._ceiling_s, share)
        deadline_s, start = self.deadline_s(plan), time.monotonic()

        def check() -> None:
            if time.monotonic() - start > deadline_s:
                raise _too_slow(f"and was not drawn within {deadline_s:.0f} s", size, deadline_s, 0.5)

        try:
            with checking(check):
                yield
        except PictureTooSlow:
            self._measure(plan, time.monotonic() - start)  # at least
            raise
        self._measure(plan, time.monotonic() - start)

    def _measure(self, plan: Plan, seconds: float) -> None:
        if _work_px(plan) >= LEAST_WORK_PX:
            self._runs.append((_work_px(plan), seconds))


class ClipDeadline:
    """The deadline of a clip's frames; see `Pace.clip`."""

    def __init__(self, pace: Pace, limit_s: float, name: str, frames: int) -> None:
        self._pace = pace
        self._limit_s = limit_s
        self._name = name
        self._frames = frames
        self._start = time.monotonic()

    def check(self, plan: Plan, size: Size, count: int, network_s: float) -> None:
        """Raise `PictureTooSlow` where the frames that are left won't be drawn in time; `count`: how many are.

        `network_s`: what their drawing took. The rest of the time was for decoding, steadying and encoding them.
        """
        elapsed_s, each_s = time.monotonic() - self._start, self._pace.predicted_s(plan)
        if each_s is None or count < FRAMES_BEFORE_FORETELLING:
            return
        beside_s = max(0.0, elapsed_s - network_s) / count
        foretold_s = elapsed_s + (each_s + beside_s) * (self._frames - count)
        if foretold_s > self._limit_s:
            what = f"and its {self._frames} frames would take about {foretold_s:.0f} s"
            raise _too_slow(what, size, self._limit_s, self._limit_s / foretold_s, clip=self._name)


def _work_px(plan: Plan) -> float:
    return plan.shape.batch * plan.shape.height * plan.shape.width * plan.work


def _too_slow(what: str, size: Size, limit_s: float, share: float, *, clip: str = "") -> PictureTooSlow:
    """Return the error; that share of the work would be done within the limit. `clip`: what it is called."""
    width, height = size
    side = max(SMALLEST_SIDE_PX, math.floor(max(size) * math.sqrt(share)))
    fits = min(fit(size, side)) >= SMALLEST_SIDE_PX
    otherwise = "Draw its first frame with frames=first." if clip else ""
    smaller = f"Set max_side to {side} px or less." if fits else ""
    way_out = f"{smaller} {otherwise}".strip() or "Send it cropped."
    return PictureTooSlow(
        f"{clip or 'The picture'} is {width}×{height} px {what}; {limit_s:.0f} s are the limit. {way_out}",
        width_px=width,
        height_px=height,
        limit_s=round(limit_s),
        fits_side_px=side if fits else 0,
    )
