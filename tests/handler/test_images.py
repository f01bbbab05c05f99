"""Pictures in and out: every kind of file becomes upright sRGB of the right size, and no file can do harm."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile

from animegan.errors import (
    AnimeganError,
    BadImage,
    BadOption,
    OutOfMemory,
    PictureTooSmall,
    TooLarge,
    UnsupportedImage,
)
from animegan.headers import HEADERS
from animegan.images import Header, Limits, Picture, decode, encode, fit, inspect, prepare
from animegan.settings import Format
from pictures import encoded, photo

LIMITS = Limits(max_bytes=8 << 20, max_pixels=64_000_000)
HANDLER = Path(__file__).resolve().parents[2] / "handler"

needs_avif = pytest.mark.skipif("AVIF" not in HEADERS, reason="this Pillow has no AVIF")


def load(data: bytes, max_side: int = 1024, limits: Limits = LIMITS) -> Picture:
    return decode(data, max_side=max_side, limits=limits)


def pixels(image: Image.Image | None) -> NDArray[np.int64]:
    assert image is not None
    return np.asarray(image).astype(np.int64)


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean absolute difference, in 8-bit steps."""
    return float(np.abs(pixels(a) - pixels(b)).mean())


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size: tuple[int, int], depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG by hand; `rows` without filter bytes, `extra` chunks before the data."""
    stride = len(rows) // size[1]
    raw = b"".join(b"\0" + rows[y * stride : (y + 1) * stride] for y in range(size[1]))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND")


def tiff(*tags: tuple[int, int, int, int], data: bytes = b"\0" * 1024, next_page: int = 0) -> bytes:
    """A 16×16 grey TIFF by hand; `tags` (tag, type, count, value) replace or join the usual ones."""
    known = {256: (3, 1, 16), 257: (3, 1, 16), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8)}
    known |= {277: (3, 1, 1), 278: (3, 1, 16), 279: (4, 1, 256)} | {tag: (a, b, c) for tag, a, b, c in tags}
    entries = b"".join(struct.pack("<HHII", tag, *rest) for tag, rest in sorted(known.items()))
    head = b"II*\0" + struct.pack("<IH", 8, len(known)) + entries + struct.pack("<I", next_page)
    return head + data


def bmp(width: int, height: int, compression: int = 0, data: bytes = b"") -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + header + data


def gif(canvas: tuple[int, int], frame: tuple[int, int], before: bytes = b"") -> bytes:
    image = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\2\2\x44\1\0"
    return b"GIF89a" + struct.pack("<HHBBB", *canvas, 0, 0, 0) + before + image + b";"


def webp(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + canvas


@cache
def files() -> dict[str, bytes]:
    """One small whole file of each kind."""
    image = photo(72, 48)
    kinds = {
        "JPEG": encoded(image, quality=90),
        "JPEG, progressive": encoded(image, progressive=True, exif=oriented(6), icc_profile=srgb_profile()),
        "JPEG, CMYK": encoded(image.convert("CMYK")),
        "MPO": animated("MPO"),
        "PNG": encoded(image, "PNG", icc_profile=srgb_profile(), exif=oriented(3)),
        "PNG, palette": encoded(image.quantize(), "PNG", transparency=bytes(range(0, 256, 2))),
        "PNG, animated": animated("PNG"),
        "WEBP": encoded(image, "WEBP", exif=oriented(2)),
        "WEBP, lossless": encoded(image.convert("RGBA"), "WEBP", lossless=True),
        "WEBP, animated": animated("WEBP"),
        "GIF": encoded(image.quantize(), "GIF"),
        "GIF, animated": animated("GIF"),
        "BMP": encoded(image, "BMP"),
        "TIFF": encoded(image, "TIFF", exif=oriented(8)),
        "TIFF, LZW": encoded(image, "TIFF", compression="tiff_lzw"),
        "TIFF, pages": animated("TIFF"),
        "TIFF, JPEG": encoded(image, "TIFF", compression="jpeg"),
    }
    return kinds | ({"AVIF": encoded(image, "AVIF", exif=oriented(6))} if "AVIF" in HEADERS else {})


def animated(form: str, **options: Any) -> bytes:
    """Three frames, the first of which is `photo(72, 48)`."""
    first, *others = (photo(72, 48, seed) for seed in range(3))
    return encoded(first, form, save_all=True, append_images=others, **options)


def oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "secret"
    return exif.tobytes()


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


# ---- Sizes -----------------------------------------------------------------------------------------------------------


@given(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), st.integers(1, 10**5))
def test_fit_keeps_the_ratio_and_never_enlarges(size: tuple[int, int], max_side: int) -> None:
    fitted = fit(size, max_side)
    assert min(fitted) >= 1
    assert max(fitted) == min(max(size), max_side)
    assert fit(fitted, max_side) == fitted
    assert fit((size[1], size[0]), max_side) == (fitted[1], fitted[0])
    if max(size) <= max_side:
        assert fitted == size
    for side, before in zip(fitted, size, strict=True):
        assert side == 1 or abs(2 * side * max(size) - 2 * before * max_side) <= max(size) or fitted == size


def test_fit_rounds_to_nearest() -> None:
    assert fit((4000, 3000), 1024) == (1024, 768)
    assert fit((1000, 667), 100) == (100, 67)
    assert fit((4000, 20), 1024) == (1024, 5)
    assert fit((10_000, 1), 100) == (100, 1)


@pytest.mark.parametrize("size", [(1, 1), (15, 400), (400, 15)])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_side_under_16_px_is_refused(size: tuple[int, int], form: str) -> None:
    with pytest.raises(PictureTooSmall) as caught:
        load(encoded(Image.new("RGB", size), form))
    assert f"{size[0]}×{size[1]} px" in caught.value.detail
    assert "16 px" in caught.value.detail


def test_a_side_under_16_px_after_fitting_is_refused() -> None:
    data = encoded(Image.new("RGB", (4000, 20)), "PNG")
    with pytest.raises(PictureTooSmall, match=r"4000×20 px, fitted to max_side=1024 it is 1024×5 px.* raise max_side"):
        load(data)
    with pytest.raises(PictureTooSmall):
        prepare(Image.new("RGB", (4000, 20)), max_side=1024)
    with pytest.raises(PictureTooSmall):
        prepare(Image.new("RGB", (0, 20)), max_side=1024)
    assert load(data, max_side=4000).rgb.size == (4000, 20)
    assert load(encoded(Image.new("RGB", (16, 16)), "PNG")).rgb.size == (16, 16)


# ---- What is refused at the door -------------------------------------------------------------------------------------


def test_no_bytes() -> None:
    with pytest.raises(BadImage, match="empty"):
        load(b"")


@pytest.mark.parametrize(
    "data",
    [
        b"hello, this is no picture at all",
        b"BMW is a car, and this is text, not a bitmap",
        b"GIFT",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"%PDF-1.7\n1 0 obj\n",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='64' height='64'/>",
        b"8BPS\0\1" + b"\0" * 64,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n",
        b"P6 64 64 255\n" + b"\0" * 64 * 64 * 3,
        b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + b"\0" * 64,
        bytes(range(256)),
        b"\0",
    ],
)
def test_what_is_no_picture_of_a_known_kind(data: bytes) -> None:
    with pytest.raises(UnsupportedImage) as caught:
        load(data)
    assert caught.value.status == 415
    assert "JPEG, PNG, WEBP" in caught.value.detail


@pytest.mark.parametrize(
    "brands", [b"heic\0\0\0\0mif1heic", b"mif1\0\0\0\0mif1heic", b"msf1\0\0\0\0hevc", b"heix\0\0\0\0"]
)
def test_heic_is_told_what_to_do(brands: bytes) -> None:
    with pytest.raises(UnsupportedImage, match=r"HEIC.*Most Compatible.*convert"):
        load(struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + b"\0" * 100)


@needs_avif
def test_avif_is_read() -> None:
    picture = load(files()["AVIF"])
    assert picture.original_size == (48, 72)
    assert difference(picture.rgb, photo(72, 48).transpose(Image.Transpose.ROTATE_270)) < 8
    mif1 = files()["AVIF"].replace(b"ftypavif", b"ftypmif1", 1)  # as some encoders write it
    assert load(mif1).original_size == (48, 72)


def test_too_many_bytes() -> None:
    with pytest.raises(TooLarge, match=r"1,001 bytes, over the limit of 1,000\. Send a smaller") as caught:
        load(b"\xff\xd8\xff" + b"\0" * 998, limits=Limits(1000, 10**6))
    assert caught.value.members == {"bytes": 1001, "limit_bytes": 1000}


@cache
def png_bomb(side: int) -> bytes:
    """side × side pixels of one bit, black."""
    packer, row = zlib.compressobj(9), b"\0" * (1 + (side + 7) // 8)
    body = b"".join(packer.compress(row * 1000) for _ in range(side // 1000)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND")


def test_a_png_bomb() -> None:
    bomb = png_bomb(30_000)
    assert len(bomb) < 300_000
    for read in (load, lambda data: inspect(data, LIMITS)):
        with pytest.raises(TooLarge) as caught:
            read(bomb)
        assert "30000×30000 px, 900,000,000 pixels, over the limit of 64,000,000. Scale it down" in caught.value.detail
        assert caught.value.members == {"pixels": 900_000_000, "limit_pixels": 64_000_000}


@pytest.mark.parametrize(
    "data",
    [
        png((60_000, 1), 1, 0, b"\0" * 7500).replace(struct.pack(">II", 60_000, 1), struct.pack(">II", 60_000, 60_000)),
        encoded(Image.new("RGB", (64, 48))).replace(struct.pack(">HH", 48, 64), struct.pack(">HH", 60_000, 60_000)),
        encoded(Image.new("RGB", (64, 48)))[:2] + b"\xff\xc0\0\x11\x08\xff\xff\xff\xff\3",
        gif((65535, 65535), (16, 16)),
        gif((16, 16), (9000, 9000)),
        gif((16, 16), (65535, 65535)),
        gif((16, 16), (65535, 65535), before=b"!\xf9\4\x08\0\0\0\0"),  # its disposal would be filled in at once
        webp(16_777_216, 256),
        webp(16_384, 16_384),
        b"RIFF\x1e\0\0\0WEBPVP8L\x12\0\0\0\x2f\xff\xff\xff\x0f" + b"\0" * 20,
        bmp(2**31 - 1, 2**31 - 1),
        bmp(40_000, -40_000),
        tiff((256, 4, 1, 2**31), (257, 4, 1, 2**31)),
        tiff((256, 4, 1, 40_000), (257, 4, 1, 40_000), (259, 3, 1, 5)),
    ],
)
def test_an_absurd_header_is_refused_before_pixels_are_looked_for(data: bytes) -> None:
    with pytest.raises(TooLarge):  # the pixels are missing: looking for them would give BadImage
        load(data)
    with pytest.raises(TooLarge):
        inspect(data, LIMITS)


def test_a_header_that_pillow_reads_otherwise_is_refused_too() -> None:
    """After an empty extension Pillow skips one block more than the format says, and so over the small frame."""
    small = struct.pack("<HHHHB", 0, 0, 16, 16, 0) + b"\2" + bytes([32]) + b"\0" * 32 + b"\0"
    assert len(small) == ord(",")  # which Pillow takes for the block's length
    data = gif((16, 16), (9000, 9000), before=b"!\xf9\0," + small + b"\0")
    assert inspect(data, LIMITS).size == (16, 16)
    with pytest.raises(TooLarge, match="9000×9000 px"):
        load(data)


@needs_avif
def test_a_large_avif_is_refused_by_its_header() -> None:
    with pytest.raises(TooLarge, match="72×48 px, 3,456 pixels, over the limit of 3,000"):
        load(files()["AVIF"], limits=Limits(10**6, 3000))


def test_pillows_own_limits_never_show() -> None:
    boundless = Limits(10**9, 10**12)
    with pytest.raises(TooLarge, match="178,956,970"):
        load(png_bomb(30_000), limits=boundless)
    cut = png_bomb(10_000)  # warned of by Pillow, which here would be an error
    with pytest.raises(BadImage):
        load(cut[:33] + chunk(b"IDAT", cut[41:100]) + chunk(b"IEND"), limits=boundless)


@pytest.mark.parametrize("size", [(0, 16), (16, 0), (0, 0)])
def test_no_pixels(size: tuple[int, int]) -> None:
    for data in (png((*size,), 8, 0, b"") if size[1] else b"", bmp(*size), gif(size, (0, 0)), tiff((256, 3, 1, 0))):
        with pytest.raises(BadImage):
            load(data)


# ---- Files made to do harm -------------------------------------------------------------------------------------------


def test_inflating_text_and_profiles_in_a_png_are_left_out() -> None:
    row = bytes(range(48))
    bombs = zlib.compress(
        b"a" * (2 << 20)
    )  # Pillow refuses the file for one of these, and inflates smaller ones for ever
    extra = [chunk(b"iCCP", b"p\0\0" + bombs), chunk(b"zTXt", b"k\0\0" + bombs), chunk(b"zTXt", b"\0\0" + bombs)]
    extra += [chunk(b"iTXt", b"k\0\1\0\0\0" + bombs), chunk(b"gAMA", b"\0"), chunk(b"prVt"), chunk(b"acTL", b"\0" * 8)]
    plain = load(png((16, 16), 8, 2, row * 16))
    assert difference(load(png((16, 16), 8, 2, row * 16, *extra)).rgb, plain.rgb) == 0
    twice = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    assert load(png((16, 16), 8, 2, row * 16, twice)).original_size == (16, 16)


def repeated_scans(times: int, before: bytes = b"") -> bytes:
    data = encoded(photo(64, 48), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + before + data[last:-2] * times + data[-2:]


def repeated_exif(times: int) -> bytes:
    data = encoded(photo(64, 48))
    return data[:2] + (b"\xff\xe1\0\x0cExif\0\0abcd") * times + data[2:]


def big_tiff(tags: int) -> bytes:
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, tags) + b"\0" * 20 * 64


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (repeated_scans(200), "scans"),
        (repeated_scans(200, before=b"\xff\x01\xff\xff"), "scans"),  # no length follows this marker
        (repeated_exif(200), "EXIF segments"),
        (repeated_exif(200).replace(b"\xff\xe1", b"\xff\xf0\xff\xe1", 1), "EXIF segments"),  # a marker without length
        (png((16, 16), 8, 2, b"\0" * 768, chunk(b"aaAa") * 100_000), "chunks"),
        (gif((16, 16), (16, 16), before=b"!\xfe" + b"\1a" * 1_000_001 + b"\0"), "damaged"),
        (tiff((322, 4, 1, 60_000), (323, 4, 1, 60_000), (324, 4, 1, 8)), "tiles are larger"),
        (tiff((273, 4, 2**31, 8)), "2,147,483,648 strips"),
        (big_tiff(10**6), "1,000,000 tags"),
        (big_tiff(2**63), "tags"),
    ],
)
def test_work_out_of_proportion_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BadImage, match=message):
        load(data)


def test_what_is_usual_is_not_out_of_proportion() -> None:
    assert load(repeated_scans(20)).frames == 1
    assert load(repeated_exif(3)).frames == 1


def test_run_length_coded_bmp_is_refused() -> None:
    with pytest.raises(UnsupportedImage, match="Run-length coded BMP"):
        load(bmp(8000, 8000, compression=1, data=b"\1\0\0\0\0\1"))


def test_pages_that_point_at_themselves_are_counted_once() -> None:
    assert load(tiff(next_page=8)).frames == 1
    assert load(tiff(next_page=2**32 - 1)).frames == 2


@pytest.mark.parametrize("kind", files())
def test_a_file_that_is_cut_short_is_refused(kind: str) -> None:
    data = files()[kind]
    whole = len(data)
    if kind.startswith("GIF"):
        whole -= 1  # the last byte only says that it ends
    elif kind == "MPO":
        whole = data.index(b"\xff\xd9", data.index(b"\xff\xda"))  # where the first picture ends
    elif kind == "TIFF, pages":
        whole = 3 * 72 * 48  # likewise, at least
    for length in [*range(20, whole, max(1, whole // 80)), whole - 1]:
        with pytest.raises(BadImage):
            load(data[:length])


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_large_jpeg_that_is_cut_short_is_refused(options: dict[str, Any]) -> None:
    data = encoded(photo(640, 480).resize((2560, 1920)), **options)
    assert load(data, max_side=256).rgb.size == (256, 192)  # by draft
    for part in (0.2, 0.5, 0.9, 0.999):
        with pytest.raises(BadImage):
            load(data[: int(part * len(data))], max_side=256)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_damage_gives_a_picture_or_an_error_of_ours(data: st.DataObject) -> None:
    damaged = bytearray(files()[data.draw(st.sampled_from(sorted(files())))])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(damaged), data.draw(st.sampled_from([64, 700, 10**6])))))
        match data.draw(st.sampled_from(["overwrite", "overwrite", "insert", "remove", "cut"])):
            case "overwrite":
                new = data.draw(st.one_of(st.binary(min_size=1, max_size=4), st.just(b"\xff" * 4), st.just(b"\0" * 4)))
                damaged[at : at + len(new)] = new
            case "insert":
                damaged[at:at] = data.draw(st.binary(min_size=1, max_size=40))
            case "remove":
                del damaged[at : at + data.draw(st.integers(1, 40))]
            case "cut":
                del damaged[at:]
    picture, detail = None, ""
    try:
        picture = load(bytes(damaged), max_side=64, limits=Limits(10**6, 10**6))
    except (BadImage, PictureTooSmall, TooLarge, UnsupportedImage) as error:
        detail = error.detail
    assert not any(word in detail for word in ("<", "0x", "Traceback", "PIL", "/usr", ".py"))
    if picture:
        assert picture.rgb.mode == "RGB"
        assert 16 <= min(picture.rgb.size) <= max(picture.rgb.size) <= 64


def test_errors_do_not_quote_pillow() -> None:
    with pytest.raises(BadImage) as caught:
        load(files()["PNG"][:200] + b"\0" * 200)
    assert caught.value.detail == "The PNG is cut short. Send it again."
    with pytest.raises(BadImage) as caught:
        load(files()["JPEG"][:40])
    assert "JPEG is damaged, cut short" in caught.value.detail


def warned_of() -> bytes:
    """A JPEG whose EXIF makes Pillow warn, which here would be an error."""
    tags = b"\x12\1\5\0\xff\0\0\0\xff\xff\xff\0" * 5
    return encoded(photo(64, 48), exif=b"Exif\0\0II*\0\x08\0\0\0\5\0" + tags)


def test_nothing_is_printed_or_warned_of(capfd: pytest.CaptureFixture[str]) -> None:
    assert load(warned_of()).original_size == (64, 48)
    for kind, data in files().items():
        load(data)
        if kind in ("TIFF, LZW", "TIFF, JPEG"):  # libtiff prints its errors, past Pillow's control
            continue
        for at in range(20, len(data), len(data) // 12):
            try:
                load(data[:at] + b"\xff\xda\xff" + data[at + 3 :])
            except AnimeganError:
                continue
    assert capfd.readouterr() == ("", "")


def test_many_threads_leave_the_warning_filters_as_they_were() -> None:
    before = list(warnings.filters)
    data = [*files().values()] * 4 + [warned_of()] * 300
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(load, data))
    assert len(pictures) == len(data)
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="own"):
        warnings.warn("own", stacklevel=1)


# ---- Orientation -----------------------------------------------------------------------------------------------------

STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", pytest.param("AVIF", marks=needs_avif)])
@pytest.mark.parametrize("max_side", [1024, 48])
def test_pictures_are_upright(orientation: int, form: str, max_side: int) -> None:
    upright, turn = photo(96, 64), STORED_AS[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    picture = load(encoded(stored, form, exif=oriented(orientation), quality=95), max_side)
    assert picture.original_size == (96, 64)
    assert picture.rgb.size == fit((96, 64), max_side)
    assert picture.fitted == (max_side == 48)
    assert difference(picture.rgb, upright.resize(picture.rgb.size, Image.Resampling.LANCZOS)) < 9


@pytest.mark.parametrize("orientation", STORED_AS)
def test_a_large_jpeg_and_its_size_are_upright(orientation: int) -> None:
    upright, turn = photo(128, 96).resize((1024, 768)), STORED_AS[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    picture = load(encoded(stored, exif=oriented(orientation), quality=95), max_side=128)
    assert picture.original_size == (1024, 768)
    assert picture.fitted
    assert difference(picture.rgb, upright.resize((128, 96), Image.Resampling.LANCZOS)) < 3


def test_alpha_turns_with_the_picture() -> None:
    image = photo(64, 32).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((64, 32)))
    picture = load(encoded(image, "PNG", exif=oriented(6)))
    assert picture.original_size == picture.rgb.size == (32, 64)
    assert np.array_equal(pixels(picture.alpha), pixels(image.getchannel("A").transpose(Image.Transpose.ROTATE_270)))


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xff" * 60_000])
def test_broken_exif_is_ignored(exif: bytes) -> None:
    for form in ("JPEG", "WEBP"):
        assert load(encoded(photo(64, 48), form, exif=exif)).rgb.size == (64, 48)
    image = photo(64, 48)
    image.info["exif"] = exif
    assert prepare(image, max_side=1024).rgb.size == (64, 48)


# ---- Modes -----------------------------------------------------------------------------------------------------------


def test_an_rgb_picture_that_fits_is_unchanged() -> None:
    image = photo(300, 200)
    picture = load(encoded(image, "PNG"))
    assert difference(picture.rgb, image) == 0
    assert picture == Picture(picture.rgb, None, (300, 200), 1)
    assert picture.fitted is False


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "CMYK"])
def test_bands_are_the_whole(mode: str) -> None:
    """More than three bands of rows give the very pixels of Pillow's own Lanczos."""
    image = photo(256, 192).resize((2048, 1536)).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.radial_gradient("L").resize(image.size))
    whole = image.resize((500, 375), Image.Resampling.LANCZOS)
    picture = prepare(image, max_side=500)
    if mode.endswith("A"):
        assert difference(whole.getchannel("A"), picture.alpha or whole) == 0
        whole = Image.composite(whole.convert("RGB"), Image.new("RGB", whole.size, "white"), whole.getchannel("A"))
    assert difference(picture.rgb, whole.convert("RGB")) == 0


