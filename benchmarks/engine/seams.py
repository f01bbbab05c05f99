"""Seams of tiles and of bands: one photo drawn whole, in tiles that are normalised each alone, and in bands.

`scripts/benchmark seams [--width PX] [--height PX] [--tile PX]`. Overlapping tiles are drawn by the network's
definition in stock PyTorch, then cut in the middle of the overlap or blended across it, as is common. Writes
`docs/pictures/seams.jpg`: the pictures, and below each its difference from the whole one, enlarged, where grey is
none. PSNR's peak is the full range, -1 to 1. `jump` is how much the difference changes from one row or column to the
next, on average and in 8-bit steps: across the edges of the tiles or bands, and elsewhere. All in fp32, on the CPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from animegan.networks.animegan2.layout import Shape, layout
from animegan.networks.animegan2.plan import banded
from animegan.picture import images
from benchmarks.common.contenders import Ours, Stock, generator, photo
from benchmarks.common.reference import psnr
from benchmarks.common.result import store, table

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "pictures" / "seams.jpg"
PHOTO, SIZE = "palace", (848, 566)
TILE_PX = 256
OVERLAP_SHARE = 8  # of a tile's side, on each side
BAND_SHARE = 12  # of the widest map, in bytes
TIMES = 3  # that differences are enlarged
CELL_PX, GAP_PX, CAPTION_PX = 400, 8, 32
QUALITY = 85


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark seams")
    parser.add_argument("--width", type=int, default=SIZE[0], metavar="PX", help=f"of the photo (default {SIZE[0]})")
    parser.add_argument("--height", type=int, default=SIZE[1], metavar="PX", help=f"default {SIZE[1]}")
    parser.add_argument("--tile", type=int, default=TILE_PX, metavar="PX", help=f"a tile's side (default {TILE_PX})")
    options = parser.parse_args(arguments)
    size, tile = (options.height, options.width), options.tile
    picture, cpu = photo(options.width, options.height, PHOTO), torch.device("cpu")
    stock = Stock(generator(), cpu)
    print("Drawing whole, in tiles, in bands ...", flush=True)
    whole = stock.values(picture)
    parts = [(place, stock.values(picture[:, place[0], place[1]])) for place in tiles(size, tile)]
    edges = [middles(side, tile) for side in size]
    shape = Shape(*size, 1, 4)
    plan = banded(shape, "bands", 64 * 4 * size[0] * size[1] // BAND_SHARE, cuda=False)
    rows = layout(shape, plan.mode, plan.band_bytes, cuda=False).places[-2].rows[-1]
    drawings = {
        "Tiles, cut": (join_tiles(parts, size, tile, blend=False), edges),
        "Tiles, blended": (join_tiles(parts, size, tile, blend=True), edges),
        "Bands": (Ours(cpu, "bands", "fp32").values_by(plan, picture), [list(range(rows, size[0], rows)), []]),
    }
    cases = [figures(name, values - whole, at, psnr(values, whole)) for name, (values, at) in drawings.items()]
    PICTURE.write_bytes(sheet(picture, whole, {name: values for name, (values, _) in drawings.items()}))
    table(tuple(cases[0]), [tuple(row.values()) for row in cases])
    store("seams", {"width_px": size[1], "height_px": size[0], "tile_px": tile, "band_rows": rows, "rows": cases})


def starts(side: int, tile: int) -> list[int]:
    """Return the first pixel of each tile along a side; the last tile ends with the side."""
    step = tile - tile // OVERLAP_SHARE
    return [*range(0, max(side - tile, 0), step), max(side - tile, 0)]


def tiles(size: tuple[int, int], tile: int) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of each tile."""
    for top in starts(size[0], tile):
        for left in starts(size[1], tile):
            yield slice(top, min(top + tile, size[0])), slice(left, min(left + tile, size[1]))


