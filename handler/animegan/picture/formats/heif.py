"""HEIC and the other still pictures in ISO base media files (ISO/IEC 14496-12, 23008-12). Imports no torch.

Boxes are read as far as the primary picture needs: its size, the tiles that it is made of, and its colour. Depth maps,
gain maps, thumbnails and the other pictures of a burst are neither measured nor decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from animegan.errors import BadImage, UnsupportedImage
from animegan.picture.formats.boxes import Box, boxes, first_box, seconds
from animegan.picture.formats.header import Bytes, Header
from animegan.picture.sizes import Size

HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
AVIF_BRANDS = frozenset({b"avif", b"avis"})
PICTURE_BRANDS = frozenset({b"mif1", b"mif2", b"msf1"})  # a HEIF file whatever codes its pictures
MOST_ITEMS = 4_096  # a 12-megapixel photo of a phone has about 60
SLACK_PX = 1 << 22  # tiles may reach over the picture's border by this many pixels in all
MOST_BRANDS_BYTES = 256


@dataclass
class _Items:
    """The items of a `meta` box, by their number."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    hidden_items: set[int] = field(default_factory=set)
    sources: dict[int, list[int]] = field(default_factory=dict)  # what an item is put together from
    # Items that belong to another one: thumbnails, maps, alpha, tiles
    dependents: set[int] = field(default_factory=set)
    properties: list[Box] = field(default_factory=list)
    property_indices: dict[int, list[int]] = field(default_factory=dict)  # indices of properties, from 1 on


def brands(data: Bytes) -> set[bytes]:
    """The major and the compatible brands of an ISO base media file; empty where it is none."""
    if data[4:8] != b"ftyp":
        return set()
    end = max(16, min(int.from_bytes(data[:4]), MOST_BRANDS_BYTES))
    return {bytes(data[8:12]), *(bytes(data[at : at + 4]) for at in range(16, end, 4))}


def header(data: Bytes) -> Header:
    """The header of a HEIC file's primary picture, its size upright; its frames are the pictures that it shows.

    Raises `BadImage` where the pieces of the picture are larger than it, or `UnsupportedImage` for a film without one.
    """
    items = _items(data)
    if items is None:
        if any(kind == b"moov" for kind, _, _ in boxes(data, 0, len(data))):
            raise UnsupportedImage(
                "This is a HEIF film without a still picture, which isn't read here. Send one picture of it, as JPEG.",
                kind="video",
            )
        raise EOFError
    size, upright = _sizes(data, items, items.primary)
    codes = {items.kinds.get(item, b"") for item in _parts(items, items.primary)}
    if codes - {b"hvc1", b"grid", b"iden", b"iovl"}:
        raise UnsupportedImage(
            "This HEIF picture isn't coded as HEVC (HEIC) or AV1 (AVIF). Save it as one of them, or as JPEG.",
            kind="heif",
        )
    _check_parts(data, items, size)
    count = sum(kind in (b"hvc1", b"grid", b"iden", b"iovl") for kind in _viewable_kinds(items))
    return Header("HEIF", upright, max(1, count))


def colour(data: bytes) -> tuple[int, int] | None:
    """Colour primaries and transfer of the primary picture's `nclx` box (ITU-T H.273 numbers); None without one."""
    items = _items(data)
    if items is None:
        return None
    for kind, start, _ in _properties(items, items.primary):
        if kind == b"colr" and data[start : start + 4] == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", data, start + 4)
            return primaries, transfer
    return None


def film_seconds(data: Bytes) -> float:
    """Return for how long the frames of the first track are shown; 0 where there is none, or its length is not said."""
    try:
        return seconds(data, first_box(data, (b"", 0, len(data)), b"moov", b"trak", b"mdia", b"mdhd"))
    except EOFError:
        return 0


def _items(data: Bytes) -> _Items | None:
    """The items of the first `meta` box; None where there is none, or it names no primary picture."""
    meta = next(((start, end) for kind, start, end in boxes(data, 0, len(data)) if kind == b"meta"), None)
    if meta is None:
        return None
    items = _Items()
    for kind, start, end in boxes(data, meta[0] + 4, meta[1]):
        version = data[start]
        if kind == b"pitm":
            (items.primary,) = struct.unpack_from(">I" if version else ">H", data, start + 4)
        elif kind == b"iinf":
            _read_kinds(data, items, start + (8 if version else 6), end)
        elif kind == b"iref":
            _read_references(data, items, start + 4, end, "I" if version else "H")
        elif kind == b"iprp":
            for inner, first, last in boxes(data, start, end):
                if inner == b"ipco":
                    items.properties = list(boxes(data, first, last))
                elif inner == b"ipma":
                    _read_owners(data, items, first)
    if len(items.kinds) > MOST_ITEMS:
        raise BadImage(f"The file has {len(items.kinds):,} items, more than {MOST_ITEMS:,}. Save the picture anew.")
    return items if items.primary in items.kinds else None


