"""The image under a hard limit of memory: mixed pictures from several callers, a stop with jobs accepted, a new start.

`scripts/benchmark container [--limit MIB] [--pictures N] [--callers N] [--width PX] [--height PX] [--jobs N]`. The
image is built first. The container is run as it is meant to be: its root read-only, no capabilities, no swap beside the
limit; it has all roles, and each request an API key. One picture is of `width` by `height` and not fitted; the others
are small and large files of each format and style. `counted_mib` is the most that the kernel counted, with the cached
pages of files that it drops when memory runs short; `peak_used_mib` is without those, sampled, and the parts beside it
are the processes' proportional set sizes (PSS) at that moment. Then jobs are accepted, the container is asked to stop
(SIGTERM) while one of them runs, and another is started on the same volume: a job is lost if it does not end `done`.
"""

from __future__ import annotations

import argparse
import io
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests
from PIL import Image

from animegan.report import Report
from animegan.resources.cgroups import facts
from animegan_cli.serving.ports import free_port
from benchmarks.common.result import store, table
from benchmarks.endurance.two_gigabytes import UHD, Group
from harness.deployment.containers import (
    Container,
    ContainerImage,
    built_image,
    image_bytes,
    run_once,
    started_container,
    volume,
)
from harness.gateways import END_STATES
from harness.pictures import encoded, photo
from harness.servers import command, wait_until

MIB = 2**20
LIMIT_MIB = 2048
GRACE_S = 60
WAIT_S = 900
PORTS = ("GATEWAY", "GATEWAY_METRICS", "AGENT", "AGENT_METRICS", "INFERENCE", "MANAGEMENT", "METRICS")
KINDS = {
    "model_service_worker": "worker",
    "org.pytorch.serve.ModelServer": "java",
    "animegan_gateway": "gateway",
    "animegan_agent": "agent",
}
MIXED: tuple[tuple[tuple[int, int], str, dict[str, str]], ...] = (
    ((640, 480), "JPEG", {}),
    ((4000, 3000), "JPEG", {"style": "gouache"}),
    ((800, 600), "PNG", {"format": "png"}),
    ((1024, 1024), "WEBP", {"format": "webp", "style": "gouache"}),
    ((300, 1200), "JPEG", {"max_side": "512"}),
    ((1920, 1080), "PNG", {"max_side": "1920"}),
)
QUEUED_PX = 512


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark container")
    parser.add_argument("--limit", type=int, default=LIMIT_MIB, metavar="MIB", help=f"default {LIMIT_MIB}")
    parser.add_argument("--pictures", type=int, default=20, metavar="N", help="default 20, the largest among them")
    parser.add_argument("--callers", type=int, default=5, metavar="N", help="at one time (default 5)")
    parser.add_argument("--width", type=int, default=UHD[0], metavar="PX", help=f"of the largest (default {UHD[0]})")
    parser.add_argument("--height", type=int, default=UHD[1], metavar="PX", help=f"default {UHD[1]}")
    parser.add_argument("--jobs", type=int, default=12, metavar="N", help="accepted before the stop (default 12)")
    options = parser.parse_args(arguments)
    print("Building the image ...", flush=True)
    image = built_image()
    figures: dict[str, Any] = {"image_mib": image_bytes(image) / MIB, "limit_mib": options.limit}
    with volume() as data:
        key = run_once(image, "keys", "add", "benchmark", data=data).stdout.strip()
        with running_services(image, data, key, options.limit) as services:
            figures |= {"start_s": services.start_s, **services.parts("idle")}
            print(f"{options.pictures} pictures from {options.callers} callers ...", flush=True)
            figures |= draw_all(services, options.pictures, options.callers, (options.width, options.height))
            print(f"A stop with {options.jobs} jobs accepted ...", flush=True)
            job_ids, stop = stop_while_busy(services, options.jobs)
        with running_services(image, data, key, options.limit) as services:
            states = [services.wait(job_id)["status"] for job_id in job_ids]
    figures |= {**stop, "done_after_the_new_start": states.count("done"), "lost": len(states) - states.count("done")}
    print()
    table(("figure", "value"), list(figures.items()))
    store("container", figures)


