"""The page in a real Chromium: looking, waiting, coming back, adding, comparing, handing on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from animegan.picture.sizes import fit
from animegan.settings import MAX_SIDE_PX
from harness.browsing.browsers import opened_page
from harness.browsing.pages import PHOTO_PX, accessible, draw, photo_files, wait_for_drawings
from harness.gateways import Gateway, running_gateway
from harness.pictures import encoded, photo

pytestmark = pytest.mark.server

SHARED = """
    window.shared = [];
    navigator.canShare = ({files}) => files.length > 0;
    navigator.share = async ({files: [file]}) => { window.shared.push([file.name, file.type, file.size]); };
"""
PRESS = """image => {  // in one step, as what loads below or above moves it
    image.scrollIntoView({block: "center", behavior: "instant"});
    const {x, y, width, height} = image.getBoundingClientRect();
    return document.elementFromPoint(x + 0.8 * width, y + height / 2).className;
}"""


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway before no TorchServe, so that what is sent waits."""
    with running_gateway(tmp_path_factory.mktemp("idle"), None) as running:
        yield running


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return photo_files(tmp_path_factory.mktemp("photos"), "hill.jpg", "sea.jpg", "wood.jpg")


def scale(page: Page) -> float:
    """Return the size of a pixel of the drawing on the screen."""
    box = page.get_by_test_id("viewer-drawing").bounding_box()
    assert box
    return box["width"] / PHOTO_PX[0]


def test_drawings_are_looked_at_beside_their_photos(browser: Browser, gateway: Gateway, photos: list[Path]) -> None:
    with opened_page(browser, gateway.url) as page:
        draw(page, photos[0], photos[1])
        wait_for_drawings(page, 2)
        picture = page.locator(".job img.after").first
        expect(picture).to_be_visible()
        box = picture.bounding_box()
        assert box
        assert box["width"] <= PHOTO_PX[0]  # never larger than its own pixels
        page.get_by_test_id("look").first.click()
        viewer = page.get_by_test_id("viewer")
        expect(viewer).to_contain_text("1 of 2")
        accessible(page)
        assert scale(page) == pytest.approx(1)
        stage = page.get_by_test_id("viewer-stage")
        stage.hover()
        page.mouse.wheel(0, -500)
        assert scale(page) > 2
        page.keyboard.press("0")
        assert scale(page) == pytest.approx(1)
        page.keyboard.press("+")
        assert scale(page) == pytest.approx(1.25)
        drawing = page.get_by_test_id("viewer-drawing")
        assert drawing.bounding_box() == page.get_by_test_id("viewer-photo").bounding_box()  # in step
        cover = page.locator("#viewer-cover")
        expect(cover).to_have_css("clip-path", "inset(0px 100% 0px 0px)")
        page.keyboard.down(" ")
        expect(cover).to_have_css("clip-path", "inset(0px 0% 0px 0px)")
        page.keyboard.up(" ")
        page.get_by_test_id("viewer-split").fill("50")
        expect(cover).to_have_css("clip-path", "inset(0px 50% 0px 0px)")
        first = drawing.get_attribute("src")
        page.get_by_test_id("viewer-next").click()
        expect(viewer).to_contain_text("2 of 2")
        expect(drawing).not_to_have_attribute("src", first or "")
        page.keyboard.press("Escape")
        expect(viewer).to_be_hidden()


def test_the_wait_is_counted_down_and_told_in_the_tab(browser: Browser, idle: Gateway, photos: list[Path]) -> None:
    with opened_page(browser, idle.url) as page:
        draw(page, photos[0], photos[1])
        expect(page).to_have_title(re.compile("^0 of 2 "))
        expect(page.get_by_test_id("notify")).to_be_visible()
        label = page.evaluate(
            """async () => {
                const { headway, standing } = await import("./page/jobs/waiting.js");
                const job = (eta_s, progress) => ({status: "running", eta_s, progress});
                const now = Date.now();
                return [
                    headway({heardAt: now - 10_000, job: job(30, 0.25)}),
                    headway({heardAt: now - 90_000, job: job(30, 0.25)}),
                    standing({heardAt: now - 10_000, job: job(30, 0.25)}),
                    standing({heardAt: now, job: {status: "queued", ahead: 0, eta_s: null}}),
                ];
            }"""
        )
        assert label[0]["percent"] == 50  # 30 s were a quarter less than the whole, of which 20 s are left
        assert label[1] == {"percent": 99, "seconds": 0}
        assert label[2] == "Being drawn: 50 %, about 20 s left"
        assert label[3] is None


def test_photos_and_settings_survive_a_reload_and_a_second_tab(
    browser: Browser, idle: Gateway, photos: list[Path]
) -> None:
    with opened_page(browser, idle.url) as page:
        page.get_by_test_id("max-side").select_option("512")
        page.get_by_test_id("strength").fill("60")
        page.get_by_test_id("style-ink").check(force=True)
        draw(page, photos[0])
        page.get_by_test_id("file").set_input_files([photos[1]])
        expect(page.get_by_test_id("job")).to_have_attribute("data-status", "queued")
        expect(page.locator("#strip li")).to_have_count(2)
        page.reload()
        other = page.context.new_page()
        other.goto(idle.url)
        for tab in (page, other):
            expect(tab.locator("#strip li")).to_have_count(2)
            expect(tab.get_by_test_id("job")).to_contain_text("hill")
            expect(tab.locator(".job .picture img")).to_be_visible()  # what waits shows its photo
            expect(tab.get_by_test_id("max-side")).to_have_value("512")
            expect(tab.get_by_test_id("strength")).to_have_value("60")
            expect(tab.get_by_test_id("style-ink")).to_be_checked()
            expect(tab.get_by_test_id("draw")).to_have_text("Draw the new one")
        other.get_by_test_id("job").get_by_test_id("cancel").click()
        expect(page.get_by_test_id("job")).to_have_attribute("data-status", "cancelled")
        later = page.context.new_page()  # two hours from now
        later.add_init_script("const now = Date.now; Date.now = () => now() + 7_200_000;")
        later.goto(idle.url)
        expect(later.get_by_test_id("style-ink")).to_be_checked()
        expect(later.get_by_test_id("example")).to_be_visible()
        expect(later.locator("#strip li")).to_have_count(0)


def test_photos_are_added_and_the_button_says_what_it_will_draw(
    browser: Browser, idle: Gateway, photos: list[Path]
) -> None:
    with opened_page(browser, idle.url) as page:
        button = page.get_by_test_id("draw")
        expect(page.get_by_test_id("example")).to_be_visible()
        page.get_by_test_id("try-sample").click()
        expect(page.get_by_test_id("size")).to_have_text("Will be drawn at its own size, 448 × 448 px.")
        page.get_by_test_id("max-side").select_option("512")
        page.get_by_test_id("anew").click()
        page.get_by_test_id("file").set_input_files(photos[:2])
        expect(button).to_have_text("Draw 2 pictures")
        button.click()
        expect(button).to_have_text("Draw these 2 once more")
        expect(page.get_by_text("so it will come out the same")).to_be_visible()
        page.get_by_test_id("file").set_input_files([photos[2]])
        expect(button).to_have_text("Draw the new one")
        button.click()
        expect(page.get_by_test_id("job")).to_have_count(3)
        page.get_by_test_id("style-ink").check(force=True)
        page.get_by_test_id("strength").fill("40")
        expect(button).to_have_text("Draw these 3 again: Ink, strength 40 %")
        accessible(page)
        page.get_by_test_id("anew").click()
        expect(button).to_be_disabled()


def test_what_is_deleted_can_be_sent_again(browser: Browser, gateway: Gateway, photos: list[Path]) -> None:
    with opened_page(browser, gateway.url) as page:
        draw(page, photos[0])
        wait_for_drawings(page)
        card = page.get_by_test_id("job")
        expect(card.get_by_test_id("delete")).to_have_attribute("title", re.compile("^Deletes the photo .* at "))
        card.get_by_test_id("delete").click()
        expect(card).to_have_attribute("data-status", "expired")
        expect(card.locator(".actions > :visible")).to_have_text(["Remove from this page", "Send again"])
        accessible(page)
        card.get_by_test_id("again").click()
        wait_for_drawings(page)


def test_one_photo_in_all_styles_is_one_sheet(
    browser: Browser, gateway: Gateway, photos: list[Path], tmp_path: Path
) -> None:
    with opened_page(browser, gateway.url) as page:
        page.locator("#others summary").click()
        expect(page.locator("#others")).to_contain_text("animegan fetch paprika")
        expect(page.locator("#others")).to_contain_text("frames of Kon Satoshi's film Paprika")
        page.get_by_test_id("file").set_input_files([photos[0]])
        page.get_by_test_id("all-styles").click()
        wait_for_drawings(page, 4)
        sheet = page.get_by_test_id("sheet")
        expect(sheet.locator("li")).to_have_text(["Photo", "Cel", "Ink", "Gouache", "Classic"])
        accessible(page)
        with page.expect_download() as download:
            page.get_by_test_id("save-sheet").click()
        with Image.open(download.value.path()) as picture:
            assert picture.width > 2 * PHOTO_PX[0]
            assert picture.height > 2 * PHOTO_PX[1]
        sheet.get_by_role("button", name="Gouache").click()
        expect(page.get_by_test_id("viewer")).to_contain_text("3 of 4")


def test_on_a_phone_a_drawing_is_shared_copied_and_never_covered(
    browser: Browser, gateway: Gateway, photos: list[Path]
) -> None:
    with opened_page(browser, "about:blank", width=390, height=844, has_touch=True, is_mobile=True) as page:
        page.add_init_script(SHARED)
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto(gateway.url)
        draw(page, photos[0])
        wait_for_drawings(page)
        card = page.get_by_test_id("job")
        card.get_by_test_id("share").click()
        page.wait_for_function("window.shared.length")
        [[name, kind, size]] = page.evaluate("window.shared")
        assert (name, kind) == ("hill-cel.jpg", "image/jpeg")
        assert size > 1000
        card.get_by_test_id("copy").click()
        expect(card.get_by_test_id("copy")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.read().then(([item]) => item.types)") == ["image/png"]
        page.evaluate("Promise.all(document.getAnimations().map((each) => each.finished)).then(() => null)")
        hit = card.locator("img.after").evaluate(PRESS)
        assert hit == "after"  # a long press is on the drawing itself
        page.locator("#styles").scroll_into_view_if_needed()
        names = page.locator("#styles .name").first.bounding_box()
        bar = page.locator(".go").bounding_box()
        assert names
        assert bar
        assert names["y"] + names["height"] <= bar["y"]


@pytest.mark.parametrize("size", [(2400, 300), (301, 1999), (1500, 750)])
def test_the_size_is_told_as_the_server_will_fit_it(
    browser: Browser, idle: Gateway, tmp_path: Path, size: tuple[int, int]
) -> None:
    file = tmp_path / "long.jpg"
    file.write_bytes(encoded(photo(*size)))
    width, height = fit(size, MAX_SIDE_PX, MAX_SIDE_PX**2)
    with opened_page(browser, idle.url) as page:
        page.get_by_test_id("file").set_input_files([file])
        expect(page.get_by_test_id("size")).to_contain_text(f"{width} × {height} px.")
        with page.expect_response(lambda response: response.url.endswith("/v1/jobs") and response.ok) as answer:
            page.get_by_test_id("draw").click()
        assert answer.value.json()["size"] == {"width": width, "height": height}
