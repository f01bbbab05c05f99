"""The agent's Prometheus metrics, read off when Prometheus asks. Sizes are in bytes, durations in seconds."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from animegan.resources import cgroups
from animegan_agent import room
from animegan_agent.dispatch import Dispatch
from animegan_agent.recycling import REASONS, RESULTS, Recycling
from animegan_agent.workers import Workers, resident_bytes
from animegan_service.protocol import Presence

STATES = ("ready", "loading")


class Metrics(Collector):
    """One for a registry."""

    def __init__(self, workers: Workers, dispatch: Dispatch, recycling: Recycling) -> None:
        self._workers = workers
        self._dispatch = dispatch
        self._recycling = recycling

    def collect(self) -> Iterator[Metric]:
        workers, model = self._workers, self._workers.model
        ready = len(model.ready) if model else 0
        states = GaugeMetricFamily("animegan_agent_workers", "TorchServe's workers, by state.", labels=["state"])
        for state, count in zip(STATES, (ready, len(model.workers) - ready if model else 0), strict=True):
            states.add_metric([state], count)
        yield states
        yield _gauge("workers_wanted", "Workers that there should be.", model.target if model else 0)
        yield _gauge("ready", "1 while a worker is ready and nobody drains.", is_ready(workers, self._dispatch))
        yield _gauge("paused", "1 while gateways are asked to send nothing.", self._dispatch.paused)
        yield _gauge("gateways", "Gateways that ask.", len(self._dispatch.gateways()))
        yield _gauge("queue_pending", "Requests that wait within TorchServe.", model.pending if model else 0)
        yield from self._memory()
        restarts = CounterMetricFamily("animegan_agent_worker_restarts", "Workers that ended unasked and began anew.")
        restarts.add_metric([], workers.restarts)
        yield restarts
        recycles = CounterMetricFamily(
            "animegan_agent_recycles", "Replacements of a worker, by reason and result.", labels=["reason", "result"]
        )
        for reason in REASONS:
            for result in RESULTS:
                recycles.add_metric([reason, result], self._recycling.counts[reason, result])
        yield recycles
        total = sum(count for (_, result), count in self._recycling.counts.items() if result == "done")
        yield SummaryMetricFamily(
            "animegan_agent_recycle_seconds",
            "Time that a replacement took.",
            count_value=total,
            sum_value=self._recycling.seconds,
        )

    def _memory(self) -> Iterator[Metric]:
        model = self._workers.model
        each = GaugeMetricFamily(
            "animegan_agent_worker_memory_bytes", "Resident memory of a worker.", labels=["worker"]
        )
        for index, worker in enumerate(model.ready if model else ()):
            if (size := resident_bytes(worker.pid)) is not None:
                each.add_metric([str(index)], size)
        yield each
        if (size := resident_bytes(java := self._workers.java())) is not None:
            yield _gauge("java_memory_bytes", "Resident memory of TorchServe's Java.", size)
            assert java is not None
            group = cgroups.memory() if room.shares_limits(java) else None
            if group:
                yield _gauge("memory_limit_bytes", "What all of the container may take.", group.limit)
                yield _gauge(
                    "memory_used_bytes", "What it takes, but for files' pages that can be dropped.", group.usage
                )


def is_ready(workers: Workers, dispatch: Dispatch) -> bool:
    """Return whether a picture that is sent now will be drawn."""
    return workers.presence is Presence.READY and not dispatch.draining


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"animegan_agent_{name}", about, value=value)
