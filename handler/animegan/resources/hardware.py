"""What this process may use: device, precision, CPUs."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import get_args

import torch

from animegan.errors import BadSetting
from animegan.resources import cgroups
from animegan.settings import Device, Precision

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def pick_device(device: Device, gpu: int | None = None) -> torch.device:
    """The device to run on; `gpu` is the index that TorchServe gave this worker. Raises `BadSetting`."""
    _check("device", device, get_args(Device))
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BadSetting("device='cuda', but PyTorch sees no CUDA GPU here. Use 'auto' or 'cpu'.")
    return torch.device("cuda", gpu or 0)


def pick_precision(precision: Precision, device: torch.device) -> str:
    """The name of a dtype in `DTYPES`.

    Raises `BadSetting` for what a CPU computes slower than fp32: fp16 on any, bf16 on one for which oneDNN has no
    kernels. There PyTorch's own convolution takes many times the memory that a plan foretells.
    """
    _check("precision", precision, get_args(Precision))
    if precision == "auto":
        if device.type == "cuda":
            return "fp16"
        return "bf16" if _cpu_multiplies_bf16() else "fp32"
    if precision == "fp16" and device.type == "cpu":
        raise BadSetting("precision='fp16' is for GPUs only. Use 'bf16', 'fp32' or 'auto' on a CPU.")
    if precision == "bf16" and device.type == "cpu" and not cpu_convolves_bf16():
        raise BadSetting("precision='bf16' is slow on this CPU, which has no AVX-512. Use 'fp32' or 'auto'.")
    return precision


def cpu_convolves_bf16() -> bool:
    """Return whether oneDNN has convolutions in bf16 for this CPU: it needs AVX-512, or its like on ARM."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _check(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise BadSetting(f"{name}={value!r}: use one of {', '.join(choices)}.")


def _cpu_multiplies_bf16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def cpu_count(proc: Path = cgroups.PROC, groups: Path = cgroups.CGROUPS) -> int:
    """CPUs this process may use: its affinity, or the lowest quota of its cgroups rounded up, if that is less."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroups.cpus(proc, groups)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))
