"""A look's finish: its steps one after the other, over bands of rows, within a memory budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import record_function

from animegan.finish.continuity import Continuity
from animegan.finish.filters import PIECE_PX
from animegan.finish.frame import Frame, scale
from animegan.finish.steps.dabs import Dabs
from animegan.finish.steps.grade import Grade
from animegan.finish.steps.levels import Levels
from animegan.finish.steps.lines import Lines
from animegan.finish.steps.paper import Paper
from animegan.looks import DabsStep, Finish, GradeStep, LevelsStep, LinesStep
from animegan.resources.interruption import interrupt_if_asked
from animegan.resources.progress import report

SMALL_PX = 256  # longest side of the copy on which steps measure
CALL_BYTES = 14 * 2**20  # what a chain takes beside its rows: the small copy, tables, a piece of `pointwise`


class Step(Protocol):
    """One step of a finish. `planes`: how many fp32 planes of its rows it holds at most, input and output too."""

    planes: int

    def halo(self, scale: float) -> int:
        """Return how many rows above and below a row it reads; `scale` as `frame.scale` gives it."""
        ...

    def measure(self, small: Tensor) -> tuple[float, ...]:
        """Return what the step needs to know of the whole picture, from a small copy of its input, (3, h, w)."""
        ...

    def apply(self, picture: Tensor, frame: Frame) -> Tensor:
        """Return the rows finished, (3, H, W), from as many; those within the halo of an inner edge are not exact."""
        ...


def step(numbers: Finish) -> Step:
    """Return the operator of a recipe's table."""
    match numbers:
        case GradeStep():
            return Grade(numbers)
        case LinesStep():
            return Lines(numbers)
        case LevelsStep():
            return Levels(numbers)
        case DabsStep():
            return Dabs(numbers)
        case _:
            return Paper(numbers)


class Chain:
    """The steps of a look, in order; none: the picture as it is."""

    def __init__(self, finishes: Sequence[Finish]) -> None:
        self.steps = [step(numbers) for numbers in finishes]

    def halo(self, height: int, width: int) -> int:
        """Return how many rows above and below a band are read, for a picture of that size in px; even."""
        rows = sum(step.halo(scale(height, width)) for step in self.steps)
        return rows + rows % 2

    def row_bytes(self, width: int) -> int:
        """Return the most bytes held for each row of a band and of its halo; `width` in px."""
        return 4 * width * max((step.planes for step in self.steps), default=4)

    def peak_bytes(self, height: int, width: int, rows: int) -> int:
        """Return the most memory that `apply` takes in bands of `rows`, above its input and its output."""
        return self.row_bytes(width) * min(height, rows + 2 * self.halo(height, width)) + CALL_BYTES

    def rows(self, height: int, width: int, budget_bytes: int) -> int:
        """Return the rows of a band that fits into the budget, even or the picture's; 0 where not even two fit."""
        capacity = (budget_bytes - CALL_BYTES) // self.row_bytes(width)
        if capacity >= height:
            return height
        band = capacity - 2 * self.halo(height, width)
        return max(0, band - band % 2)

    @torch.inference_mode()
    def apply(self, picture: Tensor, rows: int | None = None, continuity: Continuity | None = None) -> Tensor:
        """Return the finished picture, uint8 (H, W, 3); a clip's frame with the measures of those before it.

        `picture` is (H, W, 3), RGB: floating point in 0..1 or uint8, on any device. `rows`: the height of a band in
        px, rounded up to an even one; None: the whole at once. The result is the same but for rounding.
        """
        height, width = picture.shape[:2]
        rows = height if rows is None else rows + rows % 2
        halo = self.halo(height, width)
        with record_function("measure"):
            measures = self.measures(picture)
            if continuity:
                measures = continuity.measures(measures)
        out = torch.empty(height, width, 3, dtype=torch.uint8, device=picture.device)
        for first in range(0, height, rows):
            report(first / height)
            last = min(height, first + rows)
            top, bottom = max(0, first - halo), min(height, last + halo)
            band = planar(picture[top:bottom])
            for step, measure in zip(self.steps, measures, strict=True):
                interrupt_if_asked()
                with record_function(type(step).__name__.lower()):
                    band = step.apply(band, Frame(height, width, top, measure))
            out[first:last] = to_pixels(band[:, first - top : last - top])
        return out

    def measures(self, picture: Tensor) -> list[tuple[float, ...]]:
        """Return what each step measures, from a copy of (H, W, 3) whose longest side is at most 256 px."""
        small = shrink(picture)
        height, width = small.shape[1:]
        out = []
        for step in self.steps:
            out.append(step.measure(small))
            if step is not self.steps[-1]:
                small = step.apply(small, Frame(height, width, 0, out[-1]))
        return out


def planar(picture: Tensor) -> Tensor:
    """Return (3, H, W), fp32 in 0..1, of (H, W, 3)."""
    planes = picture.permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format)
    return planes / 255 if picture.dtype == torch.uint8 else planes


def to_pixels(planes: Tensor) -> Tensor:
    """Return uint8 (H, W, 3) of (3, H, W) in 0..1, rounded half up."""
    return planes.mul(255).add_(0.5).clamp_(0, 255).permute(1, 2, 0).to(torch.uint8)


def shrink(picture: Tensor) -> Tensor:
    """Return a copy of (H, W, 3) as (3, h, w), fp32 in 0..1, longest side at most 256 px, each the mean of a square."""
    height, width = picture.shape[:2]
    side = math.ceil(max(height, width) / SMALL_PX)
    rows = side * max(1, PIECE_PX // (side * width))  # a copy of the whole in fp32 would be 192 MB of 16 megapixels
    pieces = (planar(picture[first : first + rows]) for first in range(0, height, rows))
    return torch.cat([F.avg_pool2d(piece[None], side, ceil_mode=True)[0] for piece in pieces], 1)
