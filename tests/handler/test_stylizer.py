"""A stylizer plans each picture by its memory, and memory that runs out all the same costs a second try, no picture."""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from animegan.errors import PictureTooLarge
from animegan.networks.plan import Plan
from animegan.stylizer import Stylizer
from harness.pictures import photo

MIB = 2**20


@cache
def stylizer() -> Stylizer:
    return Stylizer("classic", device="cpu", precision="fp32", warmup_px=0)


def small_stylizer(memory_mb: int) -> Stylizer:
    return Stylizer("classic", device="cpu", precision="fp32", warmup_px=0, memory_mb=memory_mb)


def steps(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a, dtype=int) - np.asarray(b, dtype=int)).max())


@pytest.mark.slow
def test_less_memory_is_another_plan_and_the_same_picture() -> None:
    picture = photo(420, 300)
    plans = list(stylizer()._drawing.plans((420, 300), 1, (None,)))
    free = stylizer().run([picture])
    assert (free.plan, free.recovered) == (plans[0], False)
    tight = small_stylizer(-(-plans[-1].peak_bytes // MIB)).run([picture])
    assert (tight.plan.mode, tight.recovered) == ("recompute", False)
    assert steps(free.pictures[0], tight.pictures[0]) <= 1


def test_a_picture_beyond_the_budget_is_refused_before_anything_runs() -> None:
    with pytest.raises(PictureTooLarge, match=r"420×300 px .* 1 MiB may be taken\. Set max_side to \d+ px or less"):
        small_stylizer(1).draw([photo(420, 300)])


@pytest.mark.slow
def test_memory_that_runs_out_is_tried_once_more_in_smaller_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    network, plans, arenas = stylizer()._drawing.network, [], []
    real = network.draw

    def first_fails(pictures: Tensor, plan: Plan) -> Tensor:
        plans.append(plan)
        if len(plans) == 1:
            arena = torch.empty(1000)
            arenas.append(weakref.ref(arena))
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory")
        assert arenas[0]() is None, "what the first try held is given back before the second"
        return real(pictures, plan)

    picture = photo(420, 300)
    expected = stylizer().draw([picture])[0]
    monkeypatch.setattr(network, "draw", first_fails)
    run = stylizer().run([picture])
    assert run.recovered
    assert [run.plan.network] == plans[1:]
    assert plans[1].peak_bytes < plans[0].peak_bytes
    assert steps(run.pictures[0], expected) <= 1


def test_memory_that_runs_out_against_every_plan_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = []
    stylizer().draw([photo(64, 64)])  # the first picture also measures how the style draws tones

    def fails(_pictures: Tensor, plan: Plan) -> Tensor:
        plans.append(plan)
        raise MemoryError

    monkeypatch.setattr(stylizer()._drawing.network, "draw", fails)
    with pytest.raises(MemoryError):
        stylizer().draw([photo(420, 300)])
    peaks = [plan.peak_bytes for plan in plans]
    assert peaks == sorted(set(peaks), reverse=True)
    assert plans == [plan.network for plan in stylizer()._drawing.plans((420, 300), 1, (None,))]
    assert {plan.mode for plan in plans} == {"bands", "recompute"}


def test_another_error_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_pictures: Tensor, _plan: Plan) -> Tensor:
        raise RuntimeError("a bug")

    monkeypatch.setattr(stylizer()._drawing.network, "draw", fails)
    with pytest.raises(RuntimeError, match="a bug"):
        stylizer().draw([photo(64, 64)])


def test_several_threads_draw_what_one_draws() -> None:
    pictures = [photo(16 * (2 + index % 5), 16 * (1 + index % 3), index) for index in range(12)]
    alone = [stylizer().draw([picture])[0] for picture in pictures]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda picture: stylizer().draw([picture])[0], pictures))
    assert all(steps(a, b) <= 1 for a, b in zip(alone, together, strict=True))


def test_a_budget_too_small_for_the_warm_up_refuses_pictures_and_not_to_start() -> None:
    with pytest.raises(PictureTooLarge, match="64×64 px"):
        Stylizer("classic", device="cpu", precision="fp32", memory_mb=1).draw([photo(64, 64)])
