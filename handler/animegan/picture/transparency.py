"""What stands behind transparent pixels while a picture is drawn: the colours beside them. Imports no torch.

The network draws what it is given, and its result is laid on any ground. A ground of its own, white or black, would
be in the drawing's soft edges; so the visible colours are spread outwards under the transparent ones, by a pyramid:
what is coarse fills what is finer (pull-push, Gortler and others, The Lumigraph, 1996).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

REDUCED = 4  # the ground has no detail: it is made at a fourth of the size
GAIN = 4  # of the weight from level to level, so that one seen pixel of four counts as a whole one

Floats = NDArray[np.floating[Any]]


def ground(image: Image.Image) -> Image.Image:
    """An opaque L or RGB image of the colours seen in a premultiplied one (La, RGBa), spread over all of it.

    It has the size of the image divided by `REDUCED`, rounded up. Where nothing is seen at all it is white.
    """
    values: Floats = np.asarray(image.reduce(REDUCED), dtype=np.float32) / 255
    alpha = values[..., -1:]
    levels: list[tuple[Floats, Floats]] = [
        (values[..., :-1] * alpha, alpha * alpha)
    ]  # what is hardly seen is rounded most, and counts least
    while max(levels[-1][1].shape[:2]) > 1:
        levels.append(_coarser(*levels[-1]))
    colour, top_weight = levels.pop()
    colour = np.where(top_weight > 0, colour / np.maximum(top_weight, 1e-6), 1)
    for premultiplied, weight in reversed(levels):
        colour = premultiplied + (1 - weight) * _resize(colour, premultiplied.shape[:2])
    codes = (np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(codes[..., 0] if codes.shape[-1] == 1 else codes)


def _coarser(colour: Floats, alpha: Floats) -> tuple[Floats, Floats]:
    """Half the size, by the mean of two by two, and heavier."""
    colour, alpha = _halve(colour), _halve(alpha)
    heavier = np.minimum(1, GAIN * alpha)
    return colour * (heavier / np.maximum(alpha, 1e-6)), heavier


def _halve(values: Floats) -> Floats:
    rows, columns = values.shape[:2]
    values = np.pad(values, ((0, rows % 2), (0, columns % 2), (0, 0)), mode="edge")
    halves: NDArray[Any] = values.reshape((rows + 1) // 2, 2, (columns + 1) // 2, 2, -1).mean(axis=(1, 3))
    return halves


def _resize(values: Floats, shape: tuple[int, ...]) -> Floats:
    size = shape[1], shape[0]
    planes = [Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR) for plane in np.moveaxis(values, -1, 0)]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)
