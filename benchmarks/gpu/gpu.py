"""Results of the phases of `scripts/gpu`, written row by row; times; peaks. Run as a module it prints the page.

The page says what passed in each phase and sets the figures beside their floors. The floors are of one H100.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import fresh
from benchmarks.common.result import machine, table

ROOT = Path(__file__).resolve().parents[2]
PHASES = ("works", "speed", "pipeline", "tuning")

Row = dict[str, Any]


def folder() -> Path:
    """Return the folder of the results: `$OUT`, else `build/gpu`."""
    path = Path(os.environ.get("OUT") or ROOT / "build" / "gpu")
    path.mkdir(parents=True, exist_ok=True)
    return path


def rehearsal() -> bool:
    """Return whether the phase was asked to rehearse: `--rehearse` runs it on the CPU, with small shapes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rehearse", action="store_true")
    return bool(parser.parse_known_args()[0].rehearse)


def device(*, rehearse: bool) -> torch.device:
    """Return the GPU; the CPU in a rehearsal. Raises `NotMeasured` where there is no GPU."""
    return fresh.device("cpu" if rehearse else "cuda")


class Results:
    """A phase's tables, in `gpu_PHASE.json`: written anew after every row, so that nothing is lost with the phase."""

    def __init__(self, phase: str, *, rehearse: bool) -> None:
        self._file = folder() / f"gpu_{phase}.json"
        now = datetime.now(UTC).isoformat(timespec="minutes")
        self.figures: dict[str, Any] = {"measured": now, "machine": machine(), "rehearsal": rehearse, "complete": False}
        self.write()

    def add(self, name: str, **row: Any) -> Row:
        """Add a row to the table of that name and return it. Later changes of the row are written with the next row."""
        self.figures.setdefault(name, []).append(row)
        self.write()
        print(f"{name}: " + ", ".join(f"{key} {_short(value)}" for key, value in row.items()), flush=True)
        return row

    def end(self) -> None:
        """Say that no row is missing."""
        self.figures["complete"] = True
        self.write()

    def write(self) -> None:
        """Write everything."""
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self.figures, indent=1, ensure_ascii=False, default=str) + "\n")
        part.replace(self._file)

    @contextmanager
    def trial(self, name: str, **row: Any) -> Iterator[Row]:
        """Yield a new row for the block's figures. An error of the block goes into the row, and the run goes on."""
        start = time.perf_counter()
        try:
            yield row
        except fresh.NotMeasured as reason:
            row["not_measured"] = str(reason)
        except Exception as error:  # noqa: BLE001 - one row's fault must not cost the others
            row |= {"ok": False, "error": f"{type(error).__name__}: {error}"[:300]}
        self.add(name, **row, took_s=round(time.perf_counter() - start, 2))


def times_ms(draw: Callable[[], object], where: torch.device, *, most_s: float, runs: int = 30) -> dict[str, float]:
    """Median, least and most ms of a run, on a GPU between two events, of as many runs as `most_s` allows.

    Nothing is warmed up here. On a CPU, where it is rehearsed, one run is enough.
    """
    if where.type != "cuda":
        runs = 1
    times: list[float] = []
    start = time.perf_counter()
    while not times or (len(times) < runs and time.perf_counter() - start < most_s):
        times.append(_event_ms(draw, where) if where.type == "cuda" else 1000 * fresh.time_draw(draw, where))
    return {"ms": statistics.median(times), "ms_min": min(times), "ms_max": max(times), "runs": len(times)}


def _event_ms(draw: Callable[[], object], where: torch.device) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize(where)
    start.record()
    draw()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Floor:
    """A figure of a phase's table that is to be reached, in the row that has those values."""

    phase: str
    table: str
    row: Row
    figure: str
    limit: float
    most: bool = True  # the limit is the most that it may be; False: the least

    def judge(self) -> tuple[str, ...]:
        """Return a line of the page: the name, the figure, the floor, the verdict."""
        rows = _read(self.phase).get(self.table, [])
        values = [row.get(self.figure) for row in rows if self.row.items() <= row.items()]
        value = next((value for value in values if value is not None), None)
        name = f"{', '.join(map(str, self.row.values()))}: {self.figure}"
        floor = f"{'≤' if self.most else '≥'} {self.limit:g}"
        if value is None:
            return name, "–", floor, "not measured"
        is_reached = value <= self.limit if self.most else value >= self.limit
        return name, _short(value), floor, "reached" if is_reached else "MISSED"


def _speed(network: str, contender: str, size: str, figure: str, limit: float, *, most: bool = True) -> Floor:
    row = {"network": network, "contender": contender, "size": size}
    return Floor("speed", "rows", row, figure, limit, most)


FLOORS = (
    _speed("animegan2", "ours, whole", "1024x1024", "ms", 4.5),
    _speed("animegan2", "ours, whole", "1024x1024", "times_as_fast", 90, most=False),
    _speed("animegan2", "ours, whole, graph", "512x512", "ms", 1.8),
    _speed("animegan2", "ours, bands", "1024x1024", "peak_mib", 150),
    _speed("animegan2", "ours, bands", "1024x1024", "times_whole", 1.5),
    _speed("animegan2", "ours, whole", "4096x4096", "ms", 75),
    _speed("redraw", "ours", "1024x1024", "ms", 6),
    _speed("redraw_video", "ours", "1024x1024", "ms", 1.2),
    Floor("pipeline", "best", {}, "pictures_per_s", 60, most=False),
)


def page() -> None:
    """Print each phase's state, the failed rows, and the figures beside their floors."""
    summary, failures = [], []
    for phase in PHASES:
        result = _read(phase)
        tables = {name: rows for name, rows in result.items() if isinstance(rows, list)}
        rows = [(name, row) for name, entries in tables.items() for row in entries]
        failed = [(phase, name, row) for name, row in rows if row.get("ok") is False]
        without = sum(bool(row.get("not_measured")) for _, row in rows)
        state = "not run" if not result else "complete" if result["complete"] else "cut off"
        summary.append((phase, state, len(rows), len(failed), without))
        failures += failed
    table(("phase", "state", "rows", "failed", "not measured"), list(summary))
    for phase, name, row in failures:
        fields = {key: _short(value) for key, value in row.items() if key not in ("ok", "took_s") and value is not None}
        print(f"FAILED {phase}, {name}: {fields}")
    print()
    table(("figure", "value", "floor", "verdict"), [floor.judge() for floor in FLOORS])
    print(f"\n{machine()}\nEvery row: {folder()}")


def _read(phase: str) -> dict[str, Any]:
    file = folder() / f"gpu_{phase}.json"
    result: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return result


if __name__ == "__main__":
    page()
