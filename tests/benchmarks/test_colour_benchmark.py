"""The measure of colour is CIE's."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.pictures.colour import delta_e2000

PAIRS = [  # Sharma, Wu and Dalal, 2005, table 1
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("one", "other", "expected"), PAIRS)
def test_published_pairs(one: tuple[float, ...], other: tuple[float, ...], expected: float) -> None:
    assert delta_e2000(np.array(one), np.array(other)) == pytest.approx(expected, abs=1e-4)
    assert delta_e2000(np.array(other), np.array(one)) == pytest.approx(expected, abs=1e-4)
