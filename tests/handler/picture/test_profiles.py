"""Colour profiles become sRGB, and one that cannot be used is ignored."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from animegan.picture.images import prepare
from harness.files.picture_files import (
    PRIMARIES,
    difference,
    gamma,
    icc,
    load,
    needs_avif,
    pixels,
    srgb_profile,
    swapped_primaries,
)
from harness.pictures import encoded, photo


def cmyk_profile() -> bytes:
    """All ink is lightness: L* = 100 - 100 K, a* = b* = 0, whatever C, M and Y are."""
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    curve = bytes(range(256))
    grid = b"".join(bytes([255 * (1 - k), 128, 128]) for _ in range(8) for k in (0, 1))  # K runs fastest
    lut = b"mft1" + struct.pack(">4x4B", 4, 3, 2, 0) + identity + curve * 4 + grid + curve * 3
    return icc(b"CMYK", b"Lab ", A2B0=lut)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", pytest.param("AVIF", marks=needs_avif)])
def test_profiles_are_converted_to_srgb(form: str) -> None:
    image = photo(64, 48)
    options = {"quality": 95} if form != "PNG" else {}
    plain = load(encoded(image, form, **options)).rgb
    picture = load(encoded(image, form, icc_profile=swapped_primaries(), **options))
    red, green, blue = plain.split()
    assert difference(picture.rgb, Image.merge("RGB", (blue, green, red))) < 1.5
    assert picture.rgb.info == {}


def test_an_srgb_profile_changes_nothing() -> None:
    image = photo(64, 48)
    code = (np.arange(256) + 0.7).clip(0, 255) / 255
    table = np.where(code > 0.04045, ((code + 0.055) / 1.055) ** 2.4, code / 12.92) * 65535
    curve = b"curv" + struct.pack(">4xI256H", 256, *table.round().astype(int))
    step = icc(b"RGB ", b"XYZ ", rTRC=curve, gTRC=curve, bTRC=curve, **PRIMARIES)  # rounds to the next value
    for profile in (srgb_profile(), step):
        assert load(encoded(image, "PNG", icc_profile=profile)).rgb.tobytes() == image.tobytes()


def test_a_grey_profile() -> None:
    image = photo(64, 48).convert("L")
    plain = load(encoded(image, "PNG")).rgb
    linear = load(encoded(image, "PNG", icc_profile=icc(b"GRAY", b"XYZ ", kTRC=gamma(1)))).rgb
    assert np.all(pixels(linear) >= pixels(plain))
    assert pixels(linear).mean() > pixels(plain).mean() + 20
    assert load(encoded(photo(64, 48), "PNG", icc_profile=icc(b"GRAY", b"XYZ ", kTRC=gamma(1)))).rgb.tobytes() == (
        photo(64, 48).tobytes()  # of no use for colours
    )


def test_an_rgb_profile_on_grey_and_with_alpha() -> None:
    image = photo(64, 48)
    curves = {name: gamma(1) for name in ("rTRC", "gTRC", "bTRC")}
    linear = icc(b"RGB ", b"XYZ ", **curves, **PRIMARIES)
    grey = load(encoded(image.convert("L"), "PNG", icc_profile=linear)).rgb
    assert pixels(grey).mean() > pixels(image.convert("L")).mean() + 20
    clear = image.convert("RGBA")
    clear.putalpha(128)
    picture = load(encoded(clear, "PNG", icc_profile=swapped_primaries()))
    red, green, blue = load(encoded(clear, "PNG")).rgb.split()
    assert difference(picture.rgb, Image.merge("RGB", (blue, green, red))) < 2
    assert set(np.unique(pixels(picture.alpha))) == {128}


def test_a_cmyk_profile() -> None:
    ink = Image.merge("CMYK", [*[Image.new("L", (64, 48), 255)] * 3, Image.linear_gradient("L").resize((64, 48))])
    for form in ("JPEG", "TIFF"):
        assert np.all(pixels(load(encoded(ink, form)).rgb) == 0)
        rgb = pixels(load(encoded(ink, form, icc_profile=cmyk_profile())).rgb)
        assert rgb[0].mean() > 240
        assert rgb[-1].mean() < 20
        assert np.ptp(rgb, axis=-1).max() <= 3


def test_a_lab_profile() -> None:
    lab = photo(64, 48).convert("LAB")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert difference(load(encoded(lab, "TIFF", icc_profile=profile)).rgb, photo(64, 48)) < 4


@pytest.mark.parametrize(
    "profile",
    [b"x", b"\0" * 128, srgb_profile()[:300], srgb_profile()[:128] + b"\0" * 400, b"\xff" * 3000, cmyk_profile()],
    ids=["short", "zeros", "cut", "no-tags", "ones", "cmyk"],
)
def test_a_profile_that_cannot_be_used_is_ignored(profile: bytes) -> None:
    image = photo(64, 48)
    for form in ("PNG", "JPEG"):
        plain = load(encoded(image, form)).rgb
        assert load(encoded(image, form, icc_profile=profile)).rgb.tobytes() == plain.tobytes()
    image.info["icc_profile"] = profile
    assert prepare(image, max_side=1024).rgb.tobytes() == image.tobytes()
    image.info["icc_profile"] = "not bytes"
    assert prepare(image, max_side=1024).rgb.tobytes() == image.tobytes()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "CMYK"])
def test_a_profile_is_applied_to_every_band(mode: str) -> None:
    colour = Image.new("RGB", (1300, 1700), (200, 150, 100)).convert(mode)
    colour.info["icc_profile"] = {
        "L": icc(b"GRAY", b"XYZ ", kTRC=gamma(1)),
        "CMYK": cmyk_profile(),
    }.get(mode, swapped_primaries())
    whole = prepare(colour, max_side=1700).rgb
    assert whole.getcolors(1) == prepare(colour.crop((0, 0, 16, 16)), max_side=16).rgb.resize(whole.size).getcolors(1)
    assert whole.getpixel((0, 0)) != colour.convert("RGB").getpixel((0, 0))
