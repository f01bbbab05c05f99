"""A photo through the real server: time by phase, and the worker's memory and open files over 200 requests.

`scripts/benchmark serving`. Starts the server on free ports with the checkout's configuration.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import psutil
import requests

from animegan.report import Report
from benchmarks.common.result import store, table
from harness.pictures import encoded, photo
from harness.servers import Server, running_server

SIDES_PX = (256, 512, 1024)
RUNS = 7
REQUESTS = 200
SIZES = ((64, 48), (96, 96), (70, 33), (128, 80))
MIB = 2**20


def main() -> None:
    with running_server() as server:
        worker = psutil.Process(server.worker_pids()[0])
        java = server.java()
        idle = worker.memory_info().rss / MIB
        flat = memory_over_requests(server, worker)
        rows = [time_side(server, side) for side in SIDES_PX]
        figures = {
            "idle_worker_mib": idle,
            "java_mib": java.memory_info().rss / MIB if java else None,
            "worker_after_timing_mib": worker.memory_info().rss / MIB,
            "requests": flat,
            "seconds": rows,
        }
    table(("side px", "seconds", "run s", "overhead ms"), [tuple(row.values()) for row in rows])
    print()
    table(("figure", "value"), [*flat.items(), ("idle worker MiB", idle)])
    store("serving", figures)


def time_side(server: Server, side: int) -> dict[str, Any]:
    """Return medians for a square JPEG: the whole answer, the generator's run, the time outside of all phases."""
    data = encoded(photo(side, side), quality=90)
    totals, runs, overheads = [], [], []
    for _ in range(RUNS):
        start = time.perf_counter()
        answer = requests.post(f"{server.inference}/predictions/animegan", files={"data": data}, timeout=300)
        totals.append(time.perf_counter() - start)
        answer.raise_for_status()
        seconds = Report.from_headers(answer.headers).seconds
        runs.append(seconds["run"])
        overheads.append(1000 * (totals[-1] - sum(seconds.values())))
    return {
        "side_px": side,
        "seconds": statistics.median(totals),
        "run_seconds": statistics.median(runs),
        "overhead_ms": statistics.median(overheads),
    }


def memory_over_requests(server: Server, worker: psutil.Process) -> dict[str, Any]:
    """Return the worker's resident memory and open files while pictures of four sizes and broken ones pass through."""
    bodies = [*(encoded(photo(*size)) for size in SIZES), b"not a picture"]
    resident_mib, files = [], []
    with requests.Session() as session:
        for index in range(REQUESTS):
            body = bodies[index % len(bodies)]
            session.post(f"{server.inference}/predictions/animegan", files={"data": body}, timeout=60)
            resident_mib.append(worker.memory_info().rss / MIB)
            files.append(worker.num_fds())
    quarter = REQUESTS // 4
    return {
        "requests": REQUESTS,
        "worker_mib_second_quarter": statistics.median(resident_mib[quarter : 2 * quarter]),
        "worker_mib_last_quarter": statistics.median(resident_mib[-quarter:]),
        "open_files_after_warm_up": files[quarter],
        "open_files_at_the_end": files[-1],
    }


if __name__ == "__main__":
    main()
