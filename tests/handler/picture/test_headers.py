"""What is refused at the door, from the header alone, and what no file may do."""

from __future__ import annotations

import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from animegan.errors import (
    AnimeganError,
    BadImage,
    PictureTooSmall,
    TooLarge,
    UnsupportedImage,
)
from animegan.picture.formats.jpeg import MOST_MISSING_ROWS
from animegan.picture.formats.others import MOST_CHUNKS
from animegan.picture.formats.png import PASSES
from animegan.picture.images import Limits, inspect
from harness.files.picture_files import (
    LIMITS,
    bmp,
    chunk,
    difference,
    files,
    gif,
    load,
    needs_avif,
    orientation_exif,
    pixels,
    png,
    psnr,
    swapped_primaries,
    tiff,
    webp,
)
from harness.pictures import encoded, photo


def test_no_bytes() -> None:
    with pytest.raises(BadImage, match="empty"):
        load(b"")


@needs_avif
def test_avif_is_read() -> None:
    picture = load(files()["AVIF"])
    assert picture.original_size == (48, 72)
    assert difference(picture.rgb, photo(72, 48).transpose(Image.Transpose.ROTATE_270)) < 8
    mif1 = files()["AVIF"].replace(b"ftypavif", b"ftypmif1", 1)  # as some encoders write it
    assert load(mif1).original_size == (48, 72)


def test_too_many_bytes() -> None:
    with pytest.raises(TooLarge, match=r"1,001 bytes, over the limit of 1,000\. Send a smaller") as excinfo:
        load(b"\xff\xd8\xff" + b"\0" * 998, limits=Limits(1000, 10**6))
    assert excinfo.value.members == {"bytes": 1001, "limit_bytes": 1000}


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
        with pytest.raises(TooLarge) as excinfo:
            read(bomb)
        assert "30000×30000 px, 900,000,000 pixels, over the limit of 64,000,000. Scale it down" in excinfo.value.detail
        assert excinfo.value.members == {"pixels": 900_000_000, "limit_pixels": 64_000_000}


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


def run_length_bmp(width: int, height: int, runs: bytes) -> bytes:
    """An 8-bit BMP of a grey palette, run-length coded."""
    palette = b"".join(bytes([grey, grey, grey, 0]) for grey in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 0, 0)
    offset = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(runs), 0, 0, offset) + header + palette + runs


def test_run_length_coded_bmp() -> None:
    """Runs and single values; rows go from the bottom up."""
    rows = [bytes([20, 7, 0, 4]) + bytes([1, 2, 3, 4]) + b"\0\0", bytes([24, 200, 0, 0])]
    picture = load(run_length_bmp(24, 16, b"".join(rows * 8) + b"\0\1"))
    grey = pixels(picture.rgb)[..., 0]
    assert np.array_equal(grey[15], [7] * 20 + [1, 2, 3, 4])
    assert np.all(grey[14] == 200)


def test_a_large_run_length_coded_bmp_is_refused() -> None:
    with pytest.raises(UnsupportedImage, match="Run-length coded BMP"):
        load(bmp(8000, 8000, compression=1, data=b"\1\0\0\0\0\1"))
    with pytest.raises(UnsupportedImage, match="Run-length coded BMP"):
        load(run_length_bmp(2000, 2000, b"\1\7" * (1 << 20)))


def test_pages_that_point_at_themselves_are_counted_once() -> None:
    assert load(tiff(next_page=8)).frames == 1
    assert load(tiff(next_page=2**32 - 1)).frames == 1


def test_a_webp_of_endless_chunks_is_read_to_a_bound() -> None:
    frame = b"ANMF" + bytes(4)
    body = b"WEBPVP8X" + struct.pack("<I4x6B", 10, 63, 0, 0, 63, 0, 0) + b"junk\0\0\0\0" * MOST_CHUNKS + frame * 3
    data = b"RIFF" + struct.pack("<I", len(body)) + body
    assert inspect(data, Limits(10**8, 10**8)).frames == 1


