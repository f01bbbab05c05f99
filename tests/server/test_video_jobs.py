"""A video through the door: drawn as a job, streamed in parts, cancelled, refused by its length, played on the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
from playwright.sync_api import expect

from animegan_client import Client
from harness.browsing.browsers import opened_page, running_browser
from harness.browsing.pages import accessible, draw, wait_for_drawings
from harness.files.video_files import decoded, moving, video
from harness.gateways import running_gateway
from harness.pictures import encoded, photo
from harness.servers import Server, wait_until

pytestmark = pytest.mark.server


def submit(server: Server, data: bytes, **options: str) -> requests.Response:
    headers = {"Content-Type": "video/mp4"}
    return requests.post(f"{server.page}/v1/jobs", data=data, params=options, headers=headers, timeout=60)


def test_a_video_is_drawn_as_a_job_and_streamed_in_parts(server: Server) -> None:
    source = video(moving(6), sound="aac", rotation=90)
    job = submit(server, source).json()
    with Client(server.page) as client:
        outcome = client.wait(client.job(job["id"]))
        assert outcome.status == "done"
        picture = client.result(outcome)
    assert (picture.content_type, picture.report.drawn_frames, picture.report.size) == ("video/mp4", 6, (48, 64))
    film = decoded(picture.data)
    assert film.codecs == ["h264", "aac"]
    assert film.times == pytest.approx(decoded(source).times, abs=1e-3)
    part = requests.get(f"{server.page}/v1/jobs/{job['id']}/result", headers={"Range": "bytes=100-199"}, timeout=60)
    assert (part.status_code, part.headers["Content-Type"], part.content) == (206, "video/mp4", picture.data[100:200])


def test_a_video_that_is_cancelled_frees_its_worker(server: Server) -> None:
    job = submit(server, video(moving(200, (320, 240)), kind="mp4"), quality="best").json()
    address = f"{server.page}/v1/jobs/{job['id']}"
    wait_until(lambda: requests.get(address, timeout=60).json().get("progress"), "a part of the video")
    assert 0 < requests.get(address, timeout=60).json()["progress"] < 1
    assert requests.delete(address, timeout=60).ok
    with Client(server.page) as client:
        assert client.stylize(encoded(photo(32, 32))).report.size == (32, 32)
    assert requests.get(address, timeout=60).json()["status"] == "cancelled"


def test_a_video_over_a_limit_is_refused_at_the_door(server: Server) -> None:
    answer = submit(server, video(moving(2, (32, 32)), times=[0, 400]))
    assert (answer.status_code, answer.json()["code"]) == (413, "clip_too_long")
    assert "The video lasts 400 s, over the limit of 300 s" in json.dumps(answer.json(), ensure_ascii=False)


def test_a_video_is_played_on_the_page(server: Server, tmp_path: Path) -> None:
    clip = tmp_path / "clip.webm"  # which a browser without H.264 reads
    clip.write_bytes(video(moving(6, (160, 120)), kind="webm"))
    with (
        running_gateway(tmp_path / "gateway", server) as gateway,
        running_browser() as browser,
        opened_page(browser, gateway.url) as page,
    ):
        draw(page, clip)
        wait_for_drawings(page)
        film = page.get_by_test_id("film")
        assert film.evaluate("film => [film.controls, film.autoplay, film.paused]") == [True, False, True]
        page.wait_for_function("document.querySelector('[data-testid=film]').readyState > 0")
        assert film.evaluate("film => [film.videoWidth, film.videoHeight]") == [160, 120]
        expect(page.get_by_test_id("look")).to_have_count(0)
        accessible(page)
        page.screenshot(path=tmp_path / "page.png", full_page=True)
