"""The page of figures is what was measured."""

from __future__ import annotations

import json

import pytest

from benchmarks import plots, report
from benchmarks.common.result import FOLDER
from benchmarks.endurance import faults


def test_the_page_is_generated() -> None:
    assert report.REPORT.read_text() == report.render()


def test_the_page_of_faults_is_that_of_the_stored_run() -> None:
    assert faults.PAGE.read_text() == faults.render()


def test_every_result_tells_its_machine() -> None:
    for file in FOLDER.glob("*.json"):
        result = json.loads(file.read_text())
        assert result["measured"]
        assert {"cpu", "cpus", "gpu", "torch"} <= result["machine"].keys()


@pytest.mark.parametrize("name", plots.PLOTS)
def test_a_plot_is_of_the_stored_result(name: str) -> None:
    stored, picture = FOLDER / f"{name}.json", plots.PICTURES / f"{name}.svg"
    assert stored.exists() == picture.exists()
    if stored.exists():
        assert json.loads(stored.read_text())["measured"] in picture.read_text()
