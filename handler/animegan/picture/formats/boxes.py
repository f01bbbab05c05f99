"""ISO base media files (ISO/IEC 14496-12): HEIC, AVIF, MP4 and MOV are made of boxes, one inside the other."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from animegan.errors import BadImage
from animegan.picture.formats.header import Bytes

MOST_BOXES = 20_000
UNKNOWN_LENGTH = 2**32 - 1  # of a track

Box = tuple[bytes, int, int]  # kind, start and end of the body


def boxes(data: Bytes, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two offsets, not those inside them. Raise `BadImage` where there are too many."""
    at, end = start, min(end, len(data))
    for _ in range(MOST_BOXES):
        if at + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = at + length if length else end
        if stop < body:
            return
        yield kind, body, min(stop, end)
        at = stop
    raise BadImage(f"The file has more than {MOST_BOXES:,} boxes. Save the picture anew.")


def children(data: Bytes, box: Box, kind: bytes) -> Iterator[Box]:
    """Yield the boxes of a kind inside another one."""
    return (inner for inner in boxes(data, box[1], box[2]) if inner[0] == kind)


def first_box(data: Bytes, box: Box, *kinds: bytes) -> Box:
    """Return the first box of each kind inside the one before it. Raise `EOFError` where one is missing."""
    for kind in kinds:
        inner = next(children(data, box, kind), None)
        if inner is None:
            raise EOFError
        box = inner
    return box


def seconds(data: Bytes, box: Box) -> float:
    """Return the length that the header of a movie or of a media says (`mvhd`, `mdhd`); 0 where it says none."""
    start = box[1]
    wide = data[start] == 1
    scale, length = struct.unpack_from(">IQ" if wide else ">II", data, start + (20 if wide else 12))
    return length / scale if scale and length < UNKNOWN_LENGTH else 0
