"""What a person does on the page, and what holds in each of its states."""

from __future__ import annotations

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from harness.pictures import encoded, photo

PHOTO_PX = (160, 120)
SETTLE_SCRIPT = """
    new Promise(requestAnimationFrame).then(() => Promise.allSettled(
        document.getAnimations().filter((each) => each.effect.getComputedTiming().iterations !== Infinity)
            .map((each) => each.finished)
    )).then(() => null)
"""


def draw(page: Page, *files: Path) -> None:
    """Lay the photos on the table, and have what is there drawn."""
    page.get_by_test_id("file").set_input_files([*files])
    page.get_by_test_id("draw").click()


def wait_for_drawings(page: Page, count: int = 1) -> None:
    """Wait until so many drawings are there."""
    expect(page.locator("[data-testid=job][data-status=done]")).to_have_count(count)


def settle(page: Page) -> None:
    """Wait until nothing moves but what moves for ever."""
    page.evaluate(SETTLE_SCRIPT)


def accessible(page: Page) -> None:
    """Fail where axe finds anything, and finds it again: a colour amid its transition is no one's contrast."""
    settle(page)
    violations = _violations(page)
    if violations:
        page.wait_for_timeout(700)
        violations = _violations(page)
    assert violations == []


def _violations(page: Page) -> list[tuple[str, list[str]]]:
    violations = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [(each["id"], [str(node["target"]) for node in each["nodes"]]) for each in violations]


def photo_files(folder: Path, *names: str) -> list[Path]:
    """Write a photo of `PHOTO_PX` under each name, whose ending is its format."""
    files = [folder / name for name in names]
    for seed, file in enumerate(files):
        file.write_bytes(encoded(photo(*PHOTO_PX, seed=seed), "PNG" if file.suffix == ".png" else "JPEG"))
    return files
