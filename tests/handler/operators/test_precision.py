"""The precision follows what the device computes fastest."""

from __future__ import annotations

import pytest
import torch

from animegan.errors import BadSetting
from animegan.operators import native, precision
from animegan.operators.precision import pick_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "compiled", "expected"),
    [
        (True, True, True, "bf16"),
        (True, True, False, "bf16"),
        (False, True, True, "fp32"),  # filtering leaves fewer multiplications than bf16
        (False, True, False, "bf16"),
        (False, False, True, "fp32"),
        (False, False, False, "fp32"),
    ],
)
def test_auto_on_a_cpu_is_what_it_computes_fastest(
    monkeypatch: pytest.MonkeyPatch, amx: bool, avx512_bf16: bool, compiled: bool, expected: str
) -> None:
    monkeypatch.setattr(precision, "_has_amx", lambda: amx)
    monkeypatch.setattr(precision, "_has_avx512_bf16", lambda: avx512_bf16)
    monkeypatch.setattr(native, "best", lambda: object() if compiled else None)
    assert pick_precision("auto", CPU) == expected


def test_auto_on_a_gpu_is_half() -> None:
    assert pick_precision("auto", GPU) == "fp16"


def test_what_is_no_precision_is_named() -> None:
    with pytest.raises(BadSetting, match="precision='int8': use one of auto, fp32"):
        pick_precision("int8", CPU)  # type: ignore[arg-type]


def test_half_on_a_cpu_is_refused() -> None:
    with pytest.raises(BadSetting, match="fp16"):
        pick_precision("fp16", CPU)


@pytest.mark.parametrize("kernels", [True, False])
def test_bfloat_is_refused_where_it_has_no_kernels(monkeypatch: pytest.MonkeyPatch, kernels: bool) -> None:
    monkeypatch.setattr(precision, "cpu_convolves_bf16", lambda: kernels)
    assert pick_precision("bf16", GPU) == "bf16"
    if kernels:
        assert pick_precision("bf16", CPU) == "bf16"
    else:
        with pytest.raises(BadSetting, match=r"precision='bf16' is slow on this CPU.*Use 'fp32' or 'auto'"):
            pick_precision("bf16", CPU)
