"""A look on a device: sizes, details and the memory of its parts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from animegan.drawing import Drawing, Photo
from animegan.finish.tone import Point
from animegan.looks import look_of
from animegan.networks.families import load_network
from animegan.options import Wish
from animegan.picture.detail import choose_detail
from animegan.styles import get_style
from animegan.stylizer import Stylizer
from harness.engine.peaks import counted_peak
from harness.pictures import photo

CPU = torch.device("cpu")


def drawing(style: str) -> Drawing:
    entry = get_style(style)
    look = look_of(entry)
    return Drawing(look, load_network(look.network, entry, CPU, "fp32"), CPU, 4)


def test_looks_with_the_same_weights_share_a_network() -> None:
    assert drawing("cel").network is drawing("ink").network
    assert drawing("cel").network is not drawing("classic").network


@pytest.mark.parametrize(("detail", "size"), [("bold", (256, 171)), ("medium", (384, 257)), ("fine", (512, 342))])
def test_the_photo_is_shrunk_by_its_detail(detail: str, size: tuple[int, int]) -> None:
    assert drawing("cel").small_size((1024, 683), detail) == size  # type: ignore[arg-type]


def test_small_pictures_dense_ones_and_letters_take_more_detail() -> None:
    flat = Image.new("RGB", (1024, 768), "skyblue")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (768, 1024, 3), dtype=np.uint8))
    sign = Image.new("RGB", (1024, 768), "white")
    for line in range(6):
        ImageDraw.Draw(sign).text(
            (40, 40 + 100 * line), "Platform 9: a train every 15 minutes" * 2, "black", font_size=24
        )
    assert [choose_detail(picture) for picture in (flat, noise, sign)] == ["bold", "medium", "medium"]
    assert [choose_detail(flat.resize((side, side))) for side in (600, 599, 300, 299)] == [
        "bold", "medium", "medium", "fine",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("style", ["cel", "gouache", "ink", "classic"])
@pytest.mark.parametrize("wish", [Wish(tone="style"), Wish(strength=0.5, color="photo", tone="photo")])
def test_a_look_takes_no_more_than_its_plan(style: str, wish: Wish) -> None:
    whole = drawing(style)
    photos = [Photo(photo(400, 300))]
    typical = (Point(0, 0), Point(1, 0.5)) if wish.tone == "photo" else ()
    for plan in whole.plans((400, 300), 1, whole.details(wish.detail)):
        peak = counted_peak(lambda plan=plan: whole.draw(photos, plan, wish, typical))  # type: ignore[misc]
        assert peak <= plan.peak_bytes <= 2 * peak  # a finish takes as much for a small picture as for a larger one


def test_where_memory_is_short_auto_takes_less_detail() -> None:
    stylizer = Stylizer("cel", device="cpu", precision="fp32", warmup_px=0)
    plans = list(stylizer._drawing.plans((280, 200), 1, stylizer._drawing.up_to("fine")))
    assert plans[0].detail == "fine"
    assert plans[-1].detail == "bold"
    assert all(a.peak_bytes > b.peak_bytes for a, b in pairwise(plans))
    tight = Stylizer("cel", device="cpu", precision="fp32", warmup_px=0, memory_mb=-(-plans[-1].peak_bytes // 2**20))
    run = tight.run([photo(280, 200)])
    assert run.plan.peak_bytes < plans[0].peak_bytes
    assert run.pictures[0].size == (280, 200)


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (63, 64), (101, 35)])
@pytest.mark.parametrize("style", ["cel", "gouache"])
def test_a_drawing_has_its_photos_size(style: str, size: tuple[int, int]) -> None:
    stylizer = Stylizer(style, device="cpu", precision="fp32", warmup_px=0)
    for detail in ("bold", "medium", "fine"):
        [picture] = stylizer.run([photo(*size)], Wish(detail)).pictures
        assert picture.size == size
