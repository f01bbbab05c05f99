"""The packages are as `docs/architecture.md` and the contracts in `pyproject.toml` have it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.servers import ROOT

QUESTIONS = (
    "(the halo)",
    "the lines of a look",
    "refused with 429",
    "a job whose gateway dies",
    "add an image format",
    "add a style",
    "nothing is lost",
)
MOST_NAMES = 16  # in a folder of code: a person sees at a glance what is there


def test_the_contracts_are_kept() -> None:
    command = Path(sys.executable).with_name("lint-imports")  # in this process it would disable others' loggers
    process = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout


def test_the_engine_speaks_no_chinese() -> None:
    """What it says in words is English; `animegan_service.notes`, the gateway and the command translate."""
    for file in (ROOT / "handler").rglob("*.py"):
        assert not re.search("[\u4e00-\u9fff]", file.read_text()), file


@pytest.mark.parametrize("room", ["handler", "gateway", "scripts", "benchmarks", "tools", "config", "deploy"])
def test_a_folder_shows_what_a_person_can_take_in(room: str) -> None:
    for folder in (ROOT / room, *(ROOT / room).rglob("*/")):
        if folder.name == "__pycache__" or folder == ROOT / "benchmarks" / "results":
            continue
        names = {file.name for file in folder.iterdir() if file.name[0] not in "._" and file.suffix != ".so"}
        assert len(names - {"py.typed"}) <= MOST_NAMES, folder


def test_where_to_look_is_where_it_is() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("## Where to look")[2]
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    for question in QUESTIONS:
        [row] = [row for row in rows if question in row]
        assert any((ROOT / path).exists() for path in re.findall(r"`([\w./-]+/[\w./-]+)`", row)), row
    for row in rows:
        for name, path in re.findall(r"`(\w+)` in `([\w./-]+\.\w+)`", row):
            assert re.search(rf"\b{name}\b", (ROOT / path).read_text("utf-8")), f"{path} has no {name}"
