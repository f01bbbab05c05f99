"""Where a drawing's memory goes, known before it starts. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from animegan.networks.plan import Plan, Shape, ever_smaller
from animegan.networks.redraw.schedule import ENLARGED_ROWS, needs
from animegan.networks.redraw.steps import ENLARGED, PHOTO, Program

EDGE_PX = 4  # of the photo, mirrored on each side: what the networks pad with zeros would show as a rim
BAND_ROWS = (32, 8, 4)  # of the photo, that go in at a time
MARGIN = 1.05  # what allocators round up, and what the libraries of convolutions take for themselves
SPARE_BYTES = 2**17  # indices, biases and rows of pixels on their way

Scratch = Callable[..., int]  # see `operators.Convolutions`


def plans(shape: Shape, program: Program, scratch: Scratch, alignment: int, *, cuda: bool) -> Iterator[Plan]:
    """Yield the ways to draw photos of one shape, the fastest first, each smaller than the one before it.

    `shape` is the photo's; `Plan.band_rows` are its rows that go in at a time, 0: all of them.
    """
    return ever_smaller(_plans(shape, program, scratch, alignment, cuda=cuda))


def _plans(shape: Shape, program: Program, scratch: Scratch, alignment: int, *, cuda: bool) -> Iterator[Plan]:
    height, width = (side + 2 * EDGE_PX for side in (shape.height, shape.width))
    for rows in (0, *(rows for rows in BAND_ROWS if rows < shape.height)):
        need = needs(program, height, rows or height, alignment)
        maps = need.peak_values * width * shape.itemsize
        photo = program.maps[PHOTO].channels * height * width * (shape.itemsize + 1)
        beside = max(
            scratch(
                most, width * program.maps[step.target].scale, step.channels, shape.itemsize, prelu=bool(step.prelu)
            )
            for step, most in need.most_rows.items()
        )
        # A few rows of the drawing on their way to pixels, in fp32 and more than once.
        beside += 6 * 3 * 4 * ENLARGED_ROWS * ENLARGED**2 * width
        pictures = 3 * shape.batch * shape.height * shape.width * (1 + ENLARGED**2)
        peak = int(MARGIN * (maps + photo + beside + pictures + SPARE_BYTES))
        yield Plan("bands" if rows else "whole", shape, cuda, peak, band_rows=rows)
