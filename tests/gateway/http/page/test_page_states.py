"""States of the page in a real Chromium: animations, files that are refused, a server that is away, small screens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, expect

from harness.browsing.browsers import opened_page
from harness.browsing.pages import accessible, draw, photo_files, settle, wait_for_drawings
from harness.files.picture_files import gliding_gif, heic
from harness.gateways import Gateway, running_gateway
from harness.pictures import photo

pytestmark = pytest.mark.server

PHONE: dict[str, Any] = {"width": 360, "height": 740, "has_touch": True, "is_mobile": True}
FRAMES = 4
PROBLEMS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"code": "too_large", "pixels": 65_000_000, "limit_pixels": 64_000_000}, ("65,000,000", "64,000,000")),
    ({"code": "too_large", "limit_pixels": 64_000_000}, ("64,000,000",)),
    ({"code": "too_large", "bytes": 40 << 20, "limit_bytes": 32 << 20}, ("32 MiB",)),
    ({"code": "clip_too_long", "frames": 900, "limit_frames": 300}, ("900", "300")),
    ({"code": "clip_too_long", "seconds": 90.5, "limit_seconds": 30}, ("90.5 秒", "30 秒")),
    ({"code": "clip_too_long", "pixels": 9_000_000, "limit_pixels": 8_000_000}, ("9,000,000", "8,000,000")),
    ({"code": "picture_too_large", "need_mb": 9000, "budget_mb": 800, "fits_side_px": 512}, ("9,000", "800", "512")),
    ({"code": "picture_too_large", "need_mb": 9000, "budget_mb": 800}, ("9,000", "800")),
    ({"code": "picture_too_slow", "limit_s": 600, "fits_side_px": 2048}, ("600 秒", "2048")),
    ({"code": "picture_too_slow", "limit_s": 600, "fits_side_px": 0}, ("600 秒",)),
    ({"code": "picture_too_small", "smallest_side_px": 16}, ("16 像素",)),
    ({"code": "bad_option", "option": "quality", "least": 1, "most": 100}, ("quality", "1 到 100")),
    ({"code": "bad_option", "option": "style"}, ("style",)),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return photo_files(tmp_path_factory.mktemp("photos"), "hill.jpg", "sea.jpg")


def apart(one: Locator, other: Locator) -> bool:
    """Return whether the first ends where the second begins, or left of it."""
    left, right = one.bounding_box(), other.bounding_box()
    assert left
    assert right
    return left["x"] + left["width"] <= right["x"]


def test_an_animation_moves_on_the_page_and_in_its_file(browser: Browser, gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "glide.gif"
    file.write_bytes(gliding_gif(FRAMES / 10, (160, 120)))
    with opened_page(browser, gateway.url) as page:
        draw(page, file)
        wait_for_drawings(page)
        card = page.get_by_test_id("job")
        expect(card.get_by_test_id("notes")).to_contain_text(f"drew all {FRAMES} frames")
        frames = card.locator("img.after").evaluate(
            """async ({src}) => {
                const answer = await fetch(src);
                const decoder = new ImageDecoder({type: answer.headers.get("Content-Type"), data: answer.body});
                await decoder.completed;
                return [decoder.tracks.selectedTrack.animated, decoder.tracks.selectedTrack.frameCount];
            }"""
        )
        assert frames == [True, FRAMES]
        accessible(page)
        with page.expect_download() as download:
            card.get_by_test_id("download").click()
        assert download.value.suggested_filename == "glide-cel.gif"
        with Image.open(download.value.path()) as picture:
            assert (picture.format, getattr(picture, "n_frames", 1)) == ("GIF", FRAMES)


@pytest.mark.parametrize(
    ("language", "message", "left_out"),
    [("en-US", "this browser can’t show it", "it is a PDF document"), ("zh-CN", "浏览器显示不了", "这是 PDF 文档")],
)
def test_a_heic_is_drawn_though_the_browser_shows_none_and_a_pdf_is_left_out(
    browser: Browser, gateway: Gateway, tmp_path: Path, language: str, message: str, left_out: str
) -> None:
    pdf, apple = tmp_path / "paper.pdf", tmp_path / "IMG_2041.HEIC"
    pdf.write_bytes(b"%PDF-1.7\n")
    apple.write_bytes(heic(photo(160, 120)))
    with opened_page(browser, gateway.url, language=language, **PHONE) as page:
        page.get_by_test_id("file").set_input_files([pdf, apple])
        expect(page.locator("#unseen")).to_contain_text(message)
        expect(page.get_by_test_id("not-taken")).to_contain_text(left_out)
        accessible(page)
        page.get_by_test_id("draw").click()
        wait_for_drawings(page)
        page.get_by_test_id("delete").click()
        card = page.get_by_test_id("job")
        expect(card).to_have_attribute("data-status", "expired")
        expect(card.get_by_test_id("notes")).to_be_hidden()


@pytest.mark.parametrize(("language", "scheme"), [("en-US", "light"), ("zh-CN", "dark")])
def test_a_server_that_is_away_is_told_readably(
    browser: Browser, tmp_path: Path, photos: list[Path], language: str, scheme: str
) -> None:
    with (
        running_gateway(tmp_path, None) as idle,
        opened_page(browser, idle.url, language=language, color_scheme=scheme, **PHONE) as page,
    ):
        draw(page, *photos)
        expect(page.locator("[data-testid=job][data-status=queued]")).to_have_count(2)
        accessible(page)
        idle.kill()
        expect(page.get_by_test_id("offline")).to_be_visible()
        accessible(page)


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
def test_nothing_overlaps_on_the_smallest_phone(
    browser: Browser, gateway: Gateway, photos: list[Path], language: str
) -> None:
    with opened_page(browser, gateway.url, language=language, **PHONE) as page:
        example = page.get_by_test_id("example")
        expect(example.locator("img.after")).to_be_visible()
        settle(page)
        assert apart(example.locator(".tag.left"), example.locator(".tag.right"))
        page.locator("#others summary").click()
        page.locator("details.more").evaluate("element => element.open = true")
        draw(page, photos[0])
        wait_for_drawings(page)
        page.evaluate("document.activeElement.blur()")
        wide, view = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= view
        page.get_by_test_id("look").click()
        accessible(page)
        for control in page.locator(".viewer-bar :is(button, input):visible").all():
            box = control.bounding_box()
            assert box
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= PHONE["width"]
            assert box["y"] + box["height"] <= PHONE["height"]


@pytest.mark.parametrize(
    ("language", "message"),
    [
        ("en-US", "Draw it again: every face with care, strength 60 %, the photo’s colours"),
        ("zh-CN", "重画：仔细画每张脸、强度 60%、保留照片的颜色"),
    ],
)
def test_the_button_names_each_change_in_a_few_words(
    browser: Browser, tmp_path: Path, photos: list[Path], language: str, message: str
) -> None:
    with running_gateway(tmp_path, None) as idle, opened_page(browser, idle.url, language=language) as page:
        draw(page, photos[0])
        page.locator("details.more").evaluate("element => element.open = true")
        page.get_by_test_id("mode").select_option("portrait")
        page.get_by_test_id("strength").fill("60")
        page.get_by_test_id("photo-color").check()
        expect(page.get_by_test_id("draw")).to_have_text(message)


def test_errors_in_chinese_name_the_value_and_the_limit(browser: Browser, tmp_path: Path) -> None:
    with running_gateway(tmp_path, None) as idle, opened_page(browser, idle.url, language="zh-CN") as page:
        message = page.evaluate(
            """async (problems) => {
                const { explain } = await import("./page/base/i18n.js");
                return problems.map((problem) => explain({ detail: "English", ...problem }));
            }""",
            [problem for problem, _ in PROBLEMS],
        )
    for text, (problem, numbers) in zip(message, PROBLEMS, strict=True):
        assert all(number in text for number in numbers), (text, problem)
        assert text.endswith("。")
        assert "undefined" not in text
