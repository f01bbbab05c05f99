"""The article's steps one by one, then ours: peak memory, time, and how close the picture stays to the original's.

`scripts/benchmark ablation [--side PX] [--network animegan2]` (1024 by default). `redraw` and `redraw_video` draw the
picture from a quarter of its sides; their results are `ablation_redraw` and so on. Each row in a process of its own, on
the CPU and on the GPU where there is one. The peak is above idle, that is after the weights were loaded and a small
picture was drawn: resident memory on the CPU, what is allocated on the GPU; `held` is what was not given back after the
run. PSNR's peak is the full range, -1 to 1, of what is drawn before it is rounded to 8 bits. The article's limit does
nothing to a picture of the table's size, so its rows draw a larger photo, as it is and fitted. The rows of callers draw
as many pictures, and their seconds are for one.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from animegan.networks.graphs import OFTEN
from animegan.networks.plan import Mode
from animegan.picture.sizes import fit
from animegan.resources import memory
from benchmarks.common import fresh
from benchmarks.common.contenders import (
    EXAMPLE_PX,
    NETWORKS,
    Contender,
    Stock,
    definition,
    ours,
    photo,
    precisions,
    result_name,
    traced_fp32,
    traced_half,
)
from benchmarks.common.fresh import WARMUP_PX, NotMeasured, Watch
from benchmarks.common.reference import psnr
from benchmarks.common.result import store, table

SIDE_PX = 1024
CALLERS = 3  # at once; the article's original fails beyond two

Size = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """`make` is called in the row's own process, with device, side and network; `picture` gives the picture's size."""

    name: str
    make: Callable[[torch.device, int, str], Contender]
    picture: Callable[[int], Size]
    pictures: int = 1


def original(device: torch.device, _side: int, network: str) -> Contender:
    return Stock(definition(network).to(device).train().requires_grad_(True), device, grad=True)


def no_grad(device: torch.device, _side: int, network: str) -> Contender:
    return Stock(definition(network).to(device), device)


def fit_first(device: torch.device, side: int, network: str) -> Contender:
    return _FitFirst(no_grad(device, side, network), side)


def cleaned_up(device: torch.device, side: int, network: str) -> Contender:
    return _CleanedUp(no_grad(device, side, network), device)


def torchscript(device: torch.device, side: int, network: str) -> Contender:
    return _CleanedUp(traced_fp32(device, min(EXAMPLE_PX, side), network), device)


def at_once(device: torch.device, side: int, network: str) -> Contender:
    return _Callers(torchscript(device, side, network), one_at_a_time=False)


def queued(device: torch.device, side: int, network: str) -> Contender:
    return _Callers(torchscript(device, side, network), one_at_a_time=True)


def sixteen_bits(device: torch.device, side: int, network: str) -> Contender:
    return traced_half(device, min(EXAMPLE_PX, side), network)


def square(side: int) -> Size:
    return side, side


def larger(side: int) -> Size:
    """Return the size of a photo as a camera or a page has it."""
    return side * 1600 // 1024, side * 1200 // 1024


def half_the_side(side: int) -> Size:
    return side // 2, side // 2


@dataclass(frozen=True)
class _Mode:
    mode: Mode

    def __call__(self, device: torch.device, _side: int, network: str) -> Contender:
        return ours(device, self.mode, network)


@dataclass(frozen=True)
class _Launch:
    """Whole, through a CUDA graph or, as for a shape that is new, without one."""

    graph: bool

    def __call__(self, device: torch.device, _side: int, network: str) -> Contender:
        if device.type != "cuda":
            raise NotMeasured("CUDA graphs are a GPU's")
        return _GraphDrawing(device, network, graph=self.graph)


ROWS = (
    Row("original", original, square),
    Row("no grad, eval", no_grad, square),
    Row("a larger photo, no limit", no_grad, larger),
    Row("a larger photo, limit", fit_first, larger),
    Row("cache cleanup", cleaned_up, square),
    Row("TorchScript", torchscript, square),
    Row(f"{CALLERS} callers, no queue", at_once, square, CALLERS),
    Row(f"{CALLERS} callers, queue", queued, square, CALLERS),
    Row("ours: 16 bits", sixteen_bits, square),
    Row("ours: fused, whole", _Mode("whole"), square),
    Row("ours: bands", _Mode("bands"), square),
    Row("ours: recompute", _Mode("recompute"), square),
    Row("ours: half the side, whole", _Launch(graph=False), half_the_side),
    Row("ours: half the side, graph", _Launch(graph=True), half_the_side),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark ablation")
    parser.add_argument("--side", type=int, default=SIDE_PX, metavar="PX", help=f"of the square (default {SIDE_PX})")
    parser.add_argument("--network", choices=NETWORKS, default="animegan2", help="default animegan2")
    options = parser.parse_args(arguments)
    side, network = options.side, options.network
    rows = [row for device in ("cpu", "cuda") for row in measure_all(device, side, network)]
    print()
    table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    store(result_name("ablation", network), {"side_px": side, "precision_of_ours": precisions(), "rows": rows})


def measure_all(device: str, side: int, network: str) -> list[dict[str, Any]]:
    """Return every row on that device, in order."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="animegan-ablation-") as folder:
        for index, row in enumerate(ROWS):
            width, height = row.picture(side)
            figures: dict[str, Any] = dict.fromkeys(("peak_mib", "held_mib", "seconds", "psnr_db", "not_measured"))
            print(f"{device}: {row.name} ...", flush=True)
            try:
                fresh.device(device)
                figures |= fresh.call(measure, row.name, device, side, network, Path(folder) / f"{index}.npy")
                figures["psnr_db"] = _psnr(Path(folder), index)
            except NotMeasured as reason:
                figures["not_measured"] = str(reason)
            rows.append({"row": row.name, "device": device, "input": f"{width}x{height}", **figures})
    return rows


