"""Draw the plots in `docs/pictures/` from the stored results: `scripts/benchmark plots`."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from benchmarks.common import result

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
ARTICLE, OURS, OTHER = "#8a8f98", "#2f6fb0", "#c2571a"
CYCLE = (OURS, OTHER, ARTICLE, "#3b8f5a", "#8a5fb0", "#b59a1f")
SOAK_SPAN_MIB = 40
MODES = {"whole": ARTICLE, "bands": OURS, "recompute": OTHER}

Result = dict[str, Any]


def main() -> None:
    for name in PLOTS:
        file = PICTURES / f"{name}.svg"
        file.write_text(render(name))
        print(f"Written: {file}")


def render(name: str) -> str:
    """Return the plot as SVG, the same from the same result; the result's time stands in it."""
    stored = json.loads((result.FOLDER / f"{name}.json").read_text())
    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9, "axes.spines.top": False}
    with mpl.rc_context(style | {"axes.spines.right": False, "font.family": "sans-serif"}):
        figure = PLOTS[name](stored)
        machine = stored["machine"]
        where = machine["gpu"] or f"{machine['cpu']}, {machine['cpus']} CPUs"
        figure.text(
            0.995, 0.005, f"{stored['measured']}, {where}", ha="right", va="bottom", fontsize=7, color="#666666"
        )
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def ablation(stored: Result) -> Figure:
    """Plot peak memory and time of each row, a row of plots for each device that was measured."""
    devices = _measured_devices(stored["rows"])
    figure = Figure(figsize=(9, 3.6 * len(devices)), layout="constrained")
    for axes, device in zip(figure.subplots(len(devices), 2, squeeze=False), devices, strict=True):
        rows = [row for row in stored["rows"] if row["device"] == device][::-1]
        for plot, key, title in zip(
            axes, ("peak_mib", "seconds"), ("Peak above idle, MiB", "Seconds a picture"), strict=True
        ):
            _bars(plot, rows, key)
            plot.set_title(f"{title} ({'CPU' if device == 'cpu' else 'GPU'})", fontsize=10)
        axes[1].set_yticklabels([])
    return figure


def _bars(plot: Axes, rows: list[Result], key: str) -> None:
    values = [row[key] or 0 for row in rows]
    colours = [OURS if row["row"].startswith("ours") else ARTICLE for row in rows]
    plot.barh(range(len(rows)), values, color=colours)
    for index, row in enumerate(rows):
        text = "not measured" if row[key] is None else f" {row[key]:,.3g}" if row[key] < 100 else f" {row[key]:,.0f}"
        plot.text(row[key] or 0, index, f" {text.strip()}", va="center", fontsize=8, color="#333333")
    plot.set_yticks(range(len(rows)), [f"{row['row']}, {row['input'].replace('x', '×')}" for row in rows])
    plot.set_xlim(0, 1.18 * max(values))
    plot.tick_params(axis="y", length=0)


def memory(stored: Result) -> Figure:
    """Plot predicted (lines) and measured (dots) peaks over a square's side, by mode."""
    devices = _measured_devices(stored["rows"])
    figure = Figure(figsize=(4.8 * len(devices) + 1.2, 4), layout="constrained")
    for plot, device in zip(figure.subplots(1, len(devices), squeeze=False)[0], devices, strict=True):
        squares = [row for row in stored["rows"] if row["device"] == device and _side(row)]
        for mode, colour in MODES.items():
            rows = [row for row in squares if row["mode"] == mode]
            plot.plot([_side(row) for row in rows], [row["predicted_mib"] for row in rows], color=colour, lw=1.2)
            dots = [row for row in rows if row["measured_mib"] is not None]
            plot.plot(
                [_side(row) for row in dots], [row["measured_mib"] for row in dots], "o", color=colour, label=mode
            )
        plot.set_xscale("log", base=2)
        plot.set_yscale("log", base=2)
        plot.xaxis.set_major_formatter("{x:.0f}")
        plot.yaxis.set_major_formatter("{x:,.0f}")
        plot.set_xlabel("Side of the picture, px")
        plot.set_ylabel("Peak above the weights, MiB")
        plot.set_title(f"{'CPU' if device == 'cpu' else 'GPU'}: line predicted, dot measured", fontsize=10)
        plot.grid(color="#e5e5e5", lw=0.6)
        plot.legend(frameon=False)
    return figure


