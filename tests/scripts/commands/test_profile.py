"""`animegan profile`: the table, the trace, the mistakes, and what measures memory (in a process of its own)."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from animegan.networks.animegan2.fused import trace
from animegan.networks.animegan2.generator import build
from animegan.networks.animegan2.layers import LAYERS
from animegan.networks.animegan2.layout import Shape
from animegan.networks.animegan2.plan import plans
from animegan.networks.plan import megabytes
from animegan.resources.memory import release
from animegan_cli.commands import profile as work
from harness import MIB
from harness.commands import run_command
from harness.files.weight_files import bundled_tensors
from harness.pictures import encoded, photo, photo_tensor

pytestmark = pytest.mark.slow

BLOCKS = ["block_a", "block_b", "block_c", "block_d", "block_e", "out_layer"]
ROWS = ["decode", "faces", "plan", "transfer", *BLOCKS, "blend", "encode", "total"]
CEL = ["first", "copy", "body", "cb", "u1", "u2", "hr", "last"]  # of the network
FINISH = ["scale", "measure", "lines", "grade"]

ENVIRONMENT = {
    **os.environ,
    "ANIMEGAN_DEVICE": "cpu",
    "ANIMEGAN_WARMUP_PX": "0",
    "ANIMEGAN_PRECISION": "fp32",
    "ANIMEGAN_CPU_THREADS": "1",
    "COLUMNS": "200",
    "LC_ALL": "C.UTF-8",
}


def profile(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "animegan_cli", "profile", *map(str, arguments)],
        env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def profile_here(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command("profile", *arguments, environment={**ENVIRONMENT, **environment})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("photos") / "a.jpg"
    file.write_bytes(encoded(photo(192, 144)))
    return file


@pytest.fixture(scope="module")
def result(file: Path) -> subprocess.CompletedProcess[str]:
    return profile(file, "--style", "classic", "--trace", file.with_name("trace.json"))


def rows(result: subprocess.CompletedProcess[str]) -> dict[str, list[float]]:
    """The numbers of each row: ms, MiB of Python, of the process, of the device."""
    assert (result.returncode, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    [start] = [index for index, words in enumerate(lines) if words[:1] == ["PHASE"]]
    return {name: [float(word) for word in words] for name, *words in lines[start + 1 : -2]}


def test_a_row_for_each_phase_and_block_in_their_order(result: subprocess.CompletedProcess[str]) -> None:
    table = rows(result)
    assert list(table) == ROWS
    assert all(len(numbers) == 4 and min(numbers) >= 0 for numbers in table.values())
    assert all(table[block][0] > 0 for block in BLOCKS)
    assert sum(table[name][0] for name in ROWS[:-1]) <= table["total"][0] + 0.05 * len(ROWS)  # as they are rounded
    for column in (1, 2, 3):
        assert table["total"][column] >= max(numbers[column] for numbers in table.values()) > 0


def test_it_tells_what_profiling_itself_took(result: subprocess.CompletedProcess[str]) -> None:
    last = result.stdout.splitlines()[-1]
    whole, *parts = [float(number) for number in re.findall(r"\d+\.\d", last)]
    assert last.startswith("Profiling took ")
    assert len(parts) == 5
    assert sum(parts) == pytest.approx(whole, abs=0.5)
    assert whole > rows(result)["total"][0] / 1000


def test_the_blocks_stay_within_the_plan_that_is_named(result: subprocess.CompletedProcess[str]) -> None:
    first, table = result.stdout.splitlines()[0], rows(result)
    assert first.startswith("192×144 px, style classic, fp32 on cpu with 1 thread. Plan: bands, ")
    predicted = float(first.partition("bands, ")[2].split()[0])
    for block in BLOCKS:
        assert 0.5 * predicted < table[block][3] <= predicted
    assert table["decode"][3] == table["encode"][3] == 0
    assert table["total"][2] > 0.3 * table["total"][3]  # the process has touched a good part of it


def test_the_trace_names_the_layers(file: Path, result: subprocess.CompletedProcess[str]) -> None:
    rows(result)
    events = json.loads(file.with_name("trace.json").read_text())["traceEvents"]
    names = {event.get("name") for event in events}
    assert {layer.name for layer in LAYERS} | {"decode", "plan", "transfer", "run", "encode", "[memory]"} <= names
    assert sorted(path.name for path in file.parent.iterdir()) == ["a.jpg", "trace.json"]


@pytest.mark.parametrize(("options", "network"), [((), CEL), (("--quality", "fast"), ["b"])])
def test_a_look_has_rows_for_its_network_and_its_steps(
    file: Path, options: tuple[str, ...], network: list[str]
) -> None:
    record = profile_here(file, *options)
    table = rows(record)
    assert list(table) == ["decode", "faces", "plan", "transfer", *network, *FINISH, "encode", "total"]
    assert all(table[name][0] > 0 for name in (*network, *FINISH))
    assert sum(table[name][0] for name in table if name != "total") <= table["total"][0] + 0.05 * len(table)
    predicted = float(record.stdout.partition("Plan: whole, ")[2].split()[0])
    assert max(table[name][3] for name in table) <= predicted


def test_the_settings_and_the_options_are_obeyed(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(encoded(photo(320, 240)))
    config, candidates = tmp_path / "animegan.toml", plans(Shape(192, 256, 1, 4), cuda=False)
    need = megabytes(candidates[-1].peak_bytes)
    fitting = next(plan for plan in candidates if plan.peak_bytes <= need * MIB)
    config.write_text(f'memory_mb = {need}\nstyle = "classic"\n')
    record = profile_here(file, "--max-side", "256", ANIMEGAN_CONFIG=str(config))
    assert list(rows(record)) == ROWS
    summary, _, plan = record.stdout.splitlines()[0].partition(" Plan: ")
    assert summary == "256×192 px, style classic, fp32 on cpu with 1 thread."
    again = f"{fitting.work:.1f} times the arithmetic"
    assert plan == f"{fitting.mode}, {megabytes(fitting.peak_bytes)} MiB at most, {again}; {need} MiB may be taken."


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nowhere.jpg"], 2, "nowhere.jpg' does not exist"),
        (["notes.txt"], 1, "text, which isn't read here"),
        (["a.jpg", "--trace", "/proc/none/trace.json"], 1, "/proc/none/trace.json can't be written"),
        (["a.jpg", "--trace", "."], 1, "can't be written"),
        (["a.jpg", "--snapshot", "memory.pickle"], 1, "--snapshot is the history of CUDA's allocator"),
    ],
)
def test_a_clear_line_for_each_mistake(tmp_path: Path, arguments: list[str], status: int, words: str) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(photo(32, 32)))
    (tmp_path / "notes.txt").write_text("not a picture")
    paths = [tmp_path / word if "." in word else word for word in arguments]
    record = profile_here(*paths)
    assert record.returncode == status
    assert words in " ".join(record.stderr.replace("│", " ").split())
    assert "Traceback" not in record.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "notes.txt"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_the_same_and_a_snapshot(file: Path, tmp_path: Path) -> None:
    snapshot = ("--style", "classic", "--snapshot", tmp_path / "memory.pickle")
    record = profile(file, *snapshot, ANIMEGAN_DEVICE="cuda", ANIMEGAN_PRECISION="fp16")
    table = rows(record)
    assert list(table) == ROWS
    assert all(table[block][0] > 0 for block in BLOCKS)
    predicted = float(re.findall(r"whole, (\d+) MiB", record.stdout)[0])
    assert 0.5 * predicted < max(table[block][3] for block in BLOCKS) <= predicted
    assert pickle.loads((tmp_path / "memory.pickle").read_bytes())["device_traces"]


def test_a_frozen_trace_tells_its_layers_too() -> None:
    module = torch.jit.freeze(trace(build(bundled_tensors())).eval())
    with torch.inference_mode(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        module(photo_tensor(32, 32))
    assert [event.name for event in profiler.events() if event.is_user_annotation] == [layer.name for layer in LAYERS]


def looked_twice(watch: work._Watch) -> None:
    looks = len(watch.resident.times)
    while len(watch.resident.times) < looks + 2:
        time.sleep(0.001)


@pytest.mark.parametrize("exact", [True, False])
def test_memory_that_came_and_went_is_seen(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exact:
        monkeypatch.setattr(work, "_CLEAR_PEAK", Path("/nowhere/clear_refs"))
    release(torch.device("cpu"))  # or it lies where other tests' memory still is
    with work._Watch() as watch:
        idle = time.time_ns()
        looked_twice(watch)
        before = time.time_ns()
        big = np.ones(48 * MIB, np.uint8)
        looked_twice(watch)
        del big
        after = time.time_ns()
    assert exact or not watch.exact
    for levels in (watch.python, watch.resident):
        assert 44 * MIB < levels.peak([(before, after)], levels.values[0]) < 64 * MIB
        assert levels.peak([(idle, idle)], levels.values[0]) < MIB


def test_a_peak_is_of_its_ranges() -> None:
    levels = work._Levels()
    for start, value in ((0, 5), (10, 9), (20, 7), (30, 5)):
        levels.add(start, value)
    assert [levels.peak([(a, b)], 5) for a, b in ((0, 10), (0, 11), (15, 16), (20, 29), (31, 99))] == [0, 4, 4, 2, 0]
    assert levels.peak([(31, 99), (22, 23)], 5) == 2
    assert levels.peak([], 5) == 0
