"""The looks measured on photographs, beside the photo itself: edges, flatness, lines, tone, colour, flicker, distances.

`scripts/benchmark style --photos FOLDER [--side PX]`. The stored figures are of photographs that no look was tuned on,
from Debian's `endless-sky-data` (images/land) and `lomiri-wallpapers-16.04`, drawn by the product with `detail=bold`,
look after look on each photo; `cel fast` is `quality=fast`. Each figure is the mean over the photographs. Of 255, but
for shares: `edges kept`: the share of the photo's strongest edges (a twentieth of its pixels) at which the drawing has
one within 2 px that is half as strong. `grain`: the mean change from pixel to pixel far from those edges; a flat colour
has none. `lines`: how much darker than its surroundings the drawing is at those edges. `lightness`, `darkest`,
`lightest`: the mean of luma, and its 2nd and 98th percentile. `chroma`: the mean in OKLab, in hundredths. `flicker`:
the mean difference between two drawings, of the photo and of the photo moved by one pixel, once they lie upon one
another. `cpu s`: CPU seconds a picture, `cpu ratio` to `classic` in the same run, `finish share` the finish's part of
them.

Then the mean of what is sent to `classic` and drawn with `tone=style` and `tone=photo`: flat sheets, the photographs,
and the same at a sixth of their values, as at night; `changed`: the mean difference between the two.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from animegan import looks
from animegan.finish.chain import planar
from animegan.finish.continuity import Continuity
from animegan.finish.filters import blur, luma
from animegan.finish.oklab import to_oklab
from animegan.options import FAST, Wish
from animegan.stylizer import Stylizer
from benchmarks.common.result import store, table

SIDE_PX = 640
EDGE_SHARE = 0.05  # of a photo's pixels
NEAR_PX = 2  # how far an edge may move
FAR_PX = 8  # from an edge, where a drawing should be flat
BORDER_PX = 16  # left out of the flicker
SHEETS = (255, 128, 20)
NIGHT = 0.16


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark style")
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER", help="of JPEG files")
    parser.add_argument("--side", type=int, default=SIDE_PX, metavar="PX", help=f"the longest (default {SIDE_PX})")
    options = parser.parse_args(arguments)
    files = sorted(options.photos.glob("*.jpg"))
    names = ["photo", *looks.bundled_looks(), f"cel {FAST}"]
    drawers = {name: Drawer(name) for name in names}
    figures_by_look: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    pairs = list(itertools.combinations(names, 2))
    apart: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    for file in files:
        print(f"{file.name} ...", flush=True)
        photo = fit_photo(file, options.side)
        neighbour = torch.roll(photo, (1, 1), (0, 1))
        drawings = {name: drawers[name](photo) for name in names}
        for name in names:
            figures_by_look[name].append(figures(photo, drawings[name], drawers[name](neighbour)))
        for one, other in pairs:
            apart[one, other].append(distance(drawings[one], drawings[other]))
    classic = drawers["classic"].seconds
    rows = [
        {
            "look": name,
            **mean(figures_by_look[name]),
            "cpu_s": drawers[name].seconds / (2 * len(files)),  # each photo is drawn twice
            "cpu_ratio": drawers[name].seconds / classic,
            "finish_share": drawers[name].finish_seconds / (drawers[name].seconds or 1),
        }
        for name in names
    ]
    distances = [
        {"looks": " and ".join(pair), "mean": sum(values) / len(values), "least": min(values)}
        for pair, values in apart.items()
    ]
    table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    table(tuple(distances[0]), [tuple(row.values()) for row in distances])
    tones = tone_rows([fit_photo(file, options.side) for file in files])
    table(tuple(tones[0]), [tuple(row.values()) for row in tones])
    photos = ", ".join(file.stem for file in files)
    store("style", {"side_px": options.side, "photos": photos, "looks": rows, "distances": distances, "tones": tones})


def tone_rows(photos: Sequence[Tensor]) -> list[dict[str, str | float]]:
    """Return the mean of photos and of their drawings in `classic`, with `tone=style` and `tone=photo`."""
    stylizer = Stylizer("classic", warmup_px=0)
    nights = [(photo * NIGHT).to(torch.uint8) for photo in photos]
    sources = {f"a sheet of {value}": [torch.full((256, 256, 3), value, dtype=torch.uint8)] for value in SHEETS}
    rows: list[dict[str, str | float]] = []
    for name, pictures in (sources | {"the photographs": list(photos), "at night": nights}).items():
        drawings = [
            [stylizer.run([Image.fromarray(picture.numpy())], Wish(tone=tone)).batch[0].clone() for picture in pictures]
            for tone in ("style", "photo")
        ]
        sent_mean, style, photo = (fmean(float(one.float().mean()) for one in group) for group in (pictures, *drawings))
        change = fmean(distance(*pair) for pair in zip(*drawings, strict=True))
        rows.append({"sent": name, "mean": sent_mean, "style": style, "photo": photo, "changed": change})
    return rows


def fit_photo(file: Path, side: int) -> Tensor:
    """Return the photo, uint8 (H, W, 3), its longest side at most that; sides that 4 divides."""
    with Image.open(file) as image:
        factor = min(1.0, side / max(image.size))
        width, height = (max(4, round(length * factor / 4) * 4) for length in image.size)
        scaled = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(scaled))


class Drawer:
    """A look on uint8 (H, W, 3). CPU seconds that it took are added up: `seconds` all, `finish_seconds` its finish."""

    def __init__(self, name: str) -> None:
        style, _, quality = name.partition(" ")
        self.stylizer = None if name == "photo" else Stylizer(style, warmup_px=0, fast=quality == FAST)
        self.seconds = self.finish_seconds = 0.0
        if self.stylizer:
            chain = self.stylizer._drawing.chain
            self._apply, chain.apply = chain.apply, self._finish  # type: ignore[method-assign]

    def __call__(self, photo: Tensor) -> Tensor:
        if self.stylizer is None:
            return photo
        has_detail = self.stylizer._drawing.look.detail is not None
        begin = time.process_time()
        run = self.stylizer.run([Image.fromarray(photo.numpy())], Wish("bold" if has_detail else "auto"))
        self.seconds += time.process_time() - begin
        return run.batch[0].clone()

    def _finish(self, picture: Tensor, rows: int | None = None, continuity: Continuity | None = None) -> Tensor:
        begin = time.process_time()
        result = self._apply(picture, rows, continuity)
        self.finish_seconds += time.process_time() - begin
        return result


def figures(photo: Tensor, drawing: Tensor, neighbour: Tensor) -> dict[str, float]:
    """Return the figures of one drawing; `neighbour`: the drawing of the photo moved by one pixel down and right."""
    before, after = luma(planar(photo)), luma(planar(drawing))
    strength, edges = slope(blur(before, 1.0)), slope(blur(after, 1.0))
    limit = strength.flatten().quantile(1 - EDGE_SHARE)
    edge = strength >= limit
    near = F.max_pool2d(edges[None], 2 * NEAR_PX + 1, 1, NEAR_PX)[0]
    far = F.max_pool2d(edge.float()[None], 2 * FAR_PX + 1, 1, FAR_PX)[0] == 0
    dark = (blur(after, 2.4) - blur(after, 0.9)).clamp_(min=0)
    line = F.max_pool2d(dark[None], 2 * NEAR_PX + 1, 1, NEAR_PX)[0]
    inner = slice(BORDER_PX, -BORDER_PX)
    back = torch.roll(neighbour, (-1, -1), (0, 1))
    return {
        "edges_kept": float((near[edge] >= strength[edge] / 2).float().mean()),
        "grain": float(slope(after)[far].mean() * 255) if far.any() else 0.0,
        "lines": float(line[edge].mean() * 255),
        "lightness": float(after.mean() * 255),
        "darkest": float(after.flatten().quantile(0.02) * 255),
        "lightest": float(after.flatten().quantile(0.98) * 255),
        "chroma": float(to_oklab(planar(drawing))[1:].square().sum(0).sqrt().mean() * 100),
        "flicker": distance(drawing[inner, inner], back[inner, inner]),
    }


def slope(plane: Tensor) -> Tensor:
    """Return how much (1, H, W) changes from a pixel to the next, by central differences."""
    padded = F.pad(plane[None], (1, 1, 1, 1), mode="replicate")[0]
    across, down = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    return torch.hypot(across, down) / 2


def distance(one: Tensor, other: Tensor) -> float:
    """Return the mean difference of two pictures, of 255."""
    return float((one.float() - other.float()).abs().mean())


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return each figure's mean over the photos."""
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}


if __name__ == "__main__":
    main()
