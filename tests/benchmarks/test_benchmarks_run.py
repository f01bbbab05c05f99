"""Benchmarks of drawing run at a size that takes seconds, and store what can be read again.

Those of a whole server take minutes: they run before a release, and tests/benchmarks/test_promises.py reads what they
stored.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from animegan.operators import native
from benchmarks import plots
from benchmarks.common import contenders, fresh, result
from benchmarks.engine import ablation, memory, peers, seams
from benchmarks.service import first_visit
from harness import MIB

pytestmark = pytest.mark.slow

CHEAP_ROWS = ("original", "no grad, eval", "ours: bands")
CHEAP_CONTENDERS = ("ours, as planned", "eager fp32")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for results, instead of the repository's."""
    monkeypatch.setattr(result, "FOLDER", tmp_path)
    return tmp_path


def stored(folder: Path, name: str) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    assert {"cpu", "operators", "bf16", "gpu", "torch"} <= figures["machine"].keys()
    return figures


def test_the_ablation_measures_every_row_or_says_why_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "ROWS", [row for row in ablation.ROWS if row.name in CHEAP_ROWS])
    ablation.main(["--side", "64"])
    rows = stored(folder, "ablation")["rows"]
    assert [row["row"] for row in rows] == [*CHEAP_ROWS] * 2
    for row in rows:
        assert (row["seconds"] is None) == (row["peak_mib"] is None) == (row["not_measured"] is not None)
    cpu = {row["row"]: row for row in rows if row["device"] == "cpu"}
    assert cpu["no grad, eval"]["psnr_db"] == "identical"
    assert cpu["original"]["peak_mib"] > cpu["no grad, eval"]["peak_mib"], "autograd keeps what it may need"
    assert cpu["ours: bands"]["psnr_db"] > 45
    if not torch.cuda.is_available():
        assert {row["not_measured"] for row in rows if row["device"] == "cuda"} == {"there is no CUDA GPU here"}
    assert stored(folder, "ablation")["measured"] in plots.render("ablation")


def test_the_ablation_takes_the_other_family(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("no grad, eval", "TorchScript", "ours: fused, whole", "ours: recompute")
    monkeypatch.setattr(ablation, "ROWS", [row for row in ablation.ROWS if row.name in names])
    ablation.main(["--side", "128", "--network", "redraw_video"])
    rows = {row["row"]: row for row in stored(folder, "ablation_redraw_video")["rows"] if row["device"] == "cpu"}
    assert rows["TorchScript"]["psnr_db"] == "identical" or rows["TorchScript"]["psnr_db"] > 80
    assert rows["ours: fused, whole"]["psnr_db"] > 40  # its photo, as shrunk, and its drawing are rounded to 8 bits
    assert "no plan 'recompute'" in rows["ours: recompute"]["not_measured"]


@pytest.mark.parametrize("network", ["animegan2", "redraw_video"])
def test_peers_are_compared_in_rounds(folder: Path, monkeypatch: pytest.MonkeyPatch, network: str) -> None:
    names = [*CHEAP_CONTENDERS, *(["ONNX Runtime fp32"] if network == "redraw_video" else [])]
    monkeypatch.setattr(peers, "CONTENDERS", {name: peers.CONTENDERS[name] for name in names})
    peers.main(["--sizes", "64", "80x48", "--rounds", "2", "--network", network])
    rows = [row for row in stored(folder, contenders.result_name("peers", network))["rows"] if row["device"] == "cpu"]
    assert len(rows) == 2 * len(names)
    assert all(row["ratio"] == 1 for row in rows if row["contender"] == "ours, as planned")
    for row in rows:
        if row["not_measured"] is None:
            assert row["seconds_min"] <= row["seconds"] <= row["seconds_max"]
            assert row["ratio_min"] <= row["ratio_max"]
    assert not any(row["not_measured"] for row in rows)


def _form_held_to_avx2() -> str:
    peers._hold_to_avx2("OpenVINO")
    form = native.best()
    return form.form if form else ""


def test_what_chooses_its_instructions_is_held_to_avx2_or_left_out() -> None:
    assert fresh.call(_form_held_to_avx2) in {"avx2", "plain", ""}
    for name in ("ONNX Runtime fp32", "ncnn fp32"):
        with pytest.raises(fresh.NotMeasured, match="can't be held to AVX2"):
            peers._hold_to_avx2(name)
    assert peers.CONTENDERS.keys() > peers.UNHELD


@pytest.mark.xdist_group("memory")
def test_memory_is_predicted_and_measured() -> None:
    rows = memory.predicted("cpu", [(256, 256)], most_seconds=100)
    assert [row["mode"] for row in rows] == ["whole", "bands", "recompute"]
    for row in rows:
        assert 0.8 <= row["predicted_mib"] / row["counted_mib"] <= 1.2
        assert row["ratio"] == pytest.approx(row["predicted_mib"] / row["measured_mib"])


def test_what_takes_too_long_or_does_not_fit_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = memory.predicted("cpu", [(64, 64), (128, 128)], most_seconds=0)
    assert all(row["not_measured"].startswith("it would take") for row in rows[1::2])
    monkeypatch.setattr("animegan.resources.budget.free_bytes", lambda _: 1)
    assert {row["not_measured"] for row in memory.predicted("cpu", [(64, 64)], 1)} == {"0 MiB are free"}


def test_tiles_have_seams_and_bands_have_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "PICTURE", folder / "seams.jpg")
    seams.main(["--width", "160", "--height", "128", "--tile", "64"])
    cut, blended, bands = stored(folder, "seams")["rows"]
    assert cut["jump_at_edges_steps"] > 1.5 * cut["jump_elsewhere_steps"]
    assert cut["psnr_db"] < 40
    assert blended["psnr_db"] < 40
    assert bands["psnr_db"] > 80
    assert bands["largest_difference_steps"] < 0.5
    assert 0 < (folder / "seams.jpg").stat().st_size < 300_000


@pytest.mark.server
def test_a_first_visit_is_measured(folder: Path) -> None:
    first_visit.main(["--visits", "1", "--latency-ms", "1", "--kb-per-s", "10000"])
    first, again = stored(folder, "first_visit")["visits"]
    assert (first["visit"], again["visit"]) == ("first", "again")
    assert first["ready_ms"] > 0
    assert first["kb"] > again["kb"] > 0


def test_a_process_that_is_killed_is_a_row_without_figures() -> None:
    with pytest.raises(fresh.NotMeasured, match="killed"):
        fresh.call(_end)


@pytest.mark.xdist_group("memory")
def test_a_watch_sees_a_peak_that_was_given_back() -> None:
    peak, rest = fresh.call(_take_and_give_back)
    assert 64 <= peak < 80
    assert rest < 16


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _take_and_give_back() -> tuple[float, float]:
    with fresh.Watch(torch.device("cpu")) as watch:
        torch.ones(64 * MIB, dtype=torch.uint8)
    return watch.peak_mib, watch.held_mib
