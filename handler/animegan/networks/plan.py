"""How a picture runs, and the choice among the ways to run it. Imports no torch.

A network family foretells the memory of each way to draw pictures of one shape (its `plans`); the first that fits the
budget is taken.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, Self, TypeVar

from animegan.errors import PictureTooLarge
from animegan.picture.sizes import fit
from animegan.settings import SMALLEST_SIDE_PX

Mode = Literal["whole", "bands", "recompute"]


@dataclass(frozen=True)
class Shape:
    """What decides the peak: a picture's height and width in px, pictures in the batch, bytes of one value."""

    height: int
    width: int
    batch: int
    itemsize: int

    @property
    def of_one(self) -> Self:
        """One picture of the batch: bands take them one by one."""
        return replace(self, batch=1)

    @property
    def pixels_bytes(self) -> int:
        """Bytes of the uint8 pictures, in and out."""
        return 2 * 3 * self.batch * self.height * self.width


@dataclass(frozen=True)
class Plan:
    """How a picture runs. `peak_bytes` is what it takes above the weights, pictures in and out included.

    `work` is its arithmetic relative to a run that computes nothing twice. `band_bytes`: what a band may take;
    `band_rows`: its rows.
    """

    mode: Mode
    shape: Shape
    cuda: bool
    peak_bytes: int
    work: float = 1
    band_bytes: int = 0
    band_rows: int = 0


PlanT = TypeVar("PlanT", bound=Plan)


def ever_smaller(plans: Iterable[PlanT]) -> Iterator[PlanT]:
    """Yield the plans without those that take as much memory as one before them."""
    smallest = math.inf
    for plan in plans:
        if plan.peak_bytes < smallest:
            smallest = plan.peak_bytes
            yield plan


def megabytes(size: float) -> int:
    """MiB, rounded up."""
    return math.ceil(size / 2**20)


def choose(plans: Iterable[PlanT], budget_bytes: int, replan: Callable[[int, int], Iterable[Plan]]) -> PlanT:
    """Return the first of the plans, of which there is one at least, that is within the budget.

    `replan` returns the plans of one picture of another height and width, in px. Raises `PictureTooLarge` with the
    size, the need, the budget and the longest side that would fit.
    """
    for plan in plans:
        if plan.peak_bytes <= budget_bytes:
            return plan
    shape, need = plan.shape, megabytes(plan.peak_bytes)
    side = _longest_side(shape, budget_bytes, replan)
    way_out = f"Set max_side to {side} px or less, or try again later." if side else "Try again later."
    budget_mb = budget_bytes // 2**20
    raise PictureTooLarge(
        f"The picture is {shape.width}×{shape.height} px and needs {need} MiB; {budget_mb} MiB may be taken. {way_out}",
        width_px=shape.width,
        height_px=shape.height,
        need_mb=need,
        budget_mb=budget_mb,
        fits_side_px=side,
    )


def _longest_side(shape: Shape, budget_bytes: int, replan: Callable[[int, int], Iterable[Plan]]) -> int:
    """Return the longest side, in px, at which one such picture fits; 0: none does."""
    longest, shortest = max(shape.height, shape.width), min(shape.height, shape.width)

    def fits(side: int) -> bool:
        width, height = fit((shape.width, shape.height), side)
        return any(plan.peak_bytes <= budget_bytes for plan in replan(height, width))

    sides = range(-(-SMALLEST_SIDE_PX * longest // shortest), longest)
    fitting = bisect.bisect_left(sides, True, key=lambda side: not fits(side))
    return sides[fitting - 1] if fitting else 0
