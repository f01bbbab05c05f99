"""`animegan profile`: where one picture's time and memory go, phase by phase, on the server's own settings.

The picture takes the server's own way, which marks its phases and the network's layers for PyTorch's profiler. It goes
there three times, under the profiler: to warm up; for the times and the device's memory; and for the memory of Python
and of the process, which `tracemalloc` and a thread that looks every millisecond measure, and slow down. CUDA graphs,
in which layers are not told apart, stay out of it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import tracemalloc
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from animegan_cli.serving.processes import OPENMP

# Read when torch is imported; without the second, each start and stop of the profiler is a line on stderr.
os.environ.update({**OPENMP, "KINETO_LOG_LEVEL": "99", **os.environ})

import psutil
import torch
from rich.table import Table
from torch._C._autograd import DeviceType, _KinetoEvent
from torch.profiler import ProfilerActivity, record_function

from animegan import settings
from animegan.errors import BadOption, BadSetting
from animegan.networks.plan import Plan, megabytes
from animegan.pipeline.items import Finished
from animegan.pipeline.pipeline import Pipeline
from animegan.report import Report
from animegan.resources import hardware
from animegan_cli.checkout import CONFIG
from animegan_cli.replacing import replacing

_TOTAL = "total"
_ON_HOST = ("decode", "plan", "encode", _TOTAL)  # all others run on the device
_AROUND = ("run", _TOTAL)  # marks that hold others

_SERVER_SETTINGS = CONFIG / "animegan.toml"  # which scripts/serve names too
_LOOK_EVERY_S = 0.001
_STATUS = Path("/proc/self/status")
_CLEAR_PEAK = Path("/proc/self/clear_refs")

_Ranges = Mapping[str, list[tuple[int, int]]]  # of each phase, in ns


@dataclass(frozen=True)
class Phase:
    """The cost of a phase: its time, and the most memory, in bytes, that there was in it above what the run began with.

    `python`: as `tracemalloc` counts it. `resident`: the process's. `device`: PyTorch's allocations on the device.
    """

    name: str
    seconds: float
    python_bytes: int
    resident_bytes: int
    device_bytes: int


@dataclass(frozen=True)
class Profile:
    """`exact`: no peak of the resident memory was missed, since the kernel kept it; else it was looked at every ms.

    `own_seconds`: what profiling itself took, by what it was spent on.
    """

    phases: list[Phase]
    report: Report
    plan: Plan
    device: torch.device
    threads: int
    budget_bytes: int
    exact: bool
    own_seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass
class _Levels:
    """A value over time: `values[i]` is the highest from `times[i]` (ns) until the next."""

    times: array[int] = field(default_factory=lambda: array("q"))
    values: array[int] = field(default_factory=lambda: array("q"))

    def add(self, start: int, value: int) -> None:
        self.times.append(start)
        self.values.append(value)

    def peak(self, ranges: list[tuple[int, int]], base: int = 0) -> int:
        """Return the highest value above `base` in any of the ranges; at least 0."""
        peaks = (
            max(self.values[max(0, bisect_right(self.times, start) - 1) : bisect_left(self.times, end)], default=0)
            for start, end in ranges
        )
        return max(0, max(peaks, default=0) - base)


def profile(
    image: Path, options: Mapping[str, str], *, trace: Path | None = None, snapshot: Path | None = None
) -> Profile:
    """Draw the picture in this process, with a request's options. `trace` and `snapshot` are files to write.

    Raises what a request would raise; `BadOption` for a snapshot without CUDA, `BadSetting` where a file can't be read
    or written.
    """
    try:
        data = image.read_bytes()
    except OSError as error:
        raise BadSetting(f"{image} can't be read: {error.strerror}.") from None
    if _SERVER_SETTINGS.is_file():
        os.environ.setdefault("ANIMEGAN_CONFIG", str(_SERVER_SETTINGS))
    configured = settings.load()
    torch.set_num_threads(configured.cpu_threads or hardware.cpu_count())
    own = _Stopwatch()
    pipeline = Pipeline(configured, threads=0)
    if snapshot and pipeline.device.type != "cuda":
        raise BadOption("--snapshot is the history of CUDA's allocator, and this runs on the CPU. Try --trace instead.")
    with _optional(trace) as trace_part, _optional(snapshot) as snapshot_part:
        own.lap("start")
        _run(pipeline, data, options)
        own.lap("load and draw")
        time_record, result = _run(pipeline, data, options, count_memory=True)
        own.lap("draw for the times")
        if trace_part:
            time_record.export_chrome_trace(str(trace_part))
        pipeline.cleaner.release()  # else this run would take what that one left, and the process would not grow
        with _history(snapshot_part), _Watch() as watch:
            memory_record, _ = _run(pipeline, data, options)
    own.lap("draw for the memory")
    assert result.method.plan
    phases = _phases(time_record, memory_record, watch, pipeline.device)
    own.lap("read the record")
    return Profile(
        phases=phases,
        report=result.report,
        plan=result.method.plan,
        device=pipeline.device,
        threads=torch.get_num_threads(),
        budget_bytes=pipeline.stylizer(result.report.style, fast=result.decoded.options.fast).budget_bytes(),
        exact=watch.exact,
        own_seconds=own.seconds,
    )


class _Stopwatch:
    """Times one thing after the other; the first begins with the process."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = psutil.Process().create_time()

    def lap(self, name: str) -> None:
        """Record under that name the time since the last lap."""
        now = time.time()
        self.seconds[name] = max(0.0, now - self._since)
        self._since = now


