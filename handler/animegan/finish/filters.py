"""Filters that several steps share, on planes: fp32 (C, H, W). Edges repeat the last pixel.

Each reads only the rows that its radius names, so that rows cut from a picture come out as in the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

PIECE_PX = 2**16  # pixels that a piece of a picture has, or one row's
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, of gamma-encoded values


def luma(picture: Tensor) -> Tensor:
    """Return the luma of an RGB picture, (1, H, W)."""
    red, green, blue = picture
    plane: Tensor = (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])[None]
    return plane


def blur_radius(sigma: float) -> int:
    """Return how many pixels to each side `blur` reads."""
    return math.ceil(2.5 * sigma)


def blur(planes: Tensor, sigma: float) -> Tensor:
    """Return the planes under a Gaussian of that standard deviation in px, cut at 2.5 of it."""
    radius = blur_radius(sigma)
    weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(-radius, radius + 1)]
    weights = [weight / sum(weights) for weight in weights]
    height, width = planes.shape[1:]
    padded = F.pad(planes[None], (radius, radius, 0, 0), mode="replicate")[0]
    across = padded[:, :, :width] * weights[0]
    for i, weight in enumerate(weights[1:], 1):
        across.add_(padded[:, :, i : i + width], alpha=weight)
    padded = F.pad(across[None], (0, 0, radius, radius), mode="replicate")[0]
    torch.mul(padded[:, :height], weights[0], out=across)
    for i, weight in enumerate(weights[1:], 1):
        across.add_(padded[:, i : i + height], alpha=weight)
    return across


def halve(planes: Tensor) -> Tensor:
    """Return the planes at half the resolution: means of 2×2 pixels; an odd last row or column is repeated."""
    height, width = planes.shape[1:]
    even = (
        F.pad(planes[None], (0, width % 2, 0, height % 2), mode="replicate")
        if height % 2 or width % 2
        else planes[None]
    )
    return F.avg_pool2d(even, 2)[0]


def double(planes: Tensor, height: int, width: int) -> Tensor:
    """Return planes that `halve` made at twice their resolution, bilinear, cut to that size in px."""
    wide = F.interpolate(planes[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
    return wide[:, :height, :width]


def pointwise(form: Callable[[Tensor, int], Tensor], picture: Tensor) -> Tensor:
    """Return `form` of each pixel of (3, H, W), a few rows at a time, so that it takes little memory.

    `form` takes (3, rows, W) and the first of those rows, and returns as many.
    """
    height, width = picture.shape[1:]
    rows = max(1, PIECE_PX // width)
    out = torch.empty_like(picture)
    for first in range(0, height, rows):
        out[:, first : first + rows] = form(picture[:, first : first + rows], first)
    return out


class Places:
    """Reads planes of one size, in px, at places off the pixels' grid."""

    def __init__(self, height: int, width: int, device: torch.device) -> None:
        self._step = (2 / width, 2 / height)
        self._x = (torch.arange(width, dtype=torch.float32, device=device) * 2 + 1) / width - 1
        self._y = ((torch.arange(height, dtype=torch.float32, device=device) * 2 + 1) / height - 1)[:, None]

    def read(self, planes: Tensor, dx: Tensor, dy: Tensor, first: int) -> Tensor:
        """Return the values (dx, dy) px away, (rows, W) each, from pixels of the rows from `first`: (C, rows, W)."""
        rows = len(dx)
        grid = torch.empty(1, *dx.shape, 2, device=dx.device)
        torch.add(self._x, dx, alpha=self._step[0], out=grid[0, :, :, 0])
        torch.add(self._y[first : first + rows], dy, alpha=self._step[1], out=grid[0, :, :, 1])
        return F.grid_sample(planes[None], grid, padding_mode="border", align_corners=False)[0]


def smoothstep(values: Tensor) -> Tensor:
    """Return 0 below 0, 1 above 1, and between them Hermite's cubic, which leaves and arrives level."""
    values = values.clamp(0, 1)
    return values * values * (3 - 2 * values)
