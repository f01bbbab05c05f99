"""Ten files of other colours against another reader: mean ΔE2000 of what is drawn from to what Chromium shows.

`scripts/benchmark colour`. Chromium's pixels are a screenshot's, in sRGB; for HEIC, which it does not show, LittleCMS
converts the same codes by an ICC profile of the same primaries.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from playwright.sync_api import sync_playwright

from animegan.picture import colour
from animegan.picture.images import Limits, decode
from benchmarks.common.result import store, table
from harness.browsing.browsers import ARGUMENTS, chromium
from harness.files.picture_files import chunk, gamma, heic, icc
from harness.pictures import encoded

PHOTOS = Path(__file__).resolve().parents[2] / "docs" / "photos"
SIZE = 384, 256
LIMITS = Limits(1 << 26, 10**8)
P3 = colour.PRIMARIES[12]
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), colour.D65)
D50: colour.Point = (0.3457, 0.3585)

Array = NDArray[np.float64]


def main() -> None:
    files = sources()
    screenshot_by_name = screenshots({name: data for name, (data, _) in files.items() if not name.startswith("HEIC")})
    figures, rows = {}, []
    for name, (data, plain) in files.items():
        result = decode(data, max_side=1024, limits=LIMITS).rgb
        reference = screenshot_by_name[name] if name in screenshot_by_name else _by_profile(plain)
        off = delta_e2000(_lab(result), _lab(reference))
        ignored = delta_e2000(_lab(plain), _lab(reference))
        figures[name] = {"mean": off.mean(), "p99": float(np.percentile(off, 99)), "ignored_mean": ignored.mean()}
        rows.append((name, off.mean(), float(np.percentile(off, 99)), ignored.mean()))
    table(("file", "mean ΔE2000", "99 of 100", "mean, colour ignored"), rows)
    store("colour", {"reference": "Chromium; LittleCMS for HEIC", "files": figures})


def sources() -> dict[str, tuple[bytes, Image.Image]]:
    """Return the files, each with its codes as if they were sRGB."""
    photos = [Image.open(PHOTOS / f"{name}.jpg") for name in ("dogs_window", "mountain_path", "palace")]
    dogs, path, palace = (photo.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS) for photo in photos)
    p3, adobe = profile(P3, srgb_curve()), profile(ADOBE, gamma(2.2))
    exact = {"quality": 100, "subsampling": "4:4:4"}
    avif, coded = encoded(palace, "AVIF", **exact), heic(path, quality=100, chroma="444")
    dark = _bright(palace, 1.0)
    files: dict[str, bytes] = {
        "JPEG, Display P3 by ICC": encoded(dogs, "JPEG", quality=100, subsampling=0, icc_profile=p3),
        "PNG, Adobe RGB by ICC": encoded(path, "PNG", icc_profile=adobe),
        "PNG, Display P3 by cICP": _png16(_codes(dogs), chunk(b"cICP", bytes([12, 13, 0, 1]))),
        "AVIF, Display P3 by nclx": _with_numbers(avif, 12, 13),
        "HEIC, Display P3 by nclx": _with_numbers(coded, 12, 13),
        "PNG, PQ by cICP": _png16(_bright(path, 4.0), chunk(b"cICP", bytes([9, 16, 0, 1]))),
        "AVIF, PQ by nclx": _with_numbers(encoded(_image(dark), "AVIF", **exact), 9, 16),
        "AVIF, HLG by nclx": _with_numbers(avif, 9, 18),
        "PNG, gAMA 1.0": _png16(_light(path), chunk(b"gAMA", struct.pack(">I", 100_000))),
        "PNG, gAMA 1/1.8 and cHRM": _png16(_codes(dogs), chunk(b"gAMA", struct.pack(">I", 55_556)), _chrm(P3)),
    }
    plain = {name: _plain(data) for name, data in files.items()}
    return {name: (data, plain[name]) for name, data in files.items()}


def screenshots(files: Mapping[str, bytes]) -> dict[str, Image.Image]:
    """Return the pixels that Chromium shows of each file."""
    screens = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=[*ARGUMENTS, "--force-color-profile=srgb"]
        )
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        for name, data in files.items():
            kind = name.partition(",")[0].lower()
            source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
            page.set_content(f'<body style="margin:0"><img style="display:block" src="{source}">')
            page.wait_for_function("document.images[0].complete")
            page.wait_for_timeout(200)
            screens[name] = Image.open(BytesIO(page.screenshot())).convert("RGB")
        browser.close()
    return screens


def profile(chromaticities: tuple[colour.Point, ...], curve: bytes) -> bytes:
    """Return a matrix profile with one curve, its white adapted to D50."""
    on_d50 = (*colour.SRGB[:3], D50)
    matrix = colour._to_xyz(on_d50) @ colour._between(chromaticities, on_d50)
    curves = {f"{name}TRC": curve for name in "rgb"}
    primaries = {
        f"{name}XYZ": b"XYZ " + struct.pack(">4x3i", *np.round(matrix[:, at] * 65536).astype(int))
        for at, name in enumerate("rgb")
    }
    return icc(b"RGB ", b"XYZ ", **curves, **primaries)


def srgb_curve() -> bytes:
    """Return an ICC curve of sRGB's transfer."""
    points = np.round(colour._srgb_light(np.arange(1024) / 1023) * 65535).astype(int)
    return b"curv" + struct.pack(f">4xI{len(points)}H", len(points), *points)


