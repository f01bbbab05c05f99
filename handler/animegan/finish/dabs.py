"""Dabs of paint: the anisotropic Kuwahara filter (Kyprianidis, Kang and Döllner 2009)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from animegan.finish.filters import Places, double, halve, luma
from animegan.finish.flow import tangent, tensor, tensor_halo
from animegan.finish.frame import Frame
from animegan.looks import DabsStep

SECTORS = 8
RINGS = ((0.35, 4), (0.7, 8), (1.0, 12))  # of the ellipse: its radius, and how many samples lie on it
FLOW_SIGMA = 2.0
HARDNESS = 8  # the exponent by which a sector with less variance wins


class Dabs:
    """The step `dabs` of a recipe.

    Around each pixel lies an ellipse, long along the edge; of its eight sectors the flattest ones give the colour. It
    runs at half the picture's resolution: a dab is larger than a pixel.
    """

    planes = 22

    def __init__(self, numbers: DabsStep) -> None:
        self.numbers = numbers

    def radius(self, scale: float) -> float:
        """Return the radius in px of half the picture's resolution."""
        return max(1.0, self.numbers.radius_px * scale / 2)

    def halo(self, scale: float) -> int:
        """Return the rows read to each side."""
        reach = math.ceil(self.radius(scale) * 2) + 1
        return 2 * (self.numbers.passes * (tensor_halo(FLOW_SIGMA) + reach) + 1)

    def measure(self, small: Tensor) -> tuple[float, ...]:  # noqa: ARG002
        """Return nothing: dabs need no measure of the whole."""
        return ()

    def apply(self, picture: Tensor, frame: Frame) -> Tensor:
        """Return the picture in dabs, (3, H, W)."""
        height, width = picture.shape[1:]
        small = halve(picture)
        for _ in range(self.numbers.passes):
            small = paint(small, self.radius(frame.scale), self.numbers.noise)
        return double(small, height, width)


def paint(picture: Tensor, radius: float, noise: float) -> Tensor:
    """Return one pass over (3, H, W). `radius` in px; `noise`: the standard deviation, of 1, that counts as flat."""
    height, width = picture.shape[1:]
    places = Places(height, width, picture.device)
    x, y, coherence = tangent(tensor(luma(picture), FLOW_SIGMA))
    long, short = radius * (1 + coherence), radius / (1 + coherence)
    long_x, long_y, short_x, short_y = x * long, y * long, -y * short, x * short
    known = torch.cat([picture, luma(picture).square_()])
    sums = torch.zeros(SECTORS, 4, height, width, device=picture.device)
    total = [0.0] * SECTORS
    for u, v, shares in samples():
        seen = places.read(known, long_x * u + short_x * v, long_y * u + short_y * v) if u or v else known
        for sector, share in shares:
            sums[sector].add_(seen, alpha=share)
            total[sector] += share
    out = torch.zeros_like(picture)
    norm = torch.zeros(height, width, device=picture.device)
    for sector in range(SECTORS):
        mean = sums[sector].div_(total[sector])
        spread = (mean[3] - luma(mean[:3])[0].square_()).clamp_(min=0)
        weight = (spread / noise**2 + 1).pow_(-HARDNESS / 4)
        out.addcmul_(mean[:3], weight)
        norm += weight
    return out.div_(norm)


def samples() -> list[tuple[float, float, list[tuple[int, float]]]]:
    """Return the samples of the unit disk: (u, v), and for each sector it belongs to that sector and its weight."""
    out: list[tuple[float, float, list[tuple[int, float]]]] = [(0.0, 0.0, [(k, 1.0) for k in range(SECTORS)])]
    for ring, count in RINGS:
        for i in range(count):
            angle = 2 * math.pi * i / count
            weight = math.exp(-2 * ring**2)
            turns = [(k, math.cos(angle - 2 * math.pi * k / SECTORS)) for k in range(SECTORS)]
            shares = [(k, weight * cosine**3) for k, cosine in turns if cosine > 0.1]
            out.append((ring * math.cos(angle), ring * math.sin(angle), shares))
    return out
