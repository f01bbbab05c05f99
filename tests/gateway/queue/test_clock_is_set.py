"""The gateway's clock is set while it runs: sessions, rates and what is kept go by the time that has passed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from animegan_gateway.http.access.keys import Keys
from harness.gateways import Gateway, before
from harness.pictures import encoded, photo
from harness.servers import wait_until
from harness.stores import KINDS, redis_server
from harness.trials.clocks import WallClock, wall_clock

PICTURE = encoded(photo(64, 48))
HOUR_S = 3600


@contextmanager
def clocked_gateway(folder: Path, **settings: object) -> Iterator[tuple[Gateway, WallClock]]:
    """A gateway without a TorchServe, and its clock."""
    clock = wall_clock(folder / "clock") or pytest.skip("there is no C compiler (Debian: gcc)")
    variables = {f"ANIMEGAN_GATEWAY_{name.upper()}": str(value) for name, value in settings.items()}
    gateway = Gateway(folder, {**before(None), **clock.environment, **variables})
    gateway.start()
    try:
        yield gateway, clock
    finally:
        gateway.stop()


def wait_for_notice(gateway: Gateway) -> None:
    wait_until(lambda: "clock_was_set" in gateway.log, "a gateway that has noticed")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_set_back_nobody_is_kept_waiting_for_the_old_time(kind: str, tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        store = {"store": redis.url} if kind == "redis" else {}
        with clocked_gateway(tmp_path, rate_per_minute=2, **store) as (gateway, clock):
            answers = [gateway.submit(PICTURE) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [202, 202, 429]
            clock.set(-HOUR_S)
            wait_for_notice(gateway)
            assert gateway.submit(PICTURE).status_code == 202


@pytest.mark.slow
def test_set_back_a_session_is_still_its_callers(tmp_path: Path) -> None:
    key = Keys(tmp_path).add("ann")
    with clocked_gateway(tmp_path, keys="required") as (gateway, clock), requests.Session() as session:
        assert session.post(f"{gateway.url}/v1/session", json={"key": key}, timeout=30).ok
        assert session.get(f"{gateway.url}/v1/styles", timeout=30).ok
        clock.set(-HOUR_S)
        assert session.get(f"{gateway.url}/v1/styles", timeout=30).ok
        clock.set(31 * 24 * HOUR_S)
        assert session.get(f"{gateway.url}/v1/styles", timeout=30).status_code == 401


@pytest.mark.slow
def test_set_forwards_what_has_ended_is_kept_for_its_time(tmp_path: Path) -> None:
    with clocked_gateway(tmp_path, keep_s=60) as (gateway, clock):
        job = gateway.submit(PICTURE).json()
        assert gateway.remove(job).json()["status"] == "cancelled"
        clock.set(HOUR_S)
        wait_for_notice(gateway)
        later = gateway.submit(PICTURE).json()
        rounds = gateway.metric("animegan_gateway_oldest_waiting_seconds")
        wait_until(lambda: gateway.metric("animegan_gateway_oldest_waiting_seconds") != rounds, "a further round")
        assert gateway.metric("animegan_gateway_oldest_waiting_seconds") < 60
        assert gateway.job(job["id"])["status"] == "cancelled"
        assert gateway.job(later["id"])["status"] == "queued"
