"""The door and the queue over HTTP, TorchServe being away: what gets in, what is refused, what waits, what expires."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from harness import MIB
from harness.files.picture_files import png_bomb
from harness.gateways import Gateway, code, running_gateway
from harness.pictures import encoded, photo
from harness.servers import wait_until

PICTURE = encoded(photo(64, 48))
OTHER = encoded(photo(64, 48, 1))
UNKNOWN = "A" * 22


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Nothing listens where its TorchServe should be; each test takes its jobs away again."""
    with running_gateway(tmp_path_factory.mktemp("gateway"), None, stylize_timeout_s=0.1) as running:
        yield running


def uploads_under_way(gateway: Gateway) -> list[Path]:
    """Uploads on their way in."""
    return [*gateway.folder.glob("spool*/**/*.upload")]


@pytest.fixture(autouse=True)
def empty_queue(gateway: Gateway) -> Iterator[None]:
    yield
    for file in (gateway.folder / "pictures").glob("*.upload"):
        requests.delete(f"{gateway.url}/v1/jobs/{file.name.partition('.')[0]}", timeout=30)


def busy(answer: requests.Response) -> str:
    """The code of a 429, which says when to come again."""
    status, error = code(answer)
    assert status == 429
    assert answer.json()["retryable"] is True
    assert int(answer.headers["Retry-After"]) == answer.json()["retry_after_s"] >= 1
    return error


def job_of(answer: requests.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def queued(gateway: Gateway) -> int:
    return len([*(gateway.folder / "pictures").glob("*.upload")])


@pytest.mark.slow
def test_the_door_is_open_while_torchserve_is_away(gateway: Gateway) -> None:
    first, second = (job_of(gateway.submit(PICTURE)) for _ in range(2))
    assert (first["status"], first["position"], second["position"], second["ahead"]) == ("queued", 1, 2, 1)
    assert (first["eta_s"], first["message"]) == (None, "Waiting for the drawing server")
    ready = requests.get(f"{gateway.url}/readyz", timeout=30)
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "torchserve": "away"})
    assert requests.get(f"{gateway.url}/healthz", timeout=30).json() == {"status": "ok"}
    assert gateway.remove(first).json()["status"] == "cancelled"
    wait_until(lambda: gateway.job(second["id"])["position"] == 1, "the place to move up")


def test_the_queue_is_fair_between_callers(gateway: Gateway) -> None:
    with gateway.browser() as ann, gateway.browser() as bob:
        anns = [job_of(gateway.submit(PICTURE, ann)) for _ in range(3)]
        bobs = job_of(gateway.submit(PICTURE, bob))
        assert bobs["position"] == 2
        assert [gateway.job(job["id"])["position"] for job in anns] == [1, 3, 4]


def test_a_waiting_job_is_cancelled_and_stays_so(gateway: Gateway) -> None:
    job = job_of(gateway.submit(PICTURE))
    cancelled = gateway.remove(job)
    assert (cancelled.status_code, cancelled.json()["status"], cancelled.json()["message"]) == (
        200,
        "cancelled",
        "Cancelled",
    )
    assert queued(gateway) == 0
    assert code(requests.get(f"{gateway.url}{job['links']['result']}", timeout=30)) == (409, "job_cancelled")
    assert [name for name, _ in gateway.events(job["id"])] == ["cancelled"]
    again = gateway.remove(job)
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")


def test_events_tell_that_a_job_is_cancelled(gateway: Gateway) -> None:
    job = job_of(gateway.submit(PICTURE))
    events = gateway.events(job["id"])
    assert next(events)[0] == "position"
    gateway.remove(job)
    assert [(name, state["status"]) for name, state in events] == [("cancelled", "cancelled")]


def test_a_long_poll_ends_when_its_time_is_over(gateway: Gateway) -> None:
    url = f"{gateway.url}{job_of(gateway.submit(PICTURE))['links']['self']}"
    poll = requests.get(f"{url}?wait=0.1", timeout=30)
    assert (poll.status_code, poll.json()["status"]) == (200, "queued")
    headers = {"If-None-Match": poll.headers["ETag"]}
    assert requests.get(f"{url}?wait=0.1", headers=headers, timeout=30).status_code == 304
    assert requests.get(f"{url}?wait=0.1", headers={"If-None-Match": 'W/"other"'}, timeout=30).status_code == 200


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "soon"])
def test_how_long_one_may_wait(gateway: Gateway, wait: str) -> None:
    job = job_of(gateway.submit(PICTURE))
    answer = requests.get(f"{gateway.url}{job['links']['self']}?wait={wait}", timeout=30)
    assert code(answer) == (422, "bad_option")
    assert answer.json()["option"] == "wait"


