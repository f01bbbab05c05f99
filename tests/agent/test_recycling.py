"""Workers are scaled and replaced while pictures are drawn, and no picture is lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from animegan_cli.serving.ports import free_port
from harness.gateways import Gateway, running_gateway
from harness.pictures import encoded, photo
from harness.servers import QUICK, Server, running_server, wait_until

pytestmark = pytest.mark.server

PICTURE = encoded(photo(128, 96))
LARGE = encoded(photo(640, 640))  # takes some seconds


def workers(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    """`animegan workers`, as an operator types it."""
    return subprocess.run(
        [sys.executable, "-m", "animegan_cli", "workers", *words, "--agent", server.agent],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def attempts(gateway: Gateway, outcome: str) -> float:
    return gateway.metric("animegan_gateway_attempts_total", outcome=outcome)


@contextmanager
def under_load(gateway: Gateway) -> Iterator[list[dict[str, Any]]]:
    """Jobs keep coming meanwhile, four at a time; afterwards all of them have ended, and are in the list."""
    jobs: list[dict[str, Any]] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            jobs.append(gateway.wait(gateway.submit(PICTURE).json()["id"]))

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call) for _ in range(4)]
        try:
            yield jobs
        finally:
            stop.set()
        for each in calls:
            each.result()


def all_were_drawn_at_once(gateway: Gateway, jobs: list[dict[str, Any]]) -> None:
    assert jobs
    assert {job["status"] for job in jobs} == {"done"}
    assert attempts(gateway, "drawn") == len(jobs)
    assert {attempts(gateway, outcome) for outcome in ("worker_ended", "lost", "not_taken")} == {0.0}


def test_workers_are_replaced_and_scaled_while_pictures_are_drawn(mortal: Server, tmp_path: Path) -> None:
    (before,) = mortal.worker_pids()
    with running_gateway(tmp_path, mortal) as gateway:
        with under_load(gateway) as jobs:
            wait_until(lambda: jobs, "the first picture")
            for words in (["recycle"], ["scale", "2"], ["scale", "1"]):
                process = workers(mortal, *words)
                assert process.returncode == 0, process.stderr
                assert (
                    f"{2 if words == ['scale', '2'] else process.stdout.count(' ready ')} workers wanted"
                    in process.stdout
                )
        all_were_drawn_at_once(gateway, jobs)
    (after,) = mortal.worker_pids()
    assert after != before


def test_a_rule_replaces_them_where_there_is_no_room_for_two(tmp_path: Path) -> None:
    metrics = free_port()
    agent = {"METRICS_PORT": str(metrics), "RECYCLE_OVERLAP": "never", "RECYCLE_AFTER_REQUESTS": "10"}
    with (
        running_server(
            "--no-gateway", environment={**QUICK, **{f"ANIMEGAN_AGENT_{name}": value for name, value in agent.items()}}
        ) as server,
        running_gateway(tmp_path, server) as gateway,
    ):

        def count(name: str) -> float:
            text = requests.get(f"http://127.0.0.1:{metrics}/metrics", timeout=10).text
            match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
            assert match, text
            return float(match[1])

        series = 'animegan_agent_recycles_total{reason="requests",result="done"}'
        with under_load(gateway) as jobs:
            wait_until(lambda: count(series) >= 1, "a replacement")
        all_were_drawn_at_once(gateway, jobs)
        assert len(jobs) >= 10
        assert count("animegan_agent_worker_restarts_total") == 0


def in_the_background(call: Callable[[], requests.Response]) -> tuple[threading.Thread, list[requests.Response]]:
    answers: list[requests.Response] = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    return thread, answers


def test_who_asks_torchserve_itself_is_waited_for(mortal: Server) -> None:
    def draw() -> requests.Response:
        return requests.post(f"{mortal.inference}/predictions/animegan", data={}, files={"data": LARGE}, timeout=120)

    (before,) = mortal.worker_pids()
    thread, answers = in_the_background(draw)
    wait_until(lambda: busy(mortal), "the worker to draw")
    process = workers(mortal, "recycle")
    thread.join()
    assert [answer.status_code for answer in answers] == [200]
    assert process.returncode == 0, process.stderr
    assert mortal.worker_pids() != [before]


def busy(server: Server) -> bool:
    process = psutil.Process(server.worker_pids()[0])
    return bool(process.cpu_percent(0.2) > 50)


def test_jobs_wait_while_it_is_drained(mortal: Server, tmp_path: Path) -> None:
    with running_gateway(tmp_path, mortal) as gateway:
        large = gateway.submit(LARGE).json()
        gateway.until(large["id"], "running")
        process = workers(mortal, "drain")
        try:
            assert "drained" in process.stdout
            assert gateway.job(large["id"])["status"] == "done"  # what was being drawn
            waits = gateway.submit(PICTURE).json()
            assert requests.get(f"{mortal.agent}/readyz", timeout=10).status_code == 503
            assert workers(mortal, "list").stdout.count("drained") == 1
            assert gateway.job(waits["id"])["status"] == "queued"
        finally:
            assert "open" in workers(mortal, "resume").stdout
        assert gateway.wait(waits["id"])["status"] == "done"


def test_what_can_not_be_done_is_said(mortal: Server) -> None:
    process = workers(mortal, "scale", "0")
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr == "animegan: workers=0: use a number from 1 to 64.\n"


def test_there_is_no_agent() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "animegan_cli", "workers", "list", "--agent", f"http://127.0.0.1:{free_port()}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert "No agent answers at" in process.stderr