def ramp16() -> NDArray[np.uint16]:
    return np.linspace(0, 65535, 64 * 32).round().astype(np.uint16).reshape(32, 64)


def rounded(values: NDArray[np.uint16]) -> NDArray[np.int64]:
    return (values.astype(np.int64) * 255 + 32767) // 65535


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(form: str) -> None:
    picture = load(encoded(Image.fromarray(ramp16()), form))
    assert np.array_equal(pixels(picture.rgb), np.repeat(rounded(ramp16())[..., None], 3, axis=-1))


@pytest.mark.parametrize(("mode", "kind"), [("I;16", "<u2"), ("I;16L", "<u2"), ("I;16B", ">u2"), ("I;16N", "=u2")])
def test_16_bit_grey_of_either_byte_order(mode: str, kind: str) -> None:
    image = Image.frombytes(mode, (64, 32), ramp16().astype(kind).tobytes())
    assert np.array_equal(pixels(prepare(image, max_side=1024).rgb)[..., 0], rounded(ramp16()))


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_16_bit_colour_and_alpha(colour: int) -> None:
    channels = {2: 3, 4: 2, 6: 4}[colour]
    ramp = np.stack([np.roll(ramp16(), k, axis=0) for k in range(channels)], axis=-1)
    picture = load(png((64, 32), 16, colour, ramp.astype(">u2").tobytes()))
    eight = rounded(ramp)
    if colour == 2:
        assert picture.alpha is None
        assert np.abs(pixels(picture.rgb) - eight).max() <= 1
    else:
        alpha = eight[..., -1:]
        assert np.abs(pixels(picture.alpha) - alpha[..., 0]).max() <= 1
        on_white = (eight[..., :-1] * alpha + 255 * (255 - alpha)) / 255
        assert np.abs(pixels(picture.rgb) - on_white).max() <= 3