@pytest.mark.parametrize("job_id", [UNKNOWN, "x", "A" * 500, "%00" * 22, "é" * 22, "' OR 1=1 --", "A" * 21 + "%0a"])
def test_jobs_that_there_are_not(gateway: Gateway, job_id: str) -> None:
    url = f"{gateway.url}/v1/jobs/{job_id}"
    answers = [requests.get(f"{url}{end}", timeout=30) for end in ("", "/events", "/result")]
    answers.append(requests.delete(url, timeout=30))
    assert {code(answer) for answer in answers} == {(404, "job_not_found")}


def test_addresses_and_methods_that_there_are_not(gateway: Gateway) -> None:
    for path in ("/v1", "/v1/jobs/", "/nothing", "/page/nothing.js", "/page/../keys.py", "/v1/jobs/a/b/c"):
        assert code(requests.get(f"{gateway.url}{path}", timeout=30)) == (404, "not_found")
    for method, path, allowed in (
        ("PUT", "/v1/jobs", {"POST"}),
        ("GET", "/v1/stylize", {"POST", "PUT"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
        ("PATCH", "/v1/jobs/x", {"GET", "HEAD", "DELETE"}),
        ("OPTIONS", "/v1/session", {"GET", "HEAD", "POST", "DELETE"}),
        ("POST", "/page/main.js", {"GET", "HEAD"}),
    ):
        answer = requests.request(method, f"{gateway.url}{path}", timeout=30)
        assert code(answer) == (405, "method_not_allowed")
        assert set(answer.headers["Allow"].split(", ")) == allowed


REFUSALS: dict[str, tuple[bytes, dict[str, Any], int, str]] = {
    "nothing": (b"", {}, 400, "bad_image"),
    "cut in its header": (PICTURE[:50], {}, 400, "bad_image"),
    "text": (b"a text file", {}, 415, "unsupported_image"),
    "a PDF": (b"%PDF-1.7 and so on", {}, 415, "unsupported_image"),
    "too many bytes": (bytes(33 * MIB), {}, 413, "too_large"),
    "too many pixels": (png_bomb(8001, 8000), {}, 413, "too_large"),
    "too small": (encoded(photo(15, 64)), {}, 422, "picture_too_small"),
    "too small once fitted": (encoded(photo(640, 32)), {"max_side": 64}, 422, "picture_too_small"),
    "quality": (PICTURE, {"quality": 101}, 422, "bad_option"),
    "max_side": (PICTURE, {"max_side": "wide"}, 422, "bad_option"),
    "max_side over the ceiling": (PICTURE, {"max_side": 8193}, 422, "bad_option"),
    "format": (PICTURE, {"format": "tiff"}, 422, "bad_option"),
    "an option that there is not": (PICTURE, {"size": "12"}, 422, "bad_option"),
    "style": (PICTURE, {"style": "nobody"}, 404, "unknown_style"),
    "style that is not installed": (PICTURE, {"style": "hayao"}, 404, "style_not_installed"),
}


@pytest.mark.parametrize(("data", "options", "status", "expected"), REFUSALS.values(), ids=REFUSALS)
def test_what_can_not_be_drawn_is_refused_at_the_door(
    gateway: Gateway, data: bytes, options: dict[str, Any], status: int, expected: str
) -> None:
    for path in ("jobs", "stylize"):
        url = f"{gateway.url}/v1/{path}"
        answer = requests.post(url, files={"image": data}, data=options, timeout=60)
        assert code(answer) == (status, expected)
        assert answer.json()["retryable"] is False
    assert queued(gateway) == 0
    assert not uploads_under_way(gateway)
    assert gateway.metric("animegan_gateway_jobs_rejected_total", reason=expected) >= 2


def test_what_holds_no_picture_is_refused(gateway: Gateway) -> None:
    url = f"{gateway.url}/v1/jobs"
    for answer in (
        requests.post(url, timeout=30),
        requests.post(url, json={"image": "x"}, timeout=30),
        requests.post(url, files={"style": (None, "cel")}, timeout=30),
    ):
        assert code(answer) == (400, "bad_image")
    reply = requests.post(url, data=b"--x", headers={"Content-Type": "multipart/form-data; boundary=x"}, timeout=30)
    assert code(reply) == (400, "bad_request")


def test_stylize_answers_202_when_it_takes_too_long(gateway: Gateway) -> None:
    answer = requests.post(f"{gateway.url}/v1/stylize", files={"image": PICTURE}, timeout=30)
    job = job_of(answer)
    assert answer.headers["Location"] == job["links"]["self"]
    assert gateway.job(job["id"])["status"] == "queued"


def hung_up(gateway: Gateway, **headers: str) -> None:
    """POST v1/stylize, and hang up once the job is in the queue."""
    form = requests.Request("POST", f"{gateway.url}/v1/stylize", files={"image": PICTURE}, headers=headers).prepare()
    assert isinstance(form.body, bytes)
    head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "127.0.0.1", **form.headers}.items())
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(f"POST /v1/stylize HTTP/1.1\r\n{head}\r\n".encode() + form.body)
        wait_until(lambda: queued(gateway) == 1, "the job")


