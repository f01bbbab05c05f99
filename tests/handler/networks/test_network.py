"""Whole and in bands, in every precision: the same picture, and the network's."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from animegan.networks.animegan2.bands import Weights, draw
from animegan.networks.animegan2.fused import Fused, resize_of, trace
from animegan.networks.animegan2.generator import build
from animegan.networks.animegan2.layout import Shape, layout
from animegan.networks.animegan2.network import Network, load
from animegan.networks.animegan2.plan import banded, whole
from animegan.networks.plan import Mode
from animegan.networks.weights import load_weights
from animegan.operators import Form, plain
from animegan.resources.hardware import DTYPES
from animegan.styles import Resize, get_style, verify
from benchmarks.common.reference import generate, psnr
from harness.pictures import photo, photo_tensor

LEAST_DB = {"fp32": 80, "fp16": 65, "bf16": 50}
EIGHT_BITS_DB = 58.5  # rounding to 8 bits leaves 58.9 of an exact picture


@cache
def weights() -> dict[str, Tensor]:
    return load_weights(verify(get_style("classic")))


@cache
def network(precision: str, resize: Resize = "align_corners") -> Network:
    return Network(trace(build(weights(), resize)), torch.device("cpu"), precision)


def pixels(height: int, width: int, batch: int = 1) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(photo(width, height, seed)) for seed in range(batch)]))


def draw_picture(
    precision: str, source: Tensor, mode: Mode, band_bytes: int = 0, resize: Resize = "align_corners"
) -> Tensor:
    drawing = network(precision, resize)
    shape = Shape(source.shape[1], source.shape[2], len(source), drawing.itemsize, resize)
    plan = whole(shape, cuda=False) if mode == "whole" else banded(shape, mode, band_bytes, cuda=False)
    return drawing.draw(source, plan)


def decibels(a: Tensor, b: Tensor) -> float:
    return psnr(a.double() / 127.5 - 1, b.double() / 127.5 - 1)


every_resize = pytest.mark.parametrize("resize", get_args(Resize))
# Each mode in each precision, and either with each way of scaling up: 16 bits take a second a case on most CPUs.
EVERY_MODE: list[tuple[Mode, str, Resize]] = [
    (mode, precision, get_args(Resize)[(row + column) % 2])
    for row, mode in enumerate(get_args(Mode))
    for column, precision in enumerate(DTYPES)
]


@pytest.mark.slow
@every_resize
@pytest.mark.parametrize("size", [(16, 16), (17, 31), (96, 130)])
def test_the_fused_network_draws_what_an_independent_computation_draws(size: tuple[int, int], resize: Resize) -> None:
    x = photo_tensor(*size)
    with torch.inference_mode():
        expected = generate(weights(), x.double(), asymmetric=resize == "asymmetric")
        assert psnr(Fused(build(weights(), resize))(x), expected) >= 80


@every_resize
def test_a_trace_draws_every_size_and_batch_and_survives_a_file(tmp_path: Path, resize: Resize) -> None:
    eager = Fused(build(weights(), resize))
    torch.jit.save(trace(build(weights(), resize)), tmp_path / "cel.pt")
    loaded = torch.jit.load(tmp_path / "cel.pt")  # type: ignore[no-untyped-call]
    assert resize_of(loaded) == resize
    for size in ((16, 16), (19, 30), (150, 33)):
        x = torch.cat([photo_tensor(*size), photo_tensor(*size).flip(3)])
        with torch.inference_mode():
            assert torch.equal(loaded(x), eager(x))


def test_the_archives_trace_is_taken_only_if_it_scales_up_as_the_style_says() -> None:
    packed = trace(build(weights()))
    for resize in get_args(Resize):
        assert load(weights, packed, torch.device("cpu"), "fp32", resize).resize == resize


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "precision", "resize"), EVERY_MODE)
def test_every_plan_draws_the_networks_picture(mode: Mode, precision: str, resize: Resize) -> None:
    source = pixels(39, 52, batch=2)
    x = source.permute(0, 3, 1, 2).double() / 127.5 - 1
    expected = generate(weights(), x, asymmetric=resize == "asymmetric").permute(0, 2, 3, 1)
    picture = draw_picture(precision, source, mode, 40_000, resize).double() / 127.5 - 1
    assert psnr(picture, expected) >= min(LEAST_DB[precision], EIGHT_BITS_DB)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(16, 70),
    width=st.integers(16, 50),
    batch=st.integers(1, 2),
    mode=st.sampled_from(["bands", "recompute"]),
    band_bytes=st.sampled_from([1, 20_000, 90_000, 400_000, 2**22]),
    precision=st.sampled_from(["fp32", "bf16"]),
    resize=st.sampled_from(get_args(Resize)),
)
def test_bands_are_the_whole(
    height: int, width: int, batch: int, mode: Mode, band_bytes: int, precision: str, resize: Resize
) -> None:
    source = pixels(height, width, batch)
    banded = draw_picture(precision, source, mode, band_bytes, resize)
    whole = draw_picture(precision, source, "whole", resize=resize)
    assert decibels(banded, whole) >= min(LEAST_DB[precision], EIGHT_BITS_DB)  # where one value in a hundred rounds off


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "precision", "resize"), [case for case in EVERY_MODE if case[0] != "whole"])
def test_bands_are_the_whole_before_they_are_rounded_to_8_bits(
    mode: Mode, precision: str, resize: Resize, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("animegan.networks.animegan2.bands.to_pixels", lambda values: values)
    source = pixels(75, 44)
    out = torch.empty(source.shape[1:], dtype=torch.float32)
    drawing = network(precision, resize)
    shape = Shape(75, 44, 1, drawing.itemsize, resize)
    draw(Weights(weights(), DTYPES[precision], resize), source[0], out, layout(shape, mode, 40_000, cuda=False))
    expected = drawing.generate(source.permute(0, 3, 1, 2) / 127.5 - 1)[0].permute(1, 2, 0)
    assert psnr(out, expected.float()) >= LEAST_DB[precision]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["bands", "recompute"])
def test_no_seam_lies_along_the_bands_edges(mode: Mode) -> None:
    """The rows at the bands' edges differ from the whole run's no more than the other rows do."""
    source = pixels(160, 48)
    shape = Shape(160, 48, 1, 2)
    difference = (
        draw_picture("bf16", source, mode, 400_000).double() - draw_picture("bf16", source, "whole").double()
    ).abs()[0]
    by_row = difference.mean(dim=(1, 2))
    rows = layout(shape, mode, 400_000, cuda=False).places[-2].rows[-1]
    edges = torch.zeros(160, dtype=torch.bool)
    for first in range(rows, 160, rows):
        edges[first - 1 : first + 1] = True
    assert 4 <= edges.sum() <= 80, "bands of some rows, several of them"
    spread = by_row[~edges].std() / edges.sum().sqrt()
    assert by_row[edges].mean() <= by_row[~edges].mean() + 4 * spread


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_cpu_whose_convolutions_cannot_write_into_the_arena_draws_the_same(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = pixels(40, 34)
    expected = draw_picture(precision, source, "recompute", 40_000)
    monkeypatch.setattr("animegan.networks.animegan2.bands._packing", lambda *_: None)
    network.cache_clear()
    picture = draw_picture(precision, source, "recompute", 40_000)
    network.cache_clear()
    assert decibels(picture, expected) >= min(LEAST_DB[precision], EIGHT_BITS_DB)


@pytest.mark.slow
def test_the_compiled_and_the_plain_operators_draw_the_same_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    source = pixels(70, 50)
    compiled = draw_picture("fp32", source, "bands", 90_000)
    stock = Form(plain.plain_moments, plain.plain_norm_act_pad, plain.plain_upsample_pad)
    monkeypatch.setattr("animegan.operators.form", lambda _: stock)
    assert decibels(draw_picture("fp32", source, "bands", 90_000), compiled) >= EIGHT_BITS_DB
