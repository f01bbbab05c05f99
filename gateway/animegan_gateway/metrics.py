"""The gateway's Prometheus metrics, on a registry and an address of their own. Durations are in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from animegan_gateway.jobs import ENDED, Job, State
from animegan_gateway.store import Tally
from animegan_gateway.torchserve import Drawn, Outcome, Presence, TorchServe

WAIT_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
RUN_BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)


class Metrics:
    """What is counted, and the server that shows it."""

    def __init__(self) -> None:
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
        self._ended = counter("jobs_ended", "Jobs that ended, by their state.", "state")
        self._attempts = counter("attempts", "Pictures sent to TorchServe, by what became of them.", "outcome")
        self._jobs = gauge("jobs", "Jobs in the store, by their state.", "state")
        self._depth = gauge("queue_depth", "Jobs that wait.")
        self._oldest = gauge("oldest_waiting_seconds", "Age of the job that has waited longest; 0: none waits.")
        self._bytes = gauge("stored_bytes", "Bytes of uploads and results.")
        self._presence = gauge("torchserve_presence", "1 for what TorchServe is: ready, loading or away.", "presence")
        self._width = gauge("torchserve_width", "Pictures that TorchServe takes at one time.")
        self.events = gauge("event_streams", "Event streams that are open.")
        self._wait = histogram("wait_seconds", "From a job's acceptance to its first attempt.", WAIT_BUCKETS_S)
        self._run = histogram(
            "run_seconds", "From the request to TorchServe to the last byte of its answer.", RUN_BUCKETS_S
        )
        for state in ENDED:  # so that a rate begins at zero
            self._ended.labels(state)

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

    def waited(self, job: Job) -> None:
        """The job goes to TorchServe."""
        if job.attempt == 1 and job.started_at is not None:
            self._wait.observe(max(0.0, job.started_at - job.ask.accepted_at))

    def attempted(self, outcome: Outcome) -> None:
        self._attempts.labels(outcome.name).inc()
        if isinstance(outcome, Drawn):
            self._run.observe(outcome.seconds)

    def ended(self, job: Job) -> None:
        self._ended.labels(job.state).inc()

    def show(self, tally: Tally, torchserve: TorchServe) -> None:
        """Set the gauges to how things are now."""
        for state, count in tally.jobs.items():
            self._jobs.labels(state).set(count)
        self._depth.set(tally.jobs[State.QUEUED])
        self._oldest.set(max(0.0, time.time() - tally.oldest_accepted_at) if tally.oldest_accepted_at else 0)
        self._bytes.set(tally.bytes)
        for presence in Presence:
            self._presence.labels(presence).set(presence is torchserve.presence)
        self._width.set(torchserve.width)