@pytest.mark.slow
def test_who_hangs_up_takes_the_photo_out_of_the_queue(tmp_path: Path) -> None:
    with running_gateway(tmp_path, None) as gateway:
        hung_up(gateway)
        wait_until(lambda: queued(gateway) == 0, "the upload to go")
        wait_until(lambda: gateway.metric("animegan_gateway_jobs_ended_total", state="cancelled") == 1, "the end")


@pytest.mark.slow
def test_with_a_key_it_stays_to_be_asked_for_again(tmp_path: Path) -> None:
    with running_gateway(tmp_path, None) as gateway:
        key = {"Idempotency-Key": "k"}
        hung_up(gateway, **key)
        wait_until(lambda: '"path": "/v1/stylize"' in gateway.log, "the end of the request")
        assert job_of(gateway.submit(PICTURE, headers=key))["status"] == "queued"
        assert queued(gateway) == 1


def test_who_hangs_up_in_the_middle_of_an_upload_leaves_nothing(gateway: Gateway) -> None:
    before = gateway.log.count('"path": "/v1/jobs"')
    form = requests.Request("POST", f"{gateway.url}/v1/jobs", files={"image": bytes(300_000)}).prepare()
    assert isinstance(form.body, bytes)
    head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "127.0.0.1", **form.headers}.items())
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(f"POST /v1/jobs HTTP/1.1\r\n{head}\r\n".encode() + form.body[:200_000])
        wait_until(lambda: uploads_under_way(gateway), "the upload to begin")
    wait_until(lambda: gateway.log.count('"path": "/v1/jobs"') > before, "the end of the request")
    assert not uploads_under_way(gateway)
    assert '"level": "error"' not in gateway.log  # it is nobody's fault


def test_a_request_that_is_repeated_with_its_key_makes_one_job(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "one"}
    first = job_of(gateway.submit(PICTURE, headers=key, quality=50))
    again = gateway.submit(PICTURE, headers=key, quality=50)
    assert job_of(again)["id"] == first["id"]
    assert again.headers["Location"] == first["links"]["self"]
    assert queued(gateway) == 1
    for other in (gateway.submit(OTHER, headers=key, quality=50), gateway.submit(PICTURE, headers=key, quality=51)):
        assert code(other) == (422, "idempotency_mismatch")
    assert queued(gateway) == 1
    with gateway.browser() as somebody:
        assert job_of(gateway.submit(OTHER, somebody, headers=key))["id"] != first["id"]
    gateway.remove(first)
    assert job_of(gateway.submit(PICTURE, headers=key, quality=50))["status"] == "cancelled"


def test_one_key_sent_many_times_at_one_moment_makes_one_job(gateway: Gateway) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: gateway.submit(PICTURE, headers={"Idempotency-Key": "many"}), range(16)))
    assert len({job_of(answer)["id"] for answer in answers}) == 1
    assert queued(gateway) == 1


def test_a_key_of_bounded_length(gateway: Gateway) -> None:
    assert job_of(gateway.submit(PICTURE, headers={"Idempotency-Key": "k" * 255}))
    for bad in ("k" * 256, ""):
        assert code(gateway.submit(PICTURE, headers={"Idempotency-Key": bad})) == (422, "bad_option")


@pytest.mark.slow
def test_a_full_queue_says_when_to_come_again(tmp_path: Path) -> None:
    with running_gateway(tmp_path, None, queue_jobs=2, share_percent=100) as gateway:
        jobs = [job_of(gateway.submit(PICTURE)) for _ in range(2)]
        full = gateway.submit(PICTURE)
        assert busy(full) == "queue_full"
        assert full.json()["limit_jobs"] == 2
        assert busy(requests.post(f"{gateway.url}/v1/stylize", files={"image": PICTURE}, timeout=30)) == "queue_full"
        assert queued(gateway) == 2
        gateway.remove(jobs[0])
        assert job_of(gateway.submit(PICTURE))["position"] == 2


@pytest.mark.slow
def test_the_queue_is_bounded_by_bytes_too(tmp_path: Path) -> None:
    large = encoded(Image.new("RGB", (2700, 2600)), "BMP")  # 20 MiB
    with running_gateway(tmp_path, None, queue_mb=32) as gateway:
        job_of(gateway.submit(large))
        full = gateway.submit(large)
        assert busy(full) == "queue_full"
        assert full.json()["limit_bytes"] == 32 * MIB
        job_of(gateway.submit(PICTURE))