def day(stored: Result) -> Figure:
    """Plot workers over the day, the waits below, and under them the cost and the wait of each target."""
    series = stored["series"]
    hours, load = series["hours"], series["load"]
    colours = dict(zip((name for name in series if name not in ("hours", "load")), (ARTICLE, OTHER, OURS), strict=True))
    figure = Figure(figsize=(9, 8.4), layout=ConstrainedLayoutEngine(rect=(0, 0.02, 1, 0.98)))
    grid = figure.add_gridspec(3, 2)
    workers, waits = figure.add_subplot(grid[0, :]), figure.add_subplot(grid[1, :])
    workers.fill_between(hours, load, color="#e3e5e8", lw=0, label="needed")
    for name, colour in colours.items():
        workers.plot(hours, series[name]["workers"], color=colour, lw=1.2, label=name)
        waits.plot(hours, series[name]["wait_p95_s"], color=colour, lw=1.2)
    workers.set_ylim(0, 1.25 * max(max(series[name]["workers"]) for name in colours))
    workers.legend(frameon=False, ncols=4, loc="upper left")
    waits.set_yscale("symlog", linthresh=1)
    waits.yaxis.set_major_formatter("{x:.0f}")
    for plot, title in ((workers, "Workers"), (waits, "Wait that 95 of 100 pictures did not exceed, s")):
        plot.set_title(title, fontsize=10, loc="left")
        plot.set_xlim(hours[0], hours[-1])
        plot.set_xticks(range(0, 25, 3))
        plot.set_xlabel("Hour of the day")
    costs, waits_by_target = figure.add_subplot(grid[2, 0]), figure.add_subplot(grid[2, 1])
    for asks_for, colour in (("queue alone", OTHER), ("queue and running", OURS)):
        rows = [row for row in stored["targets"] if row["asks_for"] == asks_for]
        targets = [row["waiting_for_each_worker"] for row in rows]
        costs.plot(targets, [row["worker_hours"] for row in rows], "o-", color=colour, lw=1.2, label=asks_for)
        waits_by_target.plot(targets, [row["wait_p95_s"] for row in rows], "o-", color=colour, lw=1.2)
    costs.legend(frameon=False)
    for plot, title in ((costs, "Hours that workers run"), (waits_by_target, "The same wait over the whole day, s")):
        plot.set_title(title, fontsize=10, loc="left")
        plot.set_xscale("log", base=2)
        plot.xaxis.set_major_formatter("{x:.0f}")
        plot.set_xlabel("Target: jobs that wait, for each worker")
    for plot in (waits, waits_by_target):
        plot.axhline(stored["promised_s"], color="#333333", lw=0.8, ls="--")
        plot.text(0.01, 1.1 * stored["promised_s"], "promised", fontsize=8, transform=plot.get_yaxis_transform())
    for plot in (workers, waits, costs, waits_by_target):
        plot.set_ylim(bottom=0)
        plot.grid(color="#e5e5e5", lw=0.6)
    return figure


def monitoring(stored: Result) -> Figure:
    """Plot the dashboard's panels as they were; a dotted line where something happened."""
    series = stored["series"]
    minutes = [second / 60 for second in series["seconds"]]
    rows = series["panels"]
    figure = Figure(figsize=(12, 2.6 * len(rows)), layout=ConstrainedLayoutEngine(rect=(0, 0.015, 1, 0.985)))
    for axes, panels in zip(figure.subplots(len(rows), len(rows[0])), rows, strict=True):
        for plot, panel in zip(axes, panels, strict=True):
            _panel(plot, minutes, panel)
            for second in series["marks"].values():
                plot.axvline(second / 60, color="#999999", lw=0.8, ls=":")
            plot.set_xlim(minutes[0], minutes[-1])
    marks = ", ".join(f"{what} {second / 60:.1f}" for what, second in series["marks"].items())
    figure.text(0.005, 0.005, f"Over minutes; dotted: {marks}", va="bottom", fontsize=8, color="#333333")
    return figure


