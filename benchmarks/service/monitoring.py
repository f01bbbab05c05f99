"""The dashboard's expressions, evaluated by a real Prometheus over some minutes of mixed load.

`scripts/benchmark monitoring [--seconds 420]`. One caller sends photos of several sizes and styles, one after another,
some of them damaged; twelve more come and go, the worker is replaced, and at last it is killed. The series are drawn in
`docs/pictures/monitoring.svg`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any

import requests

from benchmarks.common.result import store, table
from harness.monitoring.monitors import Prometheus, running_prometheus, targets
from harness.pictures import encoded, photo
from harness.servers import Server, running_server
from tools.panels import ROWS, Panel

SCRAPE_S = 2
WINDOW_S = 10 * SCRAPE_S  # for $__rate_interval
POINTS = 105
PANELS = (
    ("Jobs a minute", "Queue", "Oldest waiting job"),
    ("Wait in the queue", "Drawing", "Seconds a picture, by phase"),
    ("Pictures a minute, by result", "Drawn pictures a minute, by style and plan", "Attempts a minute, by outcome"),
    ("Processes", "Ready and paused", "Workers that died within an hour"),
)
CALLERS, MORE_CALLERS = 1, 12
# What happens, and after which part of the time.
UNLIMITED = {"ANIMEGAN_GATEWAY_RATE_PER_MINUTE": "0"}
RUSH, OVER, RECYCLE, KILL, QUIET = 0.15, 0.4, 0.55, 0.75, 0.9
BODIES: tuple[tuple[bytes, Mapping[str, str]], ...] = (
    (encoded(photo(320, 240)), {}),
    (encoded(photo(640, 480), "PNG"), {"style": "gouache", "format": "webp"}),
    (encoded(photo(1500, 1000)), {"max_side": "512"}),
    (encoded(photo(512, 512)), {}),
    (encoded(photo(640, 480))[:3000], {}),
    (encoded(photo(240, 320)), {"style": "gouache"}),
)


def main(arguments: Sequence[str], server: Server | None = None) -> None:
    """Measure on that server, or on one of its own."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark monitoring")
    parser.add_argument("--seconds", type=float, default=420)
    seconds = parser.parse_args(arguments).seconds
    with (
        contextlib.nullcontext(server) if server else running_server(environment=UNLIMITED) as running,
        tempfile.TemporaryDirectory() as folder,
        running_prometheus(Path(folder), targets(running), every=f"{SCRAPE_S}s") as prometheus,
    ):
        answers, start, marks = loaded(running, seconds)
        end = time.time()
        series = {
            "seconds": [round(at - start, 1) for at in _times(start, end)],
            "marks": marks,
            "panels": [[_panel(prometheus, title, start, end) for title in row] for row in PANELS],
        }
    figures = {"seconds": seconds, "answers": {str(status): count for status, count in sorted(answers.items())}}
    table(("figure", "value"), list(figures.items()))
    store("monitoring", {**figures, "series": series})


def loaded(server: Server, seconds: float) -> tuple[Counter[int], float, dict[str, float]]:
    """Load the server. Return its answers by status, the start in s since 1970, and the seconds until each event."""
    start = time.time()
    marks: dict[str, float] = {}

    def mark(what: str, part: float) -> None:
        """Let that part of the time pass, then note what follows."""
        time.sleep(max(0.0, start + part * seconds - time.time()))
        marks[what] = round(time.time() - start, 1)

    answers: list[int] = []
    with _calling(server, CALLERS, answers):
        mark("rush", RUSH)
        with _calling(server, MORE_CALLERS, answers):
            mark("over", OVER)
        mark("replaced", RECYCLE)
        requests.post(f"{server.agent}/v1/workers/recycle", timeout=300).raise_for_status()
        mark("killed", KILL)
        os.kill(server.worker_pids()[0], signal.SIGKILL)
        mark("quiet", QUIET)
    time.sleep(max(0.0, start + seconds - time.time()))
    return Counter(answers), start, marks


@contextmanager
def _calling(server: Server, callers: int, answers: list[int]) -> Iterator[None]:
    """Have `callers` send one photo after another until the end of the block; add the statuses to `answers`."""
    over = threading.Event()

    def call(caller: int) -> None:
        with requests.Session() as session:
            for picture, options in itertools.islice(itertools.cycle(BODIES), caller, None):
                if over.wait(0.2):
                    return
                url = f"{server.page}/v1/stylize"
                answer = session.post(url, files={"image": picture}, data=options, timeout=600)
                answers.append(answer.status_code)

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _times(start: float, end: float) -> list[float]:
    return [start + index * (end - start) / (POINTS - 1) for index in range(POINTS)]


def _panel(prometheus: Prometheus, title: str, start: float, end: float) -> dict[str, Any]:
    """Return the panel's lines by their legends, a value or None for each of the times; lines at zero are left out."""
    [panel] = [each for row in ROWS for each in row.panels if each.title == title]
    lines: dict[str, list[float | None]] = {}
    for query in panel.queries:
        expression = query.expr.replace("$__rate_interval", f"{WINDOW_S}s")
        for series in prometheus.range(expression, start, end, (end - start) / (POINTS - 1)):
            legend = Template(query.legend.replace("{{", "${").replace("}}", "}")).substitute(series["metric"])
            lines[legend] = _values(series["values"], start, end)
    return {"title": title, "unit": panel.unit, "stacked": panel.stacked, "lines": _visible(panel, lines)}


def _values(pairs: Sequence[tuple[float, str]], start: float, end: float) -> list[float | None]:
    """Return the value at each of the times; NaN is no value."""
    step_s = (end - start) / (POINTS - 1)
    value_by_step = {round((at - start) / step_s): float(value) for at, value in pairs}
    values = (value_by_step.get(index, math.nan) for index in range(POINTS))
    return [None if math.isnan(value) else float(f"{value:.4g}") for value in values]


def _visible(panel: Panel, lines: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    moving = {legend: values for legend, values in lines.items() if any(values)}
    assert moving or lines, f"{panel.title} has no data"
    return moving or lines


if __name__ == "__main__":
    main(sys.argv[1:])
