"""A function of a pixel's colour, as a table over the cube of colours, read between its entries."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 33  # entries along each of the cube's edges


class Table:
    """The values of `form` at `SIDE`³ colours; between them the eight nearest are mixed (trilinear).

    `form` takes sRGB in 0..1, (3, H, W), and returns (C, H, W). What it costs then no longer matters to a picture.
    """

    def __init__(self, form: Callable[[Tensor], Tensor], device: torch.device) -> None:
        axis = torch.linspace(0, 1, SIDE, device=device)
        blue, green, red = torch.meshgrid(axis, axis, axis, indexing="ij")
        colors = torch.stack([red, green, blue]).flatten(2)
        self._values = form(colors).reshape(1, -1, SIDE, SIDE, SIDE).contiguous()

    def read(self, picture: Tensor) -> Tensor:
        """Return the values at each colour of (3, H, W), sRGB in 0..1: (C, H, W)."""
        height = picture.shape[1]
        places = (picture * 2 - 1).permute(1, 2, 0)[:, None, None]
        # Each row is an item of a batch, as PyTorch shares a batch out among threads, and nothing smaller.
        table = self._values.expand(height, -1, -1, -1, -1)
        read = F.grid_sample(table, places, padding_mode="border", align_corners=True)
        return read[:, :, 0, 0].transpose(0, 1)
