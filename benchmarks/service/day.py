"""A day's load, simulated: how long pictures wait against how many workers run, under the autoscalers that ship.

`scripts/benchmark day [--seed N] [--hours N]`. Pictures come at random by the hour's rate: a busy day with a noon, an
evening and, in the afternoon, a quarter of an hour of two and a half times as many; and a quiet one. Each takes what
the benchmark `serving` measured for its size. A worker draws one picture at a time. It is there `start_s` after it was
asked for, where its image lies on a node, and `node_s` after, where a node has to come first; one that is taken away
draws to the end what it draws. Targets, bounds and policies are those in `deploy/kubernetes`, and the
HorizontalPodAutoscaler computes as Kubernetes' does: every 15 s, from what Prometheus saw last. The promise: 95
pictures in 100 wait no longer than `promised_s`.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.common import result
from benchmarks.common.result import store, table
from benchmarks.service.autoscaler import SYNC_S, Autoscaler, Rules

SEED = 20261125
HOURS = 24.0
BIN_S = 300.0
PROMISED_S = 30.0
START_S = 20.0
NODE_S = 150.0
SIZES = {256: 0.1, 512: 0.3, 1024: 0.6}  # part of the pictures, by the side in px; most keep the default max_side
TARGETS = (1, 2, 4, 8, 16, 32)

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Load:
    """Pictures a second in the evening; in the burst, that many times as many as the hour has."""

    evening_per_s: float
    burst: float = 1.0
    burst_from_h: float = 15.5
    burst_s: float = 900.0

    def rate(self, hours: Array) -> Array:
        """Return the pictures a second at these hours of the day."""

        def hump(at: float, width: float) -> Array:
            away = (hours - at + 12) % 24 - 12
            return np.asarray(np.exp(-((away / width) ** 2) / 2))

        shape = 0.05 + 0.6 * hump(12.5, 2.0) + 0.95 * hump(20.0, 2.2)
        bursts = (hours >= self.burst_from_h) & (hours < self.burst_from_h + self.burst_s / 3600)
        return np.asarray(self.evening_per_s * shape * np.where(bursts, self.burst, 1.0))

    def pictures(self, seed: int, hours: float) -> Pictures:
        """Return the pictures of the first `hours` of a day."""
        random, highest = np.random.default_rng(seed), self.evening_per_s * max(1.7, 1.7 * self.burst)
        times = np.sort(random.uniform(0, 24 * 3600, random.poisson(highest * 24 * 3600)))
        arrivals = times[(random.uniform(0, highest, times.size) < self.rate(times / 3600)) & (times < hours * 3600)]
        sides = random.choice(list(SIZES), arrivals.size, p=list(SIZES.values()))
        seconds = drawing_s()
        return Pictures(arrivals, np.array([seconds[side] for side in sides.tolist()]), hours * 3600)


BUSY = Load(evening_per_s=4.0, burst=2.5)
QUIET = Load(evening_per_s=0.02)


@dataclass(frozen=True)
class Pictures:
    """Pictures of a day: when each comes, how long it takes to draw, and how long the day lasts; in s."""

    arrivals: Array
    takes: Array
    lasts_s: float


def drawing_s() -> dict[int, float]:
    """Return the measured seconds for a picture by its side in px."""
    serving = json.loads((result.FOLDER / "serving.json").read_text())
    return {row["side_px"]: row["seconds"] for row in serving["seconds"]}


@dataclass
class Worker:
    ready_at: float
    busy: bool = False
    leaving: bool = False


class Simulation:
    """A day with an autoscaler, or with a fixed number of workers.

    `waits_s`: of each picture; `replicas`: from when on, in s, how many were asked for.
    """

    def __init__(self, pictures: Pictures, rules: Rules | int, start_s: float = START_S) -> None:
        self._pictures = pictures
        self._autoscaler = None if isinstance(rules, int) else Autoscaler(rules)
        self._start_s = start_s
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._now = 0.0
        self._queue: deque[int] = deque()
        self._running = 0
        self._sample = (0, 0)
        self._active_at = 0.0
        first = rules if isinstance(rules, int) else rules.least
        self._workers = [Worker(0.0) for _ in range(first)]
        self.replicas = [(0.0, first)]
        self.waits_s = np.zeros(pictures.arrivals.size)

    def run(self) -> Simulation:
        self._at(self._pictures.arrivals[0], partial(self._come, 0))
        if self._autoscaler:
            self._at(self._autoscaler.rules.look_s / 2, self._look)
            self._at(SYNC_S, self._sync)
        while self._events:
            self._now, _, happens = heapq.heappop(self._events)
            if self._now >= self._pictures.lasts_s and not self._queue and not self._running:
                break
            happens()
        return self

    def figures(self) -> dict[str, Any]:
        """Return the waits of callers and the hours of workers."""
        at, count = np.array([*self.replicas, (max(self._now, self._pictures.lasts_s), 0)]).T
        percentiles = zip((50, 95, 99), np.percentile(self.waits_s, (50, 95, 99)).tolist(), strict=True)
        return {
            **{f"wait_p{percent}_s": wait for percent, wait in percentiles},
            "longest_wait_s": float(self.waits_s.max()),
            "within_promise_percent": 100 * float((self.waits_s <= PROMISED_S).mean()),
            "worker_hours": float((np.diff(at) * count[:-1]).sum() / 3600),
            "most_workers": int(count.max()),
            "changes": len(self.replicas) - 1,
        }

    def series(self) -> dict[str, list[float]]:
        """Return, for every `BIN_S`, the mean of workers and the wait that 95 of 100 pictures did not exceed."""
        bins = int(self._pictures.lasts_s / BIN_S)
        at, count = np.array(self.replicas).T
        moments = np.arange(0, bins * BIN_S, 5.0)
        workers = count[np.searchsorted(at, moments, side="right") - 1].reshape(bins, -1).mean(axis=1)
        place = (self._pictures.arrivals / BIN_S).astype(int)
        waits = [self.waits_s[place == number] for number in range(bins)]
        return {
            "workers": np.round(workers, 2).tolist(),
            "wait_p95_s": [round(float(np.percentile(each, 95)), 2) if each.size else 0.0 for each in waits],
        }

    def _at(self, time: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), happens))

    def _come(self, picture: int) -> None:
        self._queue.append(picture)
        self._dispatch()
        if picture + 1 < self.waits_s.size:
            self._at(self._pictures.arrivals[picture + 1], partial(self._come, picture + 1))

    def _dispatch(self) -> None:
        for worker in self._workers:
            if not self._queue:
                return
            if not worker.busy and worker.ready_at <= self._now:
                picture = self._queue.popleft()
                self.waits_s[picture] = self._now - self._pictures.arrivals[picture]
                worker.busy = True
                self._running += 1
                self._at(self._now + self._pictures.takes[picture], partial(self._finish, worker))

    def _finish(self, worker: Worker) -> None:
        worker.busy = False
        self._running -= 1
        if worker.leaving:
            self._workers.remove(worker)
        self._dispatch()

    def _staying(self) -> list[Worker]:
        return [worker for worker in self._workers if not worker.leaving]

    def _scale(self, replicas: int) -> None:
        staying = self._staying()
        if replicas == len(staying):
            return
        self.replicas.append((self._now, replicas))
        for _ in range(replicas - len(staying)):
            self._workers.append(Worker(self._now + self._start_s))
            self._at(self._now + self._start_s, self._dispatch)
        for worker in sorted(staying, key=lambda each: each.ready_at)[replicas:]:  # the youngest, as Kubernetes does
            worker.leaving = True
            if not worker.busy:
                self._workers.remove(worker)

    def _look(self) -> None:
        """Scrape as Prometheus, or poll as KEDA."""
        assert self._autoscaler
        rules = self._autoscaler.rules
        self._sample = (len(self._queue), self._running)
        if rules.cooldown_s is not None:
            replicas = len(self._staying())
            if any(self._sample):
                self._active_at = self._now
                self._scale(max(1, replicas))
            elif self._now - self._active_at >= rules.cooldown_s:
                self._scale(rules.least)
        self._at(self._now + rules.look_s, self._look)

    def _sync(self) -> None:
        """Scale as the controller does, which leaves alone what KEDA has brought to zero."""
        assert self._autoscaler
        counts = (len(self._queue), self._running)
        waiting, running = self._sample if self._autoscaler.rules.cooldown_s is None else counts
        if replicas := len(self._staying()):
            self._scale(self._autoscaler.desired(self._now, replicas, waiting, running))
        self._at(self._now + SYNC_S, self._sync)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--hours", type=float, default=HOURS, help="of the day, from midnight on")
    options = parser.parse_args(arguments)
    busy, quiet = (load.pictures(options.seed, options.hours) for load in (BUSY, QUIET))
    hpa, keda = Rules.hpa(), Rules.keda()
    alone = replace(hpa, running=None)
    fewest = fewest_workers(busy)
    busy_day: dict[str, tuple[Rules | int, float]] = {
        f"{fewest - 1} workers, always": (fewest - 1, START_S),
        f"{fewest} workers, always": (fewest, START_S),
        "the queue alone": (alone, START_S),
        "the HPA that ships": (hpa, START_S),
        "the HPA that ships, a node first": (hpa, NODE_S),
        "the ScaledObject that ships": (keda, START_S),
    }
    curves = (f"{fewest - 1} workers, always", "the queue alone", "the HPA that ships")
    runs = {name: Simulation(busy, *rules).run() for name, rules in busy_day.items()}
    quiet_day: dict[str, Rules | int] = {"1 worker, always": 1, "the ScaledObject that ships": keda}
    figures: dict[str, Any] = {
        "seed": options.seed,
        "promised_s": PROMISED_S,
        "start_s": START_S,
        "node_s": NODE_S,
        "pictures": {"busy_day": busy.arrivals.size, "quiet_day": quiet.arrivals.size},
        "drawing_s": float(busy.takes.mean()),
        "busy_day": [{"workers": name, **run.figures()} for name, run in runs.items()],
        "quiet_day": [
            {"workers": name, **Simulation(quiet, rules).run().figures()} for name, rules in quiet_day.items()
        ],
        "targets": [
            {"waiting_for_each_worker": target, "asks_for": name, **figures_of(busy, rules, target)}
            for name, rules in (("queue and running", hpa), ("queue alone", alone))
            for target in TARGETS
        ],
        "series": {
            "hours": (np.arange(0, busy.lasts_s, BIN_S) / 3600).round(3).tolist(),
            "load": load_curve(busy),
            **{name: runs[name].series() for name in curves},
        },
    }
    for name in ("busy_day", "quiet_day", "targets"):
        table(tuple(figures[name][0]), [tuple(row.values()) for row in figures[name]])
        print()
    store("day", figures)


def figures_of(pictures: Pictures, rules: Rules, target: float) -> dict[str, Any]:
    """Return the figures with `target` waiting pictures a worker, with room on nodes and with new nodes first."""
    rules = replace(rules, waiting=target)
    there = Simulation(pictures, rules).run().figures()
    to_come = Simulation(pictures, rules, NODE_S).run().figures()
    return {
        **{
            name: there[name]
            for name in ("wait_p95_s", "wait_p99_s", "within_promise_percent", "worker_hours", "changes")
        },
        "a_node_first_within_promise_percent": to_come["within_promise_percent"],
    }


def fewest_workers(pictures: Pictures) -> int:
    """Return the least fixed number of workers that keeps the promise."""
    least = math.ceil(float(pictures.takes.sum()) / pictures.lasts_s)
    return next(
        count
        for count in itertools.count(least)
        if Simulation(pictures, count).run().figures()["wait_p95_s"] <= PROMISED_S
    )


def load_curve(pictures: Pictures) -> list[float]:
    """Return the workers that the pictures of each `BIN_S` would keep busy."""
    bins = np.bincount((pictures.arrivals / BIN_S).astype(int), pictures.takes, int(pictures.lasts_s / BIN_S))
    return np.round(bins / BIN_S, 2).tolist()  # type: ignore[no-any-return]


if __name__ == "__main__":
    main(sys.argv[1:])