def middles(side: int, tile: int) -> list[int]:
    """Return the middles of the overlaps, where one tile's part ends and the next one's begins."""
    firsts = starts(side, tile)
    return [(after + before + tile) // 2 for before, after in pairwise(firsts)]


def join_tiles(
    parts: Sequence[tuple[tuple[slice, slice], Tensor]], size: tuple[int, int], tile: int, *, blend: bool
) -> Tensor:
    """Return the tiles as one picture: each pixel from the tile whose middle is nearest, or blended in the overlap."""
    total, weights = torch.zeros(1, 3, *size), torch.zeros(1, 1, *size)
    for (rows, columns), values in parts:
        weight = _hill(values.shape[2])[:, None] * _hill(values.shape[3])
        if blend:
            ramp = tile // OVERLAP_SHARE
            weight = _hill(values.shape[2]).clamp(max=ramp)[:, None] * _hill(values.shape[3]).clamp(max=ramp)
            total[:, :, rows, columns] += weight * values
            weights[:, :, rows, columns] += weight
        else:
            nearer = weight > weights[:, :, rows, columns]
            total[:, :, rows, columns] = torch.where(nearer, values, total[:, :, rows, columns])
            weights[:, :, rows, columns] = torch.maximum(weight, weights[:, :, rows, columns])
    return total / weights if blend else total


def _hill(side: int) -> Tensor:
    """Return the distance of each pixel from the nearer end, 1 at the ends."""
    along = torch.arange(1, side + 1)
    return torch.minimum(along, along.flip(0)).float()


def figures(name: str, difference: Tensor, edges: Sequence[Sequence[int]], decibels: float) -> dict[str, Any]:
    """Return the figures of one drawing: its difference, and its jumps across `edges` (indices of rows, of columns)."""
    steps = difference * 127.5
    across, elsewhere = [], []
    for axis, at in zip((2, 3), edges, strict=True):
        jumps = steps.diff(dim=axis).abs().mean(dim=[other for other in range(4) if other != axis])
        on_edge = torch.zeros(len(jumps), dtype=torch.bool)
        on_edge[[index - 1 for index in at]] = True
        across.append(jumps[on_edge])
        elsewhere.append(jumps[~on_edge])
    return {
        "drawn": name.lower(),
        "psnr_db": decibels,
        "largest_difference_steps": steps.abs().max().item(),
        "mean_difference_steps": steps.abs().mean().item(),
        "jump_at_edges_steps": torch.cat(across).mean().item(),
        "jump_elsewhere_steps": torch.cat(elsewhere).mean().item(),
    }


def sheet(picture: Tensor, whole: Tensor, drawings: dict[str, Tensor]) -> bytes:
    """Return the figure as a JPEG: pictures in a row, below each its difference from the whole one; grey is none."""
    above = {"Whole": _image(whole), **{name: _image(values) for name, values in drawings.items()}}
    below = {"Photo": Image.fromarray(picture[0].numpy())}
    for name, values in drawings.items():
        below[f"{name}: difference, {TIMES} times"] = _image((values - whole) * TIMES)
    height = round(CELL_PX * picture.shape[1] / picture.shape[2])
    row = CAPTION_PX + height
    figure = Image.new("RGB", (len(above) * (CELL_PX + GAP_PX) - GAP_PX, 2 * row), "white")
    pen, font = ImageDraw.Draw(figure), ImageFont.load_default(CAPTION_PX // 2)
    for top, cells in ((0, above), (row, below)):
        for index, (caption, image) in enumerate(cells.items()):
            left = index * (CELL_PX + GAP_PX)
            pen.text((left + CELL_PX / 2, top + CAPTION_PX / 2), caption, "black", font, anchor="mm")
            scaled = image.resize((CELL_PX, height), Image.Resampling.LANCZOS)
            figure.paste(scaled, (left, top + CAPTION_PX))
    return images.encode(figure, None, format="jpeg", quality=QUALITY).data


def _image(values: Tensor) -> Image.Image:
    pixels = values[0].permute(1, 2, 0).add(1).mul(127.5).round().clamp(0, 255)
    return Image.fromarray(pixels.numpy().astype(np.uint8))


if __name__ == "__main__":
    main()
