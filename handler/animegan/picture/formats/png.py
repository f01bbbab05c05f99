"""PNG files (the W3C's Recommendation, third edition). Imports no torch."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from animegan.errors import BadImage
from animegan.picture.formats.header import Bytes, Flaw, Header, Motion

MOST_CHUNKS = 100_000
MOST_PROFILE_BYTES = 1 << 20  # inflated; Pillow refuses the whole file past this
MOST_TEXT_BYTES = 1 << 20  # inflated
INFLATED_AT_ONCE = 1 << 20
SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a colour type
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # of Adam7
COLOUR_CHUNKS = (b"cICP", b"gAMA", b"cHRM", b"sRGB")
ONCE = (b"IHDR", b"eXIf", b"iCCP")
ESSENTIAL = (*ONCE, b"PLTE", b"tRNS", b"IDAT")
ANIMATION = (b"acTL", b"fcTL", b"fdAT")
FRAME_CONTROL_BYTES = 38  # of a whole fcTL chunk


@dataclass(frozen=True)
class Chunk:
    """A chunk's kind, where it starts and ends, and whether its checksum is right."""

    kind: bytes
    start: int
    end: int
    sound: bool

    @property
    def is_ancillary(self) -> bool:
        """Return whether a picture can be had without it: its first letter is small."""
        return bool(self.kind[0] & 0x20)


def chunks(data: Bytes) -> Iterator[Chunk]:
    """Each whole chunk up to and with IEND, and the last one also where the file ends inside it.

    Raises `BadImage` where there are too many.
    """
    at = 8
    for _ in range(MOST_CHUNKS):
        if at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        sound = end <= len(data)
        if sound and kind[0] & 0x20:
            sound = zlib.crc32(memoryview(data)[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end])
        yield Chunk(kind, at, min(end, len(data)), sound)
        if kind == b"IEND" or end > len(data):
            return
        at = end
    raise BadImage(f"The PNG has more than {MOST_CHUNKS:,} chunks. Save it anew.")


def header(data: Bytes) -> Header:
    """The header of a PNG file. Raises `BadImage` where it ends before its pixels begin."""
    all_chunks = list(chunks(data))
    kinds = [chunk.kind for chunk in all_chunks]
    if not kinds or kinds[0] != b"IHDR":
        raise SyntaxError
    if b"IDAT" not in kinds:
        raise BadImage("The PNG ends before its pixels begin. Send it again.")
    frames = animation_frames = kinds.count(b"fcTL")
    if b"fcTL" in kinds and kinds.index(b"IDAT") < kinds.index(b"fcTL"):
        frames += 1  # a still that stands before the animation, and is what is used
    width, height = struct.unpack_from(">II", data, 16)
    flaws: list[Flaw] = []
    if kinds[-1] != b"IEND" or not all_chunks[-1].sound:
        flaws.append("end-missing")
    if any(chunk.is_ancillary and not chunk.sound for chunk in all_chunks[:-1]):
        flaws.append("metadata-damaged")
    motion = Motion(animation_frames, _seconds(data, all_chunks)) if animation_frames > 1 and b"acTL" in kinds else None
    return Header("PNG", (width, height), max(1, frames), tuple(flaws), motion=motion)


def _seconds(data: Bytes, all_chunks: list[Chunk]) -> float:
    """For how long the frames of an animation are shown."""
    seconds = 0.0
    for chunk in all_chunks:
        if chunk.kind == b"fcTL" and chunk.sound and chunk.end - chunk.start == FRAME_CONTROL_BYTES:
            count, of = struct.unpack_from(">HH", data, chunk.start + 28)
            seconds += count / (of or 100)
    return seconds


def animated(data: bytes) -> bytes:
    """The PNG with its animation, and without what that does not need. Raises `BadImage` for a damaged one."""
    view = memoryview(data)
    parts, kinds = [view[:8]], set()
    for chunk in chunks(data):
        if chunk.kind not in (*ESSENTIAL, *ANIMATION) or chunk.kind in kinds:
            continue
        if not chunk.sound and (chunk.kind in ANIMATION or not chunk.is_ancillary):
            raise BadImage("The animated PNG is damaged or cut short. Send it again, or draw frames=first.")
        if not chunk.sound or (chunk.kind == b"iCCP" and not _profile_fits(data[chunk.start + 8 : chunk.end - 4])):
            continue
        parts.append(view[chunk.start : chunk.end])
        if chunk.kind in (*ONCE, b"acTL"):
            kinds.add(chunk.kind)
    return b"".join([*parts, chunk_of(b"IEND")])


def essence(data: bytes, header: Header) -> bytes:
    """The PNG without what the picture does not need, and with the end that it may lack.

    Text and profiles may inflate a thousandfold each and be repeated; of an animation the still is enough. A chunk that
    is damaged is left out where the picture can do without it. Raises `BadImage` where rows of the picture are missing.
    """
    view = memoryview(data)
    parts, kinds = [view[:8]], set()
    for chunk in chunks(data):
        if chunk.kind not in ESSENTIAL or (chunk.is_ancillary and not chunk.sound) or chunk.kind in kinds:
            continue
        if chunk.kind == b"iCCP" and not _profile_fits(data[chunk.start + 8 : chunk.end - 4]):
            continue
        if chunk.kind == b"IDAT" and "end-missing" in header.flaws:
            continue
        parts.append(view[chunk.start : chunk.end])
        if chunk.kind in ONCE:
            kinds.add(chunk.kind)
    if "end-missing" in header.flaws:
        parts.append(memoryview(chunk_of(b"IDAT", _whole_pixels(data))))
    return b"".join([*parts, chunk_of(b"IEND")])


def chunk_of(kind: bytes, body: bytes = b"") -> bytes:
    """A chunk with its length and its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def contents(data: bytes) -> dict[bytes, bytes]:
    """Return the content of the sound chunks about colour, by their kind."""
    return {
        chunk.kind: data[chunk.start + 8 : chunk.end - 4]
        for chunk in chunks(data)
        if chunk.kind in COLOUR_CHUNKS and chunk.sound
    }


def _profile_fits(body: bytes) -> bool:
    """Return whether an iCCP chunk (name, zero, method, zlib stream) inflates to a profile that Pillow takes."""
    _, zero, stream = body.partition(b"\0")
    inflater = zlib.decompressobj()
    with suppress(zlib.error):
        profile = inflater.decompress(stream[1:], MOST_PROFILE_BYTES)
        return bool(zero and profile) and stream[0] == 0 and not inflater.unconsumed_tail
    return False


def _whole_pixels(data: bytes) -> bytes:
    """The pixels of a PNG without an end, as a zlib stream that has one. Raises `BadImage` where rows are missing.

    No more than one piece is in memory as it is inflated.
    """
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    expected = _raw_bytes(width, height, depth * CHANNELS[colour], interlaced=bool(data[28]))
    inflater, packer = zlib.decompressobj(), zlib.compressobj(1)
    packed, inflated = [], 0
    for chunk in chunks(data):
        if chunk.kind == b"IDAT":
            piece = data[chunk.start + 8 : chunk.end - 4 if chunk.sound else chunk.end]
            while piece and inflated < expected:
                raw = inflater.decompress(piece, INFLATED_AT_ONCE)
                if not raw and inflater.unconsumed_tail == piece:
                    break
                packed.append(packer.compress(raw[: expected - inflated]))
                inflated += len(raw)
                piece = inflater.unconsumed_tail
    if inflated < expected:
        rows = inflated * height // expected
        raise BadImage(f"The PNG is cut short: about {rows} of its {height} rows are there. Send it again.")
    return b"".join([*packed, packer.flush()])


def _raw_bytes(width: int, height: int, bits: int, *, interlaced: bool) -> int:
    """Bytes of the filtered rows, of all passes, with `bits` for a pixel."""
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, right, down in passes:
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        total += max(0, rows) * (1 + (columns * bits + 7) // 8) if columns > 0 else 0
    return total
