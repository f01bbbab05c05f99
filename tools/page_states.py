"""Take a picture of the page in each of its states: `PYTHONPATH=tests python -m tools.page_states FOLDER`.

Each state at three widths, by day and by night, in both languages, as `FOLDER/LANGUAGE-WIDTH-SCHEME-STATE.png`.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from animegan_gateway.http.access.keys import Keys
from harness.browsing.browsers import opened_page, running_browser
from harness.browsing.pages import settle
from harness.files.picture_files import gliding_gif, heic, png
from harness.gateways import Gateway, running_gateway
from harness.servers import ROOT, Server, running_server

PHOTOS = ROOT / "docs" / "photos"
LANGUAGES = ("en-US", "zh-CN")
SCHEMES = ("light", "dark")
SCREENS = {1280: 900, 390: 844, 360: 740}  # width: height, px
PHONE_PX = 600
PATIENCE_MS = 600_000
OVER_PX = 65_000_000  # pixels of a picture that the server refuses


@dataclass
class Walk:
    """One visitor: a language, and the widths of one kind of device."""

    folder: Path
    language: str
    widths: tuple[int, ...]

    def shoot(self, page: Page, state: str, *, part: str = "", full: bool = True) -> None:
        """Write a picture at each width, by day and by night; of what `part` selects alone, where there is one."""
        for width in self.widths:
            page.set_viewport_size({"width": width, "height": SCREENS[width]})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                settle(page)
                file = self.folder / f"{self.language}-{width}-{scheme}-{state}.png"
                if part:
                    page.locator(part).first.screenshot(path=file)
                else:
                    page.screenshot(path=file, full_page=full)

    @contextmanager
    def page(self, browser: Browser, gateway: Gateway) -> Iterator[Page]:
        phone: dict[str, Any] = {"has_touch": True, "is_mobile": True} if self.widths[0] < PHONE_PX else {}
        width = self.widths[0]
        with opened_page(
            browser, gateway.url, language=self.language, width=width, height=SCREENS[width], **phone
        ) as page:
            page.set_default_timeout(PATIENCE_MS)
            expect.set_options(timeout=PATIENCE_MS)
            expect(page.locator("body")).to_have_attribute("data-ready", "yes")
            yield page


def lay(page: Page, *files: Path) -> None:
    page.get_by_test_id("file").set_input_files([*files])


def card(page: Page, status: str) -> Locator:
    job = page.locator(f"[data-testid=job][data-status={status}]").first
    expect(job).to_be_visible()
    return job


def wait_for_previews(page: Page) -> None:
    """Wait until every style is tried on the photo."""
    expect(page.locator("#styles img[src^='blob:']")).to_have_count(page.locator("#styles label").count())


def drawing(walk: Walk, page: Page) -> None:
    """A first visit, a photo, its drawing, and looking at it."""
    expect(page.locator("#example-picture img")).to_have_count(2)
    walk.shoot(page, "01-first-visit")
    page.locator("#others summary").click()
    walk.shoot(page, "02-other-styles", part="#panel")
    page.locator("#others summary").click()
    lay(page, PHOTOS / "astronaut.jpg", PHOTOS / "mountain_path.jpg")
    wait_for_previews(page)
    walk.shoot(page, "03-photos")
    page.get_by_test_id("max-side").select_option("2048")
    page.get_by_test_id("draw").click()
    expect(card(page, "running").get_by_test_id("message")).to_contain_text("%")
    walk.shoot(page, "04-drawing", part="#shelf")
    for running in page.get_by_test_id("cancel").all():
        if running.is_visible():
            running.click()
    card(page, "cancelled")
    page.get_by_test_id("max-side").select_option("512")
    page.get_by_test_id("draw").click()
    expect(page.locator("[data-testid=job][data-status=done]")).to_have_count(2)
    walk.shoot(page, "05-done")
    page.locator("#jobs").get_by_test_id("compare").first.focus()
    page.keyboard.press("ArrowRight")
    walk.shoot(page, "06-focus", full=False)
    page.get_by_test_id("look").first.click()
    walk.shoot(page, "07-viewer", full=False)
    for _ in range(4):
        page.keyboard.press("+")
    page.get_by_test_id("viewer-split").fill("40")
    walk.shoot(page, "08-viewer-zoomed", full=False)
    page.keyboard.press("Escape")


def choosing(walk: Walk, page: Page) -> None:
    """Every style on one sheet, the other settings, and a face."""
    page.get_by_test_id("max-side").select_option("512")
    lay(page, PHOTOS / "astronaut.jpg")
    page.get_by_test_id("all-styles").click()
    expect(page.locator("[data-testid=job][data-status=done]")).to_have_count(4)
    walk.shoot(page, "09-all-styles", part="#shelf")
    page.locator("details.more").evaluate("element => element.open = true")
    page.get_by_test_id("mode").select_option("portrait")
    page.get_by_test_id("strength").fill("60")
    page.get_by_test_id("photo-color").check()
    walk.shoot(page, "10-settings", part="#panel")
    page.get_by_test_id("draw").click()
    expect(page.locator("[data-testid=job][data-status=done]")).to_have_count(5)
    walk.shoot(page, "11-face", part="#jobs > :first-child")


def failing(walk: Walk, page: Page, folder: Path) -> None:
    """Show the failures: no picture, one the browser can't show, one the server refuses, one that is deleted."""
    files = _faulty(folder)
    page.get_by_test_id("max-side").select_option("512")
    lay(page, files["note"], files["pdf"], files["heic"])
    expect(page.get_by_test_id("not-taken")).to_be_visible()
    walk.shoot(page, "12-left-out")
    page.get_by_test_id("draw").click()
    card(page, "done")
    walk.shoot(page, "13-heic", part="#shelf")
    page.get_by_test_id("delete").click()
    card(page, "expired")
    page.get_by_test_id("anew").click()
    lay(page, files["large"], files["wide"], files["cut"])
    page.get_by_test_id("draw").click()
    expect(page.locator("[data-testid=job][data-status=failed]")).to_have_count(3)
    walk.shoot(page, "14-failed", part="#shelf")


