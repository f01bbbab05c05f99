"""What the plan foretells is what a run takes, and what does not fit is refused with a way out."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animegan.errors import PictureTooLarge
from animegan.networks.animegan2.layout import Shape, layout
from animegan.networks.animegan2.network import Network, traced
from animegan.networks.animegan2.plan import MOST_TOGETHER, banded, batch_size, plans, whole, whole_bytes
from animegan.networks.plan import Mode, Plan, choose
from animegan.networks.weights import load_weights
from animegan.operators import Form, plain
from animegan.operators.precision import cpu_convolves_bf16, pick_precision
from animegan.resources.hardware import DTYPES
from animegan.styles import Resize, get_style, verify
from benchmarks.common import fresh
from harness import MIB
from harness.engine.peaks import drawing_peak

pytestmark = pytest.mark.xdist_group("memory")  # they measure it

WITHIN = 1.15


@cache
def network(precision: str, resize: Resize = "align_corners") -> Network:
    return Network(traced(load_weights(verify(get_style("classic"))), resize), torch.device("cpu"), precision)


def plan_of(shape: Shape, mode: Mode) -> Plan:
    return whole(shape, cuda=False) if mode == "whole" else banded(shape, mode, 4 * MIB, cuda=False)


def replan(height: int, width: int) -> list[Plan]:
    return list(plans(Shape(height, width, 1, 2), cuda=False))


BF16 = pytest.param(
    "bf16", marks=pytest.mark.skipif(not cpu_convolves_bf16(), reason="this CPU has no AVX-512: bf16 is refused here")
)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", BF16])
@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize(
    ("size", "compiled", "resize"),
    [
        ((128, 128, 1), True, "align_corners"),
        ((131, 260, 2), True, "asymmetric"),
        ((300, 220, 1), True, "align_corners"),
        ((128, 128, 1), False, "align_corners"),
    ],
)
def test_the_peak_is_within_15_percent_and_never_under(
    precision: str,
    mode: Mode,
    size: tuple[int, int, int],
    compiled: bool,
    resize: Resize,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not compiled:
        stock = Form(plain.plain_moments, plain.plain_norm_act_pad, plain.plain_upsample_pad)
        monkeypatch.setattr("animegan.operators.form", lambda _: stock)
    drawing = network(precision, resize)
    plan = plan_of(Shape(*size, drawing.itemsize, resize), mode)
    peak = drawing_peak(drawing, plan)
    assert peak <= plan.peak_bytes <= WITHIN * peak


def resident_peak(mode: Mode, precision: str, side: int) -> tuple[float, int]:
    """Return the resident memory of a picture in this process above idle, and the plan's prediction, in bytes."""
    drawing = network(precision)
    small, large = (
        banded(Shape(px, px, 1, drawing.itemsize), mode, 16 * MIB, cuda=False) for px in (fresh.WARMUP_PX, side)
    )
    drawing.draw(torch.zeros(1, small.shape.height, small.shape.width, 3, dtype=torch.uint8), small)
    with fresh.Watch(drawing.device) as watch:
        drawing.draw(torch.ones(1, side, side, 3, dtype=torch.uint8), large)
    return watch.peak_mib * MIB, large.peak_bytes


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc, which is Linux's")
@pytest.mark.parametrize("mode", ["bands", "recompute"])
def test_resident_memory_is_within_15_percent_and_never_above(mode: Mode) -> None:
    peak, estimate = fresh.call(resident_peak, mode, pick_precision("auto", torch.device("cpu")), 1024)
    assert peak <= estimate <= WITHIN * peak


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(16, 3000),
    width=st.integers(16, 3000),
    batch=st.integers(1, 4),
    itemsize=st.sampled_from([2, 4]),
    cuda=st.booleans(),
    resize=st.sampled_from(get_args(Resize)),
)
def test_each_plan_is_smaller_than_the_one_before_it(
    height: int, width: int, batch: int, itemsize: int, cuda: bool, resize: Resize
) -> None:
    candidates = list(plans(Shape(height, width, batch, itemsize, resize), cuda=cuda))
    assert candidates[0].mode == ("whole" if cuda else "bands")
    for faster, smaller in pairwise(candidates):
        assert smaller.peak_bytes < faster.peak_bytes
    assert all(plan.work >= 1 for plan in candidates)


def test_the_widest_map_sets_the_floor() -> None:
    """At 1024² in 16 bits one 64-channel map is 128 MiB, and bands keep no more; recomputation keeps half of that."""
    shape = Shape(1024, 1024, 1, 2)
    assert layout(shape, "bands", MIB, cuda=False).places[0].offset < 128 * MIB
    assert layout(shape, "bands", MIB, cuda=False).output_offset <= 129 * MIB
    assert layout(shape, "recompute", MIB, cuda=False).output_offset <= 65 * MIB


def test_recomputation_says_what_it_costs() -> None:
    shape = Shape(2160, 3840, 1, 2)
    assert banded(shape, "bands", 64 * MIB, cuda=False).work == 1
    assert 1.5 < banded(shape, "recompute", 64 * MIB, cuda=False).work < 1.8


def test_a_little_less_memory_costs_a_little_more_arithmetic() -> None:
    shape = Shape(2160, 3840, 1, 4)
    *dear, cheap = [plan for plan in plans(shape, cuda=False) if plan.mode == "recompute"]
    assert choose(plans(shape, cuda=False), 1200 * MIB, replan).work < 2.5
    assert all(later.work < 1.25 * plan.work for plan, later in itertools.pairwise(dear))
    assert cheap.work > dear[-1].work
    assert len([plan for plan in plans(shape, cuda=True) if plan.mode == "recompute"]) == 2


def test_the_budget_decides() -> None:
    candidates = list(plans(Shape(2160, 3840, 1, 2), cuda=True))
    assert [choose(candidates, plan.peak_bytes, replan) for plan in candidates] == candidates
    assert choose(candidates, candidates[1].peak_bytes - 1, replan) == candidates[2]


@pytest.mark.slow
def test_what_never_fits_is_refused_with_the_side_that_would() -> None:
    candidates = list(plans(Shape(3000, 6000, 1, 2), cuda=False))
    with pytest.raises(PictureTooLarge) as excinfo:
        choose(candidates, 300 * MIB, replan)
    members = excinfo.value.members
    side = members["fits_side_px"]
    assert isinstance(side, int)
    for part in ("6000×3000 px", f"{members['need_mb']} MiB", "300", f"{side} px"):
        assert part in excinfo.value.detail
    assert choose(replan(side // 2, side), 300 * MIB, replan)
    with pytest.raises(PictureTooLarge):
        choose(replan((side + 8) // 2, side + 8), 300 * MIB, replan)


def test_a_budget_for_nothing_at_all_names_no_side() -> None:
    with pytest.raises(PictureTooLarge) as excinfo:
        choose(replan(64, 64), 0, replan)
    assert excinfo.value.members["fits_side_px"] == 0
    assert "max_side" not in excinfo.value.detail


@pytest.mark.slow
def test_every_precision_has_its_width() -> None:
    assert {name: network(name).itemsize for name in DTYPES} == {"fp32": 4, "fp16": 2, "bf16": 2}


def test_a_batch_fits_and_pays() -> None:
    small, large = Shape(256, 256, 1, 2), Shape(2048, 2048, 1, 2)
    assert batch_size(small, 2**40, cuda=True) == MOST_TOGETHER
    assert batch_size(large, 2**40, cuda=True) == 1
    three = whole_bytes(replace(small, batch=3), cuda=True)
    assert [batch_size(small, budget, cuda=True) for budget in (three, three - 1, 0)] == [3, 2, 1]