@pytest.mark.slow
def test_one_caller_may_not_fill_the_queue(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path, None, queue_jobs=4, share_percent=50) as gateway,
        gateway.browser() as ann,
        gateway.browser() as bob,
    ):
        for _ in range(2):
            job_of(gateway.submit(PICTURE, ann))
        full = gateway.submit(PICTURE, ann)
        assert busy(full) == "share_full"
        assert full.json()["limit_jobs"] == 2
        job_of(gateway.submit(PICTURE, bob))


@pytest.mark.slow
def test_one_caller_may_send_so_many_a_minute(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path, None, rate_per_minute=2) as gateway,
        gateway.browser() as ann,
        gateway.browser() as bob,
    ):
        for _ in range(2):
            job_of(gateway.submit(PICTURE, ann))
        much = gateway.submit(PICTURE, ann)
        assert busy(much) == "rate_limited"
        assert 1 <= much.json()["retry_after_s"] <= 60
        assert much.json()["limit_per_minute"] == 2
        job_of(gateway.submit(PICTURE, bob))


@pytest.mark.slow
def test_a_job_expires_and_is_forgotten(tmp_path: Path) -> None:
    with running_gateway(tmp_path, None, keep_s=1, expired_for_s=3) as gateway:
        job = job_of(gateway.submit(PICTURE))
        end = gateway.remove(job).json()
        assert end["expires_at"] > end["finished_at"]
        statuses = [200]

        def status() -> int:
            now = requests.get(f"{gateway.url}{job['links']['self']}", timeout=30).status_code
            statuses.append(now)
            return now

        wait_until(lambda: status() == 404, "the job to be forgotten")
        assert {(before, after) for before, after in pairwise(statuses) if before != after} == {(200, 410), (410, 404)}


@pytest.mark.slow
def test_waiting_jobs_are_there_after_a_restart_and_after_a_kill(tmp_path: Path) -> None:
    with running_gateway(tmp_path, None) as gateway:
        jobs = [job_of(gateway.submit(PICTURE)) for _ in range(3)]
        assert gateway.stop() == 0
        gateway.start()
        assert [gateway.job(job["id"])["position"] for job in jobs] == [1, 2, 3]
        gateway.kill()
        gateway.start()
        assert [gateway.job(job["id"])["position"] for job in jobs] == [1, 2, 3]
        assert queued(gateway) == 3


@pytest.mark.slow
def test_the_gauges_show_what_waits(gateway: Gateway) -> None:
    job_of(gateway.submit(PICTURE))
    wait_until(lambda: gateway.metric("animegan_gateway_queue_depth") == 1, "the depth")
    assert gateway.metric("animegan_gateway_jobs", state="queued") == 1
    assert gateway.metric("animegan_gateway_stored_bytes") == len(PICTURE)
    wait_until(lambda: gateway.metric("animegan_gateway_oldest_waiting_seconds") > 1, "its age")
    assert gateway.metric("animegan_gateway_torchserve_presence", presence="away") == 1
    assert gateway.metric("animegan_gateway_torchserve_width") == 0


@pytest.mark.slow
def test_a_second_gateway_on_the_same_folder_does_not_start(gateway: Gateway) -> None:
    second = Gateway(gateway.folder, {**gateway.variables, "ANIMEGAN_GATEWAY_LOG_FILE": str(gateway.folder / "2.log")})
    with pytest.raises(AssertionError, match="Another gateway uses"):
        second.start()
    assert requests.get(f"{gateway.url}/readyz", timeout=30).ok


def test_head_tells_what_get_would_without_its_body(gateway: Gateway) -> None:
    job_id = gateway.submit(PICTURE).json()["id"]
    for path in ("/", "/healthz", f"/v1/jobs/{job_id}", "/page/main.js", "/v1/jobs/x"):
        head, get = (requests.request(method, f"{gateway.url}{path}", timeout=30) for method in ("HEAD", "GET"))
        assert head.status_code == get.status_code
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
        assert head.content == b""
        assert get.content
    events = requests.head(f"{gateway.url}/v1/jobs/{job_id}/events", timeout=30)
    assert events.headers["Content-Type"].startswith("text/event-stream")


@pytest.mark.slow
def test_a_queue_too_small_for_one_picture_is_no_queue(tmp_path: Path) -> None:
    message = "did not start: gateway: queue_mb=31 is under max_upload_mb=32"
    with pytest.raises(AssertionError, match=message), running_gateway(tmp_path, None, queue_mb=31):
        pass
