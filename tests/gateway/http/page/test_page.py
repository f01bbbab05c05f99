"""The page in a real Chromium, before a real gateway and TorchServe: what a person with a photo does."""

from __future__ import annotations

import io
import itertools
import os
import re
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Route, expect

from animegan_gateway.http.access.keys import Keys
from animegan_gateway.http.styles.thumbnails import SIDE_PX
from harness.browsing.browsers import opened_page
from harness.browsing.pages import PHOTO_PX, accessible, draw, photo_files, wait_for_drawings
from harness.gateways import Gateway, before, running_gateway
from harness.servers import ROOT, Server, wait_until

pytestmark = pytest.mark.server

MOST_BYTES = 200_000
PATHS = {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return photo_files(tmp_path_factory.mktemp("photos"), "hill.jpg", "sea.png", "wood.jpg")


def test_it_is_small_and_speaks_to_this_server_alone(browser: Browser, gateway: Gateway) -> None:
    sizes: dict[str, int] = {}
    counts: Counter[str] = Counter()
    with opened_page(browser, "about:blank") as page:
        page.on("request", lambda r: counts.update([f"{r.method} {r.url.removeprefix(gateway.url)}"]))
        page.on("requestfinished", lambda r: sizes.update({r.url: r.sizes()["responseBodySize"]}))
        page.goto(gateway.url, wait_until="networkidle")
        expect(page.get_by_test_id("style-cel")).to_be_checked()
    own = {url: size for url, size in sizes.items() if "/v1/" not in url}
    assert f"{gateway.url}/" in own
    assert all(url.startswith(gateway.url) for url in sizes)
    assert 10_000 < sum(own.values()) < MOST_BYTES
    assert (counts["GET /v1/session"], counts["GET /v1/styles"]) == (1, 1)


@pytest.mark.parametrize(
    ("language", "width", "message"),
    [("en-US", 1280, "Done"), ("zh-CN", 1280, "已完成"), ("en-US", 390, "Done"), ("zh-CN", 390, "已完成")],
)
def test_a_photo_is_dropped_watched_compared_and_downloaded(
    browser: Browser, gateway: Gateway, photos: list[Path], language: str, width: int, message: str
) -> None:
    phone = {"has_touch": True, "is_mobile": True} if width < 600 else {}
    with opened_page(browser, gateway.url, language=language, width=width, **phone) as page:
        expect(page.locator("html")).to_have_attribute("lang", language if language == "zh-CN" else "en")
        accessible(page)
        page.get_by_test_id("max-side").select_option("512")
        draw(page, photos[0])
        wait_for_drawings(page)
        card = page.get_by_test_id("job")
        expect(card.get_by_test_id("message")).to_contain_text(message)
        slider = card.get_by_test_id("compare")
        slider.focus()
        before = slider.input_value()
        page.keyboard.press("ArrowRight")
        assert float(slider.input_value()) > float(before)
        accessible(page)
        with page.expect_download() as download:
            card.get_by_test_id("download").click()
        with Image.open(download.value.path()) as picture:
            assert (picture.format, picture.size) == ("JPEG", PHOTO_PX)
        scroll_width, client_width = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert scroll_width <= client_width  # nothing sticks out sideways


def test_a_dropped_file_is_taken(browser: Browser, gateway: Gateway, photos: list[Path]) -> None:
    with opened_page(browser, gateway.url) as page:
        data = page.evaluate_handle(
            """async (bytes) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", {type: "image/jpeg"}));
                return data;
            }""",
            [*photos[0].read_bytes()],
        )
        for event in ("dragenter", "dragover", "drop"):
            page.get_by_test_id("drop").dispatch_event(event, {"dataTransfer": data})
        page.get_by_test_id("draw").click()
        wait_for_drawings(page)


def test_several_come_as_one_zip(browser: Browser, gateway: Gateway, photos: list[Path]) -> None:
    with opened_page(browser, gateway.url) as page:
        draw(page, *photos)
        wait_for_drawings(page, 3)
        with page.expect_download() as download:
            page.get_by_test_id("download-all").click()
        with zipfile.ZipFile(download.value.path()) as archive:
            assert len(archive.namelist()) == 3
            for name in archive.namelist():
                with Image.open(io.BytesIO(archive.read(name))) as picture:
                    assert picture.size == PHOTO_PX


def test_what_waits_can_be_cancelled_and_what_is_drawn_deleted(
    browser: Browser, server: Server, tmp_path: Path, photos: list[Path]
) -> None:
    with running_gateway(tmp_path, None) as without, opened_page(browser, without.url) as page:
        draw(page, photos[0])
        card = page.get_by_test_id("job")
        expect(card).to_have_attribute("data-status", "queued")
        expect(card.get_by_test_id("message")).to_contain_text("Waiting for the drawing server")
        card.get_by_test_id("cancel").click()
        expect(card).to_have_attribute("data-status", "cancelled")
    with running_gateway(tmp_path, server) as gateway, opened_page(browser, gateway.url) as page:
        draw(page, photos[0])
        wait_for_drawings(page)
        page.get_by_test_id("delete").click()
        expect(page.get_by_test_id("job")).to_have_attribute("data-status", "expired")
        wait_until(lambda: not any((tmp_path / "pictures").glob("[!.]*")), "the end of every picture's file")


def test_the_history_of_the_tab_outlives_a_reload(browser: Browser, gateway: Gateway, photos: list[Path]) -> None:
    with opened_page(browser, gateway.url) as page:
        draw(page, photos[0])
        wait_for_drawings(page)
        page.reload()
        wait_for_drawings(page)


def test_it_goes_on_by_itself_when_the_gateway_was_restarted(
    browser: Browser, server: Server, tmp_path: Path, photos: list[Path]
) -> None:
    with running_gateway(tmp_path, None) as first, opened_page(browser, first.url) as page:
        draw(page, photos[0], photos[1])
        expect(page.locator("[data-testid=job][data-status=queued]")).to_have_count(2)
        first.kill()
        expect(page.get_by_test_id("offline")).to_be_visible()
        again = Gateway(tmp_path, before(server), port=first.port)
        again.start()
        try:
            wait_for_drawings(page, 2)
            expect(page.get_by_test_id("offline")).to_be_hidden()
        finally:
            again.stop()


def test_what_is_no_picture_is_explained_in_the_pages_language(
    browser: Browser, gateway: Gateway, tmp_path: Path
) -> None:
    note, cut = tmp_path / "note.jpg", tmp_path / "cut.jpg"
    note.write_text("this is no picture")
    cut.write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    for language, left_out, message in (
        ("en-US", "note.jpg was left out: it is a text file.", "damaged"),
        ("zh-CN", "没有放入 note.jpg：这是文本文件。", "图片损坏或不完整"),
    ):
        with opened_page(browser, gateway.url, language=language) as page:
            page.get_by_test_id("file").set_input_files([note])
            expect(page.get_by_test_id("not-taken")).to_have_text(left_out)
            expect(page.get_by_test_id("draw")).to_be_disabled()  # it is not counted
            draw(page, cut)
            expect(page.get_by_test_id("job")).to_have_attribute("data-status", "failed")
            expect(page.get_by_test_id("job")).to_contain_text(message)
            accessible(page)


def test_a_key_is_asked_for_once_and_not_kept_in_the_page(
    browser: Browser, server: Server, tmp_path: Path, photos: list[Path]
) -> None:
    key = Keys(tmp_path).add("alice")
    with running_gateway(tmp_path, server, keys="required") as gateway, opened_page(browser, gateway.url) as page:
        accessible(page)
        page.get_by_test_id("key").fill("ag_wrong")
        page.get_by_test_id("sign-in").click()
        expect(page.get_by_text("no longer valid")).to_be_visible()
        page.get_by_test_id("key").fill(key)
        page.get_by_test_id("sign-in").click()
        draw(page, photos[0])
        wait_for_drawings(page)
        stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
        assert key not in stored
        assert "animegan_session" not in stored  # HttpOnly
        page.reload()
        wait_for_drawings(page)


def test_the_language_is_switched_and_remembered(browser: Browser, gateway: Gateway) -> None:
    with opened_page(browser, gateway.url) as page:
        page.get_by_test_id("language").click()
        expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        expect(page.get_by_text("赛璐璐")).to_be_visible()
        page.reload()
        expect(page.locator("html")).to_have_attribute("lang", "zh-CN")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_by_day_and_by_night(
    browser: Browser, gateway: Gateway, photos: list[Path], scheme: str
) -> None:
    with opened_page(browser, gateway.url, color_scheme=scheme) as page:
        draw(page, photos[0])
        wait_for_drawings(page)
        accessible(page)


def test_a_style_that_is_not_for_commerce_says_so_wherever_it_is_shown(
    browser: Browser, mortal: Server, photos: list[Path]
) -> None:
    weights = ROOT / "model_store" / "classic.safetensors"
    words = ["import", str(weights), "--style", "unsold", "--license", "CC-BY-NC-4.0", "--noncommercial"]
    home = {"ANIMEGAN_HOME": str(mortal.home)}
    subprocess.run([sys.executable, "-m", "animegan_cli", *words], env={**os.environ, **PATHS, **home}, check=True)
    with opened_page(browser, mortal.page) as page:
        tile = page.locator("label", has=page.get_by_test_id("style-unsold"))
        expect(tile).to_contain_text("Non-commercial")
        page.get_by_test_id("style-unsold").check()
        draw(page, photos[0])
        wait_for_drawings(page)
        expect(page.get_by_test_id("job")).to_contain_text("Non-commercial")
        page.get_by_test_id("anew").click()
        page.get_by_test_id("style-cel").check()
        draw(page, photos[1])
        wait_for_drawings(page, 2)
        expect(page.get_by_test_id("job").filter(has_text="Non-commercial")).to_have_count(1)


@pytest.mark.parametrize(
    ("language", "auto", "fine"),
    [("en-US", ("bolder", "medium", "finer"), "finer drawing"), ("zh-CN", ("粗放", "适中", "细腻"), "细腻画法")],
)
def test_detail_and_speed_are_chosen_and_told(
    browser: Browser, gateway: Gateway, photos: list[Path], language: str, auto: tuple[str, ...], fine: str
) -> None:
    with opened_page(browser, gateway.url, language=language) as page:
        page.locator("details.more").evaluate("element => element.open = true")
        accessible(page)
        draw(page, photos[0])
        wait_for_drawings(page)
        notes = page.get_by_test_id("notes").first
        assert any(word in notes.inner_text() for word in auto)  # what `auto` chose
        page.get_by_test_id("detail").select_option("fine")
        page.get_by_test_id("mode").select_option("scene")
        page.get_by_test_id("fast").check()
        expect(page.get_by_test_id("quality")).to_be_disabled()
        page.get_by_test_id("style-ink").check(force=True)
        with page.expect_response("**/v1/jobs") as answer:
            page.get_by_test_id("draw").click()
        job = answer.value.json()
        assert (job["style"], job["fast"], job["detail"], job["mode"]) == ("ink", True, "fine", "scene")
        wait_for_drawings(page, 2)
        expect(page.get_by_test_id("notes").first).to_contain_text(fine)


def test_a_style_without_a_choice_is_drawn_all_the_same(browser: Browser, gateway: Gateway, photos: list[Path]) -> None:
    with opened_page(browser, gateway.url) as page:
        page.locator("details.more").evaluate("element => element.open = true")
        page.get_by_test_id("detail").select_option("bold")
        page.get_by_test_id("fast").check()
        page.get_by_test_id("style-classic").check(force=True)
        expect(page.get_by_test_id("detail")).to_be_disabled()
        expect(page.get_by_test_id("fast")).to_be_disabled()
        expect(page.get_by_test_id("quality")).to_be_enabled()
        draw(page, photos[0])
        wait_for_drawings(page)
        page.get_by_test_id("style-cel").check(force=True)
        expect(page.get_by_test_id("detail")).to_have_value("bold")
        expect(page.get_by_test_id("fast")).to_be_checked()


def test_the_photo_is_tried_by_the_small_network_once_nobody_waits(
    browser: Browser, gateway: Gateway, photos: list[Path]
) -> None:
    urls: list[str] = []
    tries: list[str] = []
    texts: list[str] = []

    def busy_at_first(route: Route) -> None:
        urls.append(route.request.url)
        if len(urls) == 1:
            route.fulfill(json={"waiting": 1, "running": 1})
        else:
            route.continue_()

    with opened_page(browser, "about:blank") as page:
        page.on("console", lambda line: texts.append(line.text) if line.type == "error" else None)
        page.on("request", lambda r: tries.append(f"{len(urls)}") if r.url.endswith("/v1/stylize") else None)
        page.route("**/v1/queue", busy_at_first)
        page.goto(gateway.url)
        page.get_by_test_id("file").set_input_files([photos[0]])
        for style in ("cel", "ink", "gouache", "classic"):
            expect(page.locator(f"label:has(#style-{style}) img")).to_have_attribute("src", re.compile("^blob:"))
        assert [int(number) for number in tries] == [2, 3, 4, 5]  # none after the answer that somebody waits
        expect(page.get_by_text("Tried on a part of your photo")).to_be_visible()
        assert texts == []
        jobs = page.evaluate("performance.getEntriesByType('resource').filter(e => e.responseStatus >= 400).length")
    assert jobs == 0


def test_each_look_has_its_own_sample(browser: Browser, gateway: Gateway) -> None:
    texts: list[str] = []
    samples: dict[str, NDArray[np.float64]] = {}
    with opened_page(browser, "about:blank") as page:
        page.on("console", lambda line: texts.append(line.text) if line.type == "error" else None)
        page.goto(gateway.url)
        for style in ("cel", "ink", "gouache", "classic"):
            image = page.locator(f"label:has(#style-{style}) img")
            expect(image).not_to_have_class("blank")
            assert image.evaluate("image => image.naturalWidth") == SIDE_PX
            data = page.request.get(f"{gateway.url}/v1/styles/{style}/thumbnail").body()
            with Image.open(io.BytesIO(data)) as picture:
                samples[style] = np.asarray(picture.convert("RGB"), np.float64)
        assert texts == []
    assert np.ptp(samples["ink"], axis=2).max() <= 8  # JPEG's rounding
    for one, other in itertools.combinations(samples, 2):
        assert np.abs(samples[one] - samples[other]).mean() > 8, (one, other)


def test_a_photo_is_taken_and_one_is_pasted(browser: Browser, gateway: Gateway, photos: list[Path]) -> None:
    with opened_page(browser, gateway.url) as page:
        expect(page.get_by_test_id("style-cel")).to_be_checked()  # the page is up
        page.evaluate(
            """(bytes) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "image.png", {type: "image/png"}));
                document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
            }""",
            [*photos[1].read_bytes()],
        )
        page.get_by_role("button", name="Take a photo").click()
        page.get_by_role("button", name="Take it").click()  # the browser's own test picture
        expect(page.get_by_test_id("draw")).to_have_text("Draw 2 pictures")
        page.get_by_test_id("draw").click()
        wait_for_drawings(page, 2)
