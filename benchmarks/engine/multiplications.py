"""The multiplications of each layer of the networks, and those left by the compiled convolutions.

`scripts/benchmark multiplications`: counted, not measured, for a picture of 1024×1024 px, in millions. `direct` is what
the layer's definition multiplies; `filtered` what is left by minimal filtering of 4×4 outputs: of a 3×3 layer 36 a tile
instead of 144, of a 7×7 layer 100 instead of 784, of a 3×3 layer behind nearest upsampling, which is four 2×2 layers,
25 instead of 144. The additions of the transforms are not counted. The last row of each network is its sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from animegan.networks.animegan2 import bands, layers
from animegan.networks.redraw import steps
from benchmarks.common.result import store, table

SIDE_PX = 1024
SHRINK = 4  # of a photo before `redraw` draws it
TILE = 4  # rows and columns of outputs
MILLION = 1_000_000


def main() -> None:
    rows = [*animegan2(), *redraw("redraw", steps.REDRAW), *redraw("redraw_video", steps.REDRAW_VIDEO)]
    table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    store("multiplications", {"side_px": SIDE_PX, "layers": rows})


def animegan2() -> Iterator[dict[str, Any]]:
    """Yield a row for each layer of AnimeGANv2's generator, and their sum."""
    rows = []
    for layer in layers.LAYERS:
        direct = layer.macs * layer.size(SIDE_PX) ** 2
        filtered = direct * share(layer.kernel) if bands.is_filtered(layer) else direct
        rows.append(_row("animegan2", layer.name, direct, filtered))
    yield from _with_sum("animegan2", rows)


def redraw(name: str, program: steps.Program) -> Iterator[dict[str, Any]]:
    """Yield a row for each group of like convolutions of a network that redraws a shrunk photo, and their sum."""
    sums: dict[str, tuple[float, float]] = {}
    for step in program.steps:
        if step.name:
            pixels = (SIDE_PX // SHRINK * program.maps[step.target].scale) ** 2
            direct = 9 * step.channels_in * step.channels * pixels
            filtered = direct * (4 / 9 * share(2) if step.up else share(3))
            group = f"{step.channels_in} to {step.channels}, ×{program.maps[step.target].scale}"
            before = sums.get(group, (0, 0))
            sums[group] = (before[0] + direct, before[1] + filtered)
    yield from _with_sum(name, [_row(name, group, *values) for group, values in sums.items()])


def share(side: int) -> float:
    """Return what minimal filtering leaves of the multiplications with filters of that side (Winograd 1980)."""
    return ((TILE + side - 1) / (TILE * side)) ** 2


def _row(network: str, layer: str, direct: float, filtered: float) -> dict[str, Any]:
    return {
        "network": network,
        "layer": layer,
        "direct": round(direct / MILLION),
        "filtered": round(filtered / MILLION),
        "share": round(filtered / direct, 3),
    }


def _with_sum(network: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    direct, filtered = (sum(row[key] for row in rows) * MILLION for key in ("direct", "filtered"))
    return [*rows, _row(network, "all", direct, filtered)]


if __name__ == "__main__":
    main()
