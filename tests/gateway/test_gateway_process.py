"""The gateway and TorchServe come and go: jobs wait, what runs is finished, nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from animegan_cli.serving.ports import free_port
from harness.gateways import Gateway, code, running_gateway
from harness.pictures import encoded, photo
from harness.servers import QUICK, Server, running_server, wait_until
from harness.stores import redis_server

pytestmark = pytest.mark.server

PICTURE = encoded(photo(64, 48))
LARGE = encoded(photo(1024, 1024))  # takes a second or more: meanwhile others wait


def ready(gateway: Gateway) -> tuple[int, dict[str, str]]:
    answer = requests.get(f"{gateway.url}/readyz", timeout=30)
    return answer.status_code, answer.json()


def scale(server: Server, workers: int) -> None:
    url = f"{server.management}/models/animegan"
    parameters: dict[str, str | int] = {"min_worker": workers, "max_worker": workers, "synchronous": "true"}
    assert requests.put(url, params=parameters, timeout=120).ok


def test_jobs_wait_while_torchserve_is_away_and_while_it_has_no_worker(tmp_path: Path) -> None:
    inference, agent = free_port(), free_port()
    addresses = {"torchserve": f"http://127.0.0.1:{inference}", "agent_port": agent}
    with running_gateway(tmp_path, None, **addresses) as gateway:
        jobs = [gateway.submit(PICTURE).json() for _ in range(3)]
        assert ready(gateway) == (200, {"status": "ready", "torchserve": "away"})
        ports = (f"--inference-port={inference}", f"--agent-port={agent}")
        with running_server(*ports, environment=QUICK) as server:
            assert [gateway.wait(job["id"])["status"] for job in jobs] == ["done"] * 3
            assert ready(gateway) == (200, {"status": "ready", "torchserve": "ready"})
            scale(server, 0)
            job = gateway.submit(PICTURE).json()
            wait_until(lambda: ready(gateway) == (200, {"status": "ready", "torchserve": "loading"}), "the gateway")
            assert gateway.job(job["id"])["message"] == "Waiting for the drawing server"
            scale(server, 1)
            assert gateway.wait(job["id"])["status"] == "done"
        wait_until(lambda: ready(gateway) == (200, {"status": "ready", "torchserve": "away"}), "the gateway")
        assert gateway.submit(PICTURE).status_code == 202


@pytest.fixture
def gateway(server: Server, tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path, server) as running:
        yield running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_what_runs_is_finished_and_what_waits_stays_for_the_next_start(gateway: Gateway, number: int) -> None:
    running = gateway.until(gateway.submit(LARGE).json()["id"], "running")
    waiting = [gateway.submit(PICTURE).json() for _ in range(2)]
    assert gateway.process
    with ThreadPoolExecutor() as pool:
        poll = pool.submit(requests.get, f"{gateway.url}{waiting[0]['links']['self']}?wait=60", timeout=50)
        watch = pool.submit(lambda: [*gateway.events(waiting[1]["id"])])
        wait_until(lambda: gateway.metric("animegan_gateway_event_streams") == 1, "the stream")
        gateway.process.send_signal(number)
        wait_until(lambda: ready(gateway)[1]["status"] == "draining", "it to drain")
        assert ready(gateway)[0] == 503
        for path in ("jobs", "stylize"):
            answer = requests.post(f"{gateway.url}/v1/{path}", files={"image": PICTURE}, timeout=30)
            assert code(answer) == (503, "draining")
            assert answer.json()["retryable"] is True
        assert gateway.job(running["id"])["status"] == "running"
        assert poll.result().json()["status"] == "queued"  # nobody is kept waiting
        assert {name for name, _ in watch.result()} == {"position"}
        assert gateway.process.wait(60) == 0
    gateway.start()
    assert gateway.job(running["id"])["status"] == "done"
    assert [gateway.wait(job["id"])["status"] for job in waiting] == ["done", "done"]
    download = requests.get(f"{gateway.url}{running['links']['result']}", timeout=30)
    assert download.ok
    assert '"level": "error"' not in gateway.log


def test_what_does_not_finish_in_time_is_drawn_after_the_next_start(server: Server, tmp_path: Path) -> None:
    with running_gateway(tmp_path, server, drain_s=0) as gateway:
        running = gateway.until(gateway.submit(LARGE).json()["id"], "running")
        assert gateway.stop() == 0
        gateway.start()
        assert gateway.wait(running["id"])["status"] == "done"


def test_a_full_redis_is_told_as_full(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis, running_gateway(tmp_path, None, store=redis.url) as gateway:
        redis.do("CONFIG", "SET", "maxmemory", "1")
        assert code(gateway.submit(encoded(photo(64, 48)))) == (503, "storage_full")
        assert gateway.metric("animegan_gateway_jobs_rejected_total", reason="storage_full") == 1
        ready = f"{gateway.url}/readyz"
        wait_until(lambda: requests.get(ready, timeout=30).json()["status"] == "storage_full", "the probe")
        assert requests.get(f"{ready}?exclude=store", timeout=30).ok
        redis.do("CONFIG", "SET", "maxmemory", "0")
        assert gateway.submit(encoded(photo(64, 48))).status_code == 202
        wait_until(lambda: requests.get(ready, timeout=30).ok, "the probe")
