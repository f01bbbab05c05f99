"""The engine beside other ways to run the same network, interleaved: each round draws every size with each in turn.

`scripts/benchmark peers [--network animegan2] [--sizes 512x512 1024x1024 1600x900] [--rounds 3] [--precision auto]
[--avx2]`. `redraw` and `redraw_video` draw the picture from a quarter of its sides; their results are `peers_redraw`
and so on, those of a `--precision` of ours `peers_fp32` and so on. `--avx2` (`peers_avx2`) holds all to AVX2 and
fp32, as on a CPU that has no more; ONNX Runtime and ncnn can't be held, and are left out. Each contender has a
process of its own for the whole run, and the machine to itself while it draws. `cpu_seconds` are those of its
process, which other load on the machine changes little, where it changes `seconds`, the wall's, much. `ratio` is the
median over ours, of CPU seconds on a CPU and of seconds on a GPU; `ratio_min` and `ratio_max` are the extremes over
the rounds. Pictures are 8-bit, in and out, for every contender. `setup_seconds` is what loading and the first picture
of each size take: for torch.compile, compiling. ONNX Runtime and OpenVINO run what `animegan export` writes, ncnn
what pnnx makes of the traced network for each size. These are no requirements of this project: `.venv/bin/python -m
pip install --no-deps --target build/peers openvino ncnn pnnx` puts them where this benchmark looks. OpenVINO draws in
the precision of ours, ncnn in fp32.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple, get_args
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from animegan.networks.families import define_network
from animegan.networks.weights import load_weights
from animegan.operators import native
from animegan.operators.precision import pick_precision
from animegan.resources.hardware import DTYPES, cpu_count
from animegan.settings import Precision
from benchmarks.common import fresh
from benchmarks.common.contenders import (
    EXAMPLE_PX,
    NETWORKS,
    Contender,
    Net,
    Redrawn,
    Stock,
    definition,
    ours,
    photo,
    precisions,
    result_name,
    traced_fp32,
    traced_half,
    weights_of,
)
from benchmarks.common.fresh import WARMUP_PX, NotMeasured
from benchmarks.common.result import store, table

SIZES = ("512x512", "1024x1024", "1600x900")
ROUNDS = 3
CONVERTER_BYTES, CONVERTER_S = 12 << 30, 300  # of pnnx, which folds a picture's maps into the network
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}  # which oneDNN (OpenVINO's too) and PyTorch read
OTHER_PACKAGES = Path(__file__).resolve().parents[2] / "build" / "peers"

Size = tuple[int, int]


class Times(NamedTuple):
    """Seconds of one picture: by the clock, and of all the process's threads."""

    wall: float
    cpu: float


def default_plan(device: torch.device, network: str, precision: str) -> Contender:
    return ours(device, "planned", network, precision)


def whole(device: torch.device, network: str, precision: str) -> Contender:
    return ours(device, "whole", network, precision)


def eager(device: torch.device, network: str, precision: str) -> Contender:  # noqa: ARG001 - fp32 whatever ours is
    return Stock(definition(network).to(device), device)


def compiled(device: torch.device, network: str, precision: str) -> Contender:
    dtype = DTYPES[precision]
    net = definition(network).to(device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch._inductor.config.freezing = True
    return Stock(torch.compile(net), device, dtype, torch.channels_last)


def traced(device: torch.device, network: str, precision: str) -> Contender:  # noqa: ARG001
    return traced_fp32(device, EXAMPLE_PX, network)


def traced_16(device: torch.device, network: str, precision: str) -> Contender:
    if precision == "fp32":
        raise NotMeasured("this run is of fp32")
    return traced_half(device, EXAMPLE_PX, network)


def onnx_runtime(device: torch.device, network: str = "animegan2", precision: str = "fp32") -> Contender:  # noqa: ARG001
    onnxruntime = _package("onnxruntime")
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device.type]
    if provider not in onnxruntime.get_available_providers():
        raise NotMeasured("this onnxruntime runs on the CPU only")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_count()
    session = onnxruntime.InferenceSession(_onnx(network), options, providers=[provider])

    def run(x: Tensor) -> Tensor:
        [output] = session.run(None, {"photo": x.cpu().numpy()})
        return torch.from_numpy(output)

    return Stock(_whole_picture(run, network), device)


def openvino(device: torch.device, network: str, precision: str) -> Contender:
    if device.type != "cpu":
        raise NotMeasured("OpenVINO does not run on this GPU")
    sys.path.append(str(OTHER_PACKAGES))
    core = _package("openvino").Core()
    hint = {"bf16": "bf16", "fp32": "f32"}[precision]
    options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": cpu_count()}
    model = core.compile_model(core.read_model(_onnx(network)), "CPU", options)

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(np.array(model(x.numpy())[0]))

    return Stock(_whole_picture(run, network), device)


