"""A picture of 3840×2160 through the real server, which has 2 GiB for all of its processes: is it drawn, or killed?

`scripts/benchmark two_gigabytes [--width PX] [--height PX] [--limit MIB]`. The server is started with the checkout's
configuration inside a cgroup with that limit, where one can be made (as root, version 1 or 2), so that the kernel
counts and kills; cached pages of files count there too (`counted_mib`), and are dropped before anything is killed.
Where none can be made, nothing holds the processes to the limit, and `memory_mb` leaves to drawing what they do not
need themselves. The other figures are proportional set sizes (PSS), read several times a second: the peak of their
sum, and its parts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from animegan.report import Report
from benchmarks.common.result import store, table
from harness.pictures import encoded, photo
from harness.servers import Server, command, running_server

MIB = 2**20
LIMIT_MIB = 2048
UHD = 3840, 2160
ITS_OWN_MIB = 800  # of the processes themselves, and a reserve; only where no cgroup can be made
WAIT_S = 600
CGROUPS = Path("/sys/fs/cgroup")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark two_gigabytes")
    parser.add_argument("--width", type=int, default=UHD[0], metavar="PX", help=f"of the picture (default {UHD[0]})")
    parser.add_argument("--height", type=int, default=UHD[1], metavar="PX", help=f"default {UHD[1]}")
    parser.add_argument("--limit", type=int, default=LIMIT_MIB, metavar="MIB", help=f"default {LIMIT_MIB}")
    options = parser.parse_args(arguments)
    archive = [sys.executable, "-m", "animegan_cli", "archive", "--if-stale"]
    subprocess.run(archive, check=True)  # now, outside the limit
    with memory_limit(options.limit * MIB) as group, ExitStack() as stack:
        environment = {} if group else {"ANIMEGAN_MEMORY_MB": str(options.limit - ITS_OWN_MIB)}
        print(f"Starting the server: {options.limit} MiB, {'cgroup' if group else 'not enforced'} ...", flush=True)
        with group.enter() if group else nullcontext():
            server = stack.enter_context(running_server(environment=environment))
        request_figures = ask(server, options.width, options.height)
        kernel_figures = group.figures() if group else {"counted_mib": None, "killed_processes": None}
    figures = {"limit_mib": options.limit, "enforced": bool(group), **request_figures, **kernel_figures}
    print()
    table(("figure", "value"), list(figures.items()))
    store("two_gigabytes", figures)


def ask(server: Server, width: int, height: int) -> dict[str, Any]:
    """Return the figures of one request, with the memory of the server's processes before and during it."""
    data = encoded(photo(width, height), quality=90)
    idle = peak = sizes(server)
    stop = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.1):
            peak = max(peak, sizes(server), key=lambda parts: parts["all"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    print(f"Asking for {width}x{height} ...", flush=True)
    start = time.perf_counter()
    try:
        answer = requests.post(
            f"{server.inference}/predictions/animegan",
            files={"data": data},
            data={"max_side": str(max(width, height))},
            timeout=WAIT_S,
        )
    finally:
        stop.set()
        watcher.join()
    seconds = time.perf_counter() - start
    report = Report.from_headers(answer.headers) if answer.ok else None
    return {
        "status": answer.status_code,
        "drawn": "x".join(map(str, report.size)) if report else answer.text[:200],
        "plan": report.plan if report else None,
        "precision": report.precision if report else None,
        "seconds": seconds,
        **{f"idle_{part}_mib": size for part, size in idle.items()},
        **{f"peak_{part}_mib": size for part, size in peak.items()},
    }


def sizes(server: Server) -> dict[str, float]:
    """Return the PSS, in MiB, of the server's processes: of all together, and by kind."""
    parts = {"all": 0.0, "worker": 0.0, "java": 0.0, "rest": 0.0}
    for process in [psutil.Process(server.process.pid), *server.descendants()]:
        words = " ".join(command(process))
        kind = "worker" if "model_service_worker" in words else "java" if "/java" in words.split(" ")[0] else "rest"
        with suppress(psutil.Error):  # ended meanwhile
            size = process.memory_full_info().pss / MIB
            parts[kind] += size
            parts["all"] += size
    return parts


@dataclass(frozen=True)
class Group:
    """A memory cgroup of this benchmark's own; `peak` is its file of the most that was used, `kills` that of kills."""

    folder: Path
    peak: str
    kills: str

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Enter the group for the block. Processes that this one starts in it stay in the group."""
        before = _own_folder()
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            (before / "cgroup.procs").write_text(str(os.getpid()))

    def figures(self) -> dict[str, float]:
        """Return the most memory that the kernel counted, and how many processes it killed."""
        peak = self.folder / self.peak
        words = (self.folder / self.kills).read_text().split()
        figures = {"counted_mib": int(peak.read_text()) / MIB} if peak.exists() else {}
        return {**figures, "killed_processes": int(words[words.index("oom_kill") + 1])}


@contextmanager
def memory_limit(limit_bytes: int) -> Iterator[Group | None]:
    """Yield a group with that limit and no swap beyond it, removed at the end; None where none can be made."""
    group = _create(limit_bytes)
    try:
        yield group
    finally:
        if group:
            _remove(group.folder)


def _create(limit_bytes: int) -> Group | None:
    version_1 = (CGROUPS / "memory").is_dir()
    name = f"animegan-benchmark-{os.getpid()}"
    if version_1:
        group = Group(CGROUPS / "memory" / name, "memory.max_usage_in_bytes", "memory.oom_control")
        limit, swap = "memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", limit_bytes)
    else:
        group = Group(CGROUPS / name, "memory.peak", "memory.events")
        limit, swap = "memory.max", ("memory.swap.max", 0)
    try:
        group.folder.mkdir()
        (group.folder / limit).write_text(str(limit_bytes))
    except OSError:  # not root, a read-only tree, or the controller is not handed down
        _remove(group.folder)
        return None
    with suppress(OSError):  # a kernel that does not count swap
        (group.folder / swap[0]).write_text(str(swap[1]))
    return group


def _own_folder() -> Path:
    """Return this process's memory cgroup."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(",") or (not controllers and not (CGROUPS / "memory").is_dir()):
            return CGROUPS / ("memory" if controllers else "") / path.lstrip("/")
    raise FileNotFoundError("/proc/self/cgroup names no memory cgroup")


def _remove(folder: Path) -> None:
    if not folder.is_dir():
        return
    for _ in range(50):  # the kernel lets go of the last processes a little later
        with suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.1)


if __name__ == "__main__":
    main()
