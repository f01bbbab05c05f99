"""HEIC: the primary picture, upright, whatever else the file holds; what is out of proportion is refused."""

from __future__ import annotations

import struct
import subprocess
import sys

import pytest
from PIL import Image

from animegan.errors import BadImage, TooLarge, UnsupportedImage
from animegan.picture.formats import heif
from animegan.picture.images import Header, Limits, inspect
from harness.files.picture_files import (
    HANDLER,
    LIMITS,
    STORED_AS,
    difference,
    heic,
    heic_as_a_phone,
    load,
    orientation_exif,
    swapped_primaries,
)
from harness.pictures import photo


@pytest.mark.parametrize("orientation", STORED_AS)
def test_a_still_is_upright(orientation: int) -> None:
    upright, turn = photo(96, 64), STORED_AS[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    data = heic(stored, exif=orientation_exif(orientation), quality=95)
    picture = load(data)
    assert picture.original_size == picture.rgb.size == inspect(data, LIMITS).size == (96, 64)
    assert difference(picture.rgb, upright) < 6


@pytest.mark.parametrize("primary", [0, 2])
def test_of_a_burst_the_primary_picture_is_used(primary: int) -> None:
    shots = [photo(72, 48, seed) for seed in range(3)]
    data = heic(*shots, primary=primary)
    assert inspect(data, LIMITS) == Header("HEIF", (72, 48), 3)
    picture = load(data)
    assert picture.frames == 3
    assert difference(picture.rgb, shots[primary]) < 8


def test_thumbnails_are_no_frames() -> None:
    data = heic(photo(96, 64), thumbnails=[32])
    assert b"thmb" in data
    assert load(data).frames == 1


def test_alpha_and_profile_are_kept() -> None:
    image = photo(64, 48).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((64, 48)))
    picture = load(heic(image, quality=-1, chroma="444"))
    assert difference(picture.alpha or picture.rgb, image.getchannel("A")) < 1
    plain = load(heic(photo(64, 48), chroma="444")).rgb
    red, green, blue = plain.split()
    turned = load(heic(photo(64, 48), chroma="444", icc_profile=swapped_primaries(), icc_profile_type="prof"))
    assert difference(turned.rgb, Image.merge("RGB", (blue, green, red))) < 1.5


@pytest.mark.parametrize("turns", range(4))
def test_a_phones_picture_of_tiles_with_a_gain_map_beside_it(turns: int) -> None:
    stored = photo(96, 64).resize((384, 256))
    data = heic_as_a_phone(stored, extra=(192, 128), turns=turns)
    upright = stored.rotate(90 * turns, expand=True)  # both count anticlockwise
    assert inspect(data, LIMITS) == Header("HEIF", upright.size, 1)
    picture = load(data)
    assert (picture.rgb.size, picture.alpha, picture.frames) == (upright.size, None, 1)
    assert difference(picture.rgb, upright) < 3


def test_tiles_out_of_proportion_are_refused() -> None:
    data = heic_as_a_phone(photo(96, 64).resize((384, 256)))
    tile = struct.pack(">II", 128, 128)
    assert data.count(tile) == 1
    with pytest.raises(BadImage, match="tiles are larger"):
        inspect(data.replace(tile, struct.pack(">II", 8192, 8192)), LIMITS)


@pytest.mark.parametrize("brand", [b"mif1", b"heix", b"msf1"])
def test_other_brands(brand: bytes) -> None:
    data = heic(photo(72, 48))
    assert load(data[:8] + brand + data[12:]).rgb.size == (72, 48)


def test_a_large_picture_is_refused_by_its_header() -> None:
    with pytest.raises(TooLarge, match="72×48 px, 3,456 pixels, over the limit of 3,000"):
        load(heic(photo(72, 48)), limits=Limits(10**6, 3000))
    data = heic(photo(200, 120)).replace(struct.pack(">II", 200, 120), struct.pack(">II", 60_000, 60_000))
    with pytest.raises(TooLarge):
        inspect(data, LIMITS)


@pytest.mark.slow
def test_a_small_size_before_a_large_stream_is_refused() -> None:
    """What the decoder would allocate is in the stream's own header."""
    data = heic(Image.new("RGB", (2304, 2304)), quality=10)
    data = data.replace(struct.pack(">II", 2304, 2304), struct.pack(">II", 64, 64))
    with pytest.raises(BadImage, match="tiles are larger"):
        inspect(data, LIMITS)


def test_the_size_in_the_stream() -> None:
    data = heic(photo(200, 120))
    at = data.index(b"hvcC") + 4
    width, height = heif._coded_size(data[at : at + int.from_bytes(data[at - 8 : at - 4]) - 8])
    assert 200 <= width <= 264
    assert 120 <= height <= 184


def test_a_film_and_another_coding_are_named() -> None:
    film = b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc" + b"\0\0\0\x08moov"
    with pytest.raises(UnsupportedImage, match="HEIF film"):
        load(film)
    with pytest.raises(UnsupportedImage, match="isn't coded as HEVC"):
        load(heic(photo(72, 48)).replace(b"hvc1", b"vvc1"))
    with pytest.raises(BadImage):
        load(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


def test_boxes_and_items_have_bounds() -> None:
    data = heic(photo(72, 48))
    with pytest.raises(BadImage, match="20,000 boxes"):
        load(data[:28] + b"\0\0\0\x08free" * 20_001 + data[28:])


def test_the_reader_needs_no_torch() -> None:
    code = "import sys; import animegan.picture.headers; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(HANDLER)}, check=True)
