"""The place of rows in their picture."""

from __future__ import annotations

from dataclasses import dataclass, field

REFERENCE_PX = 1024  # the longest side for which a recipe's widths are written


@dataclass(frozen=True)
class Frame:
    """The picture's size in px, and `top`: the picture's row, always even, that is the first of the rows at hand.

    `measures`: what the step measured on a small copy of the whole picture, see `chain.Step.measure`.
    """

    height: int
    width: int
    top: int = 0
    measures: tuple[float, ...] = field(default=())

    @property
    def scale(self) -> float:
        """Return by how much a line of this picture is wider than the recipe says."""
        return scale(self.height, self.width)


def scale(height: int, width: int) -> float:
    """Return the longest side, in px, over the one for which recipes are written."""
    return max(height, width) / REFERENCE_PX