def test_32_bit_grey() -> None:
    ramp = ramp16().astype(np.float32)
    stretched = np.linspace(0, 255, 64 * 32).reshape(32, 64)
    for image in (
        Image.fromarray(ramp / 65535),
        Image.fromarray(ramp * 7 - 1000),
        Image.fromarray(ramp.astype(np.int32) * 30_000 - 10**9),
    ):
        picture = load(encoded(image, "TIFF"))
        assert np.abs(pixels(picture.rgb)[..., 0] - stretched).max() <= 1
    half = Image.fromarray(np.full((16, 16), 0.5, np.float32))  # floats within 0 to 1 are not stretched
    assert np.all(pixels(prepare(half, max_side=1024).rgb) == 128)
    odd = np.full((16, 16), np.nan, np.float32)
    assert np.all(pixels(prepare(Image.fromarray(odd), max_side=1024).rgb) == 0)
    odd[0, :3] = 5, np.inf, -np.inf
    assert prepare(Image.fromarray(odd), max_side=1024).rgb.size == (16, 16)


def test_grey_one_bit_and_palette() -> None:
    image = photo(64, 48)
    for other in (image.convert("L"), image.convert("1"), image.quantize(), image.convert("L").quantize(16)):
        for form in ("PNG", "GIF", "BMP", "TIFF"):
            picture = load(encoded(other, form))
            assert picture.alpha is None
            assert difference(picture.rgb, other.convert("RGB")) == 0, (other.mode, form)


