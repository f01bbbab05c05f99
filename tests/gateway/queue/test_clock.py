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
    watched = Clock()
    for _ in range(10):
        times.pass_(600)
        times.set(0.3)  # it is corrected a little, again and again
        assert watched.look() == 0
    assert watched.now == times.wall
    assert watched.ago(HOUR_S) == pytest.approx(times.wall - HOUR_S)
    assert watched.age(times.wall - 60) == 60


def test_set_forwards_nothing_gets_older(times: Times) -> None:
    watched = Clock()
    times.pass_(10)
    before = times.wall
    times.set(HOUR_S)
    assert watched.look() == pytest.approx(HOUR_S)
    after = times.wall
    for age in range(0, 3700, 61):
        assert watched.age(before) == pytest.approx(age)
        assert watched.age(after) == pytest.approx(age)
        for seconds in (60, 1800, 3601):
            assert (before < watched.ago(seconds)) == (after < watched.ago(seconds)) == (seconds < age)
        times.pass_(61)
        assert watched.look() == 0


def test_set_forwards_twice(times: Times) -> None:
    watched, stamps = Clock(), []
    for _ in range(3):
        stamps.append(times.wall)
        times.pass_(100)
        times.set(HOUR_S)
        watched.look()
    assert [watched.age(stamp) for stamp in stamps] == pytest.approx([300, 200, 100])
    assert [stamp < watched.ago(250) for stamp in stamps] == [True, False, False]
    assert [stamp < watched.ago(150) for stamp in stamps] == [True, True, False]


def test_set_back_nothing_is_too_old_too_soon(times: Times) -> None:
    watched = Clock()
    stamp = times.wall
    times.pass_(10)
    times.set(-HOUR_S)
    assert watched.look() == pytest.approx(-HOUR_S)
    assert watched.age(stamp) == 0
    for _ in range(60):
        times.pass_(60)
        watched.look()
        assert watched.ago(HOUR_S) <= stamp, "an hour has not passed"
    times.pass_(HOUR_S)
    watched.look()
    assert stamp < watched.ago(HOUR_S)


def test_it_does_not_remember_for_ever(times: Times) -> None:
    watched = Clock()
    for _ in range(3 * clock.MOST_JUMPS):
        times.set(HOUR_S)
        watched.look()
    assert watched.age(times.wall) == 0
    assert watched.age(times.wall - 10**9) == pytest.approx(10**9 - clock.MOST_JUMPS * HOUR_S)
