"""How old something is, though the wall clock is set meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from animegan_gateway.queue import clock
from animegan_gateway.queue.clock import Clock

HOUR_S = 3600.0
START = 1_700_000_000.0


@dataclass
class Times:
    """In place of the module `time`: `pass_` lets time go by, `set` sets the wall clock."""

    wall: float = START
    since_boot: float = 5000.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.since_boot

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.since_boot += seconds

    def set(self, by_s: float) -> None:
        self.wall += by_s


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    settable = Times()
    monkeypatch.setattr(clock, "time", settable)
    return settable


def test_a_clock_that_nobody_sets(times: Times) -> None:
    watch = Clock()
    for _ in range(10):
        times.pass_(600)
        times.set(0.3)  # it is corrected a little, again and again
        assert watch.look() == 0
    assert watch.now == times.wall
    assert watch.ago(HOUR_S) == pytest.approx(times.wall - HOUR_S)
    assert watch.age(times.wall - 60) == 60


def test_set_forwards_nothing_gets_older(times: Times) -> None:
    watch = Clock()
    times.pass_(10)
    before = times.wall
    times.set(HOUR_S)
    assert watch.look() == pytest.approx(HOUR_S)
    after = times.wall
    for age in range(0, 3700, 61):
        assert watch.age(before) == pytest.approx(age)
        assert watch.age(after) == pytest.approx(age)
        for seconds in (60, 1800, 3601):
            assert (before < watch.ago(seconds)) == (after < watch.ago(seconds)) == (seconds < age)
        times.pass_(61)
        assert watch.look() == 0


def test_set_forwards_twice(times: Times) -> None:
    watch, stamps = Clock(), []
    for _ in range(3):
        stamps.append(times.wall)
        times.pass_(100)
        times.set(HOUR_S)
        watch.look()
    assert [watch.age(stamp) for stamp in stamps] == pytest.approx([300, 200, 100])
    assert [stamp < watch.ago(250) for stamp in stamps] == [True, False, False]
    assert [stamp < watch.ago(150) for stamp in stamps] == [True, True, False]


def test_set_back_nothing_is_too_old_too_soon(times: Times) -> None:
    watch = Clock()
    stamp = times.wall
    times.pass_(10)
    times.set(-HOUR_S)
    assert watch.look() == pytest.approx(-HOUR_S)
    assert watch.age(stamp) == 0
    for _ in range(60):
        times.pass_(60)
        watch.look()
        assert watch.ago(HOUR_S) <= stamp, "an hour has not passed"
    times.pass_(HOUR_S)
    watch.look()
    assert stamp < watch.ago(HOUR_S)


def test_it_does_not_remember_for_ever(times: Times) -> None:
    watch = Clock()
    for _ in range(3 * clock.MOST_JUMPS):
        times.set(HOUR_S)
        watch.look()
    assert watch.age(times.wall) == 0
    assert watch.age(times.wall - 10**9) == pytest.approx(10**9 - clock.MOST_JUMPS * HOUR_S)