def test_cmyk_jpeg() -> None:
    image = photo(64, 48)
    picture = load(encoded(image.convert("CMYK"), quality=95))  # inverted, with Adobe's marker
    assert difference(picture.rgb, image) < 8
    assert load(encoded(image.convert("CMYK"), "TIFF")).rgb.tobytes() == image.convert("CMYK").convert("RGB").tobytes()


def test_ycbcr_and_lab_tiff() -> None:
    image = photo(64, 48)
    assert difference(load(encoded(image.convert("YCbCr"), "TIFF")).rgb, image) < 2
    assert difference(load(encoded(image.convert("LAB"), "TIFF")).rgb, image) < 4


@pytest.mark.parametrize(
    "mode",
    "1 L LA La P PA RGB RGBX RGBA RGBa CMYK YCbCr LAB HSV I F I;16 I;16L I;16B I;16N".split(),  # noqa: SIM905
)
def test_any_mode_can_be_prepared(mode: str) -> None:
    picture = prepare(Image.new(mode, (64, 48)), max_side=32)
    assert (picture.rgb.mode, picture.rgb.size, picture.original_size) == ("RGB", (32, 24), (64, 48))


def test_prepare_leaves_the_image_alone() -> None:
    for image in (photo(64, 48).quantize(), photo(64, 48).convert("RGBA"), photo(64, 48)):
        image.info["exif"] = oriented(6)
        before = image.tobytes(), image.mode, image.size, dict(image.info)
        picture = prepare(image, max_side=32)
        assert picture.original_size == (48, 64)
        assert (image.tobytes(), image.mode, image.size, dict(image.info)) == before
        assert picture.rgb.info == {}
    with Image.open(io.BytesIO(files()["JPEG"][:-200])) as cut, pytest.raises(BadImage):
        prepare(cut, max_side=32)


