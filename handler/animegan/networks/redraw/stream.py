"""A network as a stream of rows: the same drawing as the whole network's, in the memory that the schedule keeps."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import record_function

from animegan.networks.redraw.schedule import ENLARGED_ROWS, Work, needs, schedule
from animegan.networks.redraw.steps import DRAWING, ENLARGED, PHOTO, Program, Step
from animegan.operators import Convolutions
from animegan.resources import pages
from animegan.resources.interruption import interrupt_if_asked
from animegan.resources.progress import report


class Weights:
    """A network's weights in `dtype`, packed for the convolutions of its device."""

    def __init__(self, tensors: Mapping[str, Tensor], program: Program, form: Convolutions, dtype: torch.dtype) -> None:
        self.form, self.dtype = form, dtype
        self.device = next(iter(tensors.values())).device
        self.bias = {step.name: tensors[f"{step.name}.bias"].float() for step in program.steps if step.name}
        self.prelu = {step.prelu: tensors[step.prelu].float() for step in program.steps if step.prelu}
        pack = form.packer()
        self.packed = {
            step.name: [
                (down, across, pack(part.to(dtype)))
                for down, across, part in _parts(tensors[f"{step.name}.weight"].float(), step, form.least_channels)
            ]
            for step in program.steps
            if step.name
        }


def _parts(weight: Tensor, step: Step, least_channels: int) -> list[tuple[int, int, Tensor]]:
    """A step's convolutions, each with the output row and column that it begins at.

    A 3×3 convolution of the nearest pixel at twice the size is four 2×2 ones, for output rows and columns that are even
    or odd: of three neighbours that it reads two are the same pixel, so their weights add up.
    """
    if not step.up:
        return [(0, 0, F.pad(weight, (0, 0, 0, 0, 0, max(0, least_channels - weight.shape[1]))))]
    halves = [(down, _fold(weight, 2, odd=bool(down))) for down in (0, 1)]
    return [(down, across, _fold(half, 3, odd=bool(across))) for (down, half), across in product(halves, (0, 1))]


def _fold(weight: Tensor, axis: int, *, odd: bool) -> Tensor:
    """Three taps on that axis as two: an even output reads one pixel and the next twice, an odd one twice and once."""
    first, middle, last = weight.unbind(axis)
    return torch.stack([first + middle, last] if odd else [first, middle + last], axis)


class Rows:
    """The rows of a map that are kept, channels-last."""

    def __init__(self, memory: Tensor) -> None:
        """Keep them in (capacity, width, channels)."""
        self.memory = memory
        self._first = 0

    def make_room(self, stop: int, keep: int) -> None:
        """Let go what lies before row `keep`, unless there is room up to row `stop` as it is."""
        distance = keep - self._first
        if stop - self._first > len(self.memory):
            for start in range(distance, len(self.memory), distance):  # a piece must not overlap where it goes
                piece = self.memory[start : start + distance]
                self.memory[start - distance : start - distance + len(piece)] = piece
            self._first = keep

    def view(self, first: int, last: int, channels: slice) -> Tensor:
        """Return rows [first, last), (channels, rows, width)."""
        return self.memory[first - self._first : last - self._first, :, channels].permute(2, 0, 1)


@torch.inference_mode()
def draw(weights: Weights, photo: Tensor, program: Program, rows: int, out: Tensor) -> None:
    """Draw a photo (channels, h, w), RGB in 0..1 and zero beyond, into `out`: uint8 (4h', 4w', 3), the middle of it.

    `rows` of the photo go in at a time; 0: all of them.
    """
    Run(weights, photo, program, rows, out).draw()


