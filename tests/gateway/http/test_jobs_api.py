"""A photo's whole way through the gateway and a real TorchServe, as a caller sees it over HTTP."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from animegan.report import Report
from animegan_gateway.http.answers.views import JobView
from animegan_gateway.http.styles.thumbnails import SIDE_PX
from harness.files.picture_files import heic
from harness.gateways import Gateway, code, running_gateway
from harness.pictures import encoded, photo
from harness.servers import Server, wait_until

pytestmark = pytest.mark.server

PICTURE = encoded(photo(64, 48), "PNG")
LARGE = encoded(photo(768, 768))  # takes a second or more: meanwhile others wait
MINE: dict[str, Any] = {"style": "gouache", "max_side": 32, "format": "png"}


@pytest.fixture(scope="module")
def gateway(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway"), server) as running:
        yield running


@pytest.fixture(scope="module")
def done_job(gateway: Gateway) -> dict[str, Any]:
    """A job that is done, and stays."""
    return gateway.wait(gateway.submit(PICTURE, **MINE).json()["id"])


@pytest.fixture
def result(gateway: Gateway, done_job: dict[str, Any]) -> requests.Response:
    return requests.get(f"{gateway.url}{done_job['links']['result']}", timeout=30)


@pytest.fixture
def running(gateway: Gateway) -> Iterator[dict[str, Any]]:
    """A job that is being drawn; whoever comes waits behind it."""
    job = gateway.until(gateway.submit(LARGE).json()["id"], "running")
    yield job
    requests.delete(f"{gateway.url}{job['links']['self']}", timeout=30)


def open_picture(answer: requests.Response) -> Image.Image:
    assert answer.ok, answer.text
    return Image.open(io.BytesIO(answer.content))


def files(gateway: Gateway, job: dict[str, Any]) -> list[Path]:
    """Return the gateway's files of the job's pictures."""
    return [*(gateway.folder / "pictures").glob(f"{job['id']}*")]


def test_a_photo_is_accepted_drawn_and_fetched(gateway: Gateway, server: Server) -> None:
    answer = gateway.submit(PICTURE, **MINE)
    assert answer.status_code == 202
    view = answer.json()
    url = f"/v1/jobs/{view['id']}"
    assert answer.headers["Location"] == url
    assert re.fullmatch(r"[\w-]{22}", view["id"], re.ASCII)
    assert view.keys() == JobView.model_fields.keys()
    assert view["links"] == {"self": url, "events": f"{url}/events", "result": f"{url}/result"}
    assert {name: view[name] for name in ("style", "license", "max_side", "format", "quality", "fitted")} == {
        **MINE,
        "license": "BSD-3-Clause",
        "quality": 92,
        "fitted": True,
    }
    assert (view["original_size"], view["size"]) == ({"width": 64, "height": 48}, {"width": 32, "height": 24})
    assert view["notes"] == ["fitted the size for you: 32×24"]
    assert (view["result"], view["error"], view["expires_at"]) == (None, None, None)

    job = gateway.wait(view["id"])
    assert (job["status"], job["message"], job["position"], job["eta_s"]) == ("done", "Done", None, None)
    assert job["accepted_at"] <= job["started_at"] <= job["finished_at"] < job["expires_at"]
    download = requests.get(f"{gateway.url}{job['result']['url']}", timeout=30)
    assert job["result"] == {
        "url": f"{url}/result",
        "content_type": download.headers["Content-Type"],
        "bytes": len(download.content),
    }
    assert not [file for file in files(gateway, job) if file.name.endswith("upload")]

    direct = requests.post(f"{server.inference}/predictions/animegan", files={"data": PICTURE}, data=MINE, timeout=60)
    assert Report.from_headers(download.headers).size == (32, 24)
    assert Report.from_headers(download.headers).style == "gouache"
    steps = np.abs(np.asarray(open_picture(download), dtype=int) - np.asarray(open_picture(direct), dtype=int))
    assert steps.max() <= 1


def test_options_by_name_reach_the_handler(gateway: Gateway) -> None:
    answer = requests.post(
        f"{gateway.url}/v1/stylize",
        files={"image": ("secret-name.png", PICTURE)},
        data={"format": "webp", "quality": "100", "max_side": "33", "style": "cel"},
        timeout=60,
    )
    other = requests.post(
        f"{gateway.url}/v1/stylize",
        files={"image": PICTURE},
        data={"format": "webp", "quality": "1", "max_side": "33"},
        timeout=60,
    )
    assert (open_picture(answer).format, open_picture(answer).size) == ("WEBP", (33, 25))
    assert len(other.content) < len(answer.content)
    assert answer.headers["X-Animegan-Style"] == "cel"


@pytest.mark.parametrize(
    ("limits", "size"),
    [({}, (1100, 64)), ({"max_side": "original"}, (1100, 64)), ({"max_pixels": "17600"}, (550, 32))],
    ids=["default", "original", "max_pixels"],
)
def test_limits_on_the_size_reach_the_handler(gateway: Gateway, limits: dict[str, str], size: tuple[int, int]) -> None:
    """Of a HEIC panorama, which is longer than the longest side that is drawn by default."""
    files = {"image": heic(photo(1100, 64))}
    view = requests.post(f"{gateway.url}/v1/jobs", files=files, data=limits, timeout=60).json()
    assert (view["size"]["width"], view["size"]["height"]) == size
    answer = requests.get(f"{gateway.url}{gateway.wait(view['id'])['result']['url']}", timeout=60)
    assert open_picture(answer).size == Report.from_headers(answer.headers).size == size


def test_a_long_poll_is_answered_when_the_job_has_ended(gateway: Gateway, running: dict[str, Any]) -> None:
    job = gateway.submit(PICTURE).json()
    assert (job["status"], job["position"], job["ahead"]) == ("queued", 1, 0)
    answer = requests.get(f"{gateway.url}{job['links']['self']}?wait=60", timeout=50)
    assert answer.json()["status"] == "done"


def test_with_what_is_known_a_long_poll_is_answered_at_any_change(gateway: Gateway, running: dict[str, Any]) -> None:
    url = f"{gateway.url}{gateway.submit(PICTURE).json()['links']['self']}"
    first = requests.get(url, timeout=30)
    assert first.headers["ETag"].startswith('W/"')
    headers = {"If-None-Match": first.headers["ETag"]}
    unchanged = requests.get(url, headers=headers, timeout=30)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["ETag"] == first.headers["ETag"]
    second = requests.get(f"{url}?wait=60", headers=headers, timeout=50)
    assert (second.status_code, second.json()["status"]) in {(200, "running"), (200, "done")}
    assert second.headers["ETag"] != first.headers["ETag"]


def test_events_tell_the_place_then_that_it_is_drawn_then_that_it_is_done(
    gateway: Gateway, running: dict[str, Any]
) -> None:
    jobs = [gateway.submit(PICTURE).json() for _ in range(3)]
    events = [*gateway.events(jobs[-1]["id"])]
    assert [name for name, _ in groupby(name for name, _ in events)] == ["position", "running", "done"]
    places = [job["position"] for name, job in events if name == "position" and job["position"]]
    assert places[0] == 3
    assert places == sorted(places, reverse=True)
    assert events[0][1]["message"].startswith("2 ahead of you")
    assert all(job.keys() == JobView.model_fields.keys() for _, job in events)
    assert events[-1][1] == gateway.job(jobs[-1]["id"])


def test_events_of_a_job_that_has_ended_are_one(gateway: Gateway, done_job: dict[str, Any]) -> None:
    assert [*gateway.events(done_job["id"])] == [("done", done_job)]


def test_the_headers_of_a_result(gateway: Gateway, done_job: dict[str, Any], result: requests.Response) -> None:
    assert result.headers["Content-Disposition"] == f'inline; filename="anime-{done_job["id"][:8]}.png"'
    assert result.headers["Cache-Control"] == "private, no-cache"
    assert result.headers["X-Animegan-Job"] == done_job["id"]
    download = requests.get(result.url, params={"download": "1"}, timeout=30)
    assert download.headers["Content-Disposition"].startswith("attachment; filename=")
    assert download.content == result.content


def test_a_result_that_is_known_is_not_sent_again(result: requests.Response) -> None:
    etag = result.headers["ETag"]
    for header in (etag, f'"x", {etag}', f"W/{etag}"):
        again = requests.get(result.url, headers={"If-None-Match": header}, timeout=30)
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert requests.get(result.url, headers={"If-None-Match": '"x"'}, timeout=30).content == result.content


def test_parts_of_a_result(result: requests.Response) -> None:
    whole = result.content
    for span, first, last in (("0-9", 0, 9), ("-10", len(whole) - 10, len(whole) - 1), ("5-", 5, len(whole) - 1)):
        part = requests.get(result.url, headers={"Range": f"bytes={span}"}, timeout=30)
        assert part.status_code == 206
        assert part.content == whole[first : last + 1]
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"
    past = requests.get(result.url, headers={"Range": f"bytes={len(whole)}-"}, timeout=30)
    assert code(past) == (416, "range_not_satisfiable")
    assert past.headers["Content-Range"] == f"bytes */{len(whole)}"


def test_a_part_of_another_version_is_the_whole(result: requests.Response) -> None:
    part = {"Range": "bytes=0-9"}
    same = requests.get(result.url, headers={**part, "If-Range": result.headers["ETag"]}, timeout=30)
    other = requests.get(result.url, headers={**part, "If-Range": '"other"'}, timeout=30)
    assert (same.status_code, same.content) == (206, result.content[:10])
    assert (other.status_code, other.content) == (200, result.content)


def test_deleting_a_done_job_removes_its_picture_now(gateway: Gateway) -> None:
    job = gateway.wait(gateway.submit(PICTURE).json()["id"])
    assert files(gateway, job)
    answer = gateway.remove(job)
    assert (answer.status_code, answer.json()["status"], answer.json()["result"]) == (200, "expired", None)
    assert not files(gateway, job)
    for again in (
        gateway.remove(job),
        *(requests.get(f"{gateway.url}{url}", timeout=30) for url in job["links"].values()),
    ):
        assert code(again) == (410, "job_expired")


def test_a_running_job_that_is_cancelled_leaves_nothing_and_holds_nobody_up(
    gateway: Gateway, running: dict[str, Any]
) -> None:
    behind = gateway.submit(PICTURE).json()
    assert gateway.remove(running).json()["status"] == "cancelled"
    assert gateway.wait(behind["id"])["status"] == "done"
    assert gateway.job(running["id"])["status"] == "cancelled"
    download = requests.get(f"{gateway.url}{running['links']['result']}", timeout=30)
    assert code(download) == (409, "job_cancelled")
    wait_until(lambda: not files(gateway, running), "the pictures of the cancelled job to go")


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=1-"}])
def test_a_result_whose_file_is_missing_is_gone(gateway: Gateway, headers: dict[str, str]) -> None:
    job = gateway.wait(gateway.submit(PICTURE).json()["id"])
    for file in files(gateway, job):
        file.unlink()
    answer = requests.get(f"{gateway.url}{job['links']['result']}", headers=headers, timeout=30)
    assert code(answer) == (410, "job_expired")
    assert job["id"] in answer.json()["detail"]


def test_a_result_is_not_there_before_it_is_drawn(gateway: Gateway, running: dict[str, Any]) -> None:
    waiting = gateway.submit(PICTURE).json()
    for job in (waiting, running):
        early = requests.get(f"{gateway.url}{job['links']['result']}", timeout=30)
        assert code(early) == (409, "not_ready")
        assert early.json()["job_status"] in ("queued", "running")
        assert early.json()["retryable"] is True
    gateway.remove(waiting)


def test_a_picture_that_can_not_be_drawn_fails_with_the_handlers_reason(gateway: Gateway) -> None:
    cut = encoded(photo(256, 256), quality=95)[:9000]
    job = gateway.wait(gateway.submit(cut).json()["id"])
    assert (job["status"], job["result"], job["error"]["code"]) == ("failed", None, "bad_image")
    download = requests.get(f"{gateway.url}{job['links']['result']}", timeout=30)
    assert code(download) == (400, "bad_image")
    assert download.json().items() >= job["error"].items()
    assert not files(gateway, job)
    at_once = requests.post(f"{gateway.url}/v1/stylize", files={"image": cut}, timeout=60)
    assert at_once.json().items() >= job["error"].items()


def test_stylize_answers_with_the_picture(gateway: Gateway) -> None:
    answer = requests.post(f"{gateway.url}/v1/stylize", files={"image": PICTURE}, data=MINE, timeout=60)
    assert (open_picture(answer).format, open_picture(answer).size) == ("PNG", (32, 24))
    job = gateway.job(answer.headers["X-Animegan-Job"])
    download = requests.get(f"{gateway.url}{job['links']['result']}", timeout=30)
    assert download.content == answer.content
    for name in ("Content-Type", "ETag", "Content-Disposition", "X-Animegan-Size", "Server-Timing"):
        assert download.headers[name] == answer.headers[name]


def test_the_same_request_with_its_key_finds_what_was_drawn(gateway: Gateway) -> None:
    def stylize() -> requests.Response:
        headers = {"Idempotency-Key": "stylize-1"}
        return requests.post(f"{gateway.url}/v1/stylize", files={"image": PICTURE}, headers=headers, timeout=60)

    first, again = stylize(), stylize()
    assert first.headers["X-Animegan-Job"] == again.headers["X-Animegan-Job"]
    assert first.content == again.content
    requests.delete(f"{gateway.url}/v1/jobs/{first.headers['X-Animegan-Job']}", timeout=30)
    assert code(stylize()) == (410, "job_expired")


def test_styles_with_their_licences_in_both_languages(gateway: Gateway) -> None:
    catalogue = requests.get(f"{gateway.url}/v1/styles", timeout=30).json()
    styles = {style["id"]: style for style in catalogue["styles"]}
    assert catalogue["default"] == "cel"
    assert [style for style in styles if styles[style]["default"]] == ["cel"]
    assert styles["cel"]["installed"]
    assert styles["cel"]["thumbnail"] == "/v1/styles/cel/thumbnail"
    assert (styles["cel"]["fast"], styles["cel"]["details"]) == (True, ["bold", "medium", "fine"])
    assert (styles["classic"]["fast"], styles["classic"]["details"]) == (False, [])
    for style in styles.values():
        assert style["license"]
        assert style["license_url"].startswith("https://")
        assert (style["thumbnail"] is not None) == style["installed"] == (not style["about"])
    assert {style["license"] for style in styles.values() if not style["noncommercial"]} == {
        "BSD-3-Clause",
        "CC-BY-SA-4.0",
    }
    assert styles["hayao"]["noncommercial"]
    chinese = requests.get(f"{gateway.url}/v1/styles", headers={"Accept-Language": "zh"}, timeout=30).json()
    assert not any(style["title"].isascii() for style in chinese["styles"])
    assert all(style["title"].isascii() for style in styles.values())


def test_it_tells_how_busy_it_is(gateway: Gateway, running: dict[str, Any]) -> None:
    waiting = gateway.submit(PICTURE, **MINE).json()["id"]
    wait_until(
        lambda: requests.get(f"{gateway.url}/v1/queue", timeout=30).json() == {"waiting": 1, "running": 1},
        f"{waiting} behind {running['id']}",
    )


def test_a_thumbnail_is_drawn_once_it_is_asked_for(gateway: Gateway) -> None:
    url = f"{gateway.url}/v1/styles/cel/thumbnail"
    first = requests.get(url, timeout=30)
    if first.status_code == 202:
        assert (first.content, first.headers["Retry-After"]) == (b"", "3")
    wait_until(lambda: requests.get(url, timeout=30).status_code == 200, "the thumbnail")
    thumbnail = requests.get(url, timeout=30)
    assert open_picture(thumbnail).format == "JPEG"
    assert max(open_picture(thumbnail).size) == SIDE_PX
    assert code(requests.get(f"{gateway.url}/v1/styles/nobody/thumbnail", timeout=30)) == (404, "unknown_style")


def test_what_is_said_is_said_in_the_callers_language(gateway: Gateway) -> None:
    chinese = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.1"}
    reply = gateway.submit(PICTURE, headers=chinese, **MINE)
    job = gateway.wait(reply.json()["id"])
    answer = requests.get(f"{gateway.url}{job['links']['self']}", headers=chinese, timeout=30)
    assert (answer.json()["message"], answer.json()["notes"]) == ("已完成", ["已为你智能适配分辨率：32×24"])
    assert answer.headers["Vary"] == "Accept-Language"
    english = requests.get(f"{gateway.url}{job['links']['self']}", timeout=30)
    assert english.headers["ETag"] != answer.headers["ETag"]
    assert [event["message"] for _, event in gateway.events(job["id"], **chinese)] == ["已完成"]


def test_a_request_id_goes_through_to_the_handler_and_the_logs(gateway: Gateway, server: Server) -> None:
    mine = "from-outside.1"
    reply = gateway.submit(PICTURE, headers={"X-Animegan-Request-Id": mine})
    assert reply.headers["X-Animegan-Request-Id"] == mine
    gateway.wait(reply.json()["id"])
    lines = [json.loads(line) for line in gateway.log.splitlines() if mine in line]
    assert {"request", "accepted", "attempt"} <= {line["event"] for line in lines}
    wait_until(lambda: f"request {mine}: ok" in server.log_text(), "the handler's log")
    for bad in ("x" * 65, "a b", 'a"b', ""):
        answer = requests.get(f"{gateway.url}/healthz", headers={"X-Animegan-Request-Id": bad}, timeout=30)
        assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Animegan-Request-Id"])


def test_the_metrics_move(gateway: Gateway, done_job: dict[str, Any]) -> None:
    def read() -> dict[str, float]:
        return {
            "accepted": gateway.metric("animegan_gateway_jobs_accepted_total"),
            "done": gateway.metric("animegan_gateway_jobs_ended_total", state="done"),
            "drawn": gateway.metric("animegan_gateway_attempts_total", outcome="drawn"),
            "waits": gateway.metric("animegan_gateway_wait_seconds_count"),
            "runs": gateway.metric("animegan_gateway_run_seconds_count"),
        }

    before = read()
    gateway.wait(gateway.submit(PICTURE).json()["id"])
    wait_until(lambda: read() == {name: value + 1 for name, value in before.items()}, "the counters to move by one")
    # Gauges follow once a second.
    wait_until(lambda: gateway.metric("animegan_gateway_torchserve_presence", presence="ready") == 1, "its presence")
    assert gateway.metric("animegan_gateway_torchserve_width") == 1
    assert gateway.metric("animegan_gateway_stored_bytes") > 0
    assert gateway.metric("animegan_gateway_jobs", state="done") >= 1
    assert requests.get(f"{gateway.url}/metrics", timeout=30).status_code == 404


def test_nothing_of_a_picture_and_no_whole_job_id_is_logged(gateway: Gateway, done_job: dict[str, Any]) -> None:
    requests.post(f"{gateway.url}/v1/stylize", files={"image": ("secret-name.png", b"secret text")}, timeout=30)
    gateway.remove(gateway.wait(gateway.submit(PICTURE).json()["id"]))
    requests.get(f"{gateway.url}/v1/jobs/{done_job['id']}?wait=0", timeout=30)
    log = gateway.log
    assert f"/v1/jobs/{done_job['id'][:8]}\\u2026" in log
    assert done_job["id"] not in log
    assert not re.search(r"/jobs/[\w-]{9}", log)
    for secret in ("secret-name", "secret text", "IHDR", "PNG\\r"):
        assert secret not in log
    assert '"level": "error"' not in log
