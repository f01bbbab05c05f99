"""A slope and its interval, of series whose slope is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.endurance.trend import trend

MINUTES = np.arange(1200) / 60


def noise(chance: np.random.Generator, decay: float) -> NDArray[np.float64]:
    """A value each second; each is `decay` of the one before, and something new."""
    values = np.zeros(len(MINUTES))
    for at, new in enumerate(chance.normal(size=len(MINUTES))):
        values[at] = (decay * values[at - 1] if at else 0.0) + new
    return values


def test_a_line_has_its_slope() -> None:
    slope = trend(MINUTES, 100 + 3 * MINUTES)
    assert (slope.per_hour, slope.low, slope.high) == pytest.approx((180, 180, 180))
    assert not slope.none


def test_what_stays_as_it_is_has_none() -> None:
    slope = trend(MINUTES, np.full(len(MINUTES), 7.0))
    assert (slope.per_hour, slope.low, slope.high) == pytest.approx((0, 0, 0), abs=1e-9)
    assert slope.none


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.98])
def test_the_interval_holds_the_slope_nearly_always(decay: float) -> None:
    chance = np.random.default_rng(1)
    slopes = [trend(MINUTES, noise(chance, decay) + 2 * MINUTES) for _ in range(100)]
    assert sum(each.low <= 120 <= each.high for each in slopes) >= 90


def test_a_leak_is_told_from_none() -> None:
    chance = np.random.default_rng(1)
    assert not any(trend(MINUTES, noise(chance, 0.9) + MINUTES).none for _ in range(20))
