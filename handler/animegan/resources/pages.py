"""Memory of the CPU on large pages: fewer page faults as it is written, fewer searches for addresses as it is read.

Linux gives pages of 2 MiB in place of 4 KiB to who asks for them (madvise(2), MADV_HUGEPAGE), unless its administrator
has set /sys/kernel/mm/transparent_hugepage/enabled to `never`. A page is there once one of its bytes is written.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from collections.abc import Callable

import torch
from torch import Tensor

LEAST_BYTES = 4 * 2**20  # that large pages are asked for: a page at each end may be a small one
CHUNK_BYTES = 32 * 2**20  # of a pool. What is not written takes no memory.
CACHE_LINE = 64  # bytes


def empty(*size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a tensor like `torch.empty`; on the CPU it lies on large pages, if it is large and Linux has them."""
    tensor = torch.empty(size, dtype=dtype, device=device)
    if tensor.nbytes >= LEAST_BYTES and device.type == "cpu" and (advise := _madvise()):
        start = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        advise(start, tensor.data_ptr() + tensor.nbytes - start, mmap.MADV_HUGEPAGE)
    return tensor


class Pool:
    """Memory of the CPU for many tensors that are kept as long as each other, side by side on large pages."""

    def __init__(self) -> None:
        self._rest = torch.empty(0, dtype=torch.uint8)

    def zeros(self, size: int) -> Tensor:
        """Return so many bytes, zero: uint8, aligned for vectors."""
        room = -(-size // CACHE_LINE) * CACHE_LINE
        if room > len(self._rest):
            self._rest = empty(max(room, CHUNK_BYTES), dtype=torch.uint8, device=torch.device("cpu"))
        memory, self._rest = self._rest[:size], self._rest[room:]
        return memory.zero_()


@functools.cache
def _madvise() -> Callable[[int, int, int], int] | None:
    """Return madvise(address, bytes, advice), where it knows of large pages."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):  # macOS
        return None
    function: Callable[[int, int, int], int] = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]  # type: ignore[attr-defined]
    return function
