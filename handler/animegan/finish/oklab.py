"""OKLab: lightness, green to red, blue to yellow (Ottosson 2020, https://bottosson.github.io/posts/oklab/)."""

from __future__ import annotations

import torch
from torch import Tensor

# Linear sRGB to the cones' responses, and their cube roots to L, a, b.
CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def to_oklab(picture: Tensor) -> Tensor:
    """Return (3, H, W) of L in 0..1, a and b, from sRGB in 0..1."""
    linear = torch.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055).pow_(2.4))
    cones = _mix(CONES, linear)
    return _mix(LAB, cones.clamp_(min=0).pow_(1 / 3))


def from_oklab(lab: Tensor) -> Tensor:
    """Return sRGB in 0..1, (3, H, W), from OKLab; what sRGB can't show is cut off channel by channel."""
    cones = _mix(_inverse(LAB), lab).pow_(3)
    linear = _mix(_inverse(CONES), cones).clamp_(0, 1)
    return torch.where(
        linear <= 0.0031308, linear * 12.92, linear.clamp(min=0.0031308).pow_(1 / 2.4).mul_(1.055).sub_(0.055)
    ).clamp_(0, 1)


def _mix(matrix: tuple[tuple[float, ...], ...], planes: Tensor) -> Tensor:
    out = torch.empty_like(planes)
    for row, target in zip(matrix, out, strict=True):
        torch.mul(planes[0], row[0], out=target)
        target.add_(planes[1], alpha=row[1]).add_(planes[2], alpha=row[2])
    return out


def _inverse(matrix: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    rows = torch.linalg.inv(torch.tensor(matrix, dtype=torch.float64)).tolist()
    return tuple(tuple(row) for row in rows)
