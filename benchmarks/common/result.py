"""Results of benchmarks: the figures, and beside them the machine and the versions."""

from __future__ import annotations

import json
import os
import platform
import re
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from animegan.operators import native
from animegan.resources.hardware import cpu_count

NUMBERS = re.compile(r"\[(?:\s*(?:-?[\d.eE+-]+|null),?)+\s*\]")
FOLDER = Path(__file__).resolve().parents[1] / "results"


def machine() -> dict[str, Any]:
    """Return the processor and its bf16 instructions, the GPU if there is one, and versions that shape a figure."""
    compiled = native.best()
    return {
        "cpu": _cpu(),
        "cpus": cpu_count(),
        "bf16": ", ".join(name for name, has in _bf16().items() if has) or "no",
        "operators": compiled.form if compiled else "PyTorch",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "large_pages": _large_pages(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("torch", "numpy", "pillow")},
    }


def store(name: str, figures: dict[str, Any]) -> Path:
    """Write `results/NAME.json`."""
    file = FOLDER / f"{name}.json"
    result = {"measured": datetime.now(UTC).isoformat(timespec="minutes"), "machine": machine(), **figures}
    file.write_text(dump(result))
    print(f"\n{result['machine']}\nWritten: {file}")
    return file


def dump(result: dict[str, Any]) -> str:
    """Return the result as JSON, with a list of numbers on one line."""
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
    return NUMBERS.sub(lambda match: re.sub(r"\s+", " ", match[0]).replace("[ ", "[").replace(" ]", "]"), text) + "\n"


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print rows below their head."""
    text = [[_cell(cell) for cell in row] for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*text, strict=True)]
    for row in text:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def _cell(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _large_pages() -> str:
    """Return whether Linux gives large pages: `always`, to those who ask (`madvise`), or `never`."""
    try:
        choices = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return "never"
    return choices.partition("[")[2].partition("]")[0]


def _bf16() -> dict[str, bool]:
    return {"AMX": torch.cpu._is_amx_tile_supported(), "AVX512-BF16": torch.cpu._is_avx512_bf16_supported()}
