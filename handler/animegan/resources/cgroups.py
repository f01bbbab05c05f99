"""What the cgroups around this process allow it, in version 2's tree or version 1's. Imports no torch.

A limit binds wherever it stands: on this process's own cgroup, or on one above it. In a container only the container's
own is mounted, at the top; the path that the kernel names leads nowhere there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")

_V1_UNLIMITED = 2**60  # version 1 has no word for it: it says the largest multiple of a page


@dataclass(frozen=True)
class Memory:
    """A cgroup that limits memory, in bytes. Page cache that the kernel can drop at once is not in `usage`."""

    limit: int
    usage: int

    @property
    def free(self) -> int:
        return self.limit - self.usage


def memories(proc: Path = PROC, cgroups: Path = CGROUPS) -> Iterator[Memory]:
    """The cgroups that limit this process's memory, the innermost first."""
    for folder in _folders("memory", proc, cgroups):
        for limit_file, used_file, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            try:
                limit = int((folder / limit_file).read_text())
                usage = int((folder / used_file).read_text())
            except (OSError, ValueError):  # no such file, or "max": no limit
                continue
            if limit < _V1_UNLIMITED:
                # Read where there is a limit alone: the kernel takes milliseconds to sum it up.
                yield Memory(limit, usage - facts(folder / "memory.stat").get(cache, 0))


def memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> Memory | None:
    """The cgroup with the lowest limit; None without a limit. In a container that is the container's."""
    return min(memories(proc, cgroups), key=lambda group: group.limit, default=None)


def cpus(proc: Path = PROC, cgroups: Path = CGROUPS) -> float | None:
    """The lowest quota of CPU time, in CPUs; None without a quota."""
    return min(_quotas(proc, cgroups), default=None)


def facts(file: Path) -> dict[str, int]:
    """The numbers of a file of lines such as `MemTotal: 16384 kB`, by their names; of one that can't be read, none."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return {}
    return {words[0]: int(words[1]) for line in lines if len(words := line.split()) > 1}


def _quotas(proc: Path, cgroups: Path) -> Iterator[float]:
    for folder in _folders("cpu", proc, cgroups):
        for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
            try:
                quota, period = map(int, " ".join((folder / file).read_text() for file in files).split())
            except (OSError, ValueError):  # no such file, or "max": no quota
                continue
            if quota > 0:
                yield quota / period


def _folders(controller: str, proc: Path, cgroups: Path) -> Iterator[Path]:
    """The folders of this process's cgroup and of those above it, for that controller."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = cgroups / controller if controllers else cgroups
        folder = top / path.lstrip("/")
        yield from (above for above in (folder, *folder.parents) if above.is_relative_to(top))
