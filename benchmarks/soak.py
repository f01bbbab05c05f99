"""Mixed load from several callers for a while: is every request answered, and do memory and open files stay put?

`scripts/benchmark soak [SECONDS]` (600 by default). Sizes, styles, formats and broken files are mixed; TorchServe's 503
of a full queue counts as an answer and is told apart.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import requests

from benchmarks.result import store, table
from pictures import encoded, photo
from servers import Server, running_server

Sample = tuple[float, float, float, int]

CALLERS = 4
MIB = 2**20
BODIES: tuple[tuple[bytes, dict[str, str]], ...] = (
    (encoded(photo(320, 240)), {}),
    (encoded(photo(200, 300), "PNG"), {"style": "gouache", "format": "webp"}),
    (encoded(photo(1500, 1000)), {"max_side": "256"}),
    (b"not a picture", {}),
    (encoded(photo(128, 128))[:900], {}),
    (encoded(photo(97, 61), "WEBP"), {"format": "png"}),
)


def main(seconds: float) -> None:
    with running_server() as server:
        worker = psutil.Process(server.worker_pids()[0])
        java = server.java()
        assert java
        statuses: Counter[int] = Counter()
        samples: list[Sample] = []
        end = time.monotonic() + seconds
        watcher = threading.Thread(target=watch, args=(worker, java, end, samples))
        watcher.start()
        with ThreadPoolExecutor(CALLERS) as pool:
            for counted in pool.map(lambda caller: call(server, caller, end), range(CALLERS)):
                statuses += counted
        watcher.join()
        same = server.worker_pids() == [worker.pid]
    minutes, worker_mib, java_mib, files = (np.array(column) for column in zip(*samples, strict=True))
    warm = minutes > minutes[-1] / 4  # the first quarter is warm-up
    figures = {
        "seconds": seconds,
        "callers": CALLERS,
        "answers": {str(status): count for status, count in sorted(statuses.items())},
        "worker_lived": same,
        "worker_mib_per_hour": 60 * slope(minutes[warm], worker_mib[warm]),
        "worker_mib_at_the_end": float(np.median(worker_mib[-10:])),
        "java_mib_per_hour": 60 * slope(minutes[warm], java_mib[warm]),
        "java_mib_at_the_end": float(np.median(java_mib[-10:])),
        "worker_files_min_max": [int(files[warm].min()), int(files[warm].max())],
    }
    table(("figure", "value"), list(figures.items()))
    store("soak", figures)


def call(server: Server, caller: int, end: float) -> Counter[int]:
    """One caller's requests, one after the other, until the end; the statuses that came back."""
    statuses: Counter[int] = Counter()
    with requests.Session() as session:
        for data, options in itertools.islice(itertools.cycle(BODIES), caller, None):
            if time.monotonic() > end:
                return statuses
            answer = session.post(
                f"{server.inference}/predictions/animegan", files={"data": data}, data=options, timeout=120
            )
            statuses[answer.status_code] += 1
    return statuses


def watch(worker: psutil.Process, java: psutil.Process, end: float, samples: list[Sample]) -> None:
    """Minutes since the start, the worker's and Java's resident MiB, and the worker's open files, each second."""
    start = time.monotonic()
    while time.monotonic() < end:
        minutes = (time.monotonic() - start) / 60
        samples.append((minutes, worker.memory_info().rss / MIB, java.memory_info().rss / MIB, worker.num_fds()))
        time.sleep(1)


def slope(minutes: np.ndarray, values: np.ndarray) -> float:
    """MiB a minute, by least squares."""
    return float(np.polyfit(minutes, values, 1)[0])


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 600)