# ---- Transparency ----------------------------------------------------------------------------------------------------


def test_alpha_is_kept_and_composited_on_white() -> None:
    image = photo(64, 48).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((64, 48)))
    for form in ("PNG", "WEBP", "TIFF"):
        picture = load(encoded(image, form, **({"lossless": True} if form == "WEBP" else {})))
        assert difference(picture.alpha or picture.rgb, image.getchannel("A")) == 0
        white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        assert np.abs(pixels(picture.rgb) - pixels(white)).max() <= 3  # premultiplied on the way


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
    red, green = pixels(picture.rgb)[..., 0], pixels(picture.rgb)[..., 1]
    assert np.abs(red - green).max() <= 2


def test_palettes_with_transparency() -> None:
    image = photo(64, 48).quantize(64)
    index, alphas = np.asarray(image), np.arange(64, dtype=np.uint8) * 4
    for transparency, expected in ((bytes(alphas), alphas[index]), (7, np.where(index == 7, 0, 255))):
        picture = load(encoded(image, "PNG", transparency=transparency))
        assert np.array_equal(pixels(picture.alpha), expected)
        assert np.all(pixels(picture.rgb)[expected == 0] == 255)
    picture = load(encoded(image, "GIF", transparency=7))
    assert picture.alpha is not None
    assert np.all(pixels(picture.rgb)[pixels(picture.alpha) == 0] == 255)


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


