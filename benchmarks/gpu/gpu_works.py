"""A check, on a GPU, of all code that is for GPUs: `scripts/gpu works`.

The tests of CUDA and of the operators, each with its outcome; each Triton operator against the plain form at every
shape that the network has; CUDA graphs; memory that runs out; the plan's peaks beside those measured. A rehearsal takes
Triton's interpreter, small shapes and the CPU: the tests that need CUDA are skipped there, a graph is the same run
without one, memory runs out because the allocation is told to fail.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor

from animegan.networks import graphs
from animegan.networks.animegan2.layers import LAYERS, Layer
from animegan.networks.animegan2.layout import Shape, below, source_rows
from animegan.networks.animegan2.network import Network
from animegan.networks.plan import Mode
from animegan.operators import kernels, plain
from animegan.operators.passes import Norm, Upsampling, Window
from animegan.picture.transfer import download
from animegan.resources import memory
from animegan.stylizer import Stylizer
from benchmarks.common.contenders import Ours, photo, plan_of
from benchmarks.common.fresh import MIB, Watch
from benchmarks.gpu import gpu

TESTS = ("tests/handler/test_cuda.py", "tests/handler/operators/test_operators.py")
OF_A_GPU = "test_cuda or cuda or triton"  # of the operators' tests, those whose tensors lie on a GPU
REHEARSAL = "test_cuda or (triton and cancel and float32)"
OUTCOMES = "ANIMEGAN_OUTCOMES"  # a file that gets a line of JSON for each test
MODES: tuple[Mode, ...] = ("whole", "bands", "recompute")
TESTS_S = 80  # of the tests, so that the rest of the phase has its time
HIGHEST_RATIO = 1.15  # of a plan's peak to the one measured

Size = tuple[int, int]  # width, height


def main() -> None:
    rehearse = gpu.rehearsal()
    results, where = gpu.Results("works", rehearse=rehearse), gpu.device(rehearse=rehearse)
    run_tests(results, rehearse=rehearse)
    for size in [(24, 17)] if rehearse else [(1024, 1024), (1023, 769)]:
        compare_operators(results, where, size)
    check_graphs(results, where, [(32, 24)] if rehearse else [(512, 512), (333, 517)])
    exhaust_memory(results, where, 192 if rehearse else 2048)
    compare_peaks(results, where, [(96, 96)] if rehearse else PEAK_SIZES)
    results.end()


PEAK_SIZES = [(512, 512), (1024, 1024), (1600, 900), (2048, 2048), (4096, 4096)]


def run_tests(results: gpu.Results, *, rehearse: bool) -> None:
    """Add a row for each test. After one that leaves the device unusable, a new process runs the rest."""
    file = gpu.folder() / "outcomes.jsonl"
    file.write_text("")
    environment = os.environ | {OUTCOMES: str(file), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    # The project's conftest starts servers; warnings differ from one version of PyTorch to the next.
    options = ["--noconftest", "-q", "--tb=short", "-p", "no:cacheprovider", "-p", "benchmarks.gpu.gpu_works"]
    options += ["-o", "addopts=", "-o", "filterwarnings=default", "-k", REHEARSAL if rehearse else OF_A_GPU]
    ids: list[str] = []
    start = time.perf_counter()
    while True:
        deselected = [word for test in ids for word in ("--deselect", test)]
        command = [sys.executable, "-m", "pytest", *options, *deselected, *TESTS]
        count = len(ids)
        with subprocess.Popen(command, env=environment, cwd=gpu.ROOT) as process:
            while True:
                code = process.poll()
                rows = [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
                for row in rows[count:]:
                    results.add("tests", **row)
                count = len(rows)
                if code is not None:
                    break
                time.sleep(0.2)
                if time.perf_counter() - start > TESTS_S:
                    process.terminate()
        if time.perf_counter() - start > TESTS_S:
            results.add(
                "tests", test="the rest", outcome=f"not run within {TESTS_S} s", not_measured="no time was left"
            )
            return
        if len(rows) == len(ids) or code in (0, 1):
            break
        ids = [row["test"] for row in rows]
    nothing_ran = code not in (0, 1) and not (ids and code == pytest.ExitCode.NO_TESTS_COLLECTED)
    if nothing_ran:
        results.add("tests", test="pytest itself", outcome=f"exit status {code}", ok=False)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print a line for each test, and for each error around one; a hook of pytest."""
    if OUTCOMES in os.environ and (report.when == "call" or report.outcome != "passed"):
        line = {"test": report.nodeid, "outcome": report.outcome, "ok": report.outcome != "failed"}
        line |= {"seconds": round(report.duration, 2), "error": _last_line(report) if report.failed else None}
        with Path(os.environ[OUTCOMES]).open("a") as file:
            file.write(json.dumps(line) + "\n")


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """End the process after an illegal access, which would fail every later test of it; a hook of pytest."""
    if OUTCOMES in os.environ and torch.cuda.is_available():
        try:
            torch.cuda.synchronize()
        except RuntimeError as error:
            item.session.shouldstop = f"the device is unusable: {str(error).splitlines()[0]}"