def delta_e2000(one: Array, other: Array) -> Array:
    """Return CIEDE2000 of CIELAB arrays (..., 3) (CIE 142-2001, with Sharma's notes)."""
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0)
    mean_c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1 + (1 - np.sqrt(mean_c7 / (mean_c7 + 25.0**7))) / 2
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    turn = (h2 - h1 + 180) % 360 - 180
    turn = np.where(c1 * c2 == 0, 0, turn)
    d_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    mean_l, mean_c, mean_h = (l1 + l2) / 2, (c1 + c2) / 2, h1 + turn / 2
    t = (
        1
        - 0.17 * np.cos(np.radians(mean_h - 30))
        + 0.24 * np.cos(np.radians(2 * mean_h))
        + 0.32 * np.cos(np.radians(3 * mean_h + 6))
        - 0.20 * np.cos(np.radians(4 * mean_h - 63))
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    bend = np.exp(-((((mean_h % 360) - 275) / 25) ** 2))
    r_t = -2 * np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7)) * np.sin(np.radians(60 * bend))
    d_l, d_c = (l2 - l1) / s_l, (c2 - c1) / s_c
    return np.asarray(np.sqrt(np.maximum(d_l**2 + d_c**2 + (d_h / s_h) ** 2 + r_t * d_c * d_h / s_h, 0)))


def _lab(image: Image.Image) -> Array:
    light = colour._srgb_light(np.asarray(image) / 255)
    xyz = light @ colour._to_xyz(colour.SRGB).T / colour._white(colour.D65)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def _by_profile(plain: Image.Image) -> Image.Image:
    """Return the codes of a Display P3 file in sRGB by LittleCMS."""
    source = ImageCms.ImageCmsProfile(BytesIO(profile(P3, srgb_curve())))
    picture = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert picture
    return picture


def _with_numbers(data: bytes, primaries: int, transfer: int) -> bytes:
    """Return a HEIC or AVIF with other numbers in its `nclx` box."""
    at = data.index(b"nclx") + 4
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def _plain(data: bytes) -> Image.Image:
    """Return the codes of a file, whatever it says of their colour."""
    if b"nclx" in data[:4096]:
        data = _with_numbers(data, 1, 13)
    with Image.open(BytesIO(data)) as image:
        return image.convert("RGB")


def _codes(image: Image.Image) -> Array:
    return np.asarray(image) / 255


def _light(image: Image.Image) -> Array:
    return np.asarray(colour._srgb_light(_codes(image)))


def _bright(image: Image.Image, white: float) -> Array:
    """Return PQ codes in BT.2020 of a photo whose white is that many times the reference white."""
    light = np.clip(_light(image) @ colour._between(colour.SRGB, colour.PRIMARIES[9]).T, 0, None) * white
    y = np.power(light * colour.WHITE_NITS / 10_000, 2610 / 16384)
    return np.asarray(np.power((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y), 2523 / 32))


def _image(codes: Array) -> Image.Image:
    return Image.fromarray(np.round(codes * 255).astype(np.uint8))


def _png16(codes: Array, *extra: bytes) -> bytes:
    values = np.round(codes * 65535).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + pixels + chunk(b"IEND")


def _chrm(chromaticities: tuple[colour.Point, ...]) -> bytes:
    *primaries, white = chromaticities
    return chunk(
        b"cHRM", struct.pack(">8I", *(round(value * 100_000) for point in (white, *primaries) for value in point))
    )


if __name__ == "__main__":
    main()
