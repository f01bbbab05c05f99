"""Memory for another worker."""

from __future__ import annotations

from pathlib import Path

import psutil

from animegan.resources import cgroups
from animegan_agent.management import Worker
from animegan_agent.workers import resident_bytes

MARGIN = 1.5  # of the worker's resident memory, as both draw for a while
LEFT_BYTES = 256 * 2**20


def fits_another(worker: Worker) -> bool:
    """Return whether another worker of this size fits in memory; False on a GPU, whose memory is not seen here."""
    size = resident_bytes(worker.pid)
    if worker.gpu or size is None or not shares_limits(worker.pid):
        return False
    free = min([psutil.virtual_memory().available, *(group.free for group in cgroups.memories())])
    return free > MARGIN * size + LEFT_BYTES


def shares_limits(pid: int) -> bool:
    """Return whether the process has this one's cgroups, and so its limits; one in another container has not."""
    try:
        own, its = (Path(f"/proc/{each}/cgroup").read_text() for each in ("self", pid))
    except OSError:
        return False
    return own == its
