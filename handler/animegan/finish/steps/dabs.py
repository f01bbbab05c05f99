"""Dabs of paint: the anisotropic Kuwahara filter (Kyprianidis, Kang and Döllner 2009)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from animegan.finish.filters import PIECE_PX, Places, halve, luma
from animegan.finish.flow import tangent, tensor, tensor_halo
from animegan.finish.frame import Frame
from animegan.looks import DabsStep

SECTORS = 8
RINGS = ((0.5, 4), (1.0, 8))  # of the ellipse: its radius, and how many samples lie on it
FLOW_SIGMA = 2.0
SIDE_SHARE = math.cos(2 * math.pi / SECTORS) ** 3  # what a sample counts for the sectors beside its own
EDGE = 0.06  # step of the picture, of 1, across which `spread` carries no paint


class Dabs:
    """The step `dabs` of a recipe.

    Around each pixel lies an ellipse, long along the edge; of its eight sectors the flattest ones give the colour. It
    runs at half the picture's resolution, as a dab is larger than a pixel; edges are the picture's own.
    """

    planes = 15

    def __init__(self, numbers: DabsStep) -> None:
        self.numbers = numbers

    def radius(self, scale: float) -> float:
        """Return the radius in px of half the picture's resolution."""
        return max(1.0, self.numbers.radius_px * scale / 2)

    def halo(self, scale: float) -> int:
        """Return the rows read to each side."""
        reach = math.ceil(self.radius(scale) * 2) + 1
        return 2 * (tensor_halo(FLOW_SIGMA) + self.numbers.passes * reach + 1)

    def measure(self, small: Tensor) -> tuple[float, ...]:  # noqa: ARG002
        """Return nothing: dabs need no measure of the whole."""
        return ()

    def apply(self, picture: Tensor, frame: Frame) -> Tensor:
        """Return the picture in dabs, (3, H, W)."""
        small = halve(picture)
        ellipses = axes(small, self.radius(frame.scale))
        for _ in range(self.numbers.passes):
            small = paint(small, ellipses, self.numbers.noise)
        return spread(small, picture)


Axes = tuple[Tensor, Tensor, Tensor, Tensor]


def axes(picture: Tensor, radius: float) -> Axes:
    """Return the ellipses around the pixels of (3, H, W): x and y of the long and the short half axis, in px."""
    x, y, coherence = tangent(tensor(luma(picture), FLOW_SIGMA))
    long, short = radius * (1 + coherence), radius / (1 + coherence)
    return x * long, y * long, -y * short, x * short


def paint(picture: Tensor, ellipses: Axes, noise: float) -> Tensor:
    """Return one pass over (3, H, W). `noise`: the standard deviation, of 1, that counts as flat."""
    height, width = picture.shape[1:]
    places = Places(height, width, picture.device)
    source = torch.cat([picture, luma(picture).square_()])
    out = torch.empty_like(picture)
    step = max(1, PIECE_PX // 2 // width)
    for first in range(0, height, step):
        rows = slice(first, first + step)
        long_x, long_y, short_x, short_y = (axis[rows] for axis in ellipses)
        out[:, rows] = _paint(places, source, (long_x, long_y, short_x, short_y), first, noise)
    return out


def _paint(places: Places, source: Tensor, ellipses: Axes, first: int, noise: float) -> Tensor:
    """Return the rows of `paint` that begin with `first`."""
    long_x, long_y, short_x, short_y = ellipses
    height, width = long_x.shape
    own, weights = source.new_zeros(SECTORS, 4, height, width), [0.0] * SECTORS
    for ring, count in RINGS:
        nearness = math.exp(-2 * ring**2)
        for sector in range(0, SECTORS, SECTORS // count):
            angle = 2 * math.pi * sector / SECTORS
            u, v = ring * math.cos(angle), ring * math.sin(angle)
            samples = places.read(source, long_x * u + short_x * v, long_y * u + short_y * v, first)
            own[sector].add_(samples, alpha=nearness)
            weights[sector] += nearness
    middle = source[:, first : first + height]
    out, norm = source.new_zeros(3, height, width), source.new_zeros(height, width)
    for sector in range(SECTORS):
        after = (sector + 1) % SECTORS
        mean = (own[sector - 1] + own[after]).mul_(SIDE_SHARE).add_(own[sector]).add_(middle)
        mean /= 1 + weights[sector] + SIDE_SHARE * (weights[sector - 1] + weights[after])
        variance = (mean[3] - luma(mean[:3])[0].square_()).clamp_(min=0)
        flatness = variance.div_(noise**2).add_(1).square_().reciprocal_()
        out.addcmul_(mean[:3], flatness)
        norm += flatness
    return out.div_(norm)


def spread(small: Tensor, picture: Tensor) -> Tensor:
    """Return paint of half the resolution, (3, h, w), on the pixels of (3, H, W), with that picture's edges.

    Of the four nearest values each pixel takes those that are near to its own luma (joint bilateral upsampling, Kopf
    et al. 2007).
    """
    height, width = picture.shape[1:]
    tone = luma(small)
    around = F.pad(torch.cat([small, tone])[None], (1, 1, 1, 1), mode="replicate")
    out = torch.empty_like(picture)
    near = torch.tensor([0.25, 0.75], device=picture.device)
    step = max(2, PIECE_PX // width // 2 * 2)
    for first in range(0, height, step):
        last = min(height, first + step)
        piece = F.interpolate(around[:, :, first // 2 : (last + 1) // 2 + 2], scale_factor=2, mode="nearest")[0]
        own = luma(picture[:, first:last])[0]
        total, norm = picture.new_zeros(3, last - first, width), torch.zeros_like(own)
        for down in (0, 1):
            for right in (0, 1):
                pixels = piece[:, 1 + 2 * down : 1 + 2 * down + last - first, 1 + 2 * right : 1 + 2 * right + width]
                rows = near.roll(down).repeat(-(-(last - first) // 2))[: last - first, None]
                columns = near.roll(right).repeat(-(-width // 2))[:width]
                weight = (pixels[3] - own).div_(EDGE).square_().add_(1).square_().reciprocal_().mul_(rows * columns)
                total.addcmul_(pixels[:3], weight)
                norm += weight
        out[:, first:last] = total.div_(norm)
    return out
