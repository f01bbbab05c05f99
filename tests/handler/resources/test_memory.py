"""Held and unused memory goes back when the policy says so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from animegan.resources import memory

pytestmark = pytest.mark.xdist_group("memory")  # they measure it

CPU = torch.device("cpu")

glibc = pytest.mark.skipif(memory._glibc() is None, reason="this C library is not glibc 2.33 or newer")


WATERMARK = """
import ctypes, os, psutil, torch
from animegan.resources import memory

CPU, MIB = torch.device("cpu"), 2**20
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
process = psutil.Process(os.getpid())
cleaner = memory.Cleaner("watermark", 0, CPU)
blocks = [libc.malloc(64 * 1024) for _ in range(1600)]  # 100 MiB on the heap
for block in blocks:
    ctypes.memset(block, 1, 64 * 1024)
for block in blocks[:-1]:  # the last one, above them, keeps the heap from shrinking by itself
    libc.free(block)
before = process.memory_info().rss
assert cleaner.idle_bytes() > 90 * MIB
for policy, watermark_bytes in (("watermark", 4096 * MIB), ("never", 0)):
    cleaner.policy, cleaner.watermark_bytes = policy, watermark_bytes
    assert not cleaner.clean_up()
assert process.memory_info().rss > before - 10 * MIB
cleaner.policy, cleaner.watermark_bytes = "watermark", 64 * MIB
assert cleaner.clean_up()
assert process.memory_info().rss < before - 80 * MIB
assert not cleaner.clean_up()  # it went back, so there is nothing to do
again = [libc.malloc(64 * 1024) for _ in range(1500)]  # from what went back: resident anew
for block in again:
    ctypes.memset(block, 1, 64 * 1024)
assert not cleaner.clean_up()  # in use
for block in again[:-1]:
    libc.free(block)
assert cleaner.clean_up()
"""


@pytest.mark.slow
@glibc
def test_the_watermark_releases_what_is_held_above_it() -> None:
    subprocess.run(
        [sys.executable, "-c", WATERMARK], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=True
    )


@glibc
def test_always_releases_each_time() -> None:
    cleaner = memory.Cleaner("always", 4096, CPU)
    assert cleaner.clean_up()
    assert cleaner.clean_up()


def test_usage_is_what_is_resident_and_the_most_that_was() -> None:
    before = memory.usage(CPU)["host"]
    block = torch.ones(64 * 2**20, dtype=torch.uint8)
    during = memory.usage(CPU)["host"]
    del block
    memory.release(CPU)
    after = memory.usage(CPU)
    assert during.current >= before.current + 50 * 2**20
    assert after["host"].current <= during.current - 50 * 2**20
    assert after["host"].peak >= during.current - 2**20  # the kernel counts in batches
    assert after["device"] == memory.Usage(0, 0)


def test_a_failed_allocation_is_recognised() -> None:
    with pytest.raises(RuntimeError) as excinfo:
        torch.empty(2**60, dtype=torch.uint8)
    assert memory.is_out_of_memory(excinfo.value)
    assert memory.is_out_of_memory(MemoryError())
    assert memory.is_out_of_memory(torch.OutOfMemoryError())
    assert not memory.is_out_of_memory(RuntimeError("sizes differ"))
