"""Which page of a TIFF is the picture."""

from __future__ import annotations

import struct

import pytest

from harness.files.picture_files import difference, load, tiff
from harness.pictures import encoded, photo


def pages(*kinds: int) -> bytes:
    """A page of each NewSubfileType, the first of 32×24 px, the others of 96×64."""
    sizes = [(32, 24), *[(96, 64)] * (len(kinds) - 1)]
    first, *others = (photo(96, 64, seed).resize(size) for seed, size in enumerate(sizes))
    for image, kind in zip((first, *others), kinds, strict=True):
        image.encoderinfo = {"tiffinfo": {254: kind}}
    return encoded(first, "TIFF", save_all=True, append_images=others, tiffinfo={254: kinds[0]})


@pytest.mark.parametrize(("kinds", "page"), [((1, 0), 1), ((0, 0), 0), ((1, 4, 0), 2), ((1, 1), 0)])
def test_the_first_page_that_is_neither_a_preview_nor_a_mask_is_drawn(kinds: tuple[int, ...], page: int) -> None:
    picture = load(pages(*kinds))
    expected = photo(96, 64, page).resize((96, 64) if page else (32, 24))
    assert picture.original_size == expected.size
    assert picture.frames == len(kinds)
    assert difference(picture.rgb, expected) == 0


@pytest.mark.parametrize("big", [False, True])
def test_a_main_page_that_the_preview_points_at_is_drawn(big: bool) -> None:
    """SubIFDs (tag 330): the preview is first, and the picture inside it."""
    whole = encoded(photo(96, 64), "TIFF", big_tiff=big)
    preview = encoded(photo(96, 64).resize((32, 24)), "TIFF", big_tiff=big, tiffinfo={254: 1, 330: 0x7FFFFFFF})
    start = len(preview) + len(preview) % 2
    form = "<Q" if big else "<I"
    at = 8 if big else 4
    data = bytearray(preview.ljust(start, b"\0"))
    (main,) = struct.unpack_from(form, whole, at)
    page = _move_directory(whole, main, start, big)
    place = data.index(struct.pack("<I", 0x7FFFFFFF))
    data[place : place + 4] = struct.pack("<I", start + main)
    picture = load(bytes(data) + page)
    assert picture.original_size == (96, 64)
    assert difference(picture.rgb, photo(96, 64)) == 0


def _move_directory(data: bytes, directory: int, by: int, big: bool) -> bytes:
    """A TIFF's bytes with what its directory points at moved."""
    count, entry, value = ("<Q", 20, 12) if big else ("<H", 12, 8)
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 16: 8}
    out = bytearray(data)
    (tags,) = struct.unpack_from(count, data, directory)
    for at in range(directory + struct.calcsize(count), directory + struct.calcsize(count) + entry * tags, entry):
        tag, kind = struct.unpack_from("<HH", data, at)
        number = struct.unpack_from("<Q" if big else "<I", data, at + 4)[0]
        if sizes[kind] * number > entry - value or tag == 273:
            form = {3: "<H", 4: "<I", 16: "<Q"}[kind] if tag == 273 else ("<Q" if big else "<I")
            struct.pack_into(form, out, at + value, struct.unpack_from(form, data, at + value)[0] + by)
    return bytes(out)


def test_a_page_that_points_outside_the_file_is_left_out() -> None:
    assert load(tiff((330, 4, 1, 2**31))).rgb.size == (16, 16)
    assert load(tiff((330, 4, 2**31, 8))).rgb.size == (16, 16)
