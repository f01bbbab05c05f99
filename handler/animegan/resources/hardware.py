"""What this process may use: device and CPUs."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import get_args

import torch

from animegan.errors import BadSetting
from animegan.resources import cgroups
from animegan.settings import Device

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def pick_device(device: Device, gpu: int | None = None) -> torch.device:
    """The device to run on; `gpu` is the index that TorchServe gave this worker. Raises `BadSetting`."""
    if device not in get_args(Device):
        raise BadSetting(f"device={device!r}: use one of {', '.join(get_args(Device))}.")
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BadSetting("device='cuda', but PyTorch sees no CUDA GPU here. Use 'auto' or 'cpu'.")
    return torch.device("cuda", gpu or 0)


def cpu_count(proc: Path = cgroups.PROC, groups: Path = cgroups.CGROUPS) -> int:
    """CPUs this process may use: its affinity, or the lowest quota of its cgroups rounded up, if that is less."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroups.cpus(proc, groups)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))
