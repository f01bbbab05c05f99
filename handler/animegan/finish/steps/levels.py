"""Levels: a picture without colour in a few soft tones, the middle ones as a screentone where the recipe says so."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from animegan.finish.filters import pointwise, smoothstep
from animegan.finish.frame import Frame
from animegan.finish.oklab import to_oklab
from animegan.finish.table import Table
from animegan.looks import LevelsStep

LOW, HIGH = 0.02, 0.97  # quantiles that the tones are stretched between


class Levels:
    """The step `levels` of a recipe."""

    planes = 7

    def __init__(self, numbers: LevelsStep) -> None:
        self.numbers = numbers

    def halo(self, scale: float) -> int:  # noqa: ARG002
        """Return 0: a pixel's tone depends on that pixel, its place and the picture's measure alone."""
        return 0

    def measure(self, small: Tensor) -> tuple[float, ...]:
        """Return the tones that become 0 and 1, and the stretched tone below which is black."""
        numbers = self.numbers
        tone = tones(numbers, small.device).read(small).flatten()
        low, high = (float(tone.quantile(q)) for q in (LOW, HIGH))
        low, high = min(low, numbers.darkest), max(high, numbers.lightest)
        levels = (tone - low) / (high - low)
        share = float(levels.quantile(numbers.most_black))
        return low, high, min(numbers.edges[0], max(share, numbers.edges[0] * numbers.least_black))

    def apply(self, picture: Tensor, frame: Frame) -> Tensor:
        """Return the picture in tones, its three channels alike, (3, H, W)."""
        return pointwise(lambda piece, first: self._level(piece, frame, frame.top + first), picture)

    def _level(self, picture: Tensor, frame: Frame, top: int) -> Tensor:
        numbers = self.numbers
        low, high, black = frame.measures
        tone = (tones(numbers, picture.device).read(picture)[0] - low).div_(high - low)
        out = torch.full_like(tone, numbers.tones[0])
        for edge, below, above in zip((black, *numbers.edges[1:]), numbers.tones, numbers.tones[1:], strict=False):
            out.add_(smoothstep((tone - edge) / numbers.softness + 0.5), alpha=above - below)
        if numbers.screen:
            out = self._screen(out, frame.scale, top)
        return out.expand(3, -1, -1)

    def _screen(self, tone: Tensor, scale: float, top: int) -> Tensor:
        """Return dots in rows at 45°, larger where the tone is darker; their places depend on the page alone."""
        numbers = self.numbers
        height, width = tone.shape
        pitch = max(3.0, numbers.pitch_px * math.sqrt(scale))
        y = (torch.arange(height, device=tone.device) + top).to(torch.float32)[:, None]
        x = torch.arange(width, device=tone.device).to(torch.float32)
        step = math.pi * math.sqrt(2) / pitch
        ripple = ((x + y) * step).cos_().add_(((x - y) * step).cos_()).mul_(0.25).add_(0.5)
        dots = smoothstep((tone - ripple) * (pitch / 3) + 0.5)
        middle = (tone * (1 - tone) * 12).clamp_(0, 1)
        return torch.lerp(tone, dots, middle * numbers.screen)


@functools.lru_cache(maxsize=4)
def tones(numbers: LevelsStep, device: torch.device) -> Table:
    """Return the table of `tone`."""
    return Table(lambda colors: tone(numbers, colors)[None], device)


def tone(numbers: LevelsStep, picture: Tensor) -> Tensor:
    """Return (H, W): OKLab's lightness, higher for blue, so that skies stay light, and for skin."""
    lightness, a, b = to_oklab(picture)
    blue = (-b).clamp_(min=0)
    chroma = (a.square() + b.square()).clamp_(min=1e-9).sqrt_()
    angle, width = math.radians(numbers.skin_deg), math.radians(numbers.skin_width_deg)
    skin = ((a * math.cos(angle) + b * math.sin(angle)) / chroma - 1).div_(width**2).exp_()
    skin *= (chroma / 0.04).clamp_(0, 1) * smoothstep((lightness - 0.3) / 0.25)
    light: Tensor = (lightness + numbers.blue * blue * smoothstep((lightness - 0.25) / 0.25)).add_(
        skin, alpha=numbers.skin
    )
    return light
