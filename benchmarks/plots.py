"""Draw `docs/pictures/ablation.svg` and `memory.svg` from the stored results: `scripts/benchmark plots`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import result

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
ARTICLE, OURS = "#8a8f98", "#2f6fb0"
MODES = {"whole": "#8a8f98", "bands": "#2f6fb0", "recompute": "#c2571a"}

Result = dict[str, Any]


def main() -> None:
    for name in PLOTS:
        file = PICTURES / f"{name}.svg"
        file.write_text(render(name))
        print(f"Written: {file}")


def render(name: str) -> str:
    """The plot as SVG, the same from the same result; the result's time stands in it."""
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
    """Peak memory and time of each row, a row of plots for each device that was measured."""
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
    """Predicted (lines) and measured (dots) peaks over a square's side, by mode."""
    devices = _measured_devices(stored["rows"])
    figure = Figure(figsize=(4.8 * len(devices) + 1.2, 4), layout="constrained")
    for plot, device in zip(figure.subplots(1, len(devices), squeeze=False)[0], devices, strict=True):
        squares = [row for row in stored["rows"] if row["device"] == device and _side(row)]
        for mode, colour in MODES.items():
            rows = [row for row in squares if row["mode"] == mode]
            plot.plot([_side(row) for row in rows], [row["predicted_mib"] for row in rows], color=colour, lw=1.2)
            seen = [row for row in rows if row["measured_mib"] is not None]
            plot.plot(
                [_side(row) for row in seen], [row["measured_mib"] for row in seen], "o", color=colour, label=mode
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


def _measured_devices(rows: list[Result]) -> list[str]:
    return sorted({row["device"] for row in rows if row["not_measured"] is None})


def _side(row: Result) -> int:
    """0: not a square."""
    width, _, height = str(row["size"]).partition("x")
    return int(width) if width == height else 0


PLOTS: dict[str, Callable[[Result], Figure]] = {"ablation": ablation, "memory": memory}


if __name__ == "__main__":
    main()
