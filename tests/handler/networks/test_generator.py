"""The generator is AnimeGANv2's: layout, arithmetic, every size; in reduced precision as well."""

from __future__ import annotations

from functools import cache
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animegan.errors import BadWeights
from animegan.networks.animegan2.generator import Generator, build, check_weights, tensor_shapes
from animegan.networks.weights import load_weights
from animegan.resources.hardware import DTYPES
from animegan.styles import Resize, get_style, verify
from benchmarks.common.reference import generate, psnr
from harness.pictures import photo_tensor


@cache
def weights() -> dict[str, torch.Tensor]:
    return load_weights(verify(get_style("classic")))


@cache
def eager(precision: str = "fp32") -> Generator:
    return build(weights()).to(DTYPES[precision])


def test_it_has_the_published_parameters_and_tensors() -> None:
    shapes = tensor_shapes()
    assert len(shapes) == 77
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 2_143_552
    assert shapes == {name: tuple(tensor.shape) for name, tensor in weights().items()}


@pytest.mark.slow
@pytest.mark.parametrize("resize", get_args(Resize))
@pytest.mark.parametrize("size", [(16, 16), (17, 31), (160, 213), (256, 256)])
def test_it_draws_what_an_independent_computation_draws(resize: Resize, size: tuple[int, int]) -> None:
    x = photo_tensor(*size)
    with torch.inference_mode():
        out = build(weights(), resize)(x)
    assert out.shape == x.shape
    assert psnr(out, generate(weights(), x, asymmetric=resize == "asymmetric")) >= 80


@pytest.mark.parametrize(("precision", "least_db"), [("bf16", 50), ("fp16", 65)])
def test_reduced_precision_stays_close(precision: str, least_db: float) -> None:
    x = photo_tensor(40, 53)
    with torch.inference_mode():
        out = eager(precision)(x.to(DTYPES[precision]))
    assert psnr(out.float(), generate(weights(), x)) >= least_db


def test_a_batch_is_its_pictures() -> None:
    a, b = photo_tensor(40, 56), photo_tensor(40, 56).flip(3)
    with torch.inference_mode():
        both = eager()(torch.cat([a, b]))
        assert psnr(both[:1], eager()(a)) >= 80
        assert psnr(both[1:], eager()(b)) >= 80


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(height=st.integers(16, 90), width=st.integers(16, 90))
def test_any_size_from_16_px_keeps_its_size(height: int, width: int) -> None:
    with torch.inference_mode():
        out = eager()(torch.zeros(1, 3, height, width))
    assert out.shape == (1, 3, height, width)
    assert out.isfinite().all()


def test_weights_that_do_not_fit_are_refused_by_name() -> None:
    wrong = dict(weights())
    del wrong["block_a.0.1.weight"]
    wrong["block_b.0.1.weight"] = torch.zeros(1, 2, 3, 3)
    wrong["surplus"] = torch.zeros(1)
    wrong["block_e.2.2.bias"] = torch.full((32,), float("nan"))
    with pytest.raises(BadWeights) as excinfo:
        check_weights(wrong)
    for part in ("block_a.0.1.weight is missing", "(1, 2, 3, 3), not (128, 64, 3, 3)", "surplus", "not finite"):
        assert part in excinfo.value.detail
