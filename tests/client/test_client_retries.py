"""A server that is busy, away or cut off: what is sent again, what is not, and when the client gives up."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from animegan_client import AsyncClient, Client, ServerError, Unreachable, WaitTimeout, transport
from client.fake_gateway import CUT, PATIENCE_S, FakeGateway, Reply, problem

JPEG = b"\xff\xd8\xff a photo"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize("code", ["queue_full", "share_full", "rate_limited"])
def test_a_busy_server_is_waited_for(gateway: FakeGateway, client: Client, code: str) -> None:
    gateway.replies("POST .*", *[problem(429, code, retryable=True, retry_after_s=0)] * 3)
    assert client.stylize(JPEG).data == b"anime of " + JPEG
    posts = gateway.requests_like("POST .*")
    assert len(posts) == 4
    assert len({post["idempotency-key"] for post in posts}) == 1


def test_retry_after_is_believed(gateway: FakeGateway, client: Client) -> None:
    gateway.replies("POST .*", problem(429, "queue_full", retryable=True, retry_after_s=999))
    with pytest.raises(ServerError) as excinfo:
        client.submit(JPEG)
    assert (excinfo.value.code, excinfo.value.status, excinfo.value.retryable) == ("queue_full", 429, True)
    assert excinfo.value.members["retry_after_s"] == 999
    assert len(gateway.requests) == 1  # by its own pauses the client would have tried again, and been served


@pytest.mark.parametrize(
    "reply",
    [
        problem(503, "store_unavailable", retryable=True),
        problem(503, "draining", retryable=True, retry_after_s=0),
        Reply(502, b"<html>Bad Gateway</html>"),
        Reply(429, b"slow down", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        CUT,
        Reply(200, b"{", {"Content-Length": "100", "Connection": "close"}),
    ],
)
@pytest.mark.parametrize("request_", ["POST /v1/jobs", "GET /v1/jobs/.*", "GET /v1/jobs/.*/result", "GET /v1/styles"])
def test_what_may_pass_is_tried_again(gateway: FakeGateway, client: Client, reply: Reply, request_: str) -> None:
    gateway.replies(request_, reply)
    assert client.stylize(JPEG).data == b"anime of " + JPEG
    assert client.styles()
    assert not gateway.script[request_]
    assert len(gateway.jobs) == 1


@pytest.mark.parametrize(
    "reply", [problem(500, "internal_error"), problem(503, "no_such_luck"), problem(408, "upload_timeout")]
)
def test_what_does_not_pass_is_told_at_once(gateway: FakeGateway, client: Client, reply: Reply) -> None:
    gateway.replies("POST .*", reply)
    with pytest.raises(ServerError) as excinfo:
        client.submit(JPEG)
    assert excinfo.value.status == reply.status
    assert len(gateway.requests) == 1


def test_a_job_whose_answer_was_cut_off_is_not_made_twice(gateway: FakeGateway, client: Client) -> None:
    gateway.replies("POST .*", CUT)
    job = client.submit(JPEG)
    assert list(gateway.jobs) == [job.id]
    first, second = gateway.requests_like("POST .*")
    assert first["idempotency-key"] == second["idempotency-key"]
    assert gateway.jobs[job.id].photo == JPEG
    assert client.submit(JPEG).id != job.id


def test_waiting_outlasts_a_restart_of_the_server(gateway: FakeGateway, client: Client) -> None:
    gateway.finish = lambda _: False
    job = client.submit(JPEG)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.result, job)
        gateway.until(lambda: any("wait=20" in line for line, _ in gateway.requests))
        gateway.stop()
        with socket.create_server(("127.0.0.1", gateway.port)) as nobody:  # sees that it is asked again meanwhile
            nobody.settimeout(PATIENCE_S)
            nobody.accept()[0].close()
        gateway.finish = lambda _: True
        gateway.start()
        assert waiting.result(PATIENCE_S).data == b"anime of " + JPEG


def test_a_server_that_is_not_there() -> None:
    with Client(f"http://127.0.0.1:{free_port()}", patience_s=0.1) as client:
        with pytest.raises(Unreachable, match="Is the server running"):
            client.submit(JPEG)
        with pytest.raises(Unreachable):
            client.styles()


def test_a_server_that_was_never_there_is_given_up_long_before_one_that_restarts(
    monkeypatch: pytest.MonkeyPatch, gateway: FakeGateway
) -> None:
    monkeypatch.setattr(transport, "UNKNOWN_PATIENCE_S", 0.0)
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(Unreachable, match="nothing listens there"):
        client.submit(JPEG)
    with Client(gateway.url, patience_s=PATIENCE_S) as client, ThreadPoolExecutor(1) as pool:
        client.styles()
        gateway.stop()
        styles = pool.submit(client.styles)
        with pytest.raises(TimeoutError):
            styles.result(0.5)
        gateway.start()
        assert styles.result(PATIENCE_S)


async def _submit_to_nobody() -> None:
    async with AsyncClient(f"http://127.0.0.1:{free_port()}") as client:
        await client.submit(JPEG)


def test_the_asynchronous_client_gives_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "UNKNOWN_PATIENCE_S", 0.0)
    with pytest.raises(Unreachable, match="nothing listens there"):
        asyncio.run(_submit_to_nobody())


def test_a_connection_that_cannot_be_trusted_is_not_tried_again(gateway: FakeGateway) -> None:
    url = gateway.url.replace("http://", "https://")
    with Client(url, patience_s=1) as client, pytest.raises(Unreachable, match="no trusted"):
        client.styles()
    assert gateway.connections == 1


def test_patience_is_lost_once_not_for_each_picture(gateway: FakeGateway) -> None:
    with Client(gateway.url, patience_s=0.3) as client:
        gateway.replies("GET /v1/styles", *[CUT] * 9)
        with pytest.raises(Unreachable):
            client.styles()
        assert len(gateway.requests) == 2
        with pytest.raises(Unreachable):
            client.styles()
        assert len(gateway.requests) == 3
        assert client.submit(JPEG)
        with pytest.raises(Unreachable):
            client.styles()
        assert len(gateway.requests) == 6  # it was there meanwhile, so the client is patient again


def test_patience_ends_for_one_request_though_others_get_through(gateway: FakeGateway) -> None:
    gateway.replies("POST .*", *[problem(503, "storage_full", retryable=True, retry_after_s=0)] * 10_000)
    with Client(gateway.url, patience_s=0.5) as client, ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(client.submit, JPEG)
        while not submitting.done():
            client.styles()
        with pytest.raises(ServerError, match="storage_full"):
            submitting.result()


def test_a_wait_is_no_more_patient_than_its_timeout(gateway: FakeGateway, client: Client) -> None:
    job = client.submit(JPEG)
    gateway.replies("GET .*", CUT)
    with pytest.raises(Unreachable):
        client.wait(job, timeout=0)
    assert client.wait(job).status == "done"


def test_a_closed_client_has_no_patience(gateway: FakeGateway) -> None:
    client = Client(gateway.url)
    gateway.replies("POST .*", problem(429, "queue_full", retryable=True, retry_after_s=200))
    with ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(client.submit, JPEG)
        gateway.until(lambda: len(gateway.requests) == 1)
        client.close()
        with pytest.raises(ServerError, match="queue_full"):
            submitting.result(PATIENCE_S)


def test_threads_share_a_client(client: Client) -> None:
    photos = [b"photo %d" % n for n in range(8)]
    with ThreadPoolExecutor(len(photos)) as pool:
        pictures = list(pool.map(lambda photo: client.stylize(photo).data, photos))
    assert pictures == [b"anime of " + photo for photo in photos]


def test_closing_a_client_ends_its_waits(gateway: FakeGateway) -> None:
    gateway.finish = lambda _: False
    client = Client(gateway.url)
    job = client.submit(JPEG)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.wait, job, on_change=lambda _: None)
        gateway.until(lambda: any("wait=20" in line for line, _ in gateway.requests))
        client.close()
        gateway.set(job.id, "running")  # so that the long poll has an answer
        try:
            with pytest.raises(WaitTimeout):
                waiting.result(PATIENCE_S)
        finally:
            gateway.let(lambda _: True)