def _read_kinds(data: Bytes, items: _Items, start: int, end: int) -> None:
    for kind, at, _ in boxes(data, start, end):
        if kind == b"infe" and data[at] >= 2:
            item, _, code = struct.unpack_from(">HH4s" if data[at] == 2 else ">IH4s", data, at + 4)
            items.kinds[item] = code
            if data[at + 3] & 1:
                items.hidden_items.add(item)


def _read_references(data: Bytes, items: _Items, start: int, end: int, number: str) -> None:
    for kind, at, last in boxes(data, start, end):
        source, count = struct.unpack_from(f">{number}H", data, at)
        at += struct.calcsize(f">{number}H")  # noqa: PLW2901
        if at + count * struct.calcsize(number) > last:
            raise EOFError
        targets = list(struct.unpack_from(f">{count}{number}", data, at))
        if kind == b"dimg":
            items.sources.setdefault(source, []).extend(targets)
            items.dependents.update(targets)
        elif kind in (b"thmb", b"auxl"):
            items.dependents.add(source)


def _read_owners(data: Bytes, items: _Items, start: int) -> None:
    version, flags = data[start], data[start + 3]
    (count,) = struct.unpack_from(">I", data, start + 4)
    at = start + 8
    for _ in range(count):
        (item,) = struct.unpack_from(">I" if version else ">H", data, at)
        at += 4 if version else 2
        number, at = data[at], at + 1
        for _ in range(number):
            index = struct.unpack_from(">H", data, at)[0] & 0x7FFF if flags & 1 else data[at] & 0x7F
            at += 2 if flags & 1 else 1
            items.property_indices.setdefault(item, []).append(index)


def _properties(items: _Items, item: int) -> Iterator[Box]:
    for index in items.property_indices.get(item, []):
        if 0 < index <= len(items.properties):
            yield items.properties[index - 1]


def _sizes(data: Bytes, items: _Items, item: int) -> tuple[Size, Size]:
    """An item's size in px as it is coded, and as it is shown: cropped and turned."""
    coded = display = None
    for kind, at, _ in _properties(items, item):
        if kind == b"ispe":
            width, height = struct.unpack_from(">II", data, at + 4)
            coded = display = width, height
        elif kind == b"clap" and display:
            width, of_width, height, of_height = struct.unpack_from(">IIII", data, at)
            display = width // of_width, height // of_height
        elif kind == b"irot" and display and data[at] & 1:
            display = display[1], display[0]
    if coded is None or display is None:
        raise EOFError
    return coded, display


def _parts(items: _Items, item: int) -> set[int]:
    """The item and all that it is put together from."""
    parts, waiting = set(), [item]
    while waiting:
        item = waiting.pop()
        if item not in parts:
            parts.add(item)
            waiting += items.sources.get(item, [])
    return parts


def _check_parts(data: Bytes, items: _Items, size: Size) -> None:
    """Raise `BadImage` where what the primary picture is put together from is out of proportion to it."""
    most = 2 * size[0] * size[1] + SLACK_PX
    total = 0
    for item in _parts(items, items.primary):
        (width, height), _ = _sizes(data, items, item)
        total += width * height
        for kind, start, end in _properties(items, item):
            if kind == b"hvcC":
                coded = _coded_size(bytes(data[start:end]))
                total = max(total, coded[0] * coded[1])
    if total > most:
        raise BadImage("The HEIC picture's tiles are larger than the picture. Save it anew.")


def _viewable_kinds(items: _Items) -> list[bytes]:
    """The kinds of the items that a viewer would show as pictures of their own."""
    return [kind for item, kind in items.kinds.items() if item not in items.dependents | items.hidden_items]


def _coded_size(configuration: bytes) -> Size:
    """Width and height that a decoder allocates for, by an `hvcC` box's sequence parameter set (H.265, 7.3.2.2)."""
    largest = 0, 0
    at = 23
    for _ in range(configuration[22]):
        kind, count = configuration[at] & 0x3F, int.from_bytes(configuration[at + 1 : at + 3])
        at += 3
        for _ in range(count):
            length = int.from_bytes(configuration[at : at + 2])
            if kind == 33:
                largest = max(largest, _sequence_size(configuration[at + 4 : at + 2 + length]))
            at += 2 + length
    return largest


def _sequence_size(unit: bytes) -> Size:
    bits = _Bits(unit.replace(b"\0\0\3", b"\0\0")[:256])
    bits.read(4)
    layers = bits.read(3)
    bits.read(1 + 88 + 8)
    present = [(bits.read(1), bits.read(1)) for _ in range(layers)]
    if layers:
        bits.read(2 * (8 - layers))
    for profile, level in present:
        bits.read(88 * profile + 8 * level)
    bits.exponential()
    if bits.exponential() == 3:
        bits.read(1)
    return bits.exponential(), bits.exponential()


class _Bits:
    """Bits of bytes, the highest of each first. Raises `EOFError` past the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._remaining = 8 * len(data)

    def read(self, count: int) -> int:
        """The next `count` bits as a number."""
        self._remaining -= count
        if self._remaining < 0:
            raise EOFError
        return self._value >> self._remaining & (1 << count) - 1

    def exponential(self) -> int:
        """The next number in Exp-Golomb's code of order 0 (H.265, 9.2)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)
