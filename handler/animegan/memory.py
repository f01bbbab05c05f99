"""Giving back memory that is held and unused: PyTorch's CUDA cache, glibc's free lists."""

from __future__ import annotations

import ctypes
import functools
from typing import Literal

import torch

_MIB = 2**20

Cleanup = Literal["always", "watermark", "never"]


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None)
    if not (hasattr(libc, "mallinfo2") and hasattr(libc, "malloc_trim")):  # glibc before 2.33, musl, macOS
        return None
    libc.mallinfo2.restype = _Mallinfo2
    libc.malloc_trim.argtypes = [ctypes.c_size_t]
    return libc


def idle_bytes(device: torch.device) -> int:
    """Bytes that this process holds from the device (or from the kernel, on a CPU) and does not use."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    libc = _glibc()
    return int(libc.mallinfo2().fordblks) if libc else 0


def release(device: torch.device) -> None:
    """Give back what is held and unused: `empty_cache` on CUDA, `malloc_trim` on glibc."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
    libc = _glibc()
    if libc:
        libc.malloc_trim(0)


def clean_up(policy: Cleanup, watermark_mb: int, device: torch.device) -> bool:
    """Release by that policy; whether it did. It costs milliseconds, so the default waits for the watermark."""
    due = policy == "always" or (policy == "watermark" and idle_bytes(device) > watermark_mb * _MIB)
    if due:
        release(device)
    return due


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that an allocation failed, on the GPU or on the CPU (which has no class of its own)."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
