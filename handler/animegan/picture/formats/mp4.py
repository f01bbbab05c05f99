"""Videos in ISO base media files, MP4 and MOV (ISO/IEC 14496-12, QuickTime). Imports no torch and no decoder."""

from __future__ import annotations

import struct

from animegan.errors import BadImage
from animegan.picture.formats.boxes import Box, boxes, children, first_box, seconds
from animegan.picture.formats.films import Track, check_end, header_of
from animegan.picture.formats.header import Bytes, Header

# The matrix of a track, its first two rows and columns, with the orientation that it means.
ORIENTATIONS = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
ONE = 1 << 16  # of fixed-point numbers in the matrix
TRUN_SAMPLES = 4  # where a fragment says how many samples it has


def header(data: Bytes) -> Header:
    """Return the header of the first track of pictures. Raise `UnsupportedImage` or `BadImage`."""
    top = list(boxes(data, 0, len(data)))
    movie = next((box for box in top if box[0] == b"moov"), None)
    if movie is None:
        raise BadImage("The video is cut short: the part of its file that says where its frames lie is missing.")
    for box in top:
        if box[0] == b"mdat":
            check_end(_end(data, box), len(data))
    for track in children(data, movie, b"trak"):
        if _handler(data, track) == b"vide":
            return header_of("MP4", _track(data, movie, track, [box for box in top if box[0] == b"moof"]))
    return header_of("MP4", None)


def _end(data: Bytes, box: Box) -> int:
    """Return where a box should end, by its own length."""
    start = box[1] - 8
    if bytes(data[start + 4 : start + 8]) == box[0]:
        return start + int.from_bytes(data[start : start + 4])
    return start - 8 + int.from_bytes(data[start : start + 8])  # a length of 64 bits, behind the kind


def _track(data: Bytes, movie: Box, track: Box, fragments: list[Box]) -> Track:
    table = first_box(data, track, b"mdia", b"minf", b"stbl")
    entry = next(boxes(data, first_box(data, table, b"stsd")[1] + 8, table[2]))
    codec, start, end = entry
    width, height = struct.unpack_from(">HH", data, start + 24)
    aspect = 1.0
    for kind, at, _ in boxes(data, start + 78, end):
        if kind == b"pasp":
            across, down = struct.unpack_from(">II", data, at)
            aspect = across / down if across and down else 1.0
    frames = struct.unpack_from(">I", data, first_box(data, table, b"stsz")[1] + 8)[0]
    number, orientation = _placement(data, track)
    frames += sum(_samples(data, fragment, number) for fragment in fragments)
    length_s = seconds(data, first_box(data, track, b"mdia", b"mdhd")) or seconds(data, first_box(data, movie, b"mvhd"))
    return Track(codec.decode("latin-1"), (width, height), frames, length_s, aspect, orientation)


def _placement(data: Bytes, track: Box) -> tuple[int, int]:
    """Return a track's number and its orientation; one that is neither a turn nor a mirroring is left as it is."""
    start = first_box(data, track, b"tkhd")[1]
    wide = data[start] == 1
    (number,) = struct.unpack_from(">I", data, start + (20 if wide else 12))
    a, b, _, c, d = struct.unpack_from(">iiiii", data, start + (52 if wide else 40))
    return number, ORIENTATIONS.get((a // ONE, b // ONE, c // ONE, d // ONE), 1)


def _samples(data: Bytes, fragment: Box, number: int) -> int:
    """Return how many samples of a track a fragment holds."""
    count = 0
    for part in children(data, fragment, b"traf"):
        (of,) = struct.unpack_from(">I", data, first_box(data, part, b"tfhd")[1] + 4)
        if of == number:
            for _, start, _ in children(data, part, b"trun"):
                count += struct.unpack_from(">I", data, start + TRUN_SAMPLES)[0]
    return count


def _handler(data: Bytes, track: Box) -> bytes:
    start = first_box(data, track, b"mdia", b"hdlr")[1]
    return bytes(data[start + 8 : start + 12])