def ncnn(device: torch.device, network: str, precision: str) -> Contender:  # noqa: ARG001
    if device.type != "cpu":
        raise NotMeasured("ncnn runs on a GPU by Vulkan only")
    sys.path.append(str(OTHER_PACKAGES))
    module, converter = _package("ncnn"), _package("pnnx")
    nets: dict[tuple[int, ...], Any] = {}

    def run(x: Tensor) -> Tensor:
        if tuple(x.shape) not in nets:
            nets[tuple(x.shape)] = _ncnn_net(module, converter.EXEC_PATH, network, x)
        with nets[tuple(x.shape)].create_extractor() as extractor:
            extractor.input("in0", module.Mat(x[0].contiguous().numpy()).clone())
            status, output = extractor.extract("out0")
            if status:
                raise NotMeasured(f"ncnn gives up with {status}")
            return torch.from_numpy(np.array(output))[None]

    return Stock(_whole_picture(run, network), device)


def _ncnn_net(module: Any, converter: str, network: str, x: Tensor) -> Any:
    """Return the network in ncnn's format, for pictures of that shape."""
    with tempfile.TemporaryDirectory() as folder:
        torch.jit.trace(define_network(_family(network), weights_of(network)), x).save(f"{folder}/net.pt")  # type: ignore[no-untyped-call]
        shape = f"inputshape=[{','.join(map(str, x.shape))}]"
        command = [converter, "net.pt", shape, "fp16=0"]

        def bound() -> None:
            resource.setrlimit(resource.RLIMIT_AS, (CONVERTER_BYTES, CONVERTER_BYTES))

        try:
            process = subprocess.run(
                command, cwd=folder, check=False, capture_output=True, timeout=CONVERTER_S, preexec_fn=bound
            )
        except subprocess.TimeoutExpired:
            raise NotMeasured(f"pnnx needs more than {CONVERTER_S} s for {x.shape[3]}x{x.shape[2]}") from None
        if process.returncode:
            raise NotMeasured(f"pnnx does not convert {x.shape[3]}x{x.shape[2]} in {CONVERTER_BYTES >> 30} GiB")
        net = module.Net()
        net.opt.num_threads = cpu_count()
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        net.load_param(f"{folder}/net.ncnn.param")
        net.load_model(f"{folder}/net.ncnn.bin")
        return net


def _whole_picture(net: Net, network: str) -> Net:
    return net if network == "animegan2" else Redrawn(net)


Make = Callable[[torch.device, str, str], Contender]

CONTENDERS: dict[str, Make] = {
    "ours, as planned": default_plan,
    "ours, whole": whole,
    "eager fp32": eager,
    "traced fp32": traced,
    "traced 16 bits": traced_16,
    "torch.compile": compiled,
    "ONNX Runtime fp32": onnx_runtime,
    "OpenVINO": openvino,
    "ncnn fp32": ncnn,
}

UNHELD = {"ONNX Runtime fp32", "ncnn fp32"}  # they choose their instructions by themselves


