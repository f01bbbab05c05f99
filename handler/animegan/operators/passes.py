"""What the passes between the convolutions take beside their maps: see `operators`."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Norm(NamedTuple):
    """A norm of one group, and the LeakyReLU behind it.

    `moments` (N, 2), fp64: mean and variance of each picture's map. `weight` and `bias` (C). A `slope` of 1 leaves the
    LeakyReLU out.
    """

    moments: Tensor
    weight: Tensor
    bias: Tensor
    slope: float


class Window(NamedTuple):
    """Rows [top, bottom) and columns [left, right) of a map; beyond its edges it is reflected.

    Of the map, `height` rows in all, a band is there that begins at `first_row`.
    """

    first_row: int
    height: int
    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Return its rows and columns."""
        return self.bottom - self.top, self.right - self.left


class Upsampling(NamedTuple):
    """The size, in px, that a map is scaled to, bilinear: with its corners aligned, or `asymmetric` as TensorFlow 1."""

    height: int
    width: int
    asymmetric: bool
