"""The dtype that a network is drawn in, by what the device computes fastest."""

from __future__ import annotations

from typing import get_args

import torch

from animegan.errors import BadSetting
from animegan.operators import native
from animegan.settings import Precision


def pick_precision(precision: Precision, device: torch.device) -> str:
    """Return the name of a dtype in `hardware.DTYPES`: the one asked for, or with `auto` the fastest.

    Raise `BadSetting` for what a CPU computes slower than fp32: fp16 on any, bf16 on one for which oneDNN has no
    kernels. There PyTorch's own convolution takes many times the memory that a plan foretells.
    """
    if precision not in get_args(Precision):
        raise BadSetting(f"precision={precision!r}: use one of {', '.join(get_args(Precision))}.")
    if precision == "auto":
        if device.type == "cuda":
            return "fp16"
        return "bf16" if _bf16_is_faster() else "fp32"
    if precision == "fp16" and device.type == "cpu":
        raise BadSetting("precision='fp16' is for GPUs only. Use 'bf16', 'fp32' or 'auto' on a CPU.")
    if precision == "bf16" and device.type == "cpu" and not cpu_convolves_bf16():
        raise BadSetting("precision='bf16' is slow on this CPU, which has no AVX-512. Use 'fp32' or 'auto'.")
    return precision


def cpu_convolves_bf16() -> bool:
    """Return whether oneDNN has convolutions in bf16 for this CPU: it needs AVX-512, or its like on ARM."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _bf16_is_faster() -> bool:
    """Return whether this CPU draws faster in bf16 than in fp32.

    AVX512-BF16 halves the instructions of a product; the compiled convolutions in fp32 leave a third of the products or
    a quarter (`scripts/benchmark multiplications`). AMX has 16 times as many products an instruction.
    """
    return _has_amx() or (_has_avx512_bf16() and native.best() is None)


def _has_amx() -> bool:
    return bool(torch.cpu._is_amx_tile_supported())


def _has_avx512_bf16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported())