@dataclass(frozen=True)
class Services:
    """A container that serves, and a caller's way in."""

    container: Container
    url: str
    key: str
    memory: Path  # the folder of its cgroup
    start_s: float

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = requests.request(method, f"{self.url}{path}", headers=headers, timeout=WAIT_S, **more)
        answer.raise_for_status()
        return answer

    def submit(self, picture: bytes, options: Mapping[str, str]) -> str:
        """Submit a picture and return the job's id."""
        return str(self.ask("POST", "/v1/jobs", files={"image": picture}, data=options).json()["id"])

    def status(self, job_id: str) -> str:
        return str(self.ask("GET", f"/v1/jobs/{job_id}").json()["status"])

    def wait(self, job_id: str) -> dict[str, Any]:
        """Wait until the job has ended and return it."""
        deadline = time.monotonic() + WAIT_S
        while True:
            job: dict[str, Any] = self.ask("GET", f"/v1/jobs/{job_id}?wait=30").json()
            if job["status"] in END_STATES:
                return job
            assert time.monotonic() < deadline, job

    def used_mib(self) -> float:
        """Return the bytes that the kernel counts for the container now and can't drop at once."""
        stat = facts(self.memory / "memory.stat")
        usage = int((self.memory / ("memory.usage_in_bytes" if self.version_1 else "memory.current")).read_text())
        return (usage - stat["total_inactive_file" if self.version_1 else "inactive_file"]) / MIB

    def kernel_figures(self) -> dict[str, float]:
        """Return the most memory that the kernel counted, and how many processes it killed."""
        files = (
            ("memory.max_usage_in_bytes", "memory.oom_control") if self.version_1 else ("memory.peak", "memory.events")
        )
        return Group(self.memory, *files).figures()

    def parts(self, when: str) -> dict[str, float]:
        """Return the PSS, in MiB, of the container's processes now, by kind."""
        parts = dict.fromkeys([*KINDS.values(), "rest"], 0.0)
        for pid in (self.memory / "cgroup.procs").read_text().split():
            with suppress(psutil.Error):  # ended meanwhile
                process = psutil.Process(int(pid))
                words = command(process)
                kind = next((kind for word, kind in KINDS.items() if any(word in each for each in words)), "rest")
                parts[kind] += process.memory_full_info().pss / MIB
        return {f"{when}_{kind}_mib": size for kind, size in parts.items()}

    @property
    def version_1(self) -> bool:
        return (self.memory / "memory.oom_control").exists()


@contextmanager
def running_services(image: ContainerImage, data: str, key: str, limit_mib: int) -> Iterator[Services]:
    """Yield a container of all roles under that limit, ready for work."""
    ports = {f"ANIMEGAN_{name}_PORT": str(free_port()) for name in PORTS}
    own = {"ANIMEGAN_GATEWAY_HOST": "127.0.0.1", "ANIMEGAN_GATEWAY_KEYS": "required"}
    start = time.monotonic()
    with started_container(
        image, data=data, memory=f"{limit_mib}m", network="host", environment={**ports, **own}
    ) as container:
        container.wait_until_healthy()
        url = f"http://127.0.0.1:{ports['ANIMEGAN_GATEWAY_PORT']}"
        yield Services(container, url, key, container.memory(), time.monotonic() - start)


def draw_all(services: Services, count: int, callers: int, largest: tuple[int, int]) -> dict[str, Any]:
    """Draw `count` pictures, `callers` at one time, the largest in the middle, and return outcomes and memory."""
    pictures = [MIXED[number % len(MIXED)] for number in range(count)]
    pictures[count // 2] = (largest, "JPEG", {"max_side": str(max(largest))})
    peak: dict[str, float] = {"peak_used_mib": 0}
    stop, start = threading.Event(), time.monotonic()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.2):
            if (usage := services.used_mib()) > peak["peak_used_mib"]:
                peak = {"peak_used_mib": usage, **services.parts("peak")}

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(callers) as pool:
            results = list(pool.map(lambda each: draw(services, *each), pictures))
    finally:
        stop.set()
        watcher.join()
    report = results[count // 2]
    return {
        "pictures": count,
        "callers": callers,
        "failed": results.count(None),
        "seconds": time.monotonic() - start,
        "largest": "x".join(map(str, report.size)) if report else None,
        "largest_plan": report.plan if report else None,
        "largest_seconds": sum(report.seconds.values()) if report else None,
        **services.kernel_figures(),
        **peak,
    }


def draw(services: Services, size: tuple[int, int], format: str, options: dict[str, str]) -> Report | None:
    """Fetch and decode the picture, and return how it was drawn; None where the job failed."""
    job = services.wait(services.submit(encoded(photo(*size), format), options))
    if job["status"] != "done":
        print(f"{size}: {job['error']}", flush=True)
        return None
    answer = services.ask("GET", f"/v1/jobs/{job['id']}/result")
    report = Report.from_headers(answer.headers)
    with Image.open(io.BytesIO(answer.content)) as picture:
        picture.load()
        assert picture.size == report.size
    return report


def stop_while_busy(services: Services, count: int) -> tuple[list[str], dict[str, Any]]:
    """Stop the container while the second of `count` jobs runs. Return the jobs' ids, and the figures of the stop."""
    picture = encoded(photo(QUEUED_PX, QUEUED_PX))
    job_ids = [services.submit(picture, {}) for _ in range(count)]
    wait_until(lambda: services.status(job_ids[1]) == "running", "a job that runs")
    done_before = sum(services.status(job_id) == "done" for job_id in job_ids)
    start = time.monotonic()
    status = services.container.stop(GRACE_S)
    return job_ids, {
        "accepted": count,
        "done_before_the_stop": done_before,
        "grace_s": GRACE_S,
        "stop_s": time.monotonic() - start,
        "exit_status": status,
    }


if __name__ == "__main__":
    main()
