"""Write `docs/benchmarks.md` from the stored results: `python -m benchmarks.report`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.result import FOLDER

REPORT = FOLDER.parents[1] / "docs" / "benchmarks.md"

_INTRODUCTION = """\
# Benchmarks

Generated from `benchmarks/results/*.json` by `python -m benchmarks.report`; a test fails when they differ.
`scripts/benchmark NAME` measures again and replaces the stored result. No figure of a GPU is stored yet.
"""


def render() -> str:
    """The page as Markdown."""
    return "\n".join([_INTRODUCTION, *(_section(file) for file in sorted(FOLDER.glob("*.json")))])


def _section(file: Path) -> str:
    result = json.loads(file.read_text())
    machine, measured = result.pop("machine"), result.pop("measured")
    module = (FOLDER.parent / f"{file.stem}.py").read_text()
    words = module.removeprefix('"""').partition('"""')[0].strip()
    where = ", ".join(f"{name} {value}" for name, value in machine.items() if value is not None)
    rows = "".join(f"| {name} | {value} |\n" for name, value in _flat(result))
    return f"## {file.stem}\n\n{words}\n\nMeasured {measured} on: {where}.\n\n| Figure | Value |\n| --- | --- |\n{rows}"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Each number below the value, with the path to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}, {key}" if name else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for row in value:
            labels = [str(cell) for cell in row.values() if not isinstance(cell, float)]
            numbers = {key: cell for key, cell in row.items() if isinstance(cell, float)}
            yield from _flat(numbers, f"{name}: {' '.join(labels)}")
    else:
        yield name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    REPORT.write_text(render())
