"""Debian's Chromium, driven by Playwright; a test that wants it is skipped, with the reason, where it is not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

PATIENCE_MS = 120_000
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


def chromium() -> str:
    """The executable. Skips the test where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        pytest.skip("There is no Chromium here (Debian: apt-get install chromium).")
    return path


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Chromium. Playwright's event loop is this thread's meanwhile, so that no other can run in it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*ARGUMENTS])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened_page(
    browser: Browser, url: str, *, language: str = "en-US", width: int = 1280, height: int = 900, **more: Any
) -> Iterator[Page]:
    """The page at that address, with no memory of other pages; anything it complains of fails the test."""
    complaints: list[str] = []
    context = browser.new_context(locale=language, viewport={"width": width, "height": height}, **more)
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda entry: complaints.append(entry.text) if "Content Security Policy" in entry.text else None,
        )
        page.goto(url)
        yield page
        assert complaints == []
    finally:
        context.close()
