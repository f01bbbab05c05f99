"""Flicker of drawn clips: each frame drawn alone, with the measures of its scene, and steadied as well.

`scripts/benchmark flicker`. A still scene with noise (standard deviation 4 of 255) and a slow pan (half a pixel a
frame) over `docs/photos`. The figure is the mean difference from frame to frame, the drawing's over the photo's;
brightness is the standard deviation of a frame's mean over the clip, of 255. The cut goes from one photo to another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animegan.clips.clip import Frame
from animegan.clips.drawing import ClipDrawing
from animegan.options import Wish
from animegan.styles import get_style
from animegan.stylizer import Stylizer
from benchmarks.common.result import store, table

PHOTOS = Path(__file__).resolve().parent.parent / "docs" / "photos"
STYLES = ("cel", "ink", "gouache", "classic")
SIZE, FRAMES, NOISE, STEP_PX = (240, 160), 7, 4.0, 0.5
Pixels = NDArray[np.float32]


def main() -> None:
    still, pan, cut = (
        [*noisy("palace.jpg")],
        [*slow_pan("palace.jpg")],
        [*noisy("palace.jpg", 2), *noisy("astronaut.jpg", 2)],
    )
    rows: list[tuple[Any, ...]] = []
    figures: dict[str, Any] = {}
    for style in STYLES:
        stylizer = Stylizer(style, device="cpu", warmup_px=0, fast=get_style(style).fast is not None)
        figures[style] = {}
        for name, frames in (("still", still), ("pan", pan)):
            by_way = {"alone": alone(stylizer, frames), "carried": clip(stylizer, frames, steady=False)}
            by_way["steadied"] = clip(stylizer, frames, steady=True)
            figures[style][name] = {way: flicker(frames, drawings) for way, drawings in by_way.items()}
            rows += [(style, name, way, *row.values(), None) for way, row in figures[style][name].items()]
        ghost = after_cut(clip(stylizer, cut, steady=True), clip(stylizer, cut, steady=False))
        figures[style]["cut"] = {"largest_difference": ghost}
        rows.append((style, "cut", "steadied", None, None, ghost))
    table(("style", "clip", "drawn", "difference, of the photo's", "brightness, of 255", "ghost, of 255"), rows)
    store("flicker", {"size": list(SIZE), "frames": FRAMES, "noise": NOISE, "pan_px": STEP_PX, "styles": figures})


def noisy(photo: str, count: int = FRAMES) -> Iterator[Image.Image]:
    """Yield a still scene, each frame with noise of its own."""
    random = np.random.default_rng(20261127)
    plain = np.asarray(Image.open(PHOTOS / photo).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS), np.float32)
    for _ in range(count):
        yield Image.fromarray(np.clip(plain + random.normal(0, NOISE, plain.shape), 0, 255).round().astype(np.uint8))


def slow_pan(photo: str) -> Iterator[Image.Image]:
    """Yield a slow pan to the right."""
    width, height = SIZE
    large = Image.open(PHOTOS / photo).convert("RGB").resize((width + 16, height), Image.Resampling.LANCZOS)
    for number in range(FRAMES):
        place = (1, 0, number * STEP_PX, 0, 1, 0)
        yield large.transform(SIZE, Image.Transform.AFFINE, place, Image.Resampling.BICUBIC)


def alone(stylizer: Stylizer, frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Draw each frame as a picture of its own."""
    return [stylizer.draw([frame])[0] for frame in frames]


def clip(stylizer: Stylizer, frames: Sequence[Image.Image], *, steady: bool) -> list[Image.Image]:
    """Draw the frames as a clip."""
    drawing = ClipDrawing(stylizer, Wish(mode="scene"), len(frames), steady=steady)
    return [frame.rgb for frame in drawing.draw(Frame(rgb, None, 40) for rgb in frames)]


def flicker(frames: Sequence[Image.Image], drawings: Sequence[Image.Image]) -> dict[str, float]:
    """Return the mean difference from frame to frame, over the photos', and how much the brightness varies."""
    # The running mean of a scene's first frames has few of them.
    photos, pictures = ([np.asarray(frame, np.float32) for frame in some[2:]] for some in (frames, drawings))
    brightness = float(np.std([picture.mean() for picture in pictures]))
    return {"difference": _movement(pictures) / _movement(photos), "brightness": brightness}


def after_cut(steadied: Sequence[Image.Image], plain: Sequence[Image.Image]) -> int:
    """Return the largest difference that steadying makes in the first frame after the cut."""
    one, other = (np.asarray(frames[len(frames) // 2], np.int16) for frames in (steadied, plain))
    return int(np.abs(one - other).max())


def _movement(pictures: Sequence[Pixels]) -> float:
    return float(np.mean([np.abs(one - other).mean() for one, other in pairwise(pictures)]))


if __name__ == "__main__":
    main()