# ---- Animations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "frames"),
    [("GIF, animated", 3), ("PNG, animated", 3), ("WEBP, animated", 3), ("TIFF, pages", 3), ("MPO", 1), ("GIF", 1)],
)
def test_the_first_frame_is_used_and_all_are_counted(kind: str, frames: int) -> None:
    picture = load(files()[kind])
    assert picture.frames == frames
    assert difference(picture.rgb, photo(72, 48)) < 12
    form = kind.partition(",")[0].replace("MPO", "JPEG")
    assert inspect(files()[kind], LIMITS) == Header(form, (72, 48), frames)


@needs_avif
def test_an_animated_avif() -> None:
    assert load(animated("AVIF")).frames == 3


def test_a_still_before_an_animated_png_is_used() -> None:
    picture = load(animated("PNG", default_image=True))
    assert picture.frames == 3
    assert difference(picture.rgb, photo(72, 48)) == 0


# ---- Large files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_side", [1000, 700, 512, 250])
def test_a_large_jpeg_is_as_if_decoded_whole(max_side: int) -> None:
    whole = Image.fromarray(np.tile(np.asarray(photo(503, 377)), (8, 8, 1)))
    data = encoded(whole, quality=95)
    picture = load(data, max_side)
    assert picture.original_size == whole.size == (4024, 3016)
    with Image.open(io.BytesIO(data)) as full:
        expected = full.resize(picture.rgb.size, Image.Resampling.LANCZOS)
    assert difference(picture.rgb, expected) < 1
    assert np.percentile(np.abs(pixels(picture.rgb) - pixels(expected)), 99.9) <= 8


