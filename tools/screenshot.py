"""Write `docs/pictures/page.jpg`, the page in the README: `PYTHONPATH=tests python -m tools.screenshot`."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect

from harness.browsing.browsers import opened_page, running_browser
from harness.gateways import running_gateway
from harness.servers import ROOT, running_server

PICTURE = ROOT / "docs" / "pictures" / "page.jpg"
PHOTO = ROOT / "docs" / "photos" / "mountain_path.jpg"
WIDTH, HEIGHT = 1280, 900
CROP = (1000, 1240)  # the upper part of the page, scaled to this width


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server() as server,
        running_gateway(Path(folder), server) as gateway,
        running_browser() as browser,
        opened_page(browser, gateway.url, width=WIDTH, height=HEIGHT) as page,
    ):
        page.get_by_test_id("file").set_input_files(PHOTO)
        page.get_by_test_id("draw").click()
        expect(page.locator("[data-testid=job][data-status=done]")).to_have_count(1)
        page.wait_for_timeout(5000)  # the styles are tried on the photo, and the pictures loaded
        page.evaluate("document.activeElement.blur()")
        shot = page.screenshot(full_page=True)
    with Image.open(io.BytesIO(shot)) as picture:
        width, height = CROP
        scaled = picture.convert("RGB").resize(
            (width, picture.height * width // picture.width), Image.Resampling.LANCZOS
        )
        scaled.crop((0, 0, width, min(height, scaled.height))).save(PICTURE, quality=85)


if __name__ == "__main__":
    main()
