"""Memory that is held: how much, and giving back what is unused: PyTorch's CUDA cache, glibc's free lists."""

from __future__ import annotations

import ctypes
import functools
import re
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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


def release(device: torch.device) -> None:
    """Give back what is held and unused: `empty_cache` on CUDA, `malloc_trim` on glibc."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        if hasattr(torch._C, "_host_emptyCache"):
            torch._C._host_emptyCache()  # what was pinned for transfers
    if libc := _glibc():
        libc.malloc_trim(0)


@dataclass(frozen=True)
class Usage:
    """Bytes that this process holds, and the most it held since it began; 0 where the system does not tell."""

    current: int
    peak: int


def usage(device: torch.device) -> Mapping[str, Usage]:
    """Return the bytes resident on the `host`, and those that PyTorch has reserved on a `device` that is a GPU."""
    reserved = Usage(0, 0)
    if device.type == "cuda":
        reserved = Usage(torch.cuda.memory_reserved(device), torch.cuda.max_memory_reserved(device))
    return {"host": _resident(), "device": reserved}


def _resident() -> Usage:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # macOS
        lines = []
    facts = dict(line.split(":", 1) for line in lines)
    current, peak = (int(facts.get(name, "0").split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return Usage(current, peak)


class Cleaner:
    """Gives memory back by a policy: after each batch, once more than `watermark_mb` MiB is held and unused, or never.

    It costs milliseconds, so the default waits for the watermark. What is held on the host is what has become resident
    since the last release and is not in use: malloc's own count of free bytes goes on counting what went back.
    """

    def __init__(self, policy: Cleanup, watermark_mb: int, device: torch.device) -> None:
        self.policy = policy
        self.watermark_bytes = watermark_mb * _MIB
        self.device = device
        self.release()

    def release(self) -> None:
        """Give back what is held and unused (see `release`)."""
        release(self.device)
        self._floor_bytes = _resident_and_unused()
        self._device_floor_bytes = _cache_bytes(self.device)

    def idle_bytes(self) -> int:
        """Bytes that are held and unused, on the device or on the host, whichever are more."""
        return max(
            _resident_and_unused() - self._floor_bytes,
            _cache_bytes(self.device) - self._device_floor_bytes,
        )

    def clean_up(self) -> bool:
        """Release if the policy says so; whether it did."""
        due = self.policy == "always" or (self.policy == "watermark" and self.idle_bytes() > self.watermark_bytes)
        if due:
            self.release()
        return due


def _cache_bytes(device: torch.device) -> int:
    """Bytes that PyTorch holds unused on a GPU; some of them it can't give back, as CUDA graphs keep them."""
    if device.type != "cuda":
        return 0
    return torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _resident_and_unused() -> int:
    """Resident bytes that malloc has not given out: what it holds free, and what is none of its business."""
    libc = _glibc()
    if not libc:
        return 0
    heap = libc.mallinfo2()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return resident - int(heap.uordblks) - int(heap.hblkhd)


# What PyTorch, CUDA's libraries, the C++ library, oneDNN and Python say. Of a convolution that it does not know, oneDNN
# says "could not create a primitive descriptor".
_OUT_OF_MEMORY = re.compile(
    "can't allocate memory|out of memory|ALLOC_FAILED|bad_alloc|could not create a (primitive|memory object)(?! desc)"
    "|can't start new thread"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error says that an allocation failed; most libraries below PyTorch have no class for it."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None
    )