def _last_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr)[:300]


def compare_operators(results: gpu.Results, where: torch.device, size: Size) -> None:
    """Compare each operator in each layer, whole and a band from the middle, with the plain form: error and bound."""
    width, height = size
    for layer in LAYERS[1:]:
        source = below(layer)
        shape = (1, source.channels, source.size(height), source.size(width))
        x = torch.randn(shape, device=where).half().contiguous(memory_format=torch.channels_last)
        map_ = f"{source.channels}x{source.size(height)}x{source.size(width)}"
        with results.trial("operators", operator="moments", layer=source.name, size=map_) as row:
            row.update(_error_of_moments(x))
        rows = layer.size(height)
        for kind, (first, last) in {"whole": (0, rows), "band": (rows // 3, rows // 3 + max(1, rows // 5))}.items():
            name = "upsample_pad" if layer.source == "upsample" else "norm_act_pad"
            with results.trial("operators", operator=name, layer=layer.name, size=map_, part=kind) as row:
                row.update(_error_of_window(x, layer, size, first, last))


def _error_of_moments(x: Tensor) -> gpu.Row:
    difference = (kernels.moments(x) - plain.plain_moments(x)).abs().max().item()
    return {"error": difference, "bound": (bound := 1e-5), "ok": difference <= bound}


def _error_of_window(x: Tensor, layer: Layer, size: Size, first: int, last: int) -> gpu.Row:
    width, height = size
    source = below(layer)
    start, stop = source_rows(layer, first, last, Shape(height, width, 1, x.itemsize))
    band, moments = x[:, :, start:stop], plain.plain_moments(x)
    weight, bias = (torch.randn(source.channels, device=x.device) for _ in range(2))
    edges = (*layer.reads(first, last), *layer.reads(0, layer.size(width)))
    arguments: list[object] = [band, Norm(moments, weight, bias, source.slope)]
    if layer.source == "upsample":
        arguments.append(Upsampling(layer.size(height), layer.size(width), asymmetric=False))
        forms: list[Callable[..., Tensor]] = [kernels.upsample_pad, plain.plain_upsample_pad]
    else:
        arguments.append(band if source.residual else None)
        forms = [kernels.norm_act_pad, plain.plain_norm_act_pad]
    ours, expected = (form(*arguments, Window(start, source.size(height), *edges)).float() for form in forms)
    error = (ours - expected).abs()
    bound = torch.finfo(x.dtype).eps * expected.abs() + 16 * torch.finfo(torch.float32).eps * expected.abs().max()
    return {"error": error.max().item(), "bound": bound.max().item(), "ok": bool((error <= bound).all())}


@torch.inference_mode()
def check_graphs(results: gpu.Results, where: torch.device, sizes: list[Size]) -> None:
    """Check that a captured graph draws what its kernels draw, in every mode, and gives its memory back."""
    network = Ours(where, "whole").network
    for width, height in sizes:
        for mode in MODES:
            with results.trial("graphs", mode=mode, size=f"{width}x{height}") as row:
                plan = plan_of(Shape(height, width, 1, network.itemsize), mode, cuda=where.type == "cuda")
                picture = photo(width, height).to(where)
                expected = network._run(picture, plan)
                with mock.patch.object(graphs, "most_bytes", return_value=2**40):
                    for _ in range(graphs.OFTEN + 2):
                        output = network.draw(picture, plan)
                most = (output.int() - expected.int()).abs().max().item()
                graph_bytes = graphs.held_bytes()
                row.update({"largest_difference": most, "held_mib": graph_bytes / MIB, "ok": most <= 1})
                if where.type == "cuda":
                    row["ok"] &= graph_bytes == plan.peak_bytes
                else:
                    row["instead"] = "the same run without a graph"
                graphs.release()


def exhaust_memory(results: gpu.Results, where: torch.device, side: int) -> None:
    """Draw pictures for which memory runs out against the plan, and where little is free from the start."""
    picture = download(photo(side, side))
    stylizer = Stylizer("classic", device="cuda" if where.type == "cuda" else "cpu", warmup_px=64)
    expected = stylizer.run(picture)
    for kind, squeeze in (("runs out against the plan", _runs_out), ("little is free", _little_is_free)):
        with results.trial("memory", case=kind, side_px=side) as row:
            memory.release(where)
            with squeeze(stylizer, side):
                run = stylizer.run(picture)
            most = (run.batch.int() - expected.batch.int()).abs().max().item()
            row.update({"mode": run.plan.mode, "recovered": run.recovered, "largest_difference": most})
            smaller = run.plan.peak_bytes < expected.plan.peak_bytes
            row["ok"] = bool(smaller and run.recovered == (kind == "runs out against the plan") and most <= 2)


@contextmanager
def _runs_out(stylizer: Stylizer, side: int) -> Iterator[None]:
    """Have the allocator refuse what the driver calls free; on a CPU, have the first plan run out of memory."""
    if stylizer.device.type == "cuda":
        first, smaller = list(stylizer._drawing.network.plans(side, side, 1))[:2]
        allowed = torch.cuda.memory_reserved() + (first.peak_bytes + smaller.peak_bytes) // 2
        total = torch.cuda.get_device_properties(stylizer.device).total_memory
        torch.cuda.set_per_process_memory_fraction(allowed / total, stylizer.device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, stylizer.device)
        return
    really, failures = Network.draw, iter([torch.OutOfMemoryError("told to fail")])

    def draw(network: Network, pictures: Tensor, plan: object) -> Tensor:
        for failure in failures:
            raise failure
        return really(network, pictures, plan)  # type: ignore[arg-type]

    with mock.patch.object(Network, "draw", draw):
        yield


@contextmanager
def _little_is_free(stylizer: Stylizer, side: int) -> Iterator[None]:
    """Leave free only the memory of the second plan: a tensor takes the rest; on a CPU the budget is set."""
    choices = list(stylizer._drawing.network.plans(side, side, 1))
    remaining = (choices[0].peak_bytes + choices[1].peak_bytes) // 2
    if stylizer.device.type != "cuda":
        with mock.patch.object(stylizer, "memory_mb", max(1, remaining // MIB)):
            yield
        return
    hog = torch.empty(max(0, stylizer.budget_bytes() - remaining), dtype=torch.uint8, device=stylizer.device)
    try:
        yield
    finally:
        del hog
        memory.release(stylizer.device)


@torch.inference_mode()
def compare_peaks(results: gpu.Results, where: torch.device, sizes: list[Size]) -> None:
    """Compare the plan's peak with the measured one, in every mode."""
    network = Ours(where, "whole").network
    for width, height in sizes:
        for mode in MODES:
            with results.trial("peaks", mode=mode, size=f"{width}x{height}") as row:
                shape = Shape(height, width, 1, network.itemsize)
                plan = plan_of(shape, mode, cuda=where.type == "cuda")
                pictures = torch.zeros(1, height, width, 3, dtype=torch.uint8, device=where)
                network._run(pictures, plan)
                with Watch(where) as watch:
                    network._run(pictures, plan)
                peak_mib = watch.peak_mib + (pictures.nbytes / MIB if where.type == "cuda" else 0)
                row.update({"planned_mib": plan.peak_bytes / MIB, "measured_mib": peak_mib})
                if where.type == "cuda":
                    row["ratio"] = row["planned_mib"] / peak_mib
                    row["ok"] = 1 <= row["ratio"] <= HIGHEST_RATIO
                else:
                    row["instead"] = "resident memory, which at this size says little"


if __name__ == "__main__":
    main()
