"""The client against a server that keeps the contract: what it sends, and what it makes of the answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest

import animegan_client
from animegan.errors import BadImage
from animegan_client import (
    Client,
    ClientError,
    Job,
    JobCancelled,
    JobExpired,
    JobFailed,
    ServerError,
    Size,
    UnexpectedAnswer,
    WaitTimeout,
    errors,
)
from client.fake_gateway import PATIENCE_S, REPORT, FakeGateway, Reply

JPEG = b"\xff\xd8\xff a photo\r\n--"  # with what could end a part of a form


def test_a_photo_from_a_path_its_bytes_or_a_file(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "照片.jpg"
    file.write_bytes(JPEG)
    for source in (file, str(file), JPEG, BytesIO(JPEG)):
        picture = client.stylize(source, style="cel")
        assert picture.data == b"anime of " + JPEG
        assert picture.content_type == "image/jpeg"
        assert picture.report == REPORT
        assert picture.job.status == "done"
    picture.save(tmp_path / "anime.jpg")
    assert (tmp_path / "anime.jpg").read_bytes() == picture.data


def test_the_options_that_are_given_are_sent(gateway: FakeGateway, client: Client) -> None:
    client.submit(JPEG, style="gouache", max_side=640, format="png", quality=80)
    client.submit(JPEG, style=None, quality=None)
    fields = [job.fields for job in gateway.jobs.values()]
    assert fields == [{"style": "gouache", "max_side": "640", "format": "png", "quality": "80"}, {}]


def test_a_job_is_what_the_server_says(client: Client) -> None:
    job = client.submit(JPEG, max_side=512)
    assert (job.status, job.position, job.ahead, job.eta_s, job.ended) == ("queued", 2, 1, 12.5, False)
    assert (job.message, job.notes) == ("It is queued", ("fitted the size for you: 1024×683",))
    assert (job.style, job.max_side, job.format, job.quality) == ("cel", 512, "auto", 92)
    assert (job.original_size, job.size.width) == (Size(4000, 2667), 1024)
    assert job.accepted_at == datetime(2026, 11, 24, 22, tzinfo=UTC)
    assert (job.started_at, job.error) == (None, None)
    assert client.job(job.id).status == "done"
    assert client.job(job).ended


def test_the_language_is_asked_for(gateway: FakeGateway) -> None:
    with Client(gateway.url, language="zh") as client:
        assert client.submit(JPEG).notes == ("已为你智能适配分辨率：1024×683",)


def test_styles(client: Client) -> None:
    [style] = client.styles()
    assert (style.id, style.suits, style.installed, style.noncommercial) == ("cel", ("landscape",), True, False)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_base_address_with_a_path(slash: str) -> None:
    with FakeGateway(prefix="/anime/in") as gateway, Client(gateway.url + slash) as client:
        assert client.stylize(JPEG).data == b"anime of " + JPEG
        assert client.cancel(client.submit(JPEG)).status == "cancelled"
        assert client.styles()
        assert all(line.partition(" ")[2].startswith("/anime/in/v1/") for line, _ in gateway.requests)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://host", "http://", "http://host:99999", "http://[host", "http://host?a=1", ""]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no address of a server"):
        Client(url)


def test_the_key_goes_along_whatever_netrc_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with FakeGateway(key="ag_right") as gateway:
        with Client(gateway.url, key="ag_right\n") as client:
            assert client.stylize(JPEG).data
        for wrong in ("ag_wrong", None):
            with Client(gateway.url, key=wrong) as client, pytest.raises(ServerError) as excinfo:
                client.submit(JPEG)
            assert (excinfo.value.code, excinfo.value.status) == ("unauthorized", 401)


@pytest.mark.parametrize("key", ["ag_schlüssel", "ag_one ag_two", "ag_\nX-Evil: 1"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="no key has"):
        Client("http://127.0.0.1:9", key=key)


def test_no_cookie_is_kept(gateway: FakeGateway, client: Client) -> None:
    client.stylize(JPEG)
    client.cancel(client.submit(JPEG))
    assert len(gateway.requests) > 4
    assert not any("cookie" in headers for _, headers in gateway.requests)


# ---- Waiting ---------------------------------------------------------------------------------------------------------


def test_changes_are_told_as_they_come(gateway: FakeGateway, client: Client) -> None:
    gateway.finish = lambda _: False
    job = client.submit(JPEG)
    steps = iter([("queued", 0), ("running", 0), ("done", 0)])
    states: list[tuple[str, int | None]] = []

    def on_change(state: Job) -> None:
        states.append((state.status, state.ahead))
        status, ahead = next(steps, ("done", 0))
        gateway.set(job.id, status, ahead=ahead)

    assert client.wait(job, on_change=on_change).status == "done"
    assert states == [("queued", 1), ("queued", 0), ("running", None), ("done", None)]
    polls = gateway.requests_like("GET /v1/jobs/.*")
    assert "if-none-match" not in polls[0]
    assert [poll["if-none-match"] for poll in polls[1:]] == ['W/"queued-1"', 'W/"queued-0"', 'W/"running-0"']
    assert len(gateway.requests_like("GET /v1/jobs/.*wait=20")) == len(polls) - 1


def test_what_has_not_changed_is_not_told(gateway: FakeGateway, client: Client) -> None:
    job = client.submit(JPEG)
    same = Reply(200, _json_of(gateway, job.id))  # without an ETag, as some proxies have it
    gateway.replies("GET .*", same, same, Reply(304))
    states: list[str] = []
    client.wait(job, on_change=lambda state: states.append(state.status))
    assert states == ["queued", "done"]
    assert len(gateway.requests_like("GET .*")) == 4


def test_without_anyone_to_tell_one_long_poll_is_enough(gateway: FakeGateway, client: Client) -> None:
    gateway.finish = lambda _: False
    job = client.submit(JPEG)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.wait, job)
        gateway.until(lambda: len(gateway.requests) == 3)
        for status, ahead in (("queued", 0), ("running", 0), ("done", 0)):
            gateway.set(job.id, status, ahead=ahead)
        assert waiting.result(PATIENCE_S).status == "done"
    assert not any("if-none-match" in poll for poll in gateway.requests_like("GET .*"))


def test_a_wait_ends_in_time_and_the_job_goes_on(gateway: FakeGateway, client: Client) -> None:
    gateway.finish = lambda _: False
    job = client.submit(JPEG)
    with pytest.raises(WaitTimeout, match="goes on"):
        client.wait(job, timeout=0)
    with pytest.raises(TimeoutError):
        client.wait(job, timeout=0.3)
    assert gateway.requests_like(r"GET /v1/jobs/.*wait=(?!1$).*") == []
    assert client.job(job).status == "queued"


def test_a_failed_job_is_an_error_with_its_problem(gateway: FakeGateway, client: Client) -> None:
    job = client.submit(b"fails")
    for attempt in (client.wait, client.result):
        with pytest.raises(JobFailed, match="It did not fit") as excinfo:
            attempt(job)
        assert (excinfo.value.code, excinfo.value.status, excinfo.value.retryable) == ("out_of_memory", 503, True)
        assert excinfo.value.detail == "It did not fit."
        assert excinfo.value.members == {"needed_mb": 5000}
    failed = client.job(job)
    assert failed.error
    assert failed.error.code == "out_of_memory"
    assert gateway.requests_like("GET .*result") == []  # whose problem would read as one of the server


def test_a_cancelled_job(gateway: FakeGateway, client: Client) -> None:
    gateway.finish = lambda _: False
    job = client.submit(JPEG)
    assert client.cancel(job).status == "cancelled"
    for attempt in (client.wait, client.result):
        with pytest.raises(JobCancelled, match="It is cancelled") as excinfo:
            attempt(job.id)
        assert (excinfo.value.code, excinfo.value.status) == ("job_cancelled", 409)


def test_an_expired_job(gateway: FakeGateway, client: Client) -> None:
    job = client.wait(client.submit(JPEG))
    assert client.cancel(job).status == "expired"
    for attempt in (client.job, client.wait, client.result):
        with pytest.raises(JobExpired) as excinfo:
            attempt(job)
        assert (excinfo.value.code, excinfo.value.status) == ("job_expired", 410)


def test_a_job_that_expires_while_it_is_watched(gateway: FakeGateway, client: Client) -> None:
    job = client.submit(JPEG)
    answer = client.job(job)
    gateway.replies("GET .*", Reply(200, _json_of(gateway, job.id).replace(b'"done"', b'"expired"')))
    with pytest.raises(JobExpired):
        client.wait(answer)


def _json_of(gateway: FakeGateway, job_id: str) -> bytes:
    return json.dumps(gateway.jobs[job_id].json("", chinese=False)).encode()


# ---- Errors ----------------------------------------------------------------------------------------------------------


def test_a_refusal_carries_what_the_server_said(client: Client) -> None:
    with pytest.raises(ServerError, match="That is no picture") as excinfo:
        client.submit(b"bad")
    assert (excinfo.value.code, excinfo.value.status, excinfo.value.retryable) == ("bad_image", BadImage.status, False)
    assert excinfo.value.request_id == "request-7"
    with pytest.raises(ServerError) as excinfo:
        client.wait("nowhere")
    assert (excinfo.value.code, excinfo.value.status) == ("job_not_found", 404)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"id": "x", "status": "sleeping"}', b"\xff"])
def test_a_job_that_is_none(gateway: FakeGateway, client: Client, body: bytes) -> None:
    gateway.replies(".*", Reply(202, body), Reply(200, body))
    with pytest.raises(UnexpectedAnswer, match="not as this project's gateway"):
        client.submit(JPEG)
    with pytest.raises(UnexpectedAnswer):
        client.styles()
    assert len(gateway.requests) == 2


def test_a_picture_that_is_none(gateway: FakeGateway, client: Client) -> None:
    gateway.replies("GET .*result", Reply(200, b"hello", {"Content-Type": "text/plain"}))
    with pytest.raises(UnexpectedAnswer):
        client.stylize(JPEG)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"code": 404, "type": "ResourceNotFoundException"}', b"[1]"])
def test_an_error_that_is_not_the_gateways(gateway: FakeGateway, client: Client, body: bytes) -> None:
    gateway.replies(".*", Reply(404, body))
    with pytest.raises(ServerError, match="answered 404 Not Found") as excinfo:
        client.submit(JPEG)
    assert (excinfo.value.code, excinfo.value.status) == ("http_404", 404)


def test_a_redirect_is_told_and_not_followed(gateway: FakeGateway, client: Client) -> None:
    gateway.replies("POST .*", Reply(301, b"", {"Location": "https://elsewhere/v1/jobs"}))
    with pytest.raises(UnexpectedAnswer, match="redirects to https://elsewhere/v1/jobs"):
        client.submit(JPEG)
    assert len(gateway.requests) == 1


def test_an_id_is_no_path(gateway: FakeGateway, client: Client) -> None:
    with pytest.raises(ServerError, match="job_not_found"):
        client.job("../styles?a")
    assert gateway.requests_like("GET /v1/jobs/..%2Fstyles%3Fa")


def test_a_file_that_is_not_there(client: Client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.submit(tmp_path / "nothing.jpg")


def kinds(base: type[ClientError] = ClientError) -> Iterator[type[ClientError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_the_drawn_tree_is_the_hierarchy() -> None:
    tree: dict[str, str] = {}
    last = {0: "ClientError"}
    for indent, name in re.findall(r"^    ( *)[├└]── (\w+)  ", errors.__doc__ or "", re.MULTILINE):
        depth = len(indent) // 4 + 1
        tree[name], last[depth] = last[depth - 1], name
    assert tree == {kind.__name__: kind.__bases__[0].__name__ for kind in kinds()}


def test_the_public_names() -> None:
    assert animegan_client.__all__ == [
        "AsyncClient",
        "Client",
        "ClientError",
        "Job",
        "JobCancelled",
        "JobExpired",
        "JobFailed",
        "Outcome",
        "Picture",
        "Problem",
        "ServerError",
        "Size",
        "Style",
        "UnexpectedAnswer",
        "Unreachable",
        "WaitTimeout",
    ]
    assert all(hasattr(animegan_client, name) for name in animegan_client.__all__)


def test_it_needs_neither_torch_nor_the_gateway() -> None:
    code = "import sys, animegan_client; print({'torch', 'animegan_gateway', 'fastapi'} & sys.modules.keys())"
    process = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.strip() == "set()"
