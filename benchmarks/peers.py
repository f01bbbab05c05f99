"""The engine beside other ways to run the same network, interleaved: each round draws every size with each in turn.

`scripts/benchmark peers [--network animegan2] [--sizes 512x512 1024x1024 1600x900] [--rounds 3]`. `redraw` and
`redraw_video` draw the picture from a quarter of its sides; their results are `peers_redraw` and so on. Each contender
has a process of its own for the whole run, and the machine to itself while it draws. `ratio` is the median over ours;
`ratio_min` and `ratio_max` are the extremes over the rounds. Pictures are 8-bit, in and out, for every contender.
`setup_seconds` is what loading and the first picture of each size take: for torch.compile, compiling. ONNX Runtime runs
what `animegan export` writes, and so does OpenVINO, which is no requirement of this project: `.venv/bin/python -m pip
install --no-deps --target build/peers openvino` puts it where this benchmark looks.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from animegan.networks.weights import load_weights
from animegan.resources.hardware import cpu_count
from benchmarks import fresh
from benchmarks.contenders import (
    EXAMPLE_PX,
    NETWORKS,
    Contender,
    Net,
    Redrawn,
    Stock,
    definition,
    half,
    ours,
    photo,
    precisions,
    result_name,
    traced_fp32,
    traced_half,
    weights_of,
)
from benchmarks.fresh import WARMUP_PX, NotMeasured
from benchmarks.result import store, table

SIZES = ("512x512", "1024x1024", "1600x900")
ROUNDS = 3
OTHER_PACKAGES = Path(__file__).resolve().parents[1] / "build" / "peers"

Size = tuple[int, int]


def planned(device: torch.device, network: str) -> Contender:
    return ours(device, "planned", network)


def whole(device: torch.device, network: str) -> Contender:
    return ours(device, "whole", network)


def eager(device: torch.device, network: str) -> Contender:
    return Stock(definition(network).to(device), device)


def compiled(device: torch.device, network: str) -> Contender:
    dtype = _half_or_fp32(device)
    net = definition(network).to(device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch._inductor.config.freezing = True
    return Stock(torch.compile(net), device, dtype, torch.channels_last)


def traced(device: torch.device, network: str) -> Contender:
    return traced_fp32(device, EXAMPLE_PX, network)


def traced_16(device: torch.device, network: str) -> Contender:
    return traced_half(device, EXAMPLE_PX, network)


def onnx_runtime(device: torch.device, network: str = "animegan2") -> Contender:
    onnxruntime = _package("onnxruntime")
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device.type]
    if provider not in onnxruntime.get_available_providers():
        raise NotMeasured("this onnxruntime runs on the CPU only")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_count()
    session = onnxruntime.InferenceSession(_onnx(network), options, providers=[provider])

    def run(x: Tensor) -> Tensor:
        [drawn] = session.run(None, {"photo": x.cpu().numpy()})
        return torch.from_numpy(drawn)

    return Stock(_whole_picture(run, network), device)


def openvino(device: torch.device, network: str) -> Contender:
    if device.type != "cpu":
        raise NotMeasured("OpenVINO does not run on this GPU")
    sys.path.append(str(OTHER_PACKAGES))
    core = _package("openvino").Core()
    hint = {torch.bfloat16: "bf16", torch.float32: "f32"}[_half_or_fp32(device)]
    options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": cpu_count()}
    model = core.compile_model(core.read_model(_onnx(network)), "CPU", options)

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(np.array(model(x.numpy())[0]))

    return Stock(_whole_picture(run, network), device)


def _whole_picture(net: Net, network: str) -> Net:
    return net if network == "animegan2" else Redrawn(net)


Make = Callable[[torch.device, str], Contender]

CONTENDERS: dict[str, Make] = {
    "ours, as planned": planned,
    "ours, whole": whole,
    "eager fp32": eager,
    "traced fp32": traced,
    "traced 16 bits": traced_16,
    "torch.compile": compiled,
    "ONNX Runtime fp32": onnx_runtime,
    "OpenVINO 16 bits": openvino,
}


def _half_or_fp32(device: torch.device) -> torch.dtype:
    try:
        return half(device)
    except NotMeasured:
        return torch.float32


def _package(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        raise NotMeasured(f"{name} is not installed") from None


def _onnx(network: str) -> bytes:
    _package("onnx")
    from animegan_cli.weights.onnx_models import onnx_model  # noqa: PLC0415 - an optional package

    family = network.partition("_")[0]
    data: bytes = onnx_model(family, load_weights(weights_of(network)), {}, "").SerializeToString()
    return data


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark peers")
    parser.add_argument("--network", choices=NETWORKS, default="animegan2", help="default animegan2")
    parser.add_argument("--sizes", type=_size, nargs="+", default=[_size(text) for text in SIZES], metavar="WxH")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    options = parser.parse_args(arguments)
    rows = [
        row for device in ("cpu", "cuda") for row in compare(device, options.network, options.sizes, options.rounds)
    ]
    print()
    table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    store(
        result_name("peers", options.network),
        {"rounds": options.rounds, "precision_of_ours": precisions(), "rows": rows},
    )


def compare(device: str, network: str, sizes: Sequence[Size], rounds: int) -> list[dict[str, Any]]:
    """A row for each contender and size."""
    workers: dict[str, ProcessPoolExecutor] = {}
    setup: dict[str, float] = {}
    missing: dict[str, str] = {}
    seconds: dict[tuple[str, Size], list[float]] = {(name, size): [] for name in CONTENDERS for size in sizes}
    try:
        for name in CONTENDERS:
            print(f"{device}: {name}, set-up ...", flush=True)
            try:
                fresh.device(device)
                workers[name] = fresh.worker()
                setup[name] = workers[name].submit(_set_up, name, device, network, sizes).result()
            except BrokenProcessPool:
                missing[name] = "its process was killed"
            except NotMeasured as reason:
                missing[name] = str(reason)
            except Exception as error:  # noqa: BLE001 - a peer that does not run here is a row without figures
                missing[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:120]
        for number in range(1, rounds + 1):
            print(f"{device}: round {number} of {rounds}", flush=True)
            for size in sizes:
                for name in setup:
                    seconds[name, size].append(workers[name].submit(_draw, size).result())
    finally:
        for worker in workers.values():
            worker.shutdown()
    ours = next(iter(CONTENDERS))
    return [
        _row(device, name, size, seconds[name, size], seconds[ours, size], setup.get(name), missing.get(name))
        for size in sizes
        for name in CONTENDERS
    ]


def _row(
    device: str, name: str, size: Size, taken: list[float], ours: list[float], setup: float | None, missing: str | None
) -> dict[str, Any]:
    figures: dict[str, float] = {}
    if taken:
        figures = {"seconds": statistics.median(taken), "seconds_min": min(taken), "seconds_max": max(taken)}
    if taken and ours:
        ratios = [one / other for one, other in zip(taken, ours, strict=True)]
        median = statistics.median(taken) / statistics.median(ours)
        figures |= {"ratio": median, "ratio_min": min(ratios), "ratio_max": max(ratios)}
    none = dict.fromkeys(("seconds", "seconds_min", "seconds_max", "ratio", "ratio_min", "ratio_max"))
    said = {"setup_seconds": setup, "not_measured": missing}
    return {"contender": name, "device": device, "size": "x".join(map(str, size)), **none, **figures, **said}


_drawn: dict[Size, Callable[[], Tensor]] = {}  # in a contender's process
_device: list[torch.device] = []


def _set_up(name: str, device_name: str, network: str, sizes: Sequence[Size]) -> float:
    start = time.perf_counter()
    device = fresh.device(device_name)
    _device.append(device)
    contender = CONTENDERS[name](device, network)
    if name != "torch.compile":  # which would compile for these too
        for _ in range(2):  # TorchScript profiles the first run and optimises before the second
            contender.draw(photo(WARMUP_PX, WARMUP_PX).to(device))
    for size in sizes:
        picture = photo(*size).to(device)
        _drawn[size] = lambda picture=picture: contender.draw(picture)  # type: ignore[misc]
        _drawn[size]()
    fresh.synchronize(device)
    return time.perf_counter() - start


def _draw(size: Size) -> float:
    return fresh.timed(_drawn[size], _device[0])


def _size(text: str) -> Size:
    width, _, height = text.partition("x")
    return int(width), int(height or width)


if __name__ == "__main__":
    main()
