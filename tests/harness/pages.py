"""What a person does on the page, and what holds in each of its states."""

from __future__ import annotations

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from harness.pictures import encoded, photo


def draw(page: Page, *files: Path) -> None:
    """Lay the photos on the table, and have what is there drawn."""
    page.get_by_test_id("file").set_input_files([*files])
    page.get_by_test_id("draw").click()


def drawn(page: Page, count: int = 1) -> None:
    """Wait until so many drawings are there."""
    expect(page.locator("[data-testid=job][data-status=done]")).to_have_count(count)


def accessible(page: Page) -> None:
    """Fail where axe finds anything."""
    page.wait_for_timeout(700)  # a colour in the middle of its transition is no one's contrast
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found] == []


def photo_files(folder: Path, *names: str) -> list[Path]:
    """Write a photo of 320×240 under each name, whose ending is its format."""
    files = [folder / name for name in names]
    for seed, file in enumerate(files):
        file.write_bytes(encoded(photo(320, 240, seed=seed), "PNG" if file.suffix == ".png" else "JPEG"))
    return files
