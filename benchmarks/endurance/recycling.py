"""Jobs through the gateway while the worker is replaced again and again: does one fail, and how long do they take?

`scripts/benchmark recycling [--jobs 1000] [--every 200] [--side 128]`. Two runs of the same jobs, from four callers who
each send the next one when theirs is done: in one the agent replaces the worker after that many requests, beside a
further worker where there is memory for one; in the other it stays. A job's time is from its upload to the answer that
it is done. The gateway repeats what a worker's end interrupts; here nothing may be interrupted, so attempts beyond one
a job are counted too.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import requests

from animegan_cli.serving.ports import free_port
from benchmarks.common.result import store, table
from harness.gateways import Gateway, running_gateway
from harness.pictures import encoded, photo
from harness.servers import running_server

CALLERS = 4
OUTCOMES = ("drawn", "refused", "worker_ended", "lost", "not_taken", "no_room")
RECYCLES = re.compile(r'animegan_agent_recycles_total\{reason="requests",result="(\w+)"\} (\S+)')
SUM = re.compile(r"animegan_agent_recycle_seconds_sum (\S+)")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark recycling")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--every", type=int, default=200, help="requests after which a worker is replaced")
    parser.add_argument("--side", type=int, default=128, help="of the pictures, in px")
    options = parser.parse_args(arguments)
    picture = encoded(photo(options.side, options.side))
    rows = [measure(picture, options.jobs, every) for every in (0, options.every)]
    table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    figures = {"side_px": options.side, "callers": CALLERS, "p99_ratio": rows[1]["p99_ms"] / rows[0]["p99_ms"]}
    store("recycling", {**figures, "rows": rows})


def measure(picture: bytes, jobs: int, every: int) -> dict[str, Any]:
    """Return a run's figures: the jobs' outcomes, their times, and the replacements meanwhile."""
    metrics = free_port()
    environment = {"ANIMEGAN_AGENT_METRICS_PORT": str(metrics), "ANIMEGAN_AGENT_RECYCLE_AFTER_REQUESTS": str(every)}
    with (
        running_server("--no-gateway", environment=environment) as server,
        tempfile.TemporaryDirectory() as folder,
        running_gateway(Path(folder), server, rate_per_minute=0) as gateway,
    ):
        draw(gateway, picture)  # the first one finds everything cold
        start = time.perf_counter()
        with ThreadPoolExecutor(CALLERS) as pool:
            outcomes = list(pool.map(lambda _: draw(gateway, picture), range(jobs)))
        seconds = time.perf_counter() - start
        metrics_text = requests.get(f"http://127.0.0.1:{metrics}/metrics", timeout=10).text
        attempts = sum(gateway.metric("animegan_gateway_attempts_total", outcome=name) for name in OUTCOMES)
    statuses = Counter(status for status, _ in outcomes)
    replacements = {result: int(float(count)) for result, count in RECYCLES.findall(metrics_text)}
    match = SUM.search(metrics_text)
    p50, p99 = np.percentile([1000 * each for _, each in outcomes], [50, 99])
    return {
        "replaced_after": every or None,
        "jobs": jobs,
        "done": statuses["done"],
        "attempts_beyond_one": int(attempts) - jobs - 1,
        "replacements": replacements["done"],
        "put_off_or_failed": sum(replacements.values()) - replacements["done"],
        "seconds_a_replacement": float(match[1]) / replacements["done"] if match and replacements["done"] else None,
        "jobs_per_s": jobs / seconds,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "slowest_ms": 1000 * max(each for _, each in outcomes),
    }


def draw(gateway: Gateway, picture: bytes) -> tuple[str, float]:
    """Return the outcome of a job, and its seconds."""
    start = time.perf_counter()
    job = gateway.wait(gateway.submit(picture).json()["id"])
    return job["status"], time.perf_counter() - start


if __name__ == "__main__":
    main(sys.argv[1:])
