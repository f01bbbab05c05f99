"""What the looks do to photographs, beside the photo itself: edges, flatness, lines, tone, colour, flicker, distances.

`scripts/benchmark style --photos FOLDER [--side PX]`. The stored figures are of photographs that no look was tuned on,
from Debian's `endless-sky-data` (images/land) and `lomiri-wallpapers-16.04`. The networks are stock PyTorch, the finish
is the product's; `detail=bold`. Each figure is the mean over the photographs. Of 255, but for shares: `edges kept`: the
share of the photo's strongest edges (a twentieth of its pixels) at which the drawing has one within 2 px that is half
as strong. `grain`: the mean change from pixel to pixel far from those edges; a flat colour has none. `lines`: how much
darker than its surroundings the drawing is at those edges. `lightness`, `darkest`, `lightest`: the mean of luma, and
its 2nd and 98th percentile. `chroma`: the mean in OKLab, in hundredths. `flicker`: the mean difference between two
drawings, of the photo and of the photo moved by one pixel, once they lie upon one another. `finish share`: of the CPU
time of network and finish.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from animegan import looks
from animegan.finish.chain import Chain, planar
from animegan.finish.filters import blur, luma
from animegan.finish.oklab import to_oklab
from benchmarks import reference
from benchmarks.result import store, table

WEIGHTS = Path(__file__).resolve().parents[1] / "model_store"
SIDE_PX = 640
EDGE_SHARE = 0.05  # of a photo's pixels
NEAR_PX = 2  # how far an edge may move
FAR_PX = 8  # from an edge, where a drawing should be flat
BORDER_PX = 16  # left out of the flicker

Draw = Callable[[Tensor], Tensor]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark style")
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER", help="of JPEG files")
    parser.add_argument("--side", type=int, default=SIDE_PX, metavar="PX", help=f"the longest (default {SIDE_PX})")
    options = parser.parse_args(arguments)
    files = sorted(options.photos.glob("*.jpg"))
    names = ["photo", *looks.bundled_looks()]
    seconds = {name: [0.0, 0.0] for name in names}
    drawers = {name: drawer(name, seconds[name]) for name in names}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    pairs = list(itertools.combinations(names, 2))
    apart: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    for file in files:
        print(f"{file.name} ...", flush=True)
        photo = fitted(file, options.side)
        moved = torch.roll(photo, (1, 1), (0, 1))
        drawn = {name: drawers[name](photo) for name in names}
        for name in names:
            found[name].append(figures(photo, drawn[name], drawers[name](moved)))
        for one, other in pairs:
            apart[one, other].append(distance(drawn[one], drawn[other]))
    rows = [{"look": name, **mean(found[name]), "finish_share": share(*seconds[name])} for name in names]
    distances = [
        {"looks": " and ".join(pair), "mean": sum(values) / len(values), "least": min(values)}
        for pair, values in apart.items()
    ]
    table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    table(tuple(distances[0]), [tuple(row.values()) for row in distances])
    photos = ", ".join(file.stem for file in files)
    store("style", {"side_px": options.side, "photos": photos, "looks": rows, "distances": distances})


def fitted(file: Path, side: int) -> Tensor:
    """The photo, uint8 (H, W, 3), its longest side at most that; sides that 4 divides."""
    with Image.open(file) as image:
        factor = min(1.0, side / max(image.size))
        width, height = (max(4, round(length * factor / 4) * 4) for length in image.size)
        scaled = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(scaled))


def drawer(name: str, seconds: list[float]) -> Draw:
    """A look on uint8 (H, W, 3); what the network and the finish took of the CPU is added to `seconds`."""
    if name == "photo":
        return lambda photo: photo
    look = looks.read(looks.bundled_looks()[name])
    weights, chain = load_file(WEIGHTS / look.weights), Chain(look.finish)
    network = {"redraw": redraw, "animegan2": animegan2}[look.network]
    shrink = look.detail.shrink if look.detail else 1.0

    def draw(photo: Tensor) -> Tensor:
        begin = time.process_time()
        drawing = network(weights, photo, shrink)
        middle = time.process_time()
        finished = chain.apply(drawing)
        seconds[0] += middle - begin
        seconds[1] += time.process_time() - middle
        return finished

    return draw


def redraw(weights: dict[str, Tensor], photo: Tensor, shrink: float) -> Tensor:
    """(H, W, 3) in 0..1, of the photo shrunk by that factor, drawn at four times that, and scaled to its size."""
    height, width = photo.shape[:2]
    size = round(height * shrink), round(width * shrink)
    planes = planar(photo)[None]
    small = F.interpolate(planes, size, mode="bicubic", antialias=True).clamp_(0, 1)
    margin = F.pad(small, (8,) * 4, mode="reflect").contiguous(memory_format=torch.channels_last)
    drawn = reference.redraw({key: tensor.float() for key, tensor in weights.items()}, margin)[..., 32:-32, 32:-32]
    scaled = F.interpolate(drawn.contiguous(), (height, width), mode="bicubic", antialias=True)
    return scaled[0].clamp_(0, 1).permute(1, 2, 0)


def animegan2(weights: dict[str, Tensor], photo: Tensor, _: float) -> Tensor:
    """(H, W, 3) in 0..1, by AnimeGANv2's generator."""
    drawn = reference.generate(weights, planar(photo)[None] * 2 - 1)
    return ((drawn[0] + 1) / 2).clamp_(0, 1).permute(1, 2, 0)


def figures(photo: Tensor, drawing: Tensor, moved: Tensor) -> dict[str, float]:
    """The figures of one drawing; `moved`: the drawing of the photo moved by one pixel down and right."""
    before, after = luma(planar(photo)), luma(planar(drawing))
    strength, drawn = slope(blur(before, 1.0)), slope(blur(after, 1.0))
    limit = strength.flatten().quantile(1 - EDGE_SHARE)
    edge = strength >= limit
    near = F.max_pool2d(drawn[None], 2 * NEAR_PX + 1, 1, NEAR_PX)[0]
    far = F.max_pool2d(edge.float()[None], 2 * FAR_PX + 1, 1, FAR_PX)[0] == 0
    dark = (blur(after, 2.4) - blur(after, 0.9)).clamp_(min=0)
    line = F.max_pool2d(dark[None], 2 * NEAR_PX + 1, 1, NEAR_PX)[0]
    inner = slice(BORDER_PX, -BORDER_PX)
    back = torch.roll(moved, (-1, -1), (0, 1))
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
    """How much (1, H, W) changes from a pixel to the next, by central differences."""
    padded = F.pad(plane[None], (1, 1, 1, 1), mode="replicate")[0]
    across, down = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    return torch.hypot(across, down) / 2


def distance(one: Tensor, other: Tensor) -> float:
    """The mean difference of two pictures, of 255."""
    return float((one.float() - other.float()).abs().mean())


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Each figure's mean over the photos."""
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}


def share(network: float, finish: float) -> float | None:
    """The finish's part of both; None where no network drew."""
    return finish / (network + finish) if network else None


if __name__ == "__main__":
    main()
