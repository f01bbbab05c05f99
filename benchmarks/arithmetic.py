"""The compiled convolutions against oneDNN's, in fp32: the layers of `redraw`, its body, and all of it.

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
from itertools import product
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a thread that waits for another takes no CPU time

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from animegan.operators import native
from animegan.operators.native.convolutions import Convolutions, Packed
from benchmarks.contenders import photo
from benchmarks.redrawing import WEIGHTS
from benchmarks.reference import psnr, redraw
from benchmarks.result import store, table

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
    ours = Redraw(compiled.convolutions, tensors)
    stock = {name: tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
             for name, tensor in tensors.items()}  # fmt: skip
    small = _small(options.side, options.side)
    features = ours.features(small)
    plain = features[None].contiguous(memory_format=torch.channels_last)
    for name, runs in (
        ("body", (lambda: ours.body(features), lambda: body(stock, plain))),
        (
            "network",
            (lambda: ours(small), lambda: redraw(stock, small[None].contiguous(memory_format=torch.channels_last))),
        ),
    ):
        rows.append({"layer": name, "pixels": options.side**2, **_race(*runs, options.rounds)})
        print(rows[-1], flush=True)
    table(
        tuple(rows[0]), [tuple(str(cell) if isinstance(cell, list) else cell for cell in row.values()) for row in rows]
    )
    precision = _precision(ours, tensors)
    print(precision)
    store("arithmetic", {"side": options.side, "rounds": options.rounds, "threads": options.threads,
                         "rows": rows, "psnr_db": precision})  # fmt: skip


def _race(ours: Run, stock: Run, rounds: int) -> dict[str, Any]:
    """Seconds of both, taking turns: medians, and the ratios' median, least and most."""
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
    made: Convolutions,
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
    packed = made.pack(weight)
    given, filters = (y.contiguous(memory_format=torch.channels_last) for y in (x[None], weight))
    return {
        "layer": f"{channels_in} to {channels}, {side}×{side}, ×{scale}, {count} of them",
        "pixels": height * width,
        **_race(
            lambda: made.conv(x, packed, out, before=(1, side - 2), bias=bias, slope=0.2),
            lambda: F.leaky_relu_(F.conv2d(given, filters, bias, padding=1), 0.2),
            rounds,
        ),
    }


class Redraw:
    """RRDBNet ×4 with whole maps and the compiled convolutions: (3, h, w) in 0..1 to (3, 4h, 4w)."""

    def __init__(self, made: Convolutions, tensors: Mapping[str, Tensor]) -> None:
        self.made = made
        self.packed = {
            name.removesuffix(".weight"): (made.pack(tensor), tensors[name.replace("weight", "bias")])
            for name, tensor in tensors.items()
            if name.endswith(".weight")
        }
        self.phases = {name: self._phases(tensors[f"{name}.weight"]) for name in ("u1", "u2")}
        self.blocks = sorted({name.split(".")[1] for name in tensors if name.startswith("body.")})

    def __call__(self, photo: Tensor) -> Tensor:
        first = self.features(photo)
        x = self.conv(self.body(first), "cb", _map(64, *first.shape[1:]), residual=first)
        for name in ("u1", "u2"):
            out = _map(64, 2 * x.shape[1], 2 * x.shape[2])
            for down, across, packed in self.phases[name]:
                bias = self.packed[name][1]
                place = out[:, down::2, across::2]
                self.made.conv(x, packed, place, before=(1 - down, 1 - across), bias=bias, slope=0.2)
            x = out
        x = self.conv(x, "hr", _map(64, *x.shape[1:]), slope=0.2)
        return self.conv(x, "last", _map(3, *x.shape[1:]))

    def features(self, photo: Tensor) -> Tensor:
        x = photo.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        return self.conv(x, "first", _map(64, *photo.shape[1:]))

    def body(self, first: Tensor) -> Tensor:
        """18 dense blocks, each in a buffer where its convolutions write behind what they read."""
        buffers = [_map(192, *first.shape[1:]) for _ in range(3)]
        buffers[0][:64] = first
        for block in self.blocks:
            outer = buffers[0][:64]
            for index in range(3):
                x, name = buffers[index], f"body.{block}.r.{index}.c"
                out = buffers[index + 1][:64] if index < 2 else outer
                for grown in range(4):
                    end = 64 + 32 * grown
                    self.conv(x[:end], f"{name}.{grown}", x[end : end + 32], slope=0.2)
                if index < 2:
                    self.conv(x, f"{name}.4", out, alpha=0.2, residual=x[:64])
                else:
                    self.conv(x, f"{name}.4", out, alpha=0.04, residual=x[:64], beta=0.2, residual2=outer)
        return buffers[0][:64]

    def conv(self, x: Tensor, name: str, out: Tensor, **rest: Any) -> Tensor:
        packed, bias = self.packed[name]
        self.made.conv(x, packed, out, before=(1, 1), bias=bias, **rest)
        return out

    def _phases(self, weight: Tensor) -> list[tuple[int, int, Packed]]:
        """A 3×3 convolution behind nearest ×2, as one of 2×2 for each place of an output in its four."""
        return [
            (down, across, self.made.pack(_fold(_fold(weight, 2, odd=bool(down)), 3, odd=bool(across))))
            for down, across in product((0, 1), repeat=2)
        ]


def body(weights: Mapping[str, Tensor], y: Tensor) -> Tensor:
    """The same in stock PyTorch, as `reference.redraw` has it."""

    def conv(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    for block in range(6):
        z = y
        for index in range(3):
            maps, name = [z], f"body.{block}.r.{index}.c"
            for grown in range(4):
                maps.append(F.leaky_relu(conv(torch.cat(maps, 1), f"{name}.{grown}"), 0.2))
            z = z + 0.2 * conv(torch.cat(maps, 1), f"{name}.4")
        y = y + 0.2 * z
    return y


def _precision(ours: Redraw, tensors: Mapping[str, Tensor]) -> dict[str, float]:
    small = _small(*SMALL)
    expected = redraw({name: tensor.double() for name, tensor in tensors.items()}, small[None].double())[0]
    made = {"compiled": ours(small), "stock": redraw(tensors, small[None])[0]}
    return {name: round(psnr(2 * drawn, 2 * expected), 1) for name, drawn in made.items()}


def _small(width: int, height: int) -> Tensor:
    return photo(width, height, "palace")[0].permute(2, 0, 1).float() / 255


def _fold(weight: Tensor, axis: int, *, odd: bool) -> Tensor:
    first, middle, last = weight.unbind(axis)
    return torch.stack([first + middle, last] if odd else [first, middle + last], axis)


def _map(channels: int, height: int, width: int) -> Tensor:
    return torch.empty(height, width, channels).permute(2, 0, 1)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