def moving(walk: Walk, page: Page, folder: Path) -> None:
    """An animation."""
    file = folder / "glide.gif"
    file.write_bytes(gliding_gif(1))
    lay(page, file)
    walk.shoot(page, "15-animation")
    page.get_by_test_id("draw").click()
    card(page, "done")
    walk.shoot(page, "16-animation-done", part="#shelf")


def waiting(walk: Walk, page: Page, gateway: Gateway) -> None:
    """A queue that stands still, and a server that is gone."""
    lay(page, PHOTOS / "astronaut.jpg", PHOTOS / "mountain_path.jpg")
    page.get_by_test_id("draw").click()
    expect(page.locator("[data-testid=job][data-status=queued]")).to_have_count(2)
    walk.shoot(page, "17-waiting", part="#shelf")
    gateway.kill()
    expect(page.get_by_test_id("offline")).to_be_visible()
    walk.shoot(page, "18-away", full=False)
    gateway.start()
    expect(page.get_by_test_id("offline")).to_be_hidden()


def signing_in(walk: Walk, page: Page) -> None:
    """A server that wants an API key."""
    page.get_by_test_id("key").fill("ag_wrong")
    page.get_by_test_id("sign-in").click()
    expect(page.locator("#key-error")).to_have_text(re.compile("."))
    walk.shoot(page, "19-sign-in", full=False)


def _faulty(folder: Path) -> dict[str, Path]:
    contents = {
        "note": ("notes of a journey.jpg", b"this is no picture"),
        "pdf": ("a-document-with-a-rather-long-name-2026-11-28.pdf", b"%PDF-1.7\n"),
        "heic": ("IMG_2041.HEIC", _heic()),
        "large": ("panorama.jpg", (PHOTOS / "astronaut.jpg").read_bytes() + bytes(40 << 20)),
        "wide": ("poster.png", png((OVER_PX // 5000, 5000), 8, 2, b"")),
        "cut": ("cut.jpg", (PHOTOS / "astronaut.jpg").read_bytes()[:400]),
    }
    for name, content in contents.values():
        (folder / name).write_bytes(content)
    return {kind: folder / name for kind, (name, _) in contents.items()}


def _heic() -> bytes:
    with Image.open(PHOTOS / "dogs_window.jpg") as picture:
        return heic(picture.convert("RGB").resize((640, 480)))


def visit(walk: Walk, browser: Browser, server: Server, folder: Path) -> None:
    """Take the pictures of one visitor."""
    parts: list[Callable[[Page], None]] = [
        lambda page: drawing(walk, page),
        lambda page: choosing(walk, page),
        lambda page: failing(walk, page, folder),
        lambda page: moving(walk, page, folder),
    ]
    with running_gateway(folder / "gateway", server) as gateway:
        for part in parts:
            with walk.page(browser, gateway) as page:
                part(page)
    with running_gateway(folder / "idle", None) as idle, walk.page(browser, idle) as page:
        waiting(walk, page, idle)
    Keys(folder / "locked").add("alice")
    with (
        running_gateway(folder / "locked", server, keys="required") as locked,
        opened_page(browser, locked.url, language=walk.language) as page,
    ):
        signing_in(walk, page)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.page_states", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--language", choices=LANGUAGES, help="default: both, one after the other")
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    with running_server("--no-gateway") as server, running_browser() as browser:
        for language in [options.language] if options.language else LANGUAGES:
            for phone in (False, True):
                widths = tuple(width for width in SCREENS if (width < PHONE_PX) is phone)
                with tempfile.TemporaryDirectory() as work:
                    visit(Walk(folder, language, widths), browser, server, Path(work))


if __name__ == "__main__":
    main()