def _panel(plot: Axes, minutes: list[float], panel: Result) -> None:
    """Plot one graph of the dashboard; seconds and MiB as their unit says."""
    scale, suffix = {"bytes": (2**20, ", MiB"), "s": (1, ", s")}.get(panel["unit"], (1, ""))
    lines = {
        legend: [None if each is None else each / scale for each in line] for legend, line in panel["lines"].items()
    }
    if panel["stacked"]:
        plot.stackplot(minutes, *([each or 0 for each in line] for line in lines.values()), labels=lines, colors=CYCLE)
    else:
        for (legend, line), colour in zip(lines.items(), CYCLE, strict=False):
            plot.plot(
                minutes, [math.nan if each is None else each for each in line], color=colour, lw=1.1, label=legend
            )
    plot.set_title(panel["title"] + suffix, fontsize=10, loc="left")
    plot.set_ylim(bottom=0)
    plot.yaxis.set_major_formatter("{x:,.4g}")
    plot.grid(color="#e5e5e5", lw=0.6)
    plot.legend(frameon=False, fontsize=7, loc="best")


def soak(stored: Result) -> Figure:
    """Plot the resident memory of each process, with the line through what follows the warm-up."""
    series = stored["series"]
    minutes, warm = series["minutes"], stored["warm_up_s"] / 60
    figure = Figure(figsize=(9, 5.6), layout=ConstrainedLayoutEngine(rect=(0, 0.03, 1, 0.97)))
    for plot, row in zip(figure.subplots(2, 2).flat, stored["processes"], strict=True):
        mib = series[row["process"]]
        plot.axvspan(0, warm, color="#e3e5e8", lw=0)
        plot.plot(minutes, mib, color=OURS, lw=1)
        later = [each for minute, each in zip(minutes, mib, strict=True) if minute >= warm]
        middle, half = sum(later) / len(later), (minutes[-1] - warm) / 2
        rise = row["mib_per_hour"] * half / 60
        plot.plot([warm, minutes[-1]], [middle - rise, middle + rise], color=OTHER, lw=1.2)
        bounds = f"{row['at_least']:+.1f} to {row['at_most']:+.1f}"
        plot.set_title(f"{row['process']}: {row['mib_per_hour']:+.1f} ({bounds}) MiB an hour", fontsize=10, loc="left")
        plot.set_ylim(middle - SOAK_SPAN_MIB, middle + SOAK_SPAN_MIB)
        plot.set_xlim(0, minutes[-1])
        plot.set_xlabel("Minutes; grey: warm-up")
        plot.set_ylabel("Resident, MiB")
        plot.grid(color="#e5e5e5", lw=0.6)
    return figure


def _measured_devices(rows: list[Result]) -> list[str]:
    return sorted({row["device"] for row in rows if row["not_measured"] is None})


def _side(row: Result) -> int:
    """Return the side of a square picture; 0 for another one."""
    width, _, height = str(row["size"]).partition("x")
    return int(width) if width == height else 0


def multiplications(stored: Result) -> Figure:
    """Plot the multiplications of each layer of AnimeGANv2's generator, and those left by minimal filtering."""
    rows = [row for row in stored["layers"] if row["network"] == "animegan2" and row["layer"] != "all"][::-1]
    figure = Figure(figsize=(7, 5.6), layout="constrained")
    plot = figure.subplots()
    places = range(len(rows))
    plot.barh(places, [row["direct"] / 1000 for row in rows], color="#d5d8dd", label="as defined")
    plot.barh(places, [row["filtered"] / 1000 for row in rows], height=0.5, color=OURS, label="with minimal filtering")
    plot.set_yticks(places, [row["layer"] for row in rows])
    plot.tick_params(axis="y", length=0)
    plot.set_xlabel(f"Multiplications at {stored['side_px']}×{stored['side_px']} px, thousand million")
    plot.legend(frameon=False, loc="upper right")
    return figure


PLOTS: dict[str, Callable[[Result], Figure]] = {
    "ablation": ablation,
    "memory": memory,
    "day": day,
    "monitoring": monitoring,
    "soak": soak,
    "multiplications": multiplications,
}


if __name__ == "__main__":
    main()
