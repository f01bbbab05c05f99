"""Fits a grade to pictures: their tone and chroma, in OKLab, become a recipe's numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from animegan.finish.chain import shrink
from animegan.finish.oklab import to_oklab

KNOTS = 9  # of the tone curve
LIMIT = 0.14  # how far a knot may leave the straight line: a recipe has to draw other pictures too
TYPICAL = (0.04, 0.16, 0.31, 0.45, 0.57, 0.68, 0.78, 0.88, 0.97)  # OKLab's lightness in photographs at these quantiles
QUANTILES = (0.005, 0.06, 0.18, 0.34, 0.5, 0.66, 0.8, 0.92, 0.99)
COLORFUL = 0.8  # quantile of the chroma at which pictures are compared: grey walls don't count
TYPICAL_CHROMA = 0.058  # OKLab's chroma in photographs at that quantile
TINT = 0.6  # share of the shadows' and lights' colour that is their tint; the rest is of what they show

HEAD = """# A look fitted to {count} pictures: their tone and chroma. Every number may be changed.
network = "redraw"
weights = "redraw.safetensors"

[detail]
shrink = 0.25

[[finish]]
step = "lines"

[[finish]]
step = "grade"
tone = [{tone}]
chroma = {chroma:.3f}
chroma_limit = 0.4
night = 0.2
day = 0.4
shadow_tint = [{shadow}]
light_tint = [{light}]
"""


def fit(pictures: Sequence[Tensor]) -> str:
    """Return a recipe, as TOML, whose grade gives a typical photo the tones and chroma of these pictures.

    `pictures`: at least one, each (H, W, 3), RGB, uint8 or floating point in 0..1. Each counts alike whatever its
    size, by medians over the pictures, so that one odd picture among ten changes little. Raises `ValueError` for none.
    """
    if not pictures:
        raise ValueError("A grade is fitted to at least one picture.")
    rows = torch.stack([_statistics(picture) for picture in pictures])
    middle = rows.median(0).values.tolist()
    tones, (chroma, *tints) = middle[:KNOTS], middle[KNOTS:]
    return HEAD.format(
        count=len(pictures),
        tone=", ".join(f"{value:.3f}" for value in _knots(tones)),
        chroma=min(2.0, max(0.2, chroma / TYPICAL_CHROMA)),
        shadow=_pair(tints[:2]),
        light=_pair(tints[2:]),
    )


def _statistics(picture: Tensor) -> Tensor:
    """Return a picture's lightness at the quantiles, chroma of what is colourful, (a, b) of shadows and of lights."""
    lab = to_oklab(shrink(picture)).flatten(1)
    lightness = lab[0]
    chroma = lab[1:].square().sum(0).sqrt().quantile(COLORFUL)
    tones = lightness.quantile(torch.tensor(QUANTILES, device=lightness.device))
    dark, light = lightness.quantile(0.3), lightness.quantile(0.7)
    tints = [lab[1:, part].median(1).values * TINT for part in (lightness <= dark, lightness >= light)]
    return torch.cat([tones, chroma[None], *tints])


def _knots(tones: Sequence[float]) -> list[float]:
    """Return the tone curve at evenly spaced lightnesses: it takes a typical photo's quantiles to these tones."""
    knots = [0.0]
    for i in range(1, KNOTS - 1):
        x = i / (KNOTS - 1)
        place = max(k for k, typical in enumerate(TYPICAL) if typical <= x or k == 0)
        place = min(place, len(TYPICAL) - 2)
        part = (x - TYPICAL[place]) / (TYPICAL[place + 1] - TYPICAL[place])
        y = tones[place] + part * (tones[place + 1] - tones[place])
        knots.append(max(knots[-1], min(x + LIMIT, max(x - LIMIT, y)), 0.0))
    return [*(min(1.0, knot) for knot in knots), 1.0]


def _pair(tint: Sequence[float]) -> str:
    return ", ".join(f"{min(0.06, max(-0.06, value)):.4f}" for value in tint)
