"""The compiled convolutions against oneDNN's, in fp32: the layers of `redraw`, and all of it.

`scripts/benchmark arithmetic [--side PX] [--rounds N] [--threads N]`. Contenders take turns. CPU time is the process's,
which other load on the machine changes little, where it changes wall time much; a figure is the median of the rounds,
a ratio that of the rounds' ratios with their spread. Against the network stands its definition in stock PyTorch,
channels-last. PSNR against fp64, of a photo shrunk to 64×48, before rounding; its peak is the output's full range.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a thread that waits for another takes no CPU time

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from animegan import operators
from animegan.networks.redraw import steps, stream
from animegan.networks.redraw.network import Network
from animegan.operators import native
from animegan.operators.native.convolutions import Convolutions
from benchmarks.common.contenders import photo
from benchmarks.common.redrawing import WEIGHTS
from benchmarks.common.reference import psnr, redraw
from benchmarks.common.result import store, table

SIDE, ROUNDS = 256, 5
SMALL = (64, 48)
LAYERS = [  # channels in and out, side of the filters, and how many there are in the network; pixels of the map's side
    *((64 + 32 * index, 32, 3, 18, 1) for index in range(4)),
    *((192, 64, 3, 18, 1), (64, 64, 3, 1, 1), (64, 64, 2, 4, 1), (64, 64, 2, 4, 2)),
    *((64, 64, 3, 1, 4), (64, 3, 3, 1, 4)),
]
LARGEST = 512  # pixels of a layer's side: its map is cut, its time multiplied

Run = Callable[[], object]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark arithmetic")
    parser.add_argument("--side", type=int, default=SIDE, metavar="PX", help=f"of the small picture (default {SIDE})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"default {ROUNDS}")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), metavar="N", help="default: all")
    options = parser.parse_args(arguments)
    compiled = native.best()
    if compiled is None:
        parser.error("The operators are not compiled: animegan compile")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows = [_layer(compiled.convolutions, options.side, options.rounds, *layer) for layer in LAYERS]
    tensors = {name: tensor.float() for name, tensor in load_file(WEIGHTS / "redraw.safetensors").items()}
    stock = {
        name: tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
        for name, tensor in tensors.items()
    }
    network = Network(tensors, torch.device("cpu"), "fp32")
    plan = next(network.plans(options.side, options.side, 1))
    picture = photo(options.side, options.side, "palace")
    values = _small(options.side, options.side)[None].contiguous(memory_format=torch.channels_last)
    race = _race(lambda: network.run(picture, plan), lambda: redraw(stock, values), options.rounds)
    rows.append({"layer": "network", "pixels": options.side**2, **race})
    print(rows[-1], flush=True)
    table(
        tuple(rows[0]), [tuple(str(cell) if isinstance(cell, list) else cell for cell in row.values()) for row in rows]
    )
    precision = _precision(tensors)
    print(precision)
    store("arithmetic", {"side": options.side, "rounds": options.rounds, "threads": options.threads,
                         "rows": rows, "psnr_db": precision})  # fmt: skip


def _race(ours: Run, stock: Run, rounds: int) -> dict[str, Any]:
    """Run both in turns. Return the medians of their seconds, and the ratios' median, least and most."""
    times: list[list[tuple[float, float]]] = []
    for run in (ours, stock):
        run()
    for _ in range(rounds):
        times.append([_time(run) for run in (ours, stock)])
    cpu, wall = ([[run[kind] for run in turn] for turn in times] for kind in (0, 1))
    ratios = sorted(one / other for one, other in cpu)
    return {
        "cpu_ms": round(1e3 * statistics.median(one for one, _ in cpu), 2),
        "stock_cpu_ms": round(1e3 * statistics.median(other for _, other in cpu), 2),
        "cpu_ratio": round(statistics.median(ratios), 3),
        "spread": [round(ratios[0], 3), round(ratios[-1], 3)],
        "wall_ratio": round(statistics.median(one / other for one, other in wall), 3),
    }


def _time(run: Run) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


def _layer(
    convolutions: Convolutions,
    small: int,
    rounds: int,
    channels_in: int,
    channels: int,
    side: int,
    count: int,
    scale: int,
) -> dict[str, Any]:
    height = width = min(small * scale, LARGEST)
    buffer = torch.randn(height, width, max(192, channels_in + channels)).permute(2, 0, 1)
    x, out = buffer[:channels_in], torch.empty(height, width, channels).permute(2, 0, 1)
    weight, bias = torch.randn(channels, channels_in, side, side) / 50, torch.randn(channels)
    packed = convolutions.pack(weight)
    batch, filters = (y.contiguous(memory_format=torch.channels_last) for y in (x[None], weight))
    return {
        "layer": f"{channels_in} to {channels}, {side}×{side}, ×{scale}, {count} of them",
        "pixels": height * width,
        **_race(
            lambda: convolutions.conv(x, packed, out, before=(1, side - 2), bias=bias, slope=0.2),
            lambda: F.leaky_relu_(F.conv2d(batch, filters, bias, padding=1), 0.2),
            rounds,
        ),
    }


class _Values(stream.Run):
    """The product's run, that keeps the drawing's values as they are before they become pixels."""

    values: Tensor

    def emit(self, drawing: Tensor, first: int, last: int) -> None:
        self.values[:, first:last] = drawing


def _precision(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the PSNR of the product's values, and of stock PyTorch's, against fp64."""
    small = _small(*SMALL)
    expected = redraw({name: tensor.double() for name, tensor in tensors.items()}, small[None].double())[0]
    _, height, width = small.shape
    form = operators.convolutions(torch.device("cpu"), torch.float32)
    weights = stream.Weights(tensors, steps.REDRAW, form, torch.float32)
    channels_last = small.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    run = _Values(weights, channels_last, steps.REDRAW, 0, torch.empty(4 * height, 4 * width, 3, dtype=torch.uint8))
    run.values = torch.empty(3, 4 * height, 4 * width)
    run.draw()
    drawings = {"compiled": run.values, "stock": redraw(tensors, small[None])[0]}
    return {name: round(psnr(2 * drawing, 2 * expected), 1) for name, drawing in drawings.items()}


def _small(width: int, height: int) -> Tensor:
    return photo(width, height, "palace")[0].permute(2, 0, 1).float() / 255


if __name__ == "__main__":
    with torch.inference_mode():
        main()