def _run(
    pipeline: Pipeline, data: bytes, options: Mapping[str, str], *, count_memory: bool = False
) -> tuple[torch.profiler.profile, Finished]:
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (pipeline.device.type == "cuda")
    with (
        torch.profiler.profile(activities=activities, profile_memory=count_memory) as profiler,
        record_function(_TOTAL),
    ):
        item = pipeline.decode(data, options)
        pipeline.draw([item])
        pipeline.encode([item])
    return profiler, item.result()


def _phases(
    time_record: torch.profiler.profile, memory_record: torch.profiler.profile, watch: _Watch, device: torch.device
) -> list[Phase]:
    kind = DeviceType.CUDA if device.type == "cuda" else DeviceType.CPU
    on_host, on_device = _ranges(time_record, DeviceType.CPU), _ranges(time_record, kind)
    allocations, host_ranges = _allocations(time_record, kind), _ranges(memory_record, DeviceType.CPU)
    return [
        Phase(
            name=name,
            # What is launched on a GPU is over long before it is done there.
            seconds=sum(end - start for start, end in (name not in _ON_HOST and on_device[name]) or on_host[name])
            / 1e9,
            python_bytes=watch.python.peak(host_ranges[name], watch.python.values[0]),
            resident_bytes=watch.resident.peak(host_ranges[name], watch.resident.values[0]),
            device_bytes=allocations.peak(on_host[name]),
        )
        for name in _names(on_host)
    ]


def _names(ranges: _Ranges) -> list[str]:
    """Return the phases in the order in which they began, the total last."""
    names = sorted((name for name in ranges if name not in _AROUND), key=lambda name: min(ranges[name]))
    return [*names, _TOTAL]


def _ranges(profiler: torch.profiler.profile, kind: DeviceType) -> _Ranges:
    ranges: _Ranges = defaultdict(list)
    for event in _events(profiler):
        if event.is_user_annotation() and event.device_type() == kind:
            ranges[event.name().partition(".")[0]].append((event.start_ns(), event.start_ns() + event.duration_ns()))
    return ranges


def _allocations(profiler: torch.profiler.profile, kind: DeviceType) -> _Levels:
    """Return PyTorch's allocated bytes over time, from the profiler's start."""
    levels, level = _Levels(), 0
    levels.add(0, 0)
    changes = [event for event in _events(profiler) if event.name() == "[memory]" and event.device_type() == kind]
    for event in sorted(changes, key=_KinetoEvent.start_ns):
        level += event.nbytes()  # type: ignore[attr-defined]  # missing in PyTorch's stub
        levels.add(event.start_ns(), level)
    return levels


