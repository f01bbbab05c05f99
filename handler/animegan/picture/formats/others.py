"""GIF, WebP, BMP, JPEG 2000, Windows icons and portable anymaps. Imports no torch."""

from __future__ import annotations

import re
import struct

from animegan.errors import BadImage, UnsupportedImage
from animegan.picture.formats.header import Bytes, Header, Motion

MOST_RUN_CODED_PX = 1 << 22  # of a BMP; each run is decoded in Python
MOST_RUN_CODED_BYTES = 1 << 20
MOST_BLOCKS = 1_000_000  # of a GIF
MOST_CHUNKS = 100_000  # of a WebP
GRAPHIC_CONTROL = b"\xf9\x04"  # label and length of the extension that has a frame's delay
CODESTREAM = b"\xff\x4f\xff\x51"  # start of a JPEG 2000 codestream and its size marker
CODESTREAM_WITHIN = 1 << 20  # bytes; boxes of metadata stand before it
MOST_TILES = 4_096  # each takes its decoder 6 KB before a pixel is there
MOST_COMPONENTS = 4
ICON = struct.Struct("<BBBBHHII")  # width, height, colours, reserved, planes, bits, bytes, offset
ANYMAP = re.compile(rb"P([456])((?:\s|#[^\r\n]*[\r\n])+\d{1,9}){2}", re.DOTALL)
ANYMAP_NUMBER = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})")


def gif_header(data: Bytes) -> Header:
    """The header of a GIF. The canvas grows to hold the first frame; frames are counted up to the bound on blocks."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _gif_palette_bytes(flags)
    frames = blocks = hundredths = 0
    while at < len(data) and data[at] != 0x3B and blocks < MOST_BLOCKS:
        kind, at = data[at], at + 1
        if kind == 0x2C:
            left, top, w, h, flags = struct.unpack_from("<HHHHB", data, at)
            if not frames:
                width, height = max(width, left + w), max(height, top + h)
            frames += 1
            at += 10 + _gif_palette_bytes(flags)
        elif kind == 0x21:
            if data[at : at + 2] == GRAPHIC_CONTROL:
                hundredths += int.from_bytes(data[at + 3 : at + 5], "little")
            at += 1
        if kind in (0x2C, 0x21):
            while data[at]:
                at += data[at] + 1
                blocks += 1
            at += 1
        blocks += 1
    if not frames:
        raise EOFError
    return Header("GIF", (width, height), frames, motion=_motion(frames, hundredths / 100))


def _motion(frames: int, seconds: float) -> Motion | None:
    return Motion(frames, seconds) if frames > 1 else None


def _gif_palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def webp_header(data: Bytes) -> Header:
    chunk = data[12:16]
    if chunk == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
        width, height = (high_width << 16 | low_width) + 1, (high_height << 16 | low_height) + 1
    elif chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    at, frames, thousandths, chunks = 12, 0, 0, 0
    while at + 8 <= len(data) and chunks < MOST_CHUNKS:
        chunks += 1
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"ANMF":
            frames += 1
            thousandths += int.from_bytes(data[at + 20 : at + 23], "little")
        at += 8 + length + length % 2
    return Header("WEBP", (width, height), max(1, frames), motion=_motion(frames, thousandths / 1000))


def bmp_header(data: Bytes) -> Header:
    if data[14] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
        return Header("BMP", (width, height))
    width, height, _, _, compression = struct.unpack_from("<IiHHI", data, 18)
    if compression in (1, 2) and (width * abs(height) > MOST_RUN_CODED_PX or len(data) > MOST_RUN_CODED_BYTES):
        raise UnsupportedImage(
            f"Run-length coded BMP files are read up to {MOST_RUN_CODED_PX:,} pixels and {MOST_RUN_CODED_BYTES:,} "
            "bytes. Save the picture as PNG.",
            kind="bmp",
        )
    return Header("BMP", (width, abs(height)))


def jpeg2000_header(data: Bytes) -> Header:
    """The header of a JPEG 2000 file (ITU-T T.800, annex A.5.1). Raises `BadImage` for too many tiles."""
    at = data.find(CODESTREAM, 0, CODESTREAM_WITHIN)
    if at < 0:
        raise EOFError
    right, bottom, left, top, tile_width, tile_height, _, _, components = struct.unpack_from(">8IH", data, at + 8)
    if not (tile_width and tile_height) or -(-right // tile_width) * -(-bottom // tile_height) > MOST_TILES:
        raise BadImage(f"The JPEG 2000 picture has more than {MOST_TILES:,} tiles. Save it anew.")
    if components > MOST_COMPONENTS:
        raise UnsupportedImage(
            f"The JPEG 2000 picture has {components} components, more than {MOST_COMPONENTS}. Save it as RGB.",
            kind="jpeg2000",
        )
    return Header("JPEG2000", (right - left, bottom - top))


def ico_header(data: Bytes) -> Header:
    """The header of a Windows icon: of its largest picture, where that is a bitmap. Frames are its pictures."""
    picture = largest_icon(data)
    size, width, height, _, _, compression = struct.unpack_from("<IiiHHI", picture)
    if size < 40 or compression:
        raise UnsupportedImage("This Windows icon's bitmap is compressed. Save it as PNG.", kind="ico")
    (count,) = struct.unpack_from("<H", data, 4)
    return Header("ICO", (width, abs(height) // 2), count)


def largest_icon(data: Bytes) -> bytes:
    """The largest picture of a Windows icon, of most bits: a PNG file, or a bitmap without its file header."""
    *_, size, offset = _largest(data)
    return bytes(data[offset : offset + size])


def single_icon(data: bytes, header: Header) -> bytes:  # noqa: ARG001 - one signature for every kind
    """The icon with its largest picture alone."""
    entry = _largest(data)
    picture = largest_icon(data)
    return struct.pack("<HHH", 0, 1, 1) + ICON.pack(*entry[:6], len(picture), 22) + picture


def _largest(data: Bytes) -> tuple[int, ...]:
    (count,) = struct.unpack_from("<H", data, 4)
    entries = [ICON.unpack_from(data, 6 + ICON.size * index) for index in range(count)]
    return max(entries, key=lambda entry: ((entry[0] or 256) * (entry[1] or 256), entry[5]))


def anymap_header(data: Bytes) -> Header:
    """The header of a binary PBM, PGM or PPM file of 8 bits (16 for grey)."""
    numbers, at = [], 2
    for _ in range(2 if data[1:2] == b"4" else 3):
        number = ANYMAP_NUMBER.match(data, at)
        if not number:
            raise EOFError
        numbers.append(int(number[1]))
        at = number.end()
    if numbers[2:] and numbers[2] != 255 and (data[1:2], numbers[2]) != (b"5", 65535):  # decoded in Python, else
        raise UnsupportedImage(
            f"A portable anymap whose white is {numbers[2]} isn't read here. Save it with 255, or as PNG.", kind="ppm"
        )
    return Header("PPM", (numbers[0], numbers[1]))
