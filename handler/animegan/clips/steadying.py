"""Drawn frames kept steady: where a clip stands still, a frame is blended with those before it.

A network draws the noise of two frames of a still scene differently, which shows as a flicker of lines and flats. Where
the smoothed photo is what it was, the drawing is a running mean over the last frames; where it has changed, and around
it, the drawing is the frame's own. What is compared is the mean of the photos that went into that mean, so that a slow
change adds up until it is seen. At a cut nothing is blended.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

REDUCED = 2  # the photos are compared at half their size,
SMOOTH_PX = 5  # smoothed by a box of so many pixels of that: noise of 4 steps of 255 is 0.4 by then
SAME, DIFFERENT = 2.0, 5.0  # steps of 255, up to which a smoothed pixel is the same, and from which it has changed
REACH_PX = 9  # a square of the reduced photo, in which one pixel that changed counts for all: lines reach out
HOLD = 0.85  # of the frames before, in the mean
TOO_DIFFERENT = 0.6  # of the pixels, from which on nothing is blended
CUT = 0.3  # of the pixels, that have other colours than before: it is another scene then
BINS = 4  # of each channel, by which colours are counted
BAND_PX = 2**18  # pixels that are blended at a time


class Steadying:
    """One clip's frames in their order. `look` at a photo first, then `blend` its drawing."""

    def __init__(self) -> None:
        self._photo: Tensor | None = None  # (3, h, w), the mean of the photos in `_drawing`
        self._colours: Tensor | None = None
        self._drawing: Tensor | None = None  # (H, W, 3), fp32
        self._weight: Tensor | None = None  # (1, 1, h, w), how much of it stays; None: nothing

    def state(self) -> list[Tensor | None]:
        """Return what is held, as copies on the host."""
        tensors = (self._photo, self._colours, self._drawing, self._weight)
        return [None if tensor is None else tensor.cpu().clone() for tensor in tensors]

    def restore(self, state: Sequence[Tensor | None], device: torch.device) -> None:
        """Hold what another one did."""
        tensors = (None if tensor is None else tensor.to(device) for tensor in state)
        self._photo, self._colours, self._drawing, self._weight = tensors

    def look(self, photo: Tensor) -> bool:
        """Take in the next photo, uint8 (H, W, 3); return whether it begins a scene."""
        small = F.avg_pool2d(photo.permute(2, 0, 1).float()[None], REDUCED, ceil_mode=True)
        smooth = F.avg_pool2d(small, SMOOTH_PX, 1, SMOOTH_PX // 2, count_include_pad=False)
        colours = _colours(small)
        before, self._colours = self._colours, colours
        if self._photo is None or before is None:
            self._photo, self._weight = smooth, None
            return True
        off = (smooth - self._photo).abs_().amax(1, keepdim=True)
        if float((off > DIFFERENT).float().mean()) >= TOO_DIFFERENT:
            self._photo, self._weight = smooth, None
            return float((colours - before).abs().sum()) / 2 >= CUT
        around = F.max_pool2d(off, REACH_PX, 1, REACH_PX // 2)
        self._weight = HOLD * (1 - ((around - SAME) / (DIFFERENT - SAME)).clamp_(0, 1))
        self._photo = torch.lerp(smooth, self._photo, self._weight)
        return False

    def blend(self, drawing: Tensor) -> Tensor:
        """Return the drawing of the photo that was looked at last, uint8 (H, W, 3), steadied."""
        if self._weight is None or self._drawing is None:
            self._drawing = drawing.float()
            return drawing
        height, width = drawing.shape[:2]
        out = torch.empty_like(drawing)
        rows = max(REDUCED, BAND_PX // width // REDUCED * REDUCED)
        for first in range(0, height, rows):
            last = min(height, first + rows)
            weight = self._weight[0, 0, first // REDUCED : -(-last // REDUCED)]
            weight = weight.repeat_interleave(REDUCED, 0).repeat_interleave(REDUCED, 1)[: last - first, :width, None]
            mean = torch.lerp(drawing[first:last].float(), self._drawing[first:last], weight)
            self._drawing[first:last] = mean
            out[first:last] = mean.round_().to(torch.uint8)
        return out


def _colours(photo: Tensor) -> Tensor:
    """Return the share of the pixels that have each of `BINS`³ colours, of (1, 3, h, w) in steps of 255."""
    bins = (photo[0] * (BINS / 256)).long().clamp_(0, BINS - 1)
    places = (bins[0] * BINS + bins[1]) * BINS + bins[2]
    return torch.bincount(places.flatten(), minlength=BINS**3).float() / places.numel()
