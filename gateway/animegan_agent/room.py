"""Whether there is memory for a further worker."""

from __future__ import annotations

from pathlib import Path

import psutil

from animegan.resources import cgroups
from animegan_agent.management import Worker
from animegan_agent.workers import resident_bytes

MARGIN = 1.5  # of the worker's resident memory: both draw for a while
LEFT_BYTES = 256 * 2**20


def for_another(worker: Worker) -> bool:
    """Whether a worker like this one fits beside it. On a GPU that can't be told from here, so: no."""
    size = resident_bytes(worker.pid)
    if worker.gpu or size is None or not shares_limits(worker.pid):
        return False
    free = min([psutil.virtual_memory().available, *(group.free for group in cgroups.memories())])
    return free > MARGIN * size + LEFT_BYTES


def shares_limits(pid: int) -> bool:
    """Whether the process is in this one's cgroups, so that their limits are its own; not in another container."""
    try:
        own, its = (Path(f"/proc/{each}/cgroup").read_text() for each in ("self", pid))
    except OSError:
        return False
    return own == its