@pytest.mark.parametrize("kind", files())
def test_a_file_that_is_cut_short_is_refused(kind: str) -> None:
    """Or drawn, where no more than the end of a JPEG or a PNG is missing, and that is told."""
    data = files()[kind]
    whole, form = len(data), kind.partition(",")[0]
    if form == "GIF":
        whole -= 1  # the last byte only says that it ends
    elif form == "MPO":
        whole = data.index(b"\xff\xd9", data.index(b"\xff\xda"))  # where the first picture ends
    elif kind == "TIFF, pages":
        whole = 3 * 72 * 48  # likewise, at least
    elif kind == "HEIF, burst":
        whole = len(data) // 3
    drawings = 0
    for length in [*range(20, whole, max(1, whole // 80)), whole - 1]:
        try:
            picture = load(data[:length])
        except BadImage:
            assert length < whole - 12 or form not in ("JPEG", "MPO", "PNG")
        else:
            drawings += 1
            assert picture.flaws == ("end-missing",)
            rows = 48 - MOST_MISSING_ROWS - 2  # chroma is smoothed into its neighbours
            if kind != "JPEG, progressive":  # which is turned
                assert difference(picture.rgb.crop((0, 0, 72, rows)), load(data).rgb.crop((0, 0, 72, rows))) == 0
    assert bool(drawings) == (form in ("JPEG", "MPO", "PNG", "ICO") and kind != "ICO, bitmap")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 7}])
def test_a_large_jpeg_that_is_cut_short_is_refused(options: dict[str, Any]) -> None:
    data = encoded(photo(640, 480).resize((2560, 1920)), **options)
    assert load(data, max_side=256).rgb.size == (256, 192)  # by draft
    if "progressive" in options:  # all but the last bits of some brightness is there
        assert psnr(load(data[: int(0.9 * len(data))], max_side=1024).rgb, load(data, max_side=1024).rgb) > 40
    for part in (0.2, 0.5) if "progressive" in options else (0.2, 0.5, 0.9):
        with pytest.raises(BadImage, match="cut short") as excinfo:
            load(data[: int(part * len(data))], max_side=256)
        if "progressive" not in options:
            rows = int(excinfo.value.detail.split("about ")[1].split(" of its 1920 rows")[0])
            assert rows / 1920 == pytest.approx(part, abs=0.15)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 7}, {"subsampling": 0}])
@pytest.mark.parametrize("missing", [1, 2, 5])
def test_a_jpeg_without_its_last_bytes_is_drawn(options: dict[str, Any], missing: int) -> None:
    data = encoded(photo(640, 480), quality=90, **options)
    picture = load(data[:-missing])
    assert picture.flaws == ("end-missing",)
    assert difference(picture.rgb, load(data).rgb) < 0.1


@pytest.mark.parametrize("missing", [1, 4, 11, 12, 16, 20])
def test_a_png_without_its_end_is_drawn(missing: int) -> None:
    """Of IEND, of the checksum of IDAT, of that of the pixels."""
    for image in (photo(72, 48), photo(72, 48).quantize(), photo(72, 48).convert("RGBA")):
        data = encoded(image, "PNG")
        picture = load(data[:-missing])
        assert picture.flaws == ("end-missing",)
        assert difference(picture.rgb, image.convert("RGB")) == 0


def test_an_interlaced_png_without_its_end() -> None:
    passes = b"".join(  # of Adam7, 16 by 16, grey
        (b"\0" + b"\x40" * len(range(left, 16, right))) * len(range(top, 16, down)) for left, top, right, down in PASSES
    )
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 1))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(passes, 0))
    assert load(data).rgb.getcolors() == [(256, (64, 64, 64))]
    with pytest.raises(BadImage, match="of its 16 rows"):
        load(data[:-30])


@pytest.mark.parametrize("kind", [b"iCCP", b"eXIf", b"tEXt", b"gAMA", b"tRNS"])
def test_a_png_with_damaged_metadata_is_drawn_without_it(kind: bytes) -> None:
    body = {b"iCCP": b"p\0\0" + zlib.compress(swapped_primaries()), b"eXIf": orientation_exif(6)[6:]}.get(
        kind, b"\0" * 6
    )
    damaged = bytearray(chunk(kind, body))
    damaged[-1] ^= 1
    row = bytes(range(48))
    picture = load(png((16, 16), 8, 2, row * 16, bytes(damaged)))
    assert picture.flaws == ("metadata-damaged",)
    assert picture.rgb.tobytes() == row * 16


def test_damaged_pixels_of_a_png_are_refused() -> None:
    data = bytearray(files()["PNG"])
    data[data.index(b"IDAT") + 2000] ^= 0xFF
    with pytest.raises(BadImage):
        load(bytes(data))


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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
    with pytest.raises(BadImage) as excinfo:
        load(files()["PNG"][:200] + b"\0" * 200)
    assert excinfo.value.detail == "The PNG ends before its pixels begin. Send it again."
    with pytest.raises(BadImage) as excinfo:
        load(files()["JPEG"][:40])
    assert "JPEG is damaged, cut short" in excinfo.value.detail


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
