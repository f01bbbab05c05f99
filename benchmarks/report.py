"""Write `docs/benchmarks.md` from the stored results: `python -m benchmarks.report`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.common.result import FOLDER

REPORT = FOLDER.parents[1] / "docs" / "benchmarks.md"

_INTRODUCTION = """\
# Benchmarks

Generated from `benchmarks/results/*.json` by `python -m benchmarks.report`; a test fails when they differ.
`scripts/benchmark NAME` measures again and replaces the stored result. {gpus}
"""


def render() -> str:
    """Return the page as Markdown."""
    files = sorted(FOLDER.glob("*.json"))
    gpus = sorted({gpu for file in files if (gpu := json.loads(file.read_text())["machine"]["gpu"])})
    remark = f"Measured with a GPU: {', '.join(gpus)}." if gpus else "No figure of a GPU is stored yet."
    return "\n".join([_INTRODUCTION.format(gpus=remark), *map(_section, files)])


def _section(file: Path) -> str:
    result = json.loads(file.read_text())
    machine, date = result.pop("machine"), result.pop("measured")
    result.pop("series", None)  # what is drawn in docs/pictures/
    module = module_of(file.stem).read_text()
    words = module.removeprefix('"""').partition('"""')[0].strip()
    where = ", ".join(f"{name} {value}" for name, value in machine.items() if value is not None)
    rows = {name: result.pop(name) for name in list(result) if _is_table(result[name])}
    parts = [f"## {file.stem}\n\n{words}\n\nMeasured {date} on: {where}.\n"]
    if result:
        parts.append(_table(["figure", "value"], _flat(result)))
    for name, entries in rows.items():
        heading = [f"{name.capitalize()}:\n".replace("_", " ")] if len(rows) > 1 else []
        parts += [*heading, _table([key.replace("_", " ") for key in entries[0]], ([*row.values()] for row in entries))]
    return "\n".join(parts)


def module_of(result: str) -> Path:
    """Return the benchmark that stored a result: of its name, or of what stands before `_` and an option."""
    modules = {module.stem: module for module in FOLDER.parent.rglob("*.py")}
    return modules[max((name for name in modules if f"{result}_".startswith(f"{name}_")), key=len)]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _table(head: list[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each number below the value, with the path to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}, {key}" if name else key)
    else:
        yield name.replace("_", " "), value


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    REPORT.write_text(render())
