"""How much memory a picture may take: what is free for this process now, less a reserve."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

RESERVE_SHARE = 0.1  # of the limit: the JVM and the encoder grow too
RESERVE_BYTES = 128 * 2**20  # at least

_V1_UNLIMITED = 2**60  # cgroup v1 has no word for it: it says the largest multiple of a page


def free_bytes(device: torch.device, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that a picture may take on the device, never below 0.

    On a GPU: what the driver has free and PyTorch's cache holds unused. On a CPU: the host's available memory or what a
    cgroup above this process leaves, whichever is less; the page cache that the kernel can drop counts as free.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return _less_reserve(free, total)
    return min((_less_reserve(free, limit) for free, limit in _host(proc, cgroups)), default=2**63)


def _less_reserve(free: int, limit: int) -> int:
    return max(0, free - max(RESERVE_BYTES, int(limit * RESERVE_SHARE)))


def _host(proc: Path, cgroups: Path) -> Iterator[tuple[int, int]]:
    """(free, limit) of the host and of each cgroup above this process that has a limit."""
    facts = _facts(proc / "meminfo")
    if "MemAvailable:" in facts:
        yield facts["MemAvailable:"] * 1024, facts["MemTotal:"] * 1024
    for folder in _folders(proc, cgroups):
        stat = _facts(folder / "memory.stat")
        for limit_file, used_file, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            try:
                limit = int((folder / limit_file).read_text())
                used = int((folder / used_file).read_text())
            except (OSError, ValueError):  # no such file, or "max": no limit
                continue
            if limit < _V1_UNLIMITED:
                yield limit - used + stat.get(cache, 0), limit


def _folders(proc: Path, cgroups: Path) -> Iterator[Path]:
    """The folders of this process's cgroup and of those above it, in version 2's tree or version 1's."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = cgroups / "memory" if controllers else cgroups
        folder = top / path.lstrip("/")
        yield from (above for above in (folder, *folder.parents) if above.is_relative_to(top))


def _facts(file: Path) -> dict[str, int]:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return {}
    return {words[0]: int(words[1]) for line in lines if len(words := line.split()) > 1}
