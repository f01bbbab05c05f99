"""Held and unused memory goes back when the policy says so."""

from __future__ import annotations

import ctypes
import os

import psutil
import pytest
import torch

from animegan import memory

CPU = torch.device("cpu")
MIB = 2**20

glibc = pytest.mark.skipif(memory._glibc() is None, reason="this C library is not glibc 2.33 or newer")


def hold_and_free(mib: int) -> None:
    """Leave `mib` MiB on malloc's free lists: small blocks, with one in use above them to hold the heap."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(64 * 1024) for _ in range(mib * 16)]
    for block in blocks:
        ctypes.memset(block, 1, 64 * 1024)
    libc.malloc(64)
    for block in blocks:
        libc.free(block)


@glibc
def test_the_watermark_releases_what_is_held_above_it() -> None:
    memory.release(CPU)
    hold_and_free(64)
    process = psutil.Process(os.getpid())
    assert memory.idle_bytes(CPU) > 48 * MIB
    before = process.memory_info().rss
    assert not memory.clean_up("watermark", 4096, CPU)
    assert not memory.clean_up("never", 0, CPU)
    assert process.memory_info().rss > before - 16 * MIB
    assert memory.clean_up("watermark", 32, CPU)
    assert process.memory_info().rss < before - 32 * MIB


@glibc
def test_always_releases_each_time() -> None:
    assert memory.clean_up("always", 4096, CPU)


def test_a_failed_allocation_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert memory.is_out_of_memory(caught.value)
    assert memory.is_out_of_memory(MemoryError())
    assert memory.is_out_of_memory(torch.OutOfMemoryError())
    assert not memory.is_out_of_memory(RuntimeError("sizes differ"))
