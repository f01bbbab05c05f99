"""Videos in Matroska files, MKV and WebM (RFC 8794, RFC 9559). Imports no torch and no decoder."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from animegan.errors import BadImage
from animegan.picture.formats.films import Track, check_end, header_of
from animegan.picture.formats.header import Bytes, Header
from animegan.picture.sizes import Size

MOST_ELEMENTS = 1 << 20  # two hours of pictures and sound have half as many


class Id(IntEnum):
    """The elements that are read."""

    SEGMENT = 0x18538067
    INFO = 0x1549A966
    SCALE = 0x2AD7B1
    LENGTH = 0x4489
    TRACKS = 0x1654AE6B
    ENTRY = 0xAE
    NUMBER = 0xD7
    KIND = 0x83
    CODEC = 0x86
    VIDEO = 0xE0
    WIDTH = 0xB0
    HEIGHT = 0xBA
    SHOWN_WIDTH = 0x54B0
    SHOWN_HEIGHT = 0x54BA
    UNIT = 0x54B2
    PROJECTION = 0x7670
    ROLL = 0x7675
    CLUSTER = 0x1F43B675
    TIME = 0xE7
    SIMPLE_BLOCK = 0xA3
    GROUP = 0xA0
    BLOCK = 0xA1


# Elements whose own elements are read.
INSIDE = frozenset({Id.SEGMENT, Id.CLUSTER, Id.GROUP, Id.TRACKS, Id.ENTRY, Id.VIDEO, Id.INFO, Id.PROJECTION})
PICTURES = 1  # as a track's kind
PIXELS = 0  # as the unit of the size at which it is shown
MILLISECOND_NS = 1_000_000
TURNS = {0: 1, 90: 8, 180: 3, 270: 6, -90: 6, -180: 3}  # a projection's roll in degrees, counter-clockwise


@dataclass
class _Entry:
    """A track as its elements say."""

    number: int = 0
    kind: int = 0
    codec: str = ""
    coded: Size = (0, 0)
    display: Size = (0, 0)
    unit: int = PIXELS
    roll: float = 0.0

    @property
    def aspect(self) -> float:
        """Return a pixel's width as a share of its height."""
        if self.unit != PIXELS or not all((*self.coded, *self.display)):
            return 1.0
        return self.display[0] * self.coded[1] / (self.display[1] * self.coded[0])


def header(data: Bytes) -> Header:
    """Return the header of the first track of pictures. Raise `UnsupportedImage` or `BadImage`."""
    entries: list[_Entry] = []
    blocks: dict[int, int] = {}
    scale_ns, length, cluster, last = MILLISECOND_NS, 0.0, 0, 0
    for kind, start, end in _elements(data):
        match kind:
            case Id.ENTRY:
                entries.append(_Entry())
            case Id.SIMPLE_BLOCK | Id.BLOCK:
                number, at = _variable(data, start)
                blocks[number] = blocks.get(number, 0) + 1
                last = max(last, cluster + struct.unpack_from(">h", data, at)[0])
            case Id.TIME:
                cluster = _integer(data, start, end)
            case Id.SCALE:
                scale_ns = _integer(data, start, end)
            case Id.LENGTH:
                length = _float(data, start, end)
            case _ if entries:
                _read_entry(entries[-1], data, kind, start, end)
    entry = next((entry for entry in entries if entry.kind == PICTURES), None)
    if entry is None:
        return header_of("MATROSKA", None)
    seconds = (length if 0 < length < 2**53 else last) * scale_ns / 1e9
    orientation = TURNS.get(round(entry.roll), 1) if -360 <= entry.roll <= 360 else 1
    frames = blocks.get(entry.number, 0)
    track = Track(entry.codec, entry.coded, frames, seconds, entry.aspect, orientation)
    return header_of("MATROSKA", track)


def _read_entry(entry: _Entry, data: Bytes, kind: int, start: int, end: int) -> None:
    match kind:
        case Id.NUMBER:
            entry.number = _integer(data, start, end)
        case Id.KIND:
            entry.kind = _integer(data, start, end)
        case Id.CODEC:
            entry.codec = bytes(data[start : min(end, start + 40)]).rstrip(b"\0").decode("latin-1")
        case Id.WIDTH:
            entry.coded = (_integer(data, start, end), entry.coded[1])
        case Id.HEIGHT:
            entry.coded = (entry.coded[0], _integer(data, start, end))
        case Id.SHOWN_WIDTH:
            entry.display = (_integer(data, start, end), entry.display[1])
        case Id.SHOWN_HEIGHT:
            entry.display = (entry.display[0], _integer(data, start, end))
        case Id.UNIT:
            entry.unit = _integer(data, start, end)
        case Id.ROLL:
            entry.roll = _float(data, start, end)


def _elements(data: Bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each element's kind, and where its body begins and ends; of those `INSIDE` the elements follow.

    Raise `BadImage` where there are too many.
    """
    at, end = 0, len(data)
    for _ in range(MOST_ELEMENTS):
        if at + 2 > end:
            return
        length = 9 - data[at].bit_length()
        if length > 4:
            return  # no element begins here: what follows is damaged
        kind = int.from_bytes(data[at : at + length])
        at += length
        if at >= end or not data[at]:
            return
        width = 9 - data[at].bit_length()
        unknown = (1 << 7 * width) - 1
        size = int.from_bytes(data[at : at + width]) & unknown
        at += width
        if kind == Id.SEGMENT and size != unknown:
            check_end(at + size, end)
        yield kind, at, min(end, at + size)
        if kind not in INSIDE:
            at += size
    raise BadImage(f"The file has more than {MOST_ELEMENTS:,} elements. Save the video anew.")


def _variable(data: Bytes, at: int) -> tuple[int, int]:
    """Return a number of variable width, and where it ends."""
    if not data[at]:
        raise EOFError
    width = 9 - data[at].bit_length()
    return int.from_bytes(data[at : at + width]) & (1 << 7 * width) - 1, at + width


def _integer(data: Bytes, start: int, end: int) -> int:
    return int.from_bytes(data[start : min(end, start + 8)])


def _float(data: Bytes, start: int, end: int) -> float:
    form = {4: ">f", 8: ">d"}.get(end - start)
    return float(struct.unpack_from(form, data, start)[0]) if form else 0.0
