"""Colours told by numbers come out as Chromium 156 shows them."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from animegan.picture.colour import by_numbers
from animegan.picture.images import decode
from harness.files.picture_files import LIMITS, chunk, heic, load, needs_avif, pixels, png, swapped_primaries
from harness.pictures import encoded

CODES = [(26, 26, 26), (128, 128, 128), (230, 230, 230), (200, 100, 50), (50, 180, 120), (20, 40, 160)]
SCREENSHOT = {  # by cICP's primaries and transfer: what a screenshot of Chromium 156 holds for the codes above
    (12, 13): [(26, 26, 26), (128, 128, 128), (230, 230, 230), (215, 93, 31), (0, 183, 114), (12, 41, 167)],
    (9, 16): [(3, 3, 3), (132, 132, 132), (255, 255, 255), (255, 0, 0), (0, 255, 31), (0, 0, 224)],
    (9, 18): [(9, 9, 9), (99, 99, 99), (234, 234, 234), (230, 48, 17), (0, 170, 90), (0, 23, 115)],
    (9, 14): [(13, 13, 13), (121, 121, 121), (229, 229, 229), (239, 63, 5), (0, 185, 104), (0, 26, 163)],
    (1, 8): [(90, 90, 90), (188, 188, 188), (244, 244, 244), (229, 168, 122), (122, 219, 183), (79, 110, 208)],
    (11, 13): [(26, 26, 26), (128, 128, 128), (230, 230, 230), (211, 93, 32), (0, 183, 114), (13, 39, 166)],
    (1, 4): [(19, 19, 19), (129, 129, 129), (231, 231, 231), (201, 100, 46), (46, 181, 121), (12, 35, 161)],
}
GAMMA_55000 = [(34, 34, 34), (146, 146, 146), (235, 235, 235), (210, 118, 64), (64, 193, 138), (25, 52, 175)]
PATCHES = np.repeat(np.repeat(np.array([CODES], np.uint8), 16, axis=0), 16, axis=1)


def colours(data: bytes) -> list[tuple[int, ...]]:
    rgb = load(data).rgb
    return [tuple(int(value) for value in pixels(rgb)[8, 8 + 16 * index]) for index in range(len(CODES))]


def patches(*extra: bytes, depth: int = 8) -> bytes:
    rows = PATCHES.tobytes() if depth == 8 else (PATCHES.astype(np.uint16) * 257).astype(">u2").tobytes()
    return png((16 * len(CODES), 16), depth, 2, rows, *extra)


def cicp(primaries: int, transfer: int, matrix: int = 0, full: int = 1) -> bytes:
    return chunk(b"cICP", bytes([primaries, transfer, matrix, full]))


@pytest.mark.parametrize("numbers", SCREENSHOT)
@pytest.mark.parametrize("depth", [8, 16])
def test_numbers_in_a_png(numbers: tuple[int, int], depth: int) -> None:
    assert np.abs(np.array(colours(patches(cicp(*numbers), depth=depth))) - SCREENSHOT[numbers]).max() <= 1


@pytest.mark.parametrize("form", ["HEIF", pytest.param("AVIF", marks=needs_avif)])
@pytest.mark.parametrize("numbers", [(12, 13), (9, 16), (9, 18)])
def test_numbers_in_heic_and_avif(form: str, numbers: tuple[int, int]) -> None:
    image = Image.fromarray(PATCHES)
    data = heic(image, quality=100, chroma="444") if form == "HEIF" else encoded(image, "AVIF", quality=100)
    at = data.index(b"nclx") + 4
    plain = np.array(colours(data))
    values = np.array(colours(data[:at] + struct.pack(">HH", *numbers) + data[at + 4 :]))
    off = np.abs(values - SCREENSHOT[numbers]).mean()
    assert off < 2 + 4 * np.abs(plain - CODES).mean()  # coding loses a step or two, which the curves stretch
    assert np.abs(values - plain).mean() > 2 * off


def test_cameras_curves_in_still_pictures_mean_srgb() -> None:
    data = heic(Image.fromarray(PATCHES), quality=100, chroma="444")
    at = data.index(b"nclx") + 4
    assert colours(data[:at] + struct.pack(">HH", 1, 1) + data[at + 4 :]) == colours(data)


def test_gamma_in_a_png() -> None:
    gamma = chunk(b"gAMA", struct.pack(">I", 55_000))
    assert np.abs(np.array(colours(patches(gamma))) - GAMMA_55000).max() <= 1
    primaries = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
    usual = chunk(b"gAMA", struct.pack(">I", 45_455))
    assert colours(patches(usual)) == CODES
    wide = colours(patches(usual, primaries))
    assert wide[3][0] > 210
    assert colours(patches(primaries)) == CODES  # alone it says nothing


def test_what_goes_before_what() -> None:
    """cICP, an ICC profile, sRGB, gAMA: the first that is there."""
    linear, srgb = chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"sRGB", b"\0")
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(swapped_primaries()))
    by_profile = colours(patches(profile))
    assert colours(patches(srgb, linear)) == CODES
    assert colours(patches(profile, linear)) == by_profile != CODES
    first = colours(patches(cicp(12, 13), profile, linear))
    assert np.abs(np.array(first) - SCREENSHOT[12, 13]).max() <= 1


@pytest.mark.parametrize(
    "extra",
    [
        cicp(1, 13),
        cicp(2, 2),
        cicp(1, 13, full=0),
        cicp(12, 13, matrix=1),
        cicp(99, 13),
        cicp(9, 200),
        chunk(b"cICP", b"\x0c"),
        chunk(b"gAMA", struct.pack(">I", 0)),
        chunk(b"gAMA", struct.pack(">I", 2**32 - 1)),
        chunk(b"gAMA", b"\1") + chunk(b"cHRM", b"\0" * 31),
    ],
)
def test_numbers_that_say_nothing_change_nothing(extra: bytes) -> None:
    assert colours(patches(extra)) == CODES


def test_grey_and_alpha() -> None:
    grey = png((16, 16), 8, 0, bytes([128]) * 256, chunk(b"gAMA", struct.pack(">I", 100_000)))
    assert load(grey).rgb.getpixel((3, 3)) == (188, 188, 188)
    clear = png((16, 16), 8, 6, bytes([128, 128, 128, 200]) * 256, chunk(b"gAMA", struct.pack(">I", 100_000)))
    picture = load(clear)
    assert picture.alpha is not None
    assert set(np.unique(pixels(picture.alpha))) == {200}


def test_high_dynamic_range_is_neither_flat_nor_cut() -> None:
    """Light from 0.1 to 1,000 cd/m² has a step of its own each; what is above is white."""
    colour = by_numbers(9, 16)
    assert colour
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    levels = pixels(colour.to_srgb(ramp))[..., 0].ravel()
    assert np.all(np.diff(levels) >= 0)
    assert levels[38] > 0
    assert len(np.unique(levels)) > 120
    assert levels[192] >= 254


def test_large_pictures_are_converted_in_bands() -> None:
    data = png((1300, 1700), 8, 2, bytes([200, 100, 50]) * (1300 * 1700), cicp(12, 13))
    rgb = decode(data, max_side=2000, limits=LIMITS).rgb
    assert rgb.getcolors() == [(1300 * 1700, (215, 93, 31))]
