"""What the gateway's metrics show without a picture: zeros to count from, the disk, a store that is away."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from animegan_gateway.metrics import Metrics
from harness.gateways import running_gateway
from harness.servers import wait_until
from harness.stores import redis_server


def read(metrics: Metrics) -> dict[str, float]:
    """Each series' value, by its name and the values of its labels."""
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    samples = (sample for family in families for sample in family.samples)
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


def test_what_alerts_ask_for_is_there_at_zero(tmp_path: Path) -> None:
    series = read(Metrics(tmp_path))
    for name in (
        *(f"jobs_ended_total {state}" for state in ("done", "failed", "cancelled")),
        *(f"attempts_total {name}" for name in ("drawn", "refused", "worker_ended", "lost", "not_taken", "no_room")),
        *(f"jobs_rejected_total {code}" for code in ("queue_full", "storage_full", "store_unavailable")),
        *(f"jobs_failed_total {fault}" for fault in ("worker_killed 500", "internal_error 500", "out_of_memory 503")),
    ):
        assert series[f"animegan_gateway_{name}"] == 0
    assert "animegan_gateway_jobs_ended_total expired" not in series, "a job that expires has ended before"


def test_the_disk_is_that_of_the_folder(tmp_path: Path) -> None:
    series = read(Metrics(tmp_path))
    assert 0 < series["animegan_gateway_disk_free_bytes"] <= series["animegan_gateway_disk_size_bytes"]
    rest = read(Metrics(tmp_path / "gone"))
    assert math.isnan(rest["animegan_gateway_disk_free_bytes"])
    assert rest["process_resident_memory_bytes"] > 0, "the rest is still shown"


@pytest.mark.slow
def test_a_store_that_is_away_is_seen(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path / "redis") as redis,
        running_gateway(tmp_path / "gateway", None, store=redis.url) as gateway,
    ):
        wait_until(lambda: gateway.metric("animegan_gateway_store_up") == 1, "the first look")
        redis.stop()
        wait_until(lambda: gateway.metric("animegan_gateway_store_up") == 0, "the store to be missed")
        redis.start()
        wait_until(lambda: gateway.metric("animegan_gateway_store_up") == 1, "the store to be back")
