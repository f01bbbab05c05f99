"""How much memory a picture may take: what is free for this process now, less a reserve."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import torch

from animegan.resources import cgroups

RESERVE_SHARE = 0.1  # of the limit: the JVM and the encoder grow too
RESERVE_BYTES = 128 * 2**20  # at least


def free_bytes(device: torch.device, proc: Path = cgroups.PROC, groups: Path = cgroups.CGROUPS) -> int:
    """Bytes that a picture may take on the device, never below 0.

    On a GPU: what the driver has free and PyTorch's cache holds unused. On a CPU: the host's available memory, what a
    cgroup above this process leaves, or its own limit on addresses (`ulimit -v`), whichever is least; the page cache
    that the kernel can drop counts as free.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return _less_reserve(free, total)
    return min((_addresses(proc), *(_less_reserve(free, limit) for free, limit in _host(proc, groups))))


def _less_reserve(free: int, limit: int) -> int:
    return max(0, free - max(RESERVE_BYTES, int(limit * RESERVE_SHARE)))


def _host(proc: Path, groups: Path) -> Iterator[tuple[int, int]]:
    """(free, limit) of the host and of each cgroup above this process that has a limit."""
    host = cgroups.facts(proc / "meminfo")
    if "MemAvailable:" in host:
        yield host["MemAvailable:"] * 1024, host["MemTotal:"] * 1024
    yield from ((memory.free, memory.limit) for memory in cgroups.memories(proc, groups))


def _addresses(proc: Path) -> int:
    """Return what this process may still map, in bytes; without a reserve, as nobody else takes of it."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    sizes = proc / "self" / "statm"
    if most == resource.RLIM_INFINITY or not sizes.is_file():
        return 2**63
    return max(0, most - int(sizes.read_text().split()[0]) * resource.getpagesize())
