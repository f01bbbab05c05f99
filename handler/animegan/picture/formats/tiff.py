"""TIFF files (revision 6.0, and BigTIFF): which page is the picture, and what a raw file is. Imports no torch."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from animegan.errors import BadImage, UnsupportedImage
from animegan.picture.formats.header import Bytes, Header
from animegan.picture.formats.refused import RAW
from animegan.picture.sizes import Size

MOST_PAGES = 10_000
MOST_TAGS = 4096  # in a page's directory
MOST_STRIPS = 100_000
MOST_NESTED = 64  # directories that a page points at
TILE_PX = 1 << 22  # a tile may be larger than its picture up to this many pixels
SUBFILE, WIDTH, LENGTH, PHOTOMETRIC, STRIPS, NESTED = 254, 256, 257, 262, 273, 330
TILE_WIDTH, TILE_LENGTH, TILES, DNG_VERSION = 322, 323, 324, 50706
BITS, ORIENTATION, SAMPLES, PLANAR, PREDICTOR, EXTRA, SAMPLE_FORM = 258, 274, 277, 284, 317, 338, 339
# Of these the first number is read.
SINGLE = frozenset({SUBFILE, PHOTOMETRIC, ORIENTATION, SAMPLES, PLANAR, PREDICTOR, BITS, SAMPLE_FORM, DNG_VERSION})
GREY, RGB, FLOATS, FLOAT_BITS = 1, 2, 3, 32
PRIVATE = 65_000  # a tag that means nothing
FORMS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
REDUCED_OR_MASK = 1 | 4  # of NewSubfileType
SENSOR = frozenset({32803, 34892})  # photometric interpretations: a colour filter array, linear raw


@dataclass(frozen=True)
class _Layout:
    """The layout of a file's numbers and directories."""

    order: str
    big: bool

    @property
    def offset(self) -> str:
        return "Q" if self.big else "I"

    @property
    def count(self) -> str:
        return "Q" if self.big else "H"

    @property
    def entry(self) -> str:
        return "HHQ8s" if self.big else "HHI4s"

    def unpack(self, form: str, data: Bytes | bytes, at: int) -> tuple[Any, ...]:
        return struct.unpack_from(self.order + form, data, at)


@dataclass
class _Page:
    """A page's directory: where it is, its single numbers, and where the directories start that it points at."""

    at: int
    values: dict[int, int] = field(default_factory=dict)
    nested: tuple[int, ...] = ()

    @property
    def size(self) -> Size:
        return self.values[WIDTH], self.values[LENGTH]

    @property
    def is_main(self) -> bool:
        return not self.values.get(SUBFILE, 0) & REDUCED_OR_MASK and WIDTH in self.values and LENGTH in self.values

    @property
    def interleaved(self) -> int:
        """Floats in a pixel, where it is coloured and made of them; else 1."""
        coloured_floats = {BITS: FLOAT_BITS, SAMPLE_FORM: FLOATS, PHOTOMETRIC: RGB}
        samples = self.values.get(SAMPLES, 1)
        return samples if samples in (3, 4) and coloured_floats.items() <= self.values.items() else 1


def header(data: Bytes) -> Header:
    """The header of a TIFF's main page. Raises `UnsupportedImage` for a camera's raw file, `BadImage` for odd tiles."""
    page, count = _main_page(data)
    width, height = page.size
    if page.values.get(TILE_WIDTH, 0) * page.values.get(TILE_LENGTH, 0) > max(width * height, TILE_PX):
        raise BadImage("The TIFF's tiles are larger than its picture. Save it anew.")
    if page.interleaved > 1 and (page.values.get(PREDICTOR, 1) != 1 or page.values.get(PLANAR, 1) != 1):
        raise UnsupportedImage(
            "A TIFF of floating-point colours is read without a predictor and with its colours side by side. "
            "Save it so, or as PNG.",
            kind="tiff",
        )
    turn = page.values.get(ORIENTATION, 1) if page.interleaved > 1 else 1
    return Header("TIFF", (width, height), count, interleaved=page.interleaved, orientation=turn)


def essence(data: bytes, header: Header) -> bytes:
    """The TIFF with its main page first; colours of floats as a grey picture that is as many times as wide."""
    layout = _layout(data)
    at = 8 if layout.big else 4
    page, _ = _main_page(data)
    first = struct.pack(layout.order + layout.offset, page.at)
    if data[at : at + len(first)] != first:
        data = data[:at] + first + data[at + len(first) :]
    return data if header.interleaved == 1 else _as_grey(data, layout, page, header.interleaved)


