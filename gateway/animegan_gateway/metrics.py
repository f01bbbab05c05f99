"""The gateway's Prometheus metrics, on a registry and an address of their own. Durations are in seconds."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server

from animegan.errors import InternalError, OutOfMemory
from animegan_gateway import errors
from animegan_gateway.drawing.torchserve import Drawn, Outcome
from animegan_gateway.queue.board import Capacity
from animegan_gateway.queue.jobs import FINAL_STATES, Job, State
from animegan_gateway.queue.stores.store import Tally
from animegan_service.protocol import Presence

WAIT_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
RUN_BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The metrics and their server. `folder` is that of the queue and of pictures (`data`)."""

    def __init__(self, folder: Path) -> None:
        self.registry = CollectorRegistry()
        self._stop: Callable[[], None] = lambda: None

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"animegan_gateway_{name}", about, labels, registry=self.registry)

        def gauge(name: str, about: str, *labels: str) -> Gauge:
            return Gauge(f"animegan_gateway_{name}", about, labels, registry=self.registry)

        def histogram(name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"animegan_gateway_{name}", about, buckets=buckets, registry=self.registry)

        self.accepted = counter("jobs_accepted", "Jobs put into the queue.")
        self.rejected = counter("jobs_rejected", "Requests refused at the door, by the error's code.", "reason")
        self._ends = counter("jobs_ended", "Jobs that ended, by their state.", "state")
        self._failed = counter("jobs_failed", "Jobs that failed, by the error's code and status.", "reason", "status")
        self._attempts = counter("attempts", "Pictures sent to TorchServe, by what became of them.", "outcome")
        self._jobs = gauge("jobs", "Jobs in the store, by their state.", "state")
        self._depth = gauge("queue_depth", "Jobs that wait.")
        self._oldest = gauge("oldest_waiting_seconds", "Age of the job that has waited longest; 0: none waits.")
        self._bytes = gauge("stored_bytes", "Bytes of uploads and results.")
        self._store_up = gauge("store_up", "1 while the stores of jobs and of pictures take what a job needs.")
        disk_free = gauge("disk_free_bytes", "Free bytes of the disk that the folder `data` is on.")
        disk_size = gauge("disk_size_bytes", "Size of that disk.")
        self._presence = gauge("torchserve_presence", "1 for what TorchServe is: ready, loading or away.", "presence")
        self._width = gauge("torchserve_width", "Pictures that TorchServe takes at one time.")
        self.events = gauge("event_streams", "Event streams that are open.")
        self._wait = histogram("wait_seconds", "From a job's acceptance to its first attempt.", WAIT_BUCKETS_S)
        self._run = histogram(
            "run_seconds", "From the request to TorchServe to the last byte of its answer.", RUN_BUCKETS_S
        )
        ProcessCollector(registry=self.registry)
        disk_free.set_function(lambda: _disk_bytes(folder)[0])
        disk_size.set_function(lambda: _disk_bytes(folder)[1])
        self._show_zeros()

    def serve(self, host: str, port: int) -> int:
        """Show them at that address; returns the port, which is a free one for 0."""
        server, thread = start_http_server(port, host, self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._stop = stop
        return int(server.server_port)

    def close(self) -> None:
        self._stop()

    def record_wait(self, job: Job) -> None:
        """Record how long the job waited for its first attempt."""
        if job.attempt == 1 and job.started_at is not None:
            self._wait.observe(max(0.0, job.started_at - job.ask.accepted_at))

    def record_attempt(self, outcome: Outcome) -> None:
        self._attempts.labels(outcome.name).inc()
        if isinstance(outcome, Drawn):
            self._run.observe(outcome.seconds)

    def record_end(self, job: Job) -> None:
        self._ends.labels(job.state).inc()
        if job.error:
            self._failed.labels(job.error["code"], job.error["status"]).inc()

    def mark_store_away(self) -> None:
        """Show that the store is away; the other gauges keep their last values."""
        self._store_up.set(0)

    def update(self, tally: Tally, oldest_s: float, capacity: Capacity, *, store_up: bool) -> None:
        """Set the gauges to how things are now; `oldest_s` is the age of the job that waits longest, 0: none waits."""
        self._store_up.set(store_up)
        for state, count in tally.jobs.items():
            self._jobs.labels(state).set(count)
        self._depth.set(tally.jobs[State.QUEUED])
        self._oldest.set(oldest_s)
        self._bytes.set(tally.bytes)
        for presence in Presence:
            self._presence.labels(presence).set(presence is capacity.presence)
        self._width.set(capacity.width)

    def _show_zeros(self) -> None:
        """Show at zero what alerts ask for, so that a rate sees the first time."""
        for state in FINAL_STATES - {State.EXPIRED}:
            self._ends.labels(state)
        for outcome in get_args(Outcome):
            self._attempts.labels(outcome.name)
        for busy in (
            errors.QueueFull,
            errors.ShareFull,
            errors.RateLimited,
            errors.StorageFull,
            errors.StoreUnavailable,
        ):
            self.rejected.labels(busy.code)
        for fault in (InternalError, OutOfMemory, errors.WorkerKilled, errors.DrawingFailed):
            self._failed.labels(fault.code, int(fault.status))


def _disk_bytes(folder: Path) -> tuple[float, float]:
    """Return free bytes and size; NaN where the folder can't be looked at, as an error would end the scrape."""
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return math.nan, math.nan
    return disk.free, disk.total
