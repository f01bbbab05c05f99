"""The page of figures is what was measured."""

from __future__ import annotations

import json

from benchmarks import report
from benchmarks.result import FOLDER


def test_the_page_is_generated() -> None:
    assert report.REPORT.read_text() == report.render()


def test_every_result_tells_its_machine() -> None:
    for file in FOLDER.glob("*.json"):
        result = json.loads(file.read_text())
        assert result["measured"]
        assert {"cpu", "cpus", "gpu", "torch"} <= result["machine"].keys()
