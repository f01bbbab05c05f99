"""Pillow's Lanczos on a torch device: two matrix products, rounded to 8 bits between them as Pillow does.

Pillow computes with weights of 22 bits in integers. Here a weight is cut into two integers that fp32 holds, and so do
TF32 and the sums, so the products are exact and the result is Pillow's.

A pixel is made of a few neighbours, so the matrix is kept as blocks along its diagonal, and of the picture only one
block's rows or columns are in fp32 at a time. On a CPU Pillow is faster.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from animegan.picture import transfer
from animegan.picture.pixels import Box, pillow_lanczos
from animegan.picture.sizes import Size

logger = logging.getLogger(__name__)

LOBES = 3
WEIGHT_BITS = 22
LOW_BITS = 11
BLOCK_PX = 128  # rows or columns of the result that one product makes
MOST_CACHED = 16  # sides whose blocks are kept: 3264 px to 1024 px takes 4 MiB, 9248 px to 3840 px 10 MiB


@dataclass(frozen=True)
class Block:
    """Makes the rows of the result from `to` on of the rows of the picture from `start` on."""

    to: int
    start: int
    weights: torch.Tensor  # fp32 (high bits and below them low bits: 2 rows of the result, rows of the picture)


class Lanczos:
    """A `pixels.Scale` for RGB that computes on `device`, on CUDA in a stream of its own. It must not enlarge.

    May be called from several threads.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._blocks = lru_cache(MOST_CACHED)(self._make_blocks)

    def __call__(self, image: Image.Image, size: Size, box: Box) -> Image.Image:
        """`box` of the RGB image at `size`. Pillow's own where the device fails, or has not enough memory."""
        columns_first = image.height - size[1] > 2 * (image.width - size[0])  # so does Pillow from 13 on
        if columns_first or size == image.size:
            return pillow_lanczos(image, size, box)
        try:
            with torch.cuda.stream(self._stream):  # of None: changes nothing
                [scaled] = transfer.download(self.scale(transfer.upload([image], self.device), size, box))
        except RuntimeError as error:  # also torch.OutOfMemoryError
            logger.warning("A picture is scaled on the CPU, since the device failed: %s", error)
            return pillow_lanczos(image, size, box)
        return scaled

    @torch.inference_mode()
    def scale(self, pictures: torch.Tensor, size: Size, box: Box) -> torch.Tensor:
        """`box` of uint8 pictures (N, H, W, C) on the device at `size`: the same. Alpha must be premultiplied."""
        narrow = self._shorten(pictures.transpose(1, 2), box[0], box[2], size[0]).transpose(1, 2)
        return self._shorten(narrow, box[1], box[3], size[1])

    def _shorten(self, pictures: torch.Tensor, first: float, last: float, to: int) -> torch.Tensor:
        """(N, H, W, C) to (N, `to`, W, C): the rows from `first` to `last`."""
        n, height, width, channels = pictures.shape
        if (first, last, to) == (0, height, height):
            return pictures
        short = torch.empty((n, to, width, channels), dtype=torch.uint8, device=pictures.device)
        for block in self._blocks(height, first, last, to):
            rows, source_rows = block.weights.shape[0] // 2, block.weights.shape[1]
            part = pictures[:, block.start : block.start + source_rows]
            part = part.to(torch.float32, memory_format=torch.contiguous_format).flatten(2)
            high, low = torch.matmul(block.weights, part).to(torch.int32).chunk(2, dim=1)
            rounded = (high.mul_(1 << LOW_BITS) + low).add_(1 << WEIGHT_BITS - 1)
            rounded = rounded.bitwise_right_shift_(WEIGHT_BITS).clamp_(0, 255)
            short[:, block.to : block.to + rows] = rounded.view(n, rows, width, channels)
        return short

    def _make_blocks(self, size: int, first: float, last: float, to: int) -> list[Block]:
        starts, weights = taps(size, first, last, to)
        blocks = []
        for top in range(0, to, BLOCK_PX):
            start, some = int(starts[top]), weights[top : top + BLOCK_PX]
            at = starts[top : top + BLOCK_PX, None] - start + np.arange(some.shape[1])
            matrix = np.zeros((len(some), int(at.max()) + 1))
            np.put_along_axis(matrix, at, (some * 2**WEIGHT_BITS).round(), axis=1)
            high = (matrix / 2**LOW_BITS).round()
            parts = np.concatenate([high, matrix - high * 2**LOW_BITS])[:, : size - start]
            blocks.append(Block(top, start, torch.from_numpy(parts.astype(np.float32)).to(self.device)))
        return blocks


def taps(size: int, first: float, last: float, to: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each of `to` pixels between `first` and `last` of `size`: the first that counts, and the weights from it on.

    What Pillow rounds is rounded as there. The weight of what lies outside the bounds, or outside the picture, is 0.
    """
    first, last = float(np.float32(first)), float(np.float32(last))
    ratio = (last - first) / to
    centre = first + (np.arange(to) + 0.5) * ratio
    start = np.maximum((centre - LOBES * ratio + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + LOBES * ratio + 0.5).astype(np.int64), size)
    at = start[:, None] + np.arange(2 * math.ceil(LOBES * ratio) + 1)
    x = (at + 0.5 - centre[:, None]) / ratio
    weights = np.where((np.abs(x) < LOBES) & (at < end[:, None]), np.sinc(x) * np.sinc(x / LOBES), 0)
    return start, weights / weights.sum(axis=1, keepdims=True)
