"""Time and memory on a GPU: `scripts/gpu speed`. The engine in every mode beside other ways to run the network.

Medians between CUDA events, after a warm-up; `peak_mib` is the most above the weights. `times_as_fast` is over the
traced fp16 reference of the same run and size, `times_whole` the time over that of whole maps. Rows come in the order
of their worth. Then where the time goes, by kernel and by layer, and torch.compile, which tunes for minutes; last what
takes seconds a run. A rehearsal takes the CPU and small pictures: a graph is there the run without one, and
torch.compile does not compile.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from animegan.networks import graphs
from animegan.networks.animegan2.layers import LAYERS
from animegan.networks.plan import Mode
from benchmarks.common import redrawing
from benchmarks.common.contenders import Contender, Ours, Stock, generator, photo, traced_fp32, traced_half
from benchmarks.common.fresh import NotMeasured, Watch
from benchmarks.engine.peers import onnx_runtime
from benchmarks.gpu import gpu

Size = tuple[int, int]
Make = Callable[[torch.device], Contender]

REFERENCE, WHOLE = "traced fp16 reference", "ours, whole"
COMPILE_S = 80  # for torch.compile at 1024², at most
MOST_TRACE_BYTES = 8 * 2**20
TOP_KERNELS = 40


def ours(mode: Mode, *, graph: bool = False) -> Make:
    """Return the engine in one mode, with a CUDA graph at any size or never."""
    return lambda device: _Ours(device, mode, graph=graph)


class _Ours(Ours):
    def __init__(self, device: torch.device, mode: Mode, *, graph: bool) -> None:
        super().__init__(device, mode)
        self.most_bytes = 2**60 if graph else -1
        self.warm: set[torch.Size] = set()

    def draw(self, picture: Tensor) -> Tensor:
        with mock.patch.object(graphs, "most_bytes", return_value=self.most_bytes):
            if picture.shape not in self.warm:  # a graph is captured when a plan has come often
                self.warm.add(picture.shape)
                for _ in range(graphs.OFTEN):
                    super().draw(picture)
            return super().draw(picture)


def reference(device: torch.device) -> Contender:
    """Return the network traced and frozen in 16 bits; in fp32 on a CPU without them."""
    try:
        return traced_half(device)
    except NotMeasured:
        return traced_fp32(device)


def eager(device: torch.device) -> Contender:
    """Return the definition as it is, in fp16; in fp32 on a CPU."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    return Stock(generator().to(device, dtype), device, dtype)


# A network is one line here, its contenders by name; those named `ours...` are the engine's.
NETWORKS: dict[str, dict[str, Make]] = {
    "animegan2": {
        WHOLE: ours("whole"),
        REFERENCE: reference,
        "ours, whole, graph": ours("whole", graph=True),
        "ours, bands": ours("bands"),
        "ours, recompute": ours("recompute"),
        "ours, bands, graph": ours("bands", graph=True),
        "ours, recompute, graph": ours("recompute", graph=True),
        "eager fp16": eager,
        "ONNX Runtime": onnx_runtime,
    },
    **{
        name: {
            "ours": redrawing.ours(name, graph=True),
            REFERENCE: redrawing.traced(name),
            "ours, no graph": redrawing.ours(name, graph=False),
            "eager fp16": redrawing.eager(name),
        }
        for name in ("redraw", "redraw_video")
    },
}
SIZES: tuple[Size, ...] = ((1024, 1024), (512, 512), (1600, 900), (2048, 2048), (4096, 4096))
LARGE_PX = 2048 * 2048  # from it on what is not ours waits until everything else is measured: it takes seconds a run


def main() -> None:
    if "--compile" in sys.argv:
        print(json.dumps(compiled(gpu.rehearsal())))
        return
    rehearse = gpu.rehearsal()
    results, where = gpu.Results("speed", rehearse=rehearse), gpu.device(rehearse=rehearse)
    rows = [(network, name, size) for size in sizes(rehearse) for network in NETWORKS for name in NETWORKS[network]]
    if rehearse:  # Triton's interpreter takes half a minute for a picture of the others, which have tests of their own
        rows = [row for row in rows if row[0] == "animegan2"]
    late = [row for row in rows if not row[1].startswith("ours") and row[2][0] * row[2][1] >= LARGE_PX]
    contenders: dict[tuple[str, str], Contender] = {}
    for network, name, size in [row for row in rows if row not in late]:
        measure(results, where, contenders, network, name, size, rehearse=rehearse)
    for network in list(NETWORKS)[: 1 if rehearse else None]:
        for size in sizes(rehearse)[:2]:
            explain(results, where, network, size)
    run_compiler(results, rehearse=rehearse)
    for network, name, size in late:
        measure(results, where, contenders, network, name, size, rehearse=rehearse)
    results.end()


def sizes(rehearse: bool) -> tuple[Size, ...]:
    return ((24, 24),) if rehearse else SIZES