def _package(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        raise NotMeasured(f"{name} is not installed") from None


def _onnx(network: str) -> bytes:
    _package("onnx")
    from animegan_cli.weights.onnx_models import onnx_model  # noqa: PLC0415 - an optional package

    data: bytes = onnx_model(_family(network), load_weights(weights_of(network)), {}, "").SerializeToString()
    return data


def _family(network: str) -> str:
    return network.partition("_")[0]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark peers")
    parser.add_argument("--network", choices=NETWORKS, default="animegan2", help="default animegan2")
    parser.add_argument("--sizes", type=_size, nargs="+", default=[_size(text) for text in SIZES], metavar="WxH")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    parser.add_argument("--precision", choices=get_args(Precision), default="auto", help="ours; default auto")
    parser.add_argument("--avx2", action="store_true", help="hold all to AVX2 and fp32")
    options = parser.parse_args(arguments)
    if options.avx2:
        options.precision = "fp32"
        os.environ |= AVX2
    rows = [
        row
        for device in ("cpu", "cuda")
        for row in compare(device, options.network, options.sizes, options.rounds, options.precision)
    ]
    print()
    table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    kind = "avx2" if options.avx2 else options.precision
    name = result_name("peers", options.network) + ("" if kind == "auto" else f"_{kind}")
    store(name, {"rounds": options.rounds, "precision_of_ours": precisions(options.precision), "rows": rows})


def compare(
    device: str, network: str, sizes: Sequence[Size], rounds: int, precision: Precision = "auto"
) -> list[dict[str, Any]]:
    """Return a row for each contender and size."""
    workers: dict[str, ProcessPoolExecutor] = {}
    setup: dict[str, float] = {}
    missing: dict[tuple[str, Size], str] = {}
    times: dict[tuple[str, Size], list[Times]] = {(name, size): [] for name in CONTENDERS for size in sizes}
    try:
        for name in CONTENDERS:
            print(f"{device}: {name}, set-up ...", flush=True)
            try:
                fresh.device(device)
                workers[name] = fresh.worker()
                setup[name], reasons = workers[name].submit(_set_up, name, device, network, sizes, precision).result()
                missing |= {(name, size): reason for size, reason in reasons.items()}
            except Exception as error:  # noqa: BLE001 - a peer that does not run here is a row without figures
                missing |= {(name, size): _reason(error) for size in sizes}
        for number in range(1, rounds + 1):
            print(f"{device}: round {number} of {rounds}", flush=True)
            for size in sizes:
                for name in (name for name in setup if (name, size) not in missing):
                    times[name, size].append(workers[name].submit(_draw, size).result())
    finally:
        for worker in workers.values():
            worker.shutdown()
    ours = next(iter(CONTENDERS))
    return [
        _row(device, name, size, times[name, size], times[ours, size], setup.get(name), missing.get((name, size)))
        for size in sizes
        for name in CONTENDERS
    ]


def _row(
    device: str, name: str, size: Size, theirs: list[Times], ours: list[Times], setup: float | None, missing: str | None
) -> dict[str, Any]:
    figures: dict[str, float] = {}
    if theirs:
        wall = [times.wall for times in theirs]
        figures = {"seconds": statistics.median(wall), "seconds_min": min(wall), "seconds_max": max(wall)}
        figures |= {"cpu_seconds": statistics.median(times.cpu for times in theirs)}
    if theirs and ours:
        one, other = ([times.cpu if device == "cpu" else times.wall for times in each] for each in (theirs, ours))
        ratios = [first / second for first, second in zip(one, other, strict=True)]
        median = statistics.median(one) / statistics.median(other)
        figures |= {"ratio": median, "ratio_min": min(ratios), "ratio_max": max(ratios)}
    names = ("seconds", "seconds_min", "seconds_max", "cpu_seconds", "ratio", "ratio_min", "ratio_max")
    none: dict[str, float | None] = dict.fromkeys(names)
    remarks = {"setup_seconds": setup, "not_measured": missing}
    return {"contender": name, "device": device, "size": "x".join(map(str, size)), **none, **figures, **remarks}


_draws: dict[Size, Callable[[], Tensor]] = {}  # in a contender's process
_device: list[torch.device] = []


def _reason(error: Exception) -> str:
    if isinstance(error, NotMeasured):
        return str(error)
    if isinstance(error, BrokenProcessPool):
        return "its process was killed"
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:120]


def _set_up(
    name: str, device_name: str, network: str, sizes: Sequence[Size], precision: Precision
) -> tuple[float, dict[Size, str]]:
    """Return the seconds that it takes, and why a size is not measured."""
    start = time.perf_counter()
    device = fresh.device(device_name)
    _device.append(device)
    if AVX2.items() <= os.environ.items():
        _hold_to_avx2(name)
    contender = CONTENDERS[name](device, network, pick_precision(precision, device))
    if name != "torch.compile":  # which would compile for these too
        for _ in range(2):  # TorchScript profiles the first run and optimises before the second
            contender.draw(photo(WARMUP_PX, WARMUP_PX).to(device))
    missing = {}
    for size in sizes:
        picture = photo(*size).to(device)
        _draws[size] = lambda picture=picture: contender.draw(picture)  # type: ignore[misc]
        try:
            _draws[size]()
        except NotMeasured as reason:
            missing[size] = str(reason)
    fresh.synchronize(device)
    return time.perf_counter() - start, missing


def _hold_to_avx2(name: str) -> None:
    """Hold what asks the CPU itself to AVX2, beside what reads the variables. Raises `NotMeasured`."""
    if name in UNHELD:
        raise NotMeasured("it can't be held to AVX2")
    mock.patch.object(native, "_cpu_flags", return_value=frozenset(native.AVX2)).start()
    torch._inductor.config.cpp.simdlen = 256


def _draw(size: Size) -> Times:
    cpu = time.process_time()
    wall = fresh.time_draw(_draws[size], _device[0])
    return Times(wall, time.process_time() - cpu)


def _size(text: str) -> Size:
    width, _, height = text.partition("x")
    return int(width), int(height or width)


if __name__ == "__main__":
    main()