class Run:
    """One photo on its way. See `draw`."""

    def __init__(self, weights: Weights, photo: Tensor, program: Program, rows: int, out: Tensor) -> None:
        self.weights, self.photo, self.program, self.out = weights, photo, program, out
        self.height, self.width = photo.shape[1:]
        self.rows = rows or self.height
        self.capacity = needs(program, self.height, self.rows, weights.form.alignment).capacity
        self.maps: dict[str, Rows] = {}
        self.spare: list[Tensor] = []  # memory of maps that nobody reads any more

    def draw(self) -> None:
        """Make all rows."""
        works = [*schedule(self.program, self.height, self.rows, self.weights.form.alignment)]
        for place, work in enumerate(works):
            interrupt_if_asked()
            report(place / len(works))
            with record_function(work.step.name or "copy"):
                self._work(work)

    def _work(self, work: Work) -> None:
        step, first, last = work.step, work.first, work.last
        scale = 2 if step.up else 1
        if step.target not in self.maps:
            self.maps[step.target] = Rows(self._memory(step.target))
        target = self.maps[step.target]
        target.make_room(scale * last, work.keep)
        output = target.view(scale * first, scale * last, slice(step.at, step.at + step.channels))
        if not step.name:
            output.copy_(self.maps[step.source].view(first, last, slice(step.channels)))
        for down, across, packed in self.weights.packed.get(step.name, ()):
            x, above = self._read(step, first, last, down)
            self.weights.form.conv(
                x, packed, output[:, down::2, across::2] if step.up else output,
                before=(above, 1 - across), bias=self.weights.bias[step.name],
                slope=self.weights.prelu[step.prelu] if step.prelu else step.slope,
                alpha=step.alpha, residual=self._residual(step.residual, work), beta=step.beta,
                residual2=self._residual(step.residual2, work), gamma=step.gamma,
            )  # fmt: skip
        if step.target == DRAWING:
            rows = ENLARGED_ROWS * self.program.maps[step.source].scale
            for start in range(first, last, rows):
                stop = min(start + rows, last)
                self.emit(output[:, start - first : stop - first], start, stop)
        self.spare += [self.maps.pop(name).memory for name in work.finished]

    def _memory(self, name: str) -> Tensor:
        """Return room for a map, (capacity, width, channels): spare memory if some fits, as new pages cost page faults.

        Where none fits, all of it goes first: no more is held than the maps took at some time.
        """
        map = self.program.maps[name]
        size = self.capacity[name], self.width * map.scale, map.channels
        place = next((place for place, memory in enumerate(self.spare) if memory.shape == size), None)
        if place is not None:
            return self.spare.pop(place)
        self.spare.clear()
        return pages.empty(*size, dtype=self.photo.dtype, device=self.photo.device)

    def _read(self, step: Step, first: int, last: int, down: int) -> tuple[Tensor, int]:
        """Return what a convolution reads for its rows, as far as the map has rows, and how many lie above the map."""
        total = self.height * self.program.maps[step.source].scale
        top = first - 1 + down
        bottom = last + down if step.up else last + 1
        start, stop = max(0, top), min(total, bottom)
        if step.source == PHOTO:
            return self.photo[:, start:stop], start - top
        return self.maps[step.source].view(start, stop, slice(step.channels_in)), start - top

    def _residual(self, name: str, work: Work) -> Tensor | None:
        return self.maps[name].view(work.first, work.last, slice(work.step.channels)) if name else None

    def emit(self, drawing: Tensor, first: int, last: int) -> None:
        """Write rows of the drawing as pixels, without what lies beyond the photo."""
        if self.program.maps[DRAWING].scale == 1:
            pixels = to_pixels(shuffled(drawing, self.photo[:3, first:last]))
            pixels = pixels.permute(0, 3, 1, 4, 2).reshape(ENLARGED * (last - first), -1, 3)
            first, last = ENLARGED * first, ENLARGED * last
        else:
            pixels = to_pixels(drawing.permute(1, 2, 0))
        height, width = self.out.shape[:2]
        above, left = (ENLARGED * self.height - height) // 2, (ENLARGED * self.width - width) // 2
        start, stop = max(first, above), min(last, above + height)
        if start < stop:
            self.out[start - above : stop - above] = pixels[start - first : stop - first, left : left + width]


def shuffled(drawing: Tensor, photo: Tensor) -> Tensor:
    """Return (rows, width, 3, 4, 4) of (48, rows, width): each pixel's own 4×4, over its value in the photo (3, …)."""
    _, rows, width = drawing.shape
    squares = drawing.permute(1, 2, 0).reshape(rows, width, 3, ENLARGED, ENLARGED)
    return squares + photo.permute(1, 2, 0)[..., None, None]


def to_pixels(values: Tensor) -> Tensor:
    """Return 0..1 as uint8, rounded half to even."""
    return values.float().mul(255).round_().clamp_(0, 255).to(torch.uint8)