MEMORY = """
import io, re, resource, sys
from pathlib import Path
import numpy as np
from PIL import Image
from animegan import images
from animegan.errors import OutOfMemory

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def size():
    return int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

limits = images.Limits(1 << 30, 10**8)
small = io.BytesIO()
Image.new("RGBA", (64, 64)).save(small, "PNG")
images.decode(small.getvalue(), max_side=64, limits=limits)
for path in sys.argv[1:]:
    data, before = Path(path).read_bytes(), peak()
    images.decode(data, max_side=1024, limits=limits)
    print(peak() - before)
resource.setrlimit(resource.RLIMIT_AS, (size() + (32 << 20),) * 2)
try:
    images.decode(data, max_side=1024, limits=limits)
except OutOfMemory as error:
    print(error.detail)
assert "torch" not in sys.modules
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_near_one_decoded_copy(tmp_path: Path) -> None:
    jpeg, png_file = tmp_path / "48_megapixels.jpg", tmp_path / "16_megapixels.png"
    large = Image.linear_gradient("L").resize((8000, 6000))
    Image.merge("RGB", (large, large, large)).save(jpeg)  # 192 MB in Pillow
    large = large.crop((0, 0, 4000, 4000))
    Image.merge("RGBA", (large, large, large, large)).save(png_file, compress_level=1)  # 64 MB
    command = [sys.executable, "-c", MEMORY, str(jpeg), str(png_file)]
    done = subprocess.run(command, env={"PYTHONPATH": str(HANDLER)}, check=True, capture_output=True, text=True)
    jpeg_mb, png_more_mb, out_of_memory = done.stdout.splitlines()
    assert float(jpeg_mb) < 96
    assert float(jpeg_mb) + float(png_more_mb) < 120
    assert out_of_memory.startswith("Not enough memory to decode the PNG now.")


def test_out_of_memory_can_be_retried() -> None:
    assert OutOfMemory("").problem()["retryable"] is True


# ---- Colour profiles -------------------------------------------------------------------------------------------------


def icc(space: bytes, connection: bytes, **tags: bytes) -> bytes:
    """An ICC 2.4 input profile by hand."""
    tags = {"desc": b"desc" + struct.pack(">4xI", 5) + b"test\0" + b"\0" * 78} | tags
    tags["wtpt"] = b"XYZ " + struct.pack(">4x3i", 63190, 65536, 54061)  # D50
    table, body, at = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        padded = data + b"\0" * (-len(data) % 4)
        table += struct.pack(">4sII", name.encode(), at + len(body), len(data))
        body += padded
    date = struct.pack(">6H", 2024, 1, 1, 0, 0, 0)
    head = struct.pack(">I4xI4s4s4s", at + len(body), 0x02400000, b"scnr", space, connection) + date + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


PRIMARIES = {  # of sRGB, adapted to D50
    "rXYZ": b"XYZ " + struct.pack(">4x3i", 28578, 14581, 912),
    "gXYZ": b"XYZ " + struct.pack(">4x3i", 25240, 46981, 6362),
    "bXYZ": b"XYZ " + struct.pack(">4x3i", 9372, 3974, 46787),
}


def gamma(value: float) -> bytes:
    return b"curv" + struct.pack(">4xIH", 1, round(value * 256))


def swapped_primaries() -> bytes:
    """sRGB with red for blue."""
    return srgb_profile().replace(b"rXYZ", b"swap").replace(b"bXYZ", b"rXYZ").replace(b"swap", b"bXYZ")


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


# ---- Encoding --------------------------------------------------------------------------------------------------------


def reopened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


ALPHA = Image.linear_gradient("L").resize((64, 48))


@pytest.mark.parametrize(
    ("form", "alpha", "content_type", "mode"),
    [
        ("auto", None, "image/jpeg", "RGB"),
        ("auto", ALPHA, "image/png", "RGBA"),
        ("jpeg", None, "image/jpeg", "RGB"),
        ("jpeg", ALPHA, "image/jpeg", "RGB"),
        ("png", None, "image/png", "RGB"),
        ("png", ALPHA, "image/png", "RGBA"),
        ("webp", None, "image/webp", "RGB"),
        ("webp", ALPHA, "image/webp", "RGBA"),
    ],
)
def test_formats_and_alpha(form: Format, alpha: Image.Image | None, content_type: str, mode: str) -> None:
    rgb = photo(64, 48)
    before = rgb.tobytes()
    file = encode(rgb, alpha, format=form, quality=92)
    image = reopened(file.data)
    assert (file.content_type, image.mode, image.size) == (content_type, mode, (64, 48))
    assert image.get_format_mimetype() == content_type  # type: ignore[attr-defined]
    if content_type == "image/png":
        assert image.convert("RGB").tobytes() == before
    else:
        assert np.abs(pixels(image.convert("RGB")) - pixels(rgb))[pixels(ALPHA) > 200].mean() < 9
    if mode == "RGBA":
        assert difference(image.getchannel("A"), ALPHA) == 0
    assert (rgb.mode, rgb.tobytes()) == ("RGB", before)


@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_no_metadata_leaks(form: Format, alpha: Image.Image | None) -> None:
    source = encoded(photo(64, 48), exif=oriented(1), comment="secret", icc_profile=swapped_primaries(), dpi=(7, 7))
    assert source.count(b"secret") == 2
    picture = load(source)
    leaky = photo(64, 48)
    leaky.info.update(exif=b"Exif\0\0secret", comment=b"secret", icc_profile=b"secret", xmp=b"secret", Author="secret")
    leaky.info.update(dpi=(7, 7), transparency=(0, 0, 0))
    for rgb in (picture.rgb, leaky):
        data = encode(rgb, alpha, format=form, quality=92).data
        for trace in (
            b"secret",
            b"Exif",
            b"ICC_PROFILE",
            b"ICCP",
            b"iCCP",
            b"eXIf",
            b"tEXt",
            b"pHYs",
            b"tRNS",
            b"XMP ",
        ):
            assert trace not in data
        assert not {"exif", "icc_profile", "comment", "xmp", "dpi"} & set(reopened(data).info)
    assert leaky.info["comment"] == b"secret"  # the caller's own is left alone


def test_chroma_is_kept_whole_from_quality_90() -> None:
    def sampling(quality: int) -> tuple[int, int]:
        layer = reopened(encode(photo(64, 48), None, format="jpeg", quality=quality).data).layer[0]  # type: ignore[attr-defined]
        return int(layer[1]), int(layer[2])

    assert (sampling(89), sampling(90)) == ((2, 2), (1, 1))


@pytest.mark.parametrize("quality", [1, 50, 90, 94, 95, 100])
def test_noise_can_be_encoded(quality: int) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8))
    for form in ("jpeg", "webp"):
        assert reopened(encode(noise, None, format=form, quality=quality).data).size == (512, 512)


def test_quality_matters() -> None:
    for form in ("jpeg", "webp"):
        sizes = [len(encode(photo(256, 192), None, format=form, quality=q).data) for q in (20, 60, 95)]
        assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(("form", "side"), [("webp", 16_384), ("jpeg", 65_501)])
def test_a_side_that_the_format_cannot_hold(form: Format, side: int) -> None:
    wide = Image.new("RGB", (side, 16))
    with pytest.raises(BadOption, match=rf"{side}×16 px.*{form.upper()}.*format=png"):
        encode(wide, None, format=form, quality=92)
    assert encode(wide, None, format="png", quality=92).content_type == "image/png"


def test_every_file_here_is_a_whole_picture() -> None:
    """What the tests above damage is sound to begin with."""
    readers: list[Callable[[bytes], Any]] = [load, lambda data: inspect(data, LIMITS)]
    for data in files().values():
        for read in readers:
            read(data)
