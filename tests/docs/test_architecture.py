"""The packages import each other only as the contracts in `pyproject.toml` allow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.servers import ROOT


def test_the_contracts_are_kept() -> None:
    command = Path(sys.executable).with_name("lint-imports")  # in this process it would disable others' loggers
    linted = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout
