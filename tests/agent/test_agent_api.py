"""The agent over HTTP: what it tells of a real TorchServe, and who may command it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import httpx2
import psutil
import pytest
import requests

import animegan_handler
from animegan_agent.__main__ import open_agent
from animegan_agent.settings import Settings
from animegan_cli.serving.ports import free_port
from animegan_gateway.queue.jobs import new_id
from animegan_service.protocol import CANCEL_FOLDER
from harness.gateways import code
from harness.servers import Server, wait_until


@asynccontextmanager
async def asking(client: str) -> AsyncIterator[httpx2.AsyncClient]:
    """One who asks an agent from that address; there is no TorchServe."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings = Settings(management=nowhere, torchserve_metrics=nowhere, metrics_port=0)
    async with open_agent(settings) as app:
        transport = httpx2.ASGITransport(app=app, client=(client, 1234))
        async with httpx2.AsyncClient(transport=transport, base_url="http://agent") as caller:
            yield caller


@pytest.mark.server
def test_it_tells_what_the_workers_are(server: Server) -> None:
    status = requests.get(f"{server.agent}/v1/workers", timeout=10).json()
    (worker,) = status["workers"]
    assert [worker["pid"]] == server.worker_pids()
    assert worker["state"] == "ready"
    assert worker["memory_bytes"] == pytest.approx(psutil.Process(worker["pid"]).memory_info().rss, rel=0.2)
    assert (status["wanted"], status["paused"], status["draining"], status["torchserve"]) == (1, False, False, "ready")
    assert requests.get(f"{server.agent}/readyz", timeout=10).status_code == HTTPStatus.OK
    assert requests.get(f"{server.agent}/healthz", timeout=10).status_code == HTTPStatus.OK


@pytest.mark.server
def test_a_question_with_what_was_seen_waits_for_something_new(server: Server) -> None:
    def ask(seen: str) -> dict[str, object]:
        query: dict[str, str | int] = {"gateway": "test", "running": 0, "seen": seen}
        answer: dict[str, object] = requests.get(f"{server.agent}/v1/torchserve", params=query, timeout=30).json()
        return answer

    state = ask("")
    assert (state["presence"], state["width"], state["paused"]) == ("ready", 1, False)
    assert ask(str(state["seen"])) == state  # after a while, as nothing happened
    requests.post(f"{server.agent}/v1/drain", timeout=60)
    try:
        change = ask(str(state["seen"]))
        assert change["paused"]
        assert change["seen"] != state["seen"]
        assert requests.get(f"{server.agent}/readyz", timeout=10).status_code == HTTPStatus.SERVICE_UNAVAILABLE
    finally:
        requests.post(f"{server.agent}/v1/resume", timeout=60)
    wait_until(lambda: requests.get(f"{server.agent}/readyz", timeout=10).ok, "the agent to be ready again")


@pytest.mark.server
@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/v1/torchserve", None, (422, "bad_option")),
        ("GET", "/v1/torchserve?gateway=x&running=-1", None, (422, "bad_option")),
        ("GET", "/v1/torchserve?gateway=x&running=0&more=1", None, (422, "bad_option")),
        ("POST", "/v1/workers/scale", b"", (422, "bad_option")),
        ("POST", "/v1/workers/scale", b'{"workers": 0}', (422, "bad_option")),
        ("POST", "/v1/workers/scale", b'{"workers": 65}', (422, "bad_option")),
        ("POST", "/v1/workers/scale", b'{"workers": "two"}', (422, "bad_option")),
        ("POST", "/v1/workers/scale", b"[]", (422, "bad_option")),
        ("GET", "/v1/workers/scale", None, (405, "method_not_allowed")),
        ("GET", "/v2", None, (404, "not_found")),
    ],
)
def test_what_it_does_not_understand(
    server: Server, method: str, path: str, body: bytes | None, expected: tuple[int, str]
) -> None:
    assert code(requests.request(method, f"{server.agent}{path}", data=body, timeout=10)) == expected


COMMANDS = ("workers/scale", "workers/recycle", "drain", "resume")


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("client", "headers"),
    [
        ("10.1.2.3", {}),
        ("fd00::1", {}),
        ("127.0.0.1", {"Origin": "http://127.0.0.1:8083"}),
        ("::1", {"Sec-Fetch-Site": "none"}),
    ],
)
def test_a_command_from_elsewhere_or_from_a_page(command: str, client: str, headers: dict[str, str]) -> None:
    async def ask() -> httpx2.Response:
        async with asking(client) as caller:
            return await caller.post(f"/v1/{command}", headers=headers, json={"workers": 2})

    answer = asyncio.run(ask())
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert "animegan workers" in json.loads(answer.content)["detail"]


@pytest.mark.parametrize("command", COMMANDS[:2])
def test_there_is_no_torchserve(command: str) -> None:
    async def ask() -> tuple[httpx2.Response, ...]:
        async with asking("127.0.0.1") as caller:
            reply = await caller.post(f"/v1/{command}", json={"workers": 2})
            return reply, await caller.get("/readyz"), await caller.get("/v1/torchserve?gateway=x&running=0")

    reply, ready, answer = asyncio.run(ask())
    assert (reply.status_code, reply.json()["code"]) == (503, "torchserve_away")
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert ready.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert (answer.json()["presence"], answer.json()["width"]) == ("away", 0)


@pytest.mark.anyio
async def test_an_attempt_that_is_cancelled_is_a_file_for_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cancelled"
    monkeypatch.setenv(CANCEL_FOLDER, str(folder))
    attempt = f"{new_id()}.1"
    async with asking("192.0.2.7") as gateway:
        for name in ("../../etc/passwd", attempt + "/x", ""):
            assert (
                await gateway.post("/v1/cancel", json={"attempt": name})
            ).status_code == HTTPStatus.UNPROCESSABLE_ENTITY
        assert not folder.exists()
        assert (await gateway.post("/v1/cancel", json={"attempt": attempt})).json() == {"cancelled": True}
    assert [file.name for file in folder.iterdir()] == [attempt]


@pytest.mark.anyio
async def test_how_far_an_attempt_is_stands_in_a_file_of_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CANCEL_FOLDER, str(tmp_path))
    attempt = f"{new_id()}.1"
    async with asking("192.0.2.7") as gateway:
        for text, progress in ((None, None), ("0.4321", 0.4321), ("", None), ("nan", None), ("7", None)):
            if text is not None:
                animegan_handler._progress_file(tmp_path / attempt).write_text(text)
            assert (await gateway.get("/v1/progress", params={"attempt": attempt})).json() == {"progress": progress}
        answer = await gateway.get("/v1/progress", params={"attempt": "../../etc/passwd"})
        assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
