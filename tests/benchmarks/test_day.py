"""The simulated day: Kubernetes' arithmetic, and a queue that behaves as queues do."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks import plots
from benchmarks.common import result
from benchmarks.service import day
from benchmarks.service.autoscaler import Autoscaler, Direction, Rules
from benchmarks.service.day import BUSY, SEED, Pictures, Simulation
from docs.pages import prose, tables

AT_ONCE = Direction(0, (("Percent", 100, 15), ("Pods", 4, 15)))
PLAIN = Rules(least=1, most=20, waiting=4, running=None, up=AT_ONCE, down=AT_ONCE, look_s=15)


@pytest.mark.parametrize(
    ("replicas", "waiting", "desired"),
    [
        (2, 8, 2),
        (10, 43, 10),  # less than a tenth more is tolerated
        (10, 45, 12),  # and no more than that: ceil(45 / 4)
        (10, 35, 9),
        (3, 0, 1),  # the least there may be
        (2, 100, 6),  # four more at one time, as twice as many is less
        (6, 100, 12),  # twice as many
        (12, 400, 20),  # the most there may be
    ],
)
def test_replicas_follow_the_metric_as_kubernetes_computes(replicas: int, waiting: int, desired: int) -> None:
    assert Autoscaler(PLAIN).desired(0, replicas, waiting, running=0) == desired


def test_the_larger_of_two_metrics_counts() -> None:
    rules = replace(PLAIN, running=1)
    assert Autoscaler(rules).desired(0, 5, waiting=0, running=5) == 5
    assert Autoscaler(rules).desired(0, 5, waiting=0, running=3) == 3
    assert Autoscaler(rules).desired(0, 5, waiting=28, running=3) == 7


def test_down_goes_to_the_most_that_was_asked_for_within_the_window() -> None:
    scaler = Autoscaler(replace(PLAIN, down=replace(AT_ONCE, window_s=300)))
    assert scaler.desired(0, 6, waiting=24, running=0) == 6
    assert scaler.desired(15, 6, waiting=16, running=0) == 6
    assert scaler.desired(300, 6, waiting=0, running=0) == 6
    assert scaler.desired(315, 6, waiting=0, running=0) == 4
    assert scaler.desired(330, 4, waiting=0, running=0) == 1


def test_a_policy_bounds_what_changes_within_its_period() -> None:
    slow = Direction(0, (("Pods", 2, 60),))
    scaler = Autoscaler(replace(PLAIN, up=slow, down=slow))
    assert scaler.desired(0, 4, waiting=80, running=0) == 6
    assert scaler.desired(15, 6, waiting=80, running=0) == 6
    assert scaler.desired(75, 6, waiting=80, running=0) == 8
    assert scaler.desired(150, 8, waiting=0, running=0) == 6


def test_what_ships_can_be_read() -> None:
    hpa, keda = Rules.hpa(), Rules.keda()
    assert hpa.cooldown_s is None
    assert keda.cooldown_s
    assert (hpa.waiting, hpa.running, hpa.most) == (keda.waiting, keda.running, keda.most)
    assert 0 == keda.least < hpa.least
    assert hpa.down.window_s > hpa.up.window_s


def some(count: int = 400, rate: float = 1.0) -> Pictures:
    random = np.random.default_rng(1)
    return Pictures(np.cumsum(random.exponential(1 / rate, count)), random.uniform(0.2, 1.4, count), count / rate)


def test_one_worker_is_lindleys_queue() -> None:
    pictures = some()
    expected, free_at = [], 0.0
    for arrival, takes in zip(pictures.arrivals, pictures.takes, strict=True):
        start = max(arrival, free_at)
        expected.append(start - arrival)
        free_at = start + takes
    assert Simulation(pictures, 1).run().waits_s == pytest.approx(expected)


def test_more_workers_never_wait_longer() -> None:
    waits = [Simulation(some(rate=4), workers).run().waits_s for workers in (3, 4, 6, 20)]
    for fewer, more in pairwise(waits):
        assert (more <= fewer + 1e-9).all()
    assert waits[-1].max() < waits[0].max()


def test_the_first_picture_after_an_idle_hour_has_a_worker_started() -> None:
    pictures = Pictures(np.array([3600.0]), np.array([1.0]), 3601.0)
    keda = Rules.keda()
    run = Simulation(pictures, keda, start_s=20).run()
    assert 20 <= run.waits_s[0] <= 20 + keda.look_s
    assert [count for _, count in run.replicas] == [0, 1]


def test_the_last_worker_goes_after_the_cooldown() -> None:
    pictures = Pictures(np.array([10.0, 2000.0]), np.array([1.0, 1.0]), 2001.0)
    keda = Rules.keda()
    run = Simulation(pictures, keda, start_s=20).run()
    (_, before), (up, one), (down, none), *_ = run.replicas
    assert (before, one, none) == (0, 1, 0)
    assert keda.cooldown_s
    assert keda.cooldown_s <= down - up <= keda.cooldown_s + 40


def test_the_load_has_its_humps_and_its_burst() -> None:
    hours = np.array([4.0, 12.5, 15.4, 15.6, 20.0])
    night, noon, before, burst, evening = BUSY.rate(hours)
    assert night < before < noon < evening
    assert burst > 2 * before
    arrivals = BUSY.pictures(SEED, 24).arrivals
    assert arrivals.size == pytest.approx(3600 * BUSY.rate(np.arange(0, 24, 1 / 60)).mean() * 24, rel=0.02)


@pytest.mark.slow
def test_it_stores_what_can_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "serving.json").write_text((result.FOLDER / "serving.json").read_text())
    monkeypatch.setattr(result, "FOLDER", tmp_path)
    day.main(["--hours", "3"])
    figures = json.loads((tmp_path / "day.json").read_text())
    shares = {row["workers"]: row["within_promise_percent"] for row in figures["busy_day"]}
    assert shares["the HPA that ships"] == shares["the ScaledObject that ships"] == 100, "a night is easy"
    assert figures["measured"] in plots.render("day")


PAGE = "docs/operations/scaling.md"


def test_the_page_has_the_stored_figures() -> None:
    stored = json.loads((result.FOLDER / "day.json").read_text())
    [rows] = [rows for rows in tables(PAGE) if rows[0][0].endswith("always")]
    assert rows == [
        [
            row["workers"],
            *(f"{row[name]:.1f}" for name in ("wait_p95_s", "within_promise_percent", "worker_hours")),
            str(row["changes"]),
        ]
        for row in stored["busy_day"]
    ]


def test_the_stored_day_bears_out_what_the_page_says() -> None:
    stored = json.loads((result.FOLDER / "day.json").read_text())
    rows = {row["workers"]: row for row in stored["busy_day"]}
    ships, alone = rows["the HPA that ships"], rows["the queue alone"]
    [least] = [
        row for name, row in rows.items() if name.endswith("always") and row["wait_p95_s"] <= stored["promised_s"]
    ]
    assert ships["within_promise_percent"] > 99
    assert ships["worker_hours"] < 0.75 * min(alone["worker_hours"], least["worker_hours"])
    assert ships["changes"] < 0.1 * alone["changes"]
    target = Rules.hpa().waiting
    assert target == round(stored["promised_s"] / (3 * day.drawing_s()[1024]))
    assert f"**{target:g} jobs that wait, for each worker**" in prose(PAGE)
    by_target = {
        row["waiting_for_each_worker"]: row for row in stored["targets"] if row["asks_for"] == "queue and running"
    }
    assert (
        by_target[target]["a_node_first_within_promise_percent"]
        > 99
        > by_target[16]["a_node_first_within_promise_percent"]
    )
    assert by_target[8]["wait_p95_s"] < stored["promised_s"]
    assert by_target[8]["worker_hours"] < by_target[target]["worker_hours"]
    assert all(
        by_target[each]["worker_hours"] > by_target[target]["worker_hours"] for each in by_target if each < target
    )
    [idle] = [row for row in stored["quiet_day"] if row["workers"] == "the ScaledObject that ships"]
    assert idle["worker_hours"] < 24 * 0.7