def _events(profiler: torch.profiler.profile) -> list[_KinetoEvent]:
    assert profiler.profiler
    assert profiler.profiler.kineto_results
    return profiler.profiler.kineto_results.events()


class _Watch:
    """The memory of Python and of the process, while a block of code runs."""

    def __init__(self) -> None:
        self.python, self.resident = _Levels(), _Levels()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, daemon=True)

    def __enter__(self) -> _Watch:
        self.exact, self._resident_bytes = _resident()
        tracemalloc.start()
        self._since = time.time_ns()  # the profiler's clock
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        tracemalloc.stop()

    def _keep_looking(self) -> None:
        while not self._end.wait(_LOOK_EVERY_S):
            self._look()
        self._look()

    def _look(self) -> None:
        now = time.time_ns()
        self.python.add(self._since, tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()
        self.resident.add(self._since, self._resident_bytes())
        self._since = now


def _resident() -> tuple[bool, Callable[[], int]]:
    """Return whether the kernel tells the peak of resident bytes between two reads, and a reader of it or of now's."""
    try:
        _CLEAR_PEAK.write_text("5")
    except OSError:  # not Linux, or not allowed
        process = psutil.Process()
        return False, lambda: int(process.memory_info().rss)
    return True, _read_peak


def _read_peak() -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    _CLEAR_PEAK.write_text("5")
    return int(line.split()[1]) * 1024


@contextlib.contextmanager
def _history(file: Path | None) -> Iterator[None]:
    """Write the history of CUDA's allocator to the file."""
    if not file:
        yield
        return
    torch.cuda.memory._record_memory_history()
    try:
        yield
        torch.cuda.memory._dump_snapshot(str(file))  # type: ignore[no-untyped-call]
    finally:
        torch.cuda.memory._record_memory_history(enabled=None)


def _optional(file: Path | None) -> contextlib.AbstractContextManager[Path | None]:
    return replacing(file) if file else contextlib.nullcontext()


def table(result: Profile) -> Table:
    """Return the phases, one a line: milliseconds, and MiB."""
    rows = Table(box=None, pad_edge=False)
    rows.add_column("PHASE")
    for heading in ("MS", "PYTHON MIB", "RSS MIB", "DEVICE MIB"):
        rows.add_column(heading, justify="right", no_wrap=True)
    for phase in result.phases:
        sizes = (phase.python_bytes, phase.resident_bytes, phase.device_bytes)
        rows.add_row(phase.name, f"{1000 * phase.seconds:.1f}", *(f"{size / 2**20:.1f}" for size in sizes))
    return rows


def summary(result: Profile) -> str:
    """Return a sentence on the picture and its plan."""
    report, plan = result.report, result.plan
    width, height = report.size
    threads = f" with {result.threads} thread{'s' * (result.threads > 1)}" if result.device.type == "cpu" else ""
    again = f", {plan.work:.1f} times the arithmetic" if plan.work > 1 else ""
    return (
        f"{width}×{height} px, style {report.style}, {report.precision} on {result.device}{threads}. "
        f"Plan: {plan.mode}, {megabytes(plan.peak_bytes)} MiB at most{again}; "
        f"{result.budget_bytes // 2**20} MiB may be taken."
    )


def own_time(result: Profile) -> str:
    """Return a sentence on the time of profiling itself: a single picture takes the table's total."""
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in result.own_seconds.items())
    return f"Profiling took {sum(result.own_seconds.values()):.1f} s: {parts}."


def legend(result: Profile) -> str:
    """Return what the table's columns mean."""
    sampling = "" if result.exact else f", looked at every {1000 * _LOOK_EVERY_S:.0f} ms"
    timing = "" if result.device.type == "cpu" else " Transfer and blocks are timed on the device."
    return (
        "Memory is the highest in the phase, above what there was at the start. Python: by tracemalloc. "
        f"RSS: of the process{sampling}. Device: PyTorch's allocations on {result.device}.{timing}"
    )
