"""The grade: tone, chroma, hues and tint of a picture in OKLab."""

from __future__ import annotations

import functools
import itertools
import math

import torch
from torch import Tensor

from animegan.finish.filters import pointwise, smoothstep
from animegan.finish.frame import Frame
from animegan.finish.oklab import from_oklab, to_oklab
from animegan.finish.table import Table
from animegan.looks import Bend, GradeStep

GREY = 0.02  # chroma below which a colour has less and less of a hue
TABLE = 1024  # entries of the tone curve's table


class Grade:
    """The step `grade` of a recipe; reads no other rows."""

    planes = 7

    def __init__(self, numbers: GradeStep) -> None:
        self.numbers = numbers

    def halo(self, scale: float) -> int:  # noqa: ARG002
        """Return 0: a pixel's colour depends on that pixel alone."""
        return 0

    def measure(self, small: Tensor) -> tuple[float, ...]:
        """Return how much of the tone curve a picture takes, 0 to 1, by its median lightness: nights stay dark."""
        dark, light = self.numbers.night, self.numbers.day
        median = to_oklab(small)[0].median()
        return (float(smoothstep((median - dark) / (light - dark))),)

    def apply(self, picture: Tensor, frame: Frame) -> Tensor:
        """Return the graded picture, (3, H, W)."""
        table = graded_colors(self.numbers, frame.measures[0], picture.device)
        return pointwise(lambda piece, _: table.read(piece), picture)


@functools.lru_cache(maxsize=4)
def graded_colors(numbers: GradeStep, weight: float, device: torch.device) -> Table:
    """Return `apply_grade` as a table, which the bands of a picture share."""
    return Table(lambda colors: apply_grade(numbers, colors, weight), device)


def apply_grade(numbers: GradeStep, picture: Tensor, weight: float) -> Tensor:
    """Return the graded colours, (3, H, W); `weight`: how much of the tone curve, 0 to 1."""
    lightness, a, b = to_oklab(picture)
    shade = lightness.clamp(0, 1)
    tone = torch.lerp(shade, _curve(numbers.tone, shade), weight)
    chroma = (a.square() + b.square()).clamp_(min=1e-9).sqrt_()
    factor = torch.full_like(chroma, numbers.chroma)
    turn = torch.zeros_like(chroma)
    coloured = (chroma / GREY).clamp_(0, 1)
    for bend in numbers.bend:
        near = _near(bend, a, b, chroma).mul_(coloured)
        factor.add_(near, alpha=bend.chroma)
        turn.add_(near, alpha=math.radians(bend.turn_deg))
        tone.add_(near * shade, alpha=bend.light)
    factor /= 1 + numbers.chroma_limit * chroma
    cos, sin = turn.cos(), turn.sin()
    a, b = (a * cos - b * sin) * factor, (a * sin + b * cos) * factor
    tone.clamp_(0, 1)
    # Black takes no tint, as light that is not there has no colour; nor does white.
    shadows = (1 - tone).square_() * (tone * 5).clamp_(0, 1)
    lights = tone * (1 - tone) * tone * 4
    for plane, dark, light in ((a, *_pair(numbers, 0)), (b, *_pair(numbers, 1))):
        plane.add_(shadows, alpha=dark).add_(lights, alpha=light)
    return from_oklab(torch.stack([tone, a, b]))


def _pair(numbers: GradeStep, axis: int) -> tuple[float, float]:
    return numbers.shadow_tint[axis], numbers.light_tint[axis]


def _near(bend: Bend, a: Tensor, b: Tensor, chroma: Tensor) -> Tensor:
    """Return how near the hue is to the bend's centre, 1 there: von Mises' bell, a Gaussian on the circle."""
    angle, width = math.radians(bend.hue_deg), math.radians(bend.width_deg)
    cosine = (a * math.cos(angle)).add_(b, alpha=math.sin(angle)).div_(chroma)
    return cosine.sub_(1).div_(width**2).exp_()


def _curve(knots: tuple[float, ...], shade: Tensor) -> Tensor:
    """Return the tone curve at each lightness, read from a table."""
    table = torch.tensor([curve(knots, i / (TABLE - 1)) for i in range(TABLE)] + [knots[-1]], device=shade.device)
    place = shade * (TABLE - 1)
    index = place.to(torch.int32).flatten()
    low = table.index_select(0, index)
    high = table.index_select(0, index + 1)
    return torch.lerp(low, high, place.flatten().sub_(index)).view_as(shade)


def curve(knots: tuple[float, ...], x: float) -> float:
    """Return the monotone cubic through evenly spaced knots at `x` in 0..1 (Fritsch and Carlson 1980)."""
    last = len(knots) - 1
    slopes = [(b - a) * last for a, b in itertools.pairwise(knots)]
    inner = [2 * a * b / (a + b) if a * b > 0 else 0.0 for a, b in itertools.pairwise(slopes)]
    ends = [slopes[0], *inner, slopes[-1]]
    i = min(int(x * last), last - 1)
    t, h = x * last - i, 1 / last
    return (
        (1 + 2 * t) * (1 - t) ** 2 * knots[i]
        + t * (1 - t) ** 2 * h * ends[i]
        + t * t * (3 - 2 * t) * knots[i + 1]
        + t * t * (t - 1) * h * ends[i + 1]
    )
