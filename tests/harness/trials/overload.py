"""More pictures than can be drawn, sent at a steady rate by callers who do not come again when they are refused."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import psutil
import requests

from harness import MIB
from harness.gateways import Gateway
from harness.pictures import encoded, photo
from harness.trials.crowd import Audit, Order, check_end, moment

CAPACITY_PICTURES = 16  # pictures, for the capacity
CALLERS = 6  # so that none meets its own share of the queue first
ENDS_WITHIN_S = 300.0


@dataclass
class Overload:
    """What became of it; rates are pictures a second, `pause_s` the longest time in which none was drawn.

    `waits_s` are from acceptance to start, `retry_after_s` what the refused were told, `mib` the gateway's resident
    memory, once a second.
    """

    capacity: float
    rate: float
    side_px: int
    answers: Counter[str] = field(default_factory=Counter)
    retry_after_s: list[int] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    audit: Audit = field(default_factory=Audit)
    waits_s: list[float] = field(default_factory=list)
    pause_s: float = 0.0
    mib: list[float] = field(default_factory=list)

    def growth_mib(self) -> float:
        """From the second to the last sixth: before that the queue fills."""
        part = max(1, len(self.mib) // 6)
        return statistics.median(self.mib[-part:]) - statistics.median(self.mib[part : 2 * part])

    def wait_s(self, percent: float) -> float:
        """The wait that so many of 100 jobs did not exceed."""
        return float(np.percentile(self.waits_s, percent))


def overload(
    gateway: Gateway, process: psutil.Process, *, seconds: float, times: float, side: int, queue_jobs: int
) -> Overload:
    """Send so many times the capacity for so long, in squares of `side` px, and wait for what was accepted.

    At least three queues full are sent: the capacity may have been measured while the machine was busy.
    """
    pictures = [encoded(photo(side, side, seed), quality=90) for seed in range(CALLERS)]
    capacity = _capacity(gateway, pictures)
    outcome = Overload(capacity, max(times * capacity, 3 * queue_jobs / seconds), side)
    with _memory_watch(process, outcome.mib), ThreadPoolExecutor(CALLERS) as pool:
        start = time.monotonic()
        for tally in pool.map(
            lambda caller: _send(gateway, pictures[caller], caller, start, seconds, outcome.rate), range(CALLERS)
        ):
            outcome.answers += tally.answers
            outcome.retry_after_s += tally.retry_after_s
            outcome.orders += tally.orders
    for order in outcome.orders:
        order.size = (side, side)
        try:
            order.end = gateway.wait(order.job_id, ENDS_WITHIN_S)
            outcome.audit.ends[check_end(gateway, order)] += 1
        except (AssertionError, OSError) as error:
            outcome.audit.losses.append(f"{order.job_id}: {error}")
    jobs = [order.end for order in outcome.orders if order.end]
    outcome.waits_s = [moment(job["started_at"]) - moment(job["accepted_at"]) for job in jobs]
    ends = sorted(moment(job["finished_at"]) for job in jobs)
    outcome.pause_s = max(later - sooner for sooner, later in itertools.pairwise(ends))
    return outcome


@dataclass
class _Tally:
    answers: Counter[str] = field(default_factory=Counter)
    retry_after_s: list[int] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)


def _send(gateway: Gateway, picture: bytes, caller: int, start: float, seconds: float, rate: float) -> _Tally:
    """One caller's part of the pictures, each at its time whatever became of those before."""
    tally = _Tally()
    with gateway.browser() as session:
        for number in range(caller, int(seconds * rate), CALLERS):
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
            answer = gateway.submit(picture, session)
            tally.answers[_name(answer)] += 1
            if answer.ok:
                tally.orders.append(Order(answer.json()["id"], caller, (0, 0), time.monotonic()))
            elif "Retry-After" in answer.headers:
                tally.retry_after_s.append(int(answer.headers["Retry-After"]))
    return tally


def _name(answer: requests.Response) -> str:
    return str(answer.status_code) if answer.ok else f"{answer.status_code} {answer.json()['code']}"


def _capacity(gateway: Gateway, pictures: list[bytes]) -> float:
    """Pictures that are drawn in a second, while others wait."""
    job_ids = [
        gateway.submit(picture).json()["id"]
        for picture in itertools.islice(itertools.cycle(pictures), CAPACITY_PICTURES)
    ]
    jobs = [gateway.wait(job_id) for job_id in job_ids]
    seconds = max(moment(job["finished_at"]) for job in jobs) - min(moment(job["started_at"]) for job in jobs)
    return len(jobs) / seconds


@contextmanager
def _memory_watch(process: psutil.Process, mib: list[float]) -> Iterator[None]:
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(1.0):
            mib.append(process.memory_info().rss / MIB)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
