"""A photo's own light and dark, given back to a drawing whose network normalises them away.

A norm over the whole picture loses its brightness: a grey sheet and a white one are drawn alike, and a night is drawn
as a day. So the curve from the photo's lightness to the drawing's, as this picture has it, is compared with the one
that the style gives a typical photo; the drawing's lightness is shifted by the difference, within a limit. An ordinary
photo has the typical curve, and keeps the drawing as the style makes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from animegan.finish.oklab import from_oklab, to_oklab

BINS = 16  # of the photo's lightness
LEAST_SHARE = 0.005  # of the pixels, that a bin needs to count
LEAST_STEP = 0.03  # of the drawing's lightness, between two points of a curve
OWN = 0.03  # of OKLab's lightness: as far as this ordinary photographs leave the typical curve
LIMIT = 0.3  # of a shift, of OKLab's lightness: a white sheet needs 0.1, a night 0.2
TYPICAL_PX = 256
FALLOFF = 1.7  # of a typical photo's amplitudes with frequency: so its curve is that of twelve photographs within 0.02
TYPICAL_CHROMA = 0.03  # OKLab's, standard deviation


@dataclass(frozen=True)
class Point:
    """A lightness of the photo and the drawing's at the same place, OKLab's; `pixels` of the photo have it."""

    photo: float
    drawing: float
    pixels: float = 1.0


Curve = tuple[Point, ...]
Corrections = tuple[tuple[float, float], ...]


def measure_curve(photo: Tensor, drawing: Tensor) -> Curve:
    """Return the curve from a photo's lightness to its drawing's, both rising; (3, H, W) each, sRGB in 0..1.

    It has a point for each bin of lightness that the photo has, as isotonic regression fits them (pool adjacent
    violators, Ayer et al. 1955), and at least one.
    """
    before, after = (to_oklab(planes)[0].flatten().double() for planes in (photo, drawing))
    bins = (before * BINS).long().clamp_(0, BINS - 1)
    sums = [
        torch.bincount(bins.cpu(), values.cpu(), BINS).tolist() for values in (torch.ones_like(before), before, after)
    ]
    pooled: list[Point] = []
    for pixels, light, drawing_light in zip(*sums, strict=True):
        if pixels < LEAST_SHARE * len(before):
            continue
        pooled.append(Point(light / pixels, drawing_light / pixels, pixels))
        while len(pooled) > 1 and pooled[-1].drawing - pooled[-2].drawing < LEAST_STEP:
            pooled[-2:] = [_pool(*pooled[-2:])]
    return tuple(pooled)


def _pool(a: Point, b: Point) -> Point:
    pixels = a.pixels + b.pixels
    return Point(
        (a.photo * a.pixels + b.photo * b.pixels) / pixels,
        (a.drawing * a.pixels + b.drawing * b.pixels) / pixels,
        pixels,
    )


def corrections(curve: Curve, typical: Curve) -> Corrections:
    """Return lightnesses of a drawing with that curve, each with its corrected one; none for an ordinary photo."""
    targets = _read([(point.photo, point.drawing) for point in typical], torch.tensor([point.photo for point in curve]))
    shifts = (targets - torch.tensor([point.drawing for point in curve])).tolist()
    beyond = [math.copysign(min(max(abs(shift) - OWN, 0.0), LIMIT), shift) for shift in shifts]
    if not any(beyond):
        return ()
    return tuple((point.drawing, point.drawing + shift) for point, shift in zip(curve, beyond, strict=True))


def shift_at(changes: Corrections, lightness: float) -> float:
    """Return by how much a drawing's lightness is to change; 0 where there is nothing to correct."""
    return float(_read(changes, torch.tensor(lightness))) - lightness if changes else 0.0


def retone(picture: Tensor, changes: Corrections) -> Tensor:
    """Return the drawing's colours corrected, (3, H, W), sRGB in 0..1.

    Where a colour gets darker its chroma shrinks alike, as in less light.
    """
    lightness, *color = to_oklab(picture)
    tone = _read(changes, lightness).clamp_(0, 1)
    less = (tone / lightness.clamp(min=1e-6)).clamp_(max=1)
    return from_oklab(torch.stack([tone, *(plane * less for plane in color)]))


def _read(points: Sequence[tuple[float, float]], at: Tensor) -> Tensor:
    """Read a curve of straight pieces; beyond its ends it goes on at 45°."""
    (first, low), (last, high) = points[0], points[-1]
    out = torch.where(at < first, at - first + low, at - last + high)
    for (x0, y0), (x1, y1) in pairwise(points):
        out = torch.where((at >= x0) & (at < x1), y0 + (at - x0) * ((y1 - y0) / (x1 - x0)), out)
    return out


def typical_photo() -> Tensor:
    """Return a picture with the tones and textures of a photograph and no content, uint8 (256, 256, 3).

    Noise whose amplitudes fall with frequency, as in natural scenes (Field 1987); its lightness is spread evenly.
    """
    generator = torch.Generator().manual_seed(0)
    side = TYPICAL_PX
    frequency = torch.fft.fftfreq(side)
    radius = (frequency[:, None].square() + frequency.square()).sqrt().clamp_(min=1 / side)
    lightness, a, b = (
        torch.fft.ifft2(torch.fft.fft2(torch.randn(side, side, generator=generator)) / radius**FALLOFF).real
        for _ in range(3)
    )
    ranks = torch.empty(side * side)
    ranks[lightness.flatten().argsort()] = torch.linspace(0, 1, side * side)
    shade = ranks.view(side, side)
    vivid = TYPICAL_CHROMA * 4 * shade * (1 - shade)  # neither black nor white has a colour
    lab = torch.stack([shade, a / a.std() * vivid, b / b.std() * vivid])
    return from_oklab(lab).mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
