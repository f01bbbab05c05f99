"""The processes of one instance: found by a mark in their environment, and ended so that none is left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import psutil

MARK = "ANIMEGAN_INSTANCE"
# Threads that spin while they wait for each other cost a machine that is shared several times the picture. OpenMP reads
# it when torch is imported.
OPENMP = {"OMP_WAIT_POLICY": "passive"}
KILL_WITHIN_S = 10  # SIGKILL works at once, but for a process that waits in the kernel


def find(mark: str) -> list[psutil.Process]:
    """Return the living processes, other than this one, whose mark is `mark` or lies under it (`mark/...`)."""
    processes = []
    for process in psutil.process_iter():
        try:
            value = process.environ().get(MARK, "")
            if (value == mark or value.startswith(f"{mark}/")) and process.pid != os.getpid():
                processes.append(process)
        except (psutil.Error, OSError):  # ended meanwhile, or another user's
            continue
    return processes


def end(
    mark: str,
    *,
    grace_s: float,
    leads: Callable[[psutil.Process], bool] = lambda _: True,
    hurried: Callable[[], bool] = lambda: False,
) -> list[psutil.Process]:
    """End the processes of that mark; return those that survive SIGKILL, which happens only on a broken kernel.

    The leading ones get SIGTERM and `grace_s` to end the others; without one, all get it. Then, or once `hurried()`,
    SIGKILL.
    """
    sigterm_targets: set[psutil.Process] = set()
    deadline = time.monotonic() + grace_s
    while remaining := find(mark):
        if hurried() or time.monotonic() > deadline:
            if time.monotonic() > deadline + KILL_WITHIN_S:
                break
            _send(remaining, psutil.Process.kill)
        else:
            to_ask = [process for process in remaining if _is(process, leads)] or remaining
            _send([process for process in to_ask if process not in sigterm_targets], psutil.Process.terminate)
            sigterm_targets.update(to_ask)
        time.sleep(0.1)
    return remaining


def _is(process: psutil.Process, leads: Callable[[psutil.Process], bool]) -> bool:
    try:
        return leads(process)
    except psutil.Error:
        return False


def _send(processes: list[psutil.Process], signal: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        try:
            signal(process)
        except psutil.NoSuchProcess:
            continue
