"""A function of a pixel's colour, as a table over the cube of colours, read between its entries."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from animegan.operators import native

SIDE = 33  # entries along each of the cube's edges
ENTRY = 4  # planes of an entry as the compiled form reads it


class Table:
    """The values of `form` at `SIDE`³ colours; between them the eight nearest are mixed (trilinear).

    `form` takes sRGB in 0..1, (3, H, W), and returns (C, H, W), C up to 4. It is computed once, however large the
    picture. On a CPU the compiled operators read the table; without them, and on a GPU, PyTorch does.
    """

    def __init__(self, form: Callable[[Tensor], Tensor], device: torch.device) -> None:
        axis = torch.linspace(0, 1, SIDE, device=device)
        blue, green, red = torch.meshgrid(axis, axis, axis, indexing="ij")
        colors = torch.stack([red, green, blue]).flatten(2)
        self._values = form(colors).reshape(1, -1, SIDE, SIDE, SIDE).contiguous()
        self._compiled = native.best() if device.type == "cpu" else None
        if self._compiled:
            planes = self._values.shape[1]
            self._entries = F.pad(self._values[0].permute(1, 2, 3, 0), (0, ENTRY - planes)).contiguous()

    def read(self, picture: Tensor) -> Tensor:
        """Return the values at each colour of (3, H, W), sRGB in 0..1: (C, H, W)."""
        if self._compiled:
            return self._compiled.read_table(self._entries, self._values.shape[1], picture)
        return self.plain_read(picture)

    def plain_read(self, picture: Tensor) -> Tensor:
        """Return the same by stock PyTorch: the reference that the compiled form is held to."""
        height = picture.shape[1]
        places = (picture * 2 - 1).permute(1, 2, 0)[:, None, None]
        # Each row is an item of a batch, as PyTorch shares a batch out among threads, and nothing smaller.
        table = self._values.expand(height, -1, -1, -1, -1)
        read = F.grid_sample(table, places, padding_mode="border", align_corners=True)
        return read[:, :, 0, 0].transpose(0, 1)
