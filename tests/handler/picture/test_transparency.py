"""Transparency: alpha is kept, and what lies under it does not bleed."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from harness.files.picture_files import (
    chunk,
    difference,
    load,
    pixels,
    png,
)
from harness.pictures import encoded, photo


def test_alpha_is_kept_and_so_are_the_colours_under_it() -> None:
    image = photo(64, 48).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((64, 48)))
    for form in ("PNG", "WEBP", "TIFF"):
        picture = load(encoded(image, form, **({"lossless": True} if form == "WEBP" else {})))
        assert difference(picture.alpha or picture.rgb, image.getchannel("A")) == 0
        opaque = pixels(picture.alpha) >= 64
        assert np.abs(pixels(picture.rgb) - pixels(image.convert("RGB")))[opaque].max() <= 4  # premultiplied on the way


def test_an_alpha_of_255_throughout_is_opaque() -> None:
    image = photo(64, 48)
    for opaque in (image.convert("RGBA"), image.convert("LA")):
        for max_side in (1024, 40):
            picture = load(encoded(opaque, "PNG"), max_side)
            assert picture.alpha is None
            whole = opaque.convert("RGB").resize(picture.rgb.size, Image.Resampling.LANCZOS)
            assert difference(picture.rgb, whole) == 0


def test_the_hidden_colour_of_transparent_pixels_does_not_bleed() -> None:
    image = Image.new("RGBA", (256, 256), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 101, 256))
    picture = load(encoded(image, "PNG"), max_side=100)
    assert np.abs(pixels(picture.rgb) - (0, 0, 255)).max() <= 2


@pytest.mark.parametrize("colour", [(20, 30, 60), (250, 240, 200)])
@pytest.mark.parametrize("size", [160, 163, 1000])
def test_soft_edges_carry_no_ground_of_their_own(colour: tuple[int, int, int], size: int) -> None:
    """A disk whose alpha is blurred by 5 px: whatever it is laid on, there is no ring."""
    alpha = Image.new("L", (size, size))
    ImageDraw.Draw(alpha).ellipse((size // 4, size // 4, size - size // 4, size - size // 4), fill=255)
    alpha = alpha.filter(ImageFilter.GaussianBlur(5))
    image = Image.merge("RGBA", (*Image.new("RGB", (size, size), colour).split(), alpha))
    for max_side in (size, size // 2):
        picture = load(encoded(image, "PNG"), max_side)
        assert picture.alpha
        off = np.abs(pixels(picture.rgb) - colour)
        assert (off.mean() < 2, off.max() <= 12) == (True, True)  # the most where hardly anything is seen
        for under in ("black", "white"):
            composite = Image.composite(picture.rgb, Image.new("RGB", picture.rgb.size, under), picture.alpha)
            most = np.maximum(colour, 255 if under == "white" else 0)
            least = np.minimum(colour, 255 if under == "white" else 0)
            assert np.all((pixels(composite) >= least - 3) & (pixels(composite) <= most + 3))


def test_the_nearest_colours_are_spread_under_what_is_transparent() -> None:
    image = Image.new("RGBA", (256, 64))
    image.paste((200, 0, 0, 255), (0, 0, 40, 64))
    image.paste((0, 0, 200, 255), (216, 0, 256, 64))
    rgb = pixels(load(encoded(image, "PNG")).rgb)[32]
    assert np.all(rgb[48] > (150, -1, -1))
    assert np.all(rgb[208] > (-1, -1, 150))
    assert np.abs(np.diff(rgb[44:212], axis=0)).max() <= 12


def test_a_picture_that_is_all_transparent_is_white() -> None:
    picture = load(encoded(Image.new("RGBA", (64, 48), (9, 9, 9, 0)), "PNG"))
    assert picture.rgb.getcolors() == [(64 * 48, (255, 255, 255))]


def test_palettes_with_transparency() -> None:
    image = photo(64, 48).quantize(64)
    index, alphas = np.asarray(image), np.arange(64, dtype=np.uint8) * 4
    for transparency, expected in ((bytes(alphas), alphas[index]), (7, np.where(index == 7, 0, 255))):
        picture = load(encoded(image, "PNG", transparency=transparency))
        assert np.array_equal(pixels(picture.alpha), expected)
    picture = load(encoded(image, "GIF", transparency=7))
    assert np.array_equal(pixels(picture.alpha), np.where(index == 7, 0, 255))


@pytest.mark.parametrize(
    ("depth", "colour", "rows", "key"),
    [
        (1, 0, b"\x0f" * 2, (0,)),
        (8, 0, bytes([9] * 8 + [200] * 8), (9,)),
        (16, 0, bytes([9, 1] * 8 + [9, 2] * 8), (0x0901,)),
        (8, 2, bytes([1, 2, 3] * 8 + [4, 5, 6] * 8), (1, 2, 3)),
    ],
)
def test_a_transparent_colour(depth: int, colour: int, rows: bytes, key: tuple[int, ...]) -> None:
    data = png((16, 16), depth, colour, rows * 16, chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)))
    alpha = pixels(load(data).alpha)
    assert set(np.unique(alpha)) == {0, 255}
    if depth > 1:
        assert np.all(alpha[:, :8] == 0)
        assert np.all(alpha[:, 8:] == 255)
