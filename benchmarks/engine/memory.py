"""The plan's predictions beside what was measured: by size and mode, and for a worker's whole request.

`scripts/benchmark memory [--largest PX] [--seconds S]`: squares from 256 px up to `--largest` (8192), and 3840×2160.
Each row in a process of its own, at the engine's own precision. Predicted and measured are above the weights, the
picture in and out included: resident memory on the CPU, what is allocated on the GPU; `ratio` is predicted over
measured. Up to 1024 px `counted_mib` is what PyTorch's allocator gave out. What would take longer than `--seconds`
(200), or does not fit, is not measured. A worker's rows are a JPEG's way through decoding, drawing and encoding, with
`memory_mb` set to what the plan asks for, so that the smaller plans are followed too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from animegan.networks.animegan2.layout import Shape
from animegan.networks.animegan2.plan import plans
from animegan.networks.plan import Mode, Plan, megabytes
from animegan.operators.precision import pick_precision
from animegan.pipeline.pipeline import Pipeline
from animegan.resources import budget
from animegan.resources.hardware import DTYPES
from animegan.settings import Settings
from benchmarks.common import fresh
from benchmarks.common.contenders import Ours, plan_of
from benchmarks.common.fresh import MIB, WARMUP_PX, NotMeasured, Watch
from benchmarks.common.result import store, table
from harness.pictures import encoded, photo

SMALLEST_PX, LARGEST_PX, COUNTED_PX = 256, 8192, 1024
SECONDS = 200
MODES: tuple[Mode, ...] = ("whole", "bands", "recompute")
UHD = 3840, 2160
STYLE = "classic"  # whose network has these plans

Size = tuple[int, int]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark memory")
    parser.add_argument("--largest", type=int, default=LARGEST_PX, metavar="PX", help=f"default {LARGEST_PX}")
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S", help=f"most for a row ({SECONDS})")
    options = parser.parse_args(arguments)
    sides = [SMALLEST_PX]
    while 2 * sides[-1] <= options.largest:
        sides.append(2 * sides[-1])
    sizes = [(side, side) for side in sides]
    larger = [UHD] if options.largest >= min(UHD) else []
    rows = [row for device in ("cpu", "cuda") for row in predicted(device, [*sizes, *larger], options.seconds)]
    workers = [worker_row(size, index) for size in [(min(1024, options.largest),) * 2, *larger] for index in range(3)]
    for group in (rows, workers):
        print()
        table(tuple(group[0]), [tuple(row.values()) for row in group])
    for row in rows:
        row.pop("seconds")  # of a run that is being watched: what times are for is in peers
    store("memory", {"seconds_at_most": options.seconds, "rows": rows, "workers": workers})


def predicted(device: str, sizes: Sequence[Size], most_seconds: float) -> list[dict[str, Any]]:
    """Return a row for each mode and size on that device."""
    rows = []
    for mode in MODES:
        pace = 0.0  # seconds a pixel, of the last size
        for width, height in sizes:
            print(f"{device}: {mode} {width}x{height} ...", flush=True)
            precision = pick_precision("auto", torch.device("cpu")) if device == "cpu" else "fp16"
            plan = plan_of(Shape(height, width, 1, DTYPES[precision].itemsize), mode, cuda=device == "cuda")
            figures: dict[str, Any] = dict.fromkeys(("measured_mib", "ratio", "counted_mib", "seconds", "not_measured"))
            try:
                where = fresh.device(device)
                if pace * width * height > most_seconds:
                    raise NotMeasured(f"it would take about {pace * width * height:.0f} s")
                if plan.peak_bytes > (free := budget.free_bytes(where)):
                    raise NotMeasured(f"{free // MIB} MiB are free")
                figures |= fresh.call(measure, device, mode, (width, height))
                figures["ratio"] = plan.peak_bytes / MIB / figures["measured_mib"]
                pace = figures["seconds"] / (width * height)
            except NotMeasured as reason:
                figures["not_measured"] = str(reason)
            rows.append(
                {
                    "device": device,
                    "mode": mode,
                    "size": f"{width}x{height}",
                    "precision": precision,
                    "predicted_mib": plan.peak_bytes / MIB,
                    **figures,
                }
            )
    return rows


def measure(device_name: str, mode: Mode, size: Size) -> dict[str, float]:
    """Return one row's figures. Runs in the row's own process."""
    device = fresh.device(device_name)
    ours = Ours(device, mode)
    for _ in range(2):
        ours.draw(torch.zeros(1, WARMUP_PX, WARMUP_PX, 3, dtype=torch.uint8, device=device))

    def draw() -> None:
        ours.draw(torch.randint(0, 256, (1, size[1], size[0], 3), dtype=torch.uint8, device=device))

    with Watch(device) as watch:
        seconds = fresh.time_draw(draw, device)
    figures = {"measured_mib": watch.peak_mib, "seconds": seconds}
    if device.type == "cpu" and max(size) <= COUNTED_PX:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as session:
            draw()
        figures["counted_mib"] = _counted_peak(session) / MIB
    return figures


def _counted_peak(session: profile) -> int:
    assert session.profiler
    assert session.profiler.kineto_results
    level = peak = 0
    events: list[Any] = [event for event in session.profiler.kineto_results.events() if event.name() == "[memory]"]
    for _, size in sorted((event.start_ns(), event.nbytes()) for event in events):
        level += size
        peak = max(peak, level)
    return peak


def worker_row(size: Size, index: int) -> dict[str, Any]:
    """Return the figures of a whole request to a worker on the CPU with just the memory that this plan needs."""
    width, height = size
    itemsize = DTYPES[pick_precision("auto", torch.device("cpu"))].itemsize
    choices = list(plans(Shape(height, width, 1, itemsize), cuda=False))
    figures: dict[str, Any] = dict.fromkeys(("measured_mib", "seconds", "not_measured"))
    plan = choices[min(index, len(choices) - 1)]
    print(f"worker: {width}x{height}, {plan.mode}, {megabytes(plan.peak_bytes)} MiB ...", flush=True)
    try:
        if index >= len(choices):
            raise NotMeasured("the size has no smaller plan")
        figures |= fresh.call(request, size, plan)
    except NotMeasured as reason:
        figures["not_measured"] = str(reason)
    memory_mb, work = megabytes(plan.peak_bytes), float(plan.work)
    row = {"size": f"{width}x{height}", "mode": plan.mode, "memory_mb": memory_mb, "arithmetic": work}
    return {**row, **figures}


def request(size: Size, plan: Plan) -> dict[str, float]:
    """Return the figures of a whole request that follows that plan. Runs in the row's own process."""
    settings = Settings(device="cpu", memory_mb=megabytes(plan.peak_bytes))
    pipeline = Pipeline(settings)
    pipeline.load_styles()
    data, options = encoded(photo(*size), quality=90), {"style": STYLE, "max_side": str(max(size))}
    pipeline.stylize(encoded(photo(WARMUP_PX, WARMUP_PX)), options)
    cpu = torch.device("cpu")
    with Watch(cpu) as watch:
        seconds = fresh.time_draw(lambda: _check(pipeline, data, options, plan.mode), cpu)
    return {"measured_mib": watch.peak_mib, "seconds": seconds}


def _check(pipeline: Pipeline, data: bytes, options: dict[str, str], mode: Mode) -> None:
    _, report = pipeline.stylize(data, options)
    if report.plan != mode:
        raise NotMeasured(f"the worker drew in the mode {report.plan}")


if __name__ == "__main__":
    main()
