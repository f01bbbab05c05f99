"""How far a photo is shrunk before it is drawn: what a smaller copy would lose of it. Imports no torch."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from animegan.picture.sizes import Size
from animegan.settings import Detail

FACTORS: dict[Detail, float] = {"bold": 1.0, "medium": 1.5, "fine": 2.0}  # on a look's own shrink
SMALL_PX = 600  # longest side under which `bold` leaves too few pixels for a face
TINY_PX = 300  # the same for `medium`
QUARTER = 4
# The most pixels, as a share of all, that may be off by more than a step of luma's range. By the small step a lake
# loses 0.05, a face 0.1, a wooded ravine or a pagoda 0.35 and more; by the large one a page of letters 0.04, a face 0.
MOST_LOSS = ((0.04, 0.3), (0.3, 0.015))


def choose_detail(photo: Image.Image) -> Detail:
    """Return the detail that keeps what the fitted photo shows: `bold` where a quarter of its size loses little."""
    longest = max(photo.size)
    if longest < TINY_PX:
        return "fine"
    return "medium" if longest < SMALL_PX or loses_much(photo) else "bold"


def loses_much(photo: Image.Image) -> bool:
    """Return whether shrinking to a quarter of the sides loses texture over the picture, or strokes such as letters."""
    luma = photo.convert("L")
    small = luma.resize([max(1, side // QUARTER) for side in luma.size], Image.Resampling.BOX)
    back = np.asarray(small.resize(luma.size, Image.Resampling.BICUBIC), dtype=np.int16)
    off = np.abs(back - np.asarray(luma))
    return any(float((off > step * 255).mean()) > most for step, most in MOST_LOSS)


def shrunk_size(size: Size, factor: float) -> Size:
    """Return the size, in px, rounded up."""
    width, height = (max(1, math.ceil(side * factor - 1e-6)) for side in size)
    return width, height