def measure(name: str, device_name: str, side: int, network: str, file: Path) -> dict[str, float]:
    """Return one row's figures; write its drawing to `file`. Runs in the row's own process."""
    row, device = next(row for row in ROWS if row.name == name), fresh.device(device_name)
    contender = row.make(device, side, network)
    for _ in range(2):  # TorchScript profiles the first run and optimises before the second
        contender.draw(photo(WARMUP_PX, WARMUP_PX).to(device))
    picture = photo(*row.picture(side)).to(device)
    with Watch(device) as watch:
        seconds = fresh.time_draw(lambda: contender.draw(picture), device)
    seconds = fresh.median_seconds(lambda: contender.draw(picture), device, seconds)
    np.save(file, contender.values(picture).cpu().numpy())
    return {"peak_mib": watch.peak_mib, "held_mib": watch.held_mib, "seconds": seconds / row.pictures}


def _psnr(folder: Path, index: int) -> float | str | None:
    """Return the PSNR against the first row of the same picture; None for that row, or where the sizes differ."""
    size, values = ROWS[index].picture, np.load(folder / f"{index}.npy")
    first = next(other for other, row in enumerate(ROWS) if row.picture == size)
    if first == index or not (folder / f"{first}.npy").exists():
        return None
    expected = np.load(folder / f"{first}.npy")
    if values.shape != expected.shape:
        return None
    decibels = psnr(torch.from_numpy(values), torch.from_numpy(expected))
    return decibels if math.isfinite(decibels) else "identical"


class _Wrapper:
    """A contender, with something around its drawing."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender

    def values(self, picture: Tensor) -> Tensor:
        return self.contender.values(picture)


class _FitFirst(_Wrapper):
    def __init__(self, contender: Contender, side: int) -> None:
        super().__init__(contender)
        self.side = side

    def draw(self, picture: Tensor) -> Tensor:
        return self.contender.draw(self._fit(picture))

    def values(self, picture: Tensor) -> Tensor:
        return super().values(self._fit(picture))

    def _fit(self, picture: Tensor) -> Tensor:
        image = Image.fromarray(picture[0].cpu().numpy())
        scaled = image.resize(fit(image.size, self.side), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(scaled))[None].to(picture.device)


class _CleanedUp(_Wrapper):
    def __init__(self, contender: Contender, device: torch.device) -> None:
        super().__init__(contender)
        self.device = device

    def draw(self, picture: Tensor) -> Tensor:
        output = self.contender.draw(picture)
        memory.release(self.device)
        return output


class _Callers(_Wrapper):
    """`CALLERS` callers with a picture each: all draw at once, or one after another."""

    def __init__(self, contender: Contender, *, one_at_a_time: bool) -> None:
        super().__init__(contender)
        self.turns = threading.Semaphore(1 if one_at_a_time else CALLERS)

    def draw(self, picture: Tensor) -> Tensor:
        def one(_: int) -> Tensor:
            with self.turns:
                return self.contender.draw(picture)

        with ThreadPoolExecutor(CALLERS) as pool:
            return list(pool.map(one, range(CALLERS)))[-1]


class _GraphDrawing(_Wrapper):
    def __init__(self, device: torch.device, network: str, *, graph: bool) -> None:
        engine = ours(device, "whole", network)
        super().__init__(engine)
        vars(engine.network)["_graphs"]._usable = graph
        self.warm: set[torch.Size] = set()

    def draw(self, picture: Tensor) -> Tensor:
        if picture.shape not in self.warm:
            for _ in range(OFTEN):
                self.contender.draw(picture)
            self.warm.add(picture.shape)
        return self.contender.draw(picture)


if __name__ == "__main__":
    main()