def measure(
    results: gpu.Results,
    where: torch.device,
    contenders: dict[tuple[str, str], Contender],
    network: str,
    name: str,
    size: Size,
    *,
    rehearse: bool,
) -> None:
    """Add a row of a contender at a size."""
    with results.trial("rows", network=network, contender=name, size=text(size)) as row:
        if (network, name) not in contenders:
            contenders[network, name] = NETWORKS[network][name](where)
        contender, picture = contenders[network, name], photo(*size).to(where)
        with Watch(where) as watch:
            contender.draw(picture)
            if size[0] * size[1] < LARGE_PX:
                contender.draw(picture)  # TorchScript profiles the first run and optimises before the second
        row.update(gpu.times_ms(lambda: contender.draw(picture), where, most_s=0.1 if rehearse else 1.0))
        row["peak_mib"] = watch.peak_mib
        if "graph" in name and where.type != "cuda":
            row["instead"] = "the same run without a graph"
        graphs.release()
    compare(results, network, text(size))


def compare(results: gpu.Results, network: str, size: str) -> None:
    """Set the rows of a size beside its reference and its run of whole maps, where these are there."""
    rows: list[gpu.Row] = [row for row in results.figures["rows"] if (row["network"], row["size"]) == (network, size)]
    times = {row["contender"]: row["ms"] for row in rows if "ms" in row}
    for row in rows:
        if "ms" in row:
            row["times_as_fast"] = times[REFERENCE] / row["ms"] if REFERENCE in times else None
            row["times_whole"] = row["ms"] / times[WHOLE] if WHOLE in times else None
    results.write()


def text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def explain(results: gpu.Results, where: torch.device, network: str, size: Size) -> None:
    """Add a row with the time of one run by kernel and by layer; write the trace for chrome://tracing."""
    name = next(iter(NETWORKS[network]))
    with results.trial("profiles", network=network, contender=name, size=text(size)) as row:
        contender, picture = NETWORKS[network][name](where), photo(*size).to(where)
        for _ in range(3):
            contender.draw(picture)
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (where.type == "cuda")
        with profile(activities=activities) as profiler:
            contender.draw(picture)
            if where.type == "cuda":
                torch.cuda.synchronize()
        averages: Any = profiler.key_averages()
        kind = "device" if where.type == "cuda" else "cpu"
        layers = {layer.name for layer in LAYERS}
        row["layers_us"] = {
            event.key: getattr(event, f"{kind}_time_total") for event in averages if event.key in layers
        }
        if where.type == "cuda":
            row["kernels_ms"] = (
                sum(event.self_device_time_total for event in averages if event.device_type == DeviceType.CUDA) / 1000
            )
        kernels = [
            (getattr(event, f"self_{kind}_time_total"), event.key, event.count)
            for event in averages
            if event.key not in layers
        ]
        row["kernels"] = [
            {"kernel": key[:160], "us": us, "calls": calls}
            for us, key, calls in sorted(kernels, reverse=True)[:TOP_KERNELS]
        ]
        trace = gpu.folder() / f"trace_{network}_{text(size)}.json.gz"
        profiler.export_chrome_trace(str(trace))
        row["trace"] = trace.name
        if trace.stat().st_size > MOST_TRACE_BYTES:
            trace.unlink()
            row["trace"] = "left out: over 8 MiB"


def run_compiler(results: gpu.Results, *, rehearse: bool) -> None:
    """Add torch.compile's row, from a process with a time limit of its own."""
    size = text(sizes(rehearse)[0])
    with results.trial("rows", network="animegan2", contender="torch.compile max-autotune", size=size) as row:
        words = [sys.executable, "-m", "benchmarks.gpu.gpu_speed", "--compile", *["--rehearse"] * rehearse]
        try:
            process = subprocess.run(words, capture_output=True, text=True, check=False, timeout=COMPILE_S)
        except subprocess.TimeoutExpired:
            raise NotMeasured(f"it did not compile within {COMPILE_S} s") from None
        if process.returncode:
            raise NotMeasured((process.stderr.strip().splitlines() or ["it failed"])[-1][:200])
        row.update(json.loads(process.stdout.strip().splitlines()[-1]))
    compare(results, "animegan2", size)


def compiled(rehearse: bool) -> gpu.Row:
    """Return the figures of torch.compile. A rehearsal captures the network and does not compile."""
    where = gpu.device(rehearse=rehearse)
    dtype = torch.float32 if rehearse else torch.float16
    network = generator().to(where, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch._inductor.config.freezing = True
    call = torch.compile(network, backend="eager") if rehearse else torch.compile(network, mode="max-autotune")
    contender, picture = Stock(call, where, dtype, torch.channels_last), photo(*sizes(rehearse)[0]).to(where)
    with Watch(where) as watch:
        for _ in range(3):
            contender.draw(picture)
    figures: gpu.Row = {**gpu.times_ms(lambda: contender.draw(picture), where, most_s=1), "peak_mib": watch.peak_mib}
    return figures | ({"instead": "captured, not compiled"} if rehearse else {})


if __name__ == "__main__":
    main()
