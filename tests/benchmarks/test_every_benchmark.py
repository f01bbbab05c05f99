"""Every benchmark can be started: what the tests do not run would else break unseen."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from harness.servers import ROOT

FILES = sorted((ROOT / "benchmarks").glob("*/[a-z]*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_module_is_imported(file: Path) -> None:
    importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