def _as_grey(data: bytes, layout: _Layout, page: _Page, samples: int) -> bytes:
    """The TIFF whose page has one float a pixel and is `samples` times as wide: Pillow reads no other floats.

    The bytes of a row are the same; each tag keeps its place.
    """
    entries = {SAMPLES: 1, BITS: FLOAT_BITS, SAMPLE_FORM: FLOATS, PHOTOMETRIC: GREY, ORIENTATION: 1}
    entries |= {tag: samples * page.values[tag] for tag in (WIDTH, TILE_WIDTH) if tag in page.values}
    target = bytearray(data)
    (tags,) = layout.unpack(layout.count, data, page.at)
    start, step = page.at + struct.calcsize(f"={layout.count}"), struct.calcsize(f"={layout.entry}")
    for where in range(start, start + tags * step, step):
        tag, *_ = layout.unpack(layout.entry, data, where)
        if tag in entries:
            value = struct.pack(f"{layout.order}I", entries[tag]).ljust(8 if layout.big else 4, b"\0")
            struct.pack_into(layout.order + layout.entry, target, where, tag, 4, 1, value)
        elif tag == EXTRA:
            struct.pack_into(f"{layout.order}H", target, where, PRIVATE)
    return bytes(target)


def _main_page(data: Bytes) -> tuple[_Page, int]:
    """The first page that is neither a smaller copy nor a mask, else the first; and how many pages there are."""
    layout = _layout(data)
    (start,) = layout.unpack(layout.offset, data, 8 if layout.big else 4)
    first = _page(data, layout, start)
    pages = [first]
    for at in _others(data, layout, start):
        with suppress(struct.error, OverflowError, IndexError, KeyError, BadImage):
            pages.append(_page(data, layout, at))
    nested = []
    for at in [at for page in pages for at in page.nested][:MOST_NESTED]:
        with suppress(struct.error, OverflowError, IndexError, KeyError, BadImage):
            nested.append(_page(data, layout, at))
    every = [*pages, *nested]
    if DNG_VERSION in first.values or any(page.values.get(PHOTOMETRIC) in SENSOR for page in every):
        raise UnsupportedImage(RAW.detail, kind=RAW.id)
    return next((page for page in every if page.is_main), first), len(pages)


def _layout(data: Bytes) -> _Layout:
    return _Layout("<" if data[:2] == b"II" else ">", data[2] == 43)


def _others(data: Bytes, layout: _Layout, first: int) -> Iterator[int]:
    """Return the offsets of the pages after the first one. A page that points back at another ends them."""
    offsets: set[int] = {first}
    at = first
    with suppress(struct.error, OverflowError, IndexError):
        while len(offsets) < MOST_PAGES:
            (tags,) = layout.unpack(layout.count, data, at)
            head = struct.calcsize(f"={layout.count}")
            (at,) = layout.unpack(layout.offset, data, at + head + tags * struct.calcsize(f"={layout.entry}"))
            if not at or at in offsets:
                return
            offsets.add(at)
            yield at


def _page(data: Bytes, layout: _Layout, at: int) -> _Page:
    (tags,) = layout.unpack(layout.count, data, at)
    if tags > MOST_TAGS:
        raise BadImage(f"A page of the TIFF has {tags:,} tags, more than {MOST_TAGS:,}. Save it anew.")
    page = _Page(at)
    start, step = at + struct.calcsize(f"={layout.count}"), struct.calcsize(f"={layout.entry}")
    for where in range(start, start + tags * step, step):
        tag, kind, count, value = layout.unpack(layout.entry, data, where)
        if tag in (STRIPS, TILES) and count > MOST_STRIPS:
            raise BadImage(f"The TIFF has {count:,} strips, more than {MOST_STRIPS:,}. Save it anew.")
        if tag in (WIDTH, LENGTH, TILE_WIDTH, TILE_LENGTH):
            page.values.setdefault(tag, layout.unpack({3: "H", 4: "I", 16: "Q"}[kind], value, 0)[0])
        elif tag in SINGLE and kind in FORMS and count:
            inside = count * struct.calcsize(f"={FORMS[kind]}") <= len(value)
            place = (value, 0) if inside else (data, *layout.unpack(layout.offset, value, 0))
            page.values.setdefault(tag, layout.unpack(FORMS[kind], *place)[0])
        elif tag == NESTED and kind in FORMS and 0 < count <= MOST_NESTED:
            form = f"{count}{FORMS[kind]}"
            inside = struct.calcsize(f"={form}") <= len(value)
            page.nested = layout.unpack(
                form, *((value, 0) if inside else (data, *layout.unpack(layout.offset, value, 0)))
            )
    return page
