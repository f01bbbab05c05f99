"""The photo's own light and dark: what a norm over the picture takes is given back, and an ordinary photo is left."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import Tensor

from animegan.drawing import Photo
from animegan.finish.chain import planar
from animegan.finish.oklab import from_oklab, to_oklab
from animegan.finish.tone import LIMIT, OWN, Point, corrections, measure_curve, retone, typical_photo
from animegan.options import Wish
from animegan.stylizer import Stylizer

TYPICAL = tuple(Point(i / 8, 0.1 + 0.85 * i / 8) for i in range(9))


def grey(lightness: Tensor) -> Tensor:
    """Return the greys of those lightnesses, sRGB, (3, H, W)."""
    return from_oklab(torch.stack([lightness, torch.zeros_like(lightness), torch.zeros_like(lightness)]))


def test_a_curve_rises_and_has_the_means_of_its_bins() -> None:
    photo = torch.rand(40, 60, generator=torch.Generator().manual_seed(1))
    curve = measure_curve(grey(photo), grey(0.2 + 0.5 * photo))
    assert len(curve) >= 12
    for point in curve:
        assert point.drawing == pytest.approx(0.2 + 0.5 * point.photo, abs=1e-3)
    falling = measure_curve(grey(photo), grey(0.9 - 0.5 * photo))
    assert len(falling) == 1
    assert falling[0].drawing == pytest.approx(0.9 - 0.5 * float(photo.mean()), abs=1e-3)


def test_a_curve_that_is_nearly_the_styles_is_no_reason_to_change_anything() -> None:
    curve = tuple(Point(point.photo, point.drawing + 0.9 * OWN * (-1) ** i) for i, point in enumerate(TYPICAL))
    assert corrections(curve, TYPICAL) == ()


@pytest.mark.parametrize("drawing", [0.35, 0.0, 1.0])
def test_a_shift_ends_near_the_styles_tone_and_at_the_limit(drawing: float) -> None:
    [(before, after)] = corrections((Point(0.5, drawing),), TYPICAL)
    shift = 0.1 + 0.85 * 0.5 - drawing
    assert before == drawing
    assert abs(after - before) == pytest.approx(min(LIMIT, max(0, abs(shift) - OWN)), abs=1e-6)
    assert (after - before) * shift >= 0


def test_tones_keep_their_order_and_dark_takes_the_chroma_along() -> None:
    changes = ((0.3, 0.1), (0.5, 0.45), (0.7, 0.95))
    ramp = torch.linspace(0, 1, 101)[None]
    toned = to_oklab(retone(grey(ramp), changes))[0]
    assert bool((toned.diff() >= -1e-4).all())
    lilac = from_oklab(torch.tensor([0.3, 0.03, -0.06]).view(3, 1, 1))
    lightness, *color = to_oklab(retone(lilac, changes)).flatten().tolist()
    assert lightness == pytest.approx(0.1, abs=2e-3)
    assert color == pytest.approx([0.01, -0.02], abs=3e-3)


def test_a_typical_photo_has_every_tone_as_often() -> None:
    lightness = to_oklab(planar(typical_photo()))[0]
    counts = lightness.histc(8, 0, 1) / lightness.numel()
    assert torch.equal(typical_photo(), typical_photo())
    torch.testing.assert_close(counts, torch.full((8,), 1 / 8), rtol=0, atol=0.01)


@pytest.fixture(scope="module")
def classic() -> Stylizer:
    return Stylizer("classic", warmup_px=0)


@pytest.mark.slow
@pytest.mark.parametrize(("level", "at_most"), [(255, 14), (128, 30), (20, 25)])
def test_a_flat_sheet_is_drawn_nearly_as_light_as_it_is(classic: Stylizer, level: int, at_most: float) -> None:
    sheet = Image.new("RGB", (96, 64), (level,) * 3)
    [anime] = classic.run([sheet]).batch.float()
    assert abs(float(anime.mean()) - level) < at_most


@pytest.mark.slow
def test_a_night_stays_darker_and_the_style_alone_is_as_the_network_draws(classic: Stylizer) -> None:
    night = Image.fromarray((typical_photo().float() * 0.16).to(torch.uint8).numpy())
    [own] = classic.run([night]).batch.float()
    [style] = classic.run([night], Wish(tone="style")).batch.float()
    assert float(own.mean()) < 0.8 * float(style.mean())
    ordinary = Photo(Image.fromarray(typical_photo().numpy()))
    assert torch.equal(classic.run([ordinary]).batch, classic.run([ordinary], Wish(tone="style")).batch)


def test_a_network_that_keeps_tone_is_left_alone() -> None:
    cel = Stylizer("cel", warmup_px=0, fast=True)
    night = Image.fromarray((typical_photo()[:96, :96].float() * 0.16).to(torch.uint8).numpy())
    [auto, style, photo] = (cel.run([night], Wish("bold", tone=tone)).batch for tone in ("auto", "style", "photo"))
    assert torch.equal(auto, style)
    assert abs(float(photo.float().mean()) - float(style.float().mean())) < 5  # there is nothing to give back
