"""Measurements in processes of their own, and what they take in memory above idle."""

from __future__ import annotations

import gc
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

import torch

from animegan.resources import memory
from animegan.resources.hardware import cpu_count
from animegan_cli.serving.processes import OPENMP
from benchmarks.common.resident import held_bytes, peak_bytes, reset_peak

MIB = 2**20
WARMUP_PX = 64
SLOW_S = 5  # a run that takes longer is timed once
MOST_RUNS = 5
MOST_RUNS_S = 10

P = ParamSpec("P")
T = TypeVar("T")


class NotMeasured(Exception):
    """A row has no figures; the message says why."""


def worker() -> ProcessPoolExecutor:
    """Return a pool of one process: torch is imported, the heap holds nothing else, threads wait as a server's do."""
    os.environ.update({**OPENMP, "KINETO_LOG_LEVEL": "99", **os.environ})  # the profiler's log is of no use here
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch"])
    return ProcessPoolExecutor(1, mp_context=context, initializer=_prepare)


def call(task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what the task returns, from a fresh process.

    Raise what it raises, and `NotMeasured` where memory runs out.
    """
    with worker() as process:
        try:
            return process.submit(task, *args, **kwargs).result()
        except BrokenProcessPool:
            raise NotMeasured("its process was killed, for want of memory as it seems") from None
        except (RuntimeError, MemoryError) as error:
            if memory.is_out_of_memory(error):
                raise NotMeasured("memory ran out") from None
            raise


def _prepare() -> None:
    torch.set_num_threads(cpu_count())
    with suppress(OSError):  # if memory runs out, nobody else's process is to be killed for it
        Path("/proc/self/oom_score_adj").write_text("1000")


def device(name: str) -> torch.device:
    """Return the device of that name. Raises `NotMeasured` for a GPU where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise NotMeasured("there is no CUDA GPU here")
    return torch.device(name)


def time_draw(draw: Callable[[], object], where: torch.device) -> float:
    """Return the seconds of one run, all of it."""
    synchronize(where)
    start = time.perf_counter()
    draw()
    synchronize(where)
    return time.perf_counter() - start


def median_seconds(draw: Callable[[], object], where: torch.device, first: float) -> float:
    """Return the median of further runs after the first, which took `first` seconds; that itself where it is slow."""
    seconds: list[float] = []
    while first < SLOW_S and len(seconds) < MOST_RUNS and sum(seconds) < MOST_RUNS_S:
        seconds.append(time_draw(draw, where))
    return statistics.median(seconds or [first])


def synchronize(where: torch.device) -> None:
    """Wait until the device has finished its work."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)


class Watch:
    """The MiB that a block of code takes above what was in use before it: resident on a CPU, allocated on CUDA.

    `peak_mib` is the most, `held_mib` what was not given back at the end; on CUDA what PyTorch's cache keeps is held.
    """

    peak_mib: float
    held_mib: float

    def __init__(self, where: torch.device) -> None:
        self._cuda = where if where.type == "cuda" else None

    def __enter__(self) -> Watch:
        gc.collect()
        memory.release(self._cuda or torch.device("cpu"))
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(self._cuda)
            self._idle = torch.cuda.memory_allocated(self._cuda) / MIB
        else:
            with suppress(OSError):  # where the kernel does not let go of the old peak, the new one can't be under it
                reset_peak()
            self._idle = held_bytes() / 2**20
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._cuda:
            synchronize(self._cuda)
            peak, end = torch.cuda.max_memory_allocated(self._cuda) / MIB, torch.cuda.memory_reserved(self._cuda) / MIB
        else:
            peak, end = peak_bytes() / 2**20, held_bytes() / 2**20
        self.peak_mib, self.held_mib = peak - self._idle, end - self._idle
