"""What a picture file says of itself, read before Pillow sees a byte of it. Imports no torch.

A hostile file can make a decoder work out of proportion to its size; the bounds here refuse it, or leave out the part,
from the file's structure alone. No pixel is decoded.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from mmap import mmap
from typing import Any

from PIL import AvifImagePlugin, Image, features  # noqa: F401 - the plugin registers itself

from animegan.errors import BadImage, TooLarge, UnsupportedImage
from animegan.picture.pillow_guard import guarded
from animegan.picture.sizes import Limits, Size, check_size

Bytes = bytes | mmap  # in memory, or a file's

MOST_JPEG_SCANS = 100  # each makes the decoder visit every block; encoders write about ten
MOST_EXIF_SEGMENTS = 16  # Pillow joins them in quadratic time; encoders write one
MOST_PNG_CHUNKS = 100_000
MOST_GIF_BLOCKS = 1_000_000
MOST_TIFF_PAGES = 10_000
MOST_TIFF_TAGS = 4096  # in the first page's directory
MOST_TIFF_STRIPS = 100_000
TIFF_TILE_PX = 1 << 22  # a tile may be larger than its picture up to this many pixels
MOST_PNG_PROFILE_BYTES = 1 << 20  # inflated; Pillow refuses the whole file past this


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself: Pillow's name of its format, width and height as stored, frames or pages."""

    format: str
    size: Size
    frames: int = 1


def inspect(data: Bytes, limits: Limits) -> Header:
    """The header of a picture file, its kind told by its content. No pixel is decoded.

    Raises `BadImage`, `TooLarge`, `UnsupportedImage` or `PictureTooSmall`.
    """
    if not data:
        raise BadImage("The picture file is empty. Send the bytes of a picture.")
    if len(data) > limits.max_bytes:
        raise TooLarge(
            f"The picture file has {len(data):,} bytes, over the limit of {limits.max_bytes:,}. "
            "Send a smaller or more strongly compressed one.",
            bytes=len(data),
            limit_bytes=limits.max_bytes,
        )
    kind = _kind(data)
    with guarded(kind):
        header = HEADERS[kind](data)
        check_size(header.size, limits)
    return header


def _kind(data: Bytes) -> str:
    """Pillow's name of the format, told by the first bytes. Raises `UnsupportedImage`."""
    for kind, signature in SIGNATURES.items():
        if signature.match(data):
            return kind
    if data[4:8] == b"ftyp":
        end = max(16, min(int.from_bytes(data[:4]), 256))
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
        if brands & {b"avif", b"avis"} and "AVIF" in HEADERS:
            return "AVIF"
        if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}:
            raise UnsupportedImage(
                "This is a HEIC (HEIF) picture, which can't be read here yet. Send JPEG, PNG or WebP. On an iPhone, "
                "Settings > Camera > Formats > Most Compatible makes new photos JPEG; convert this one first."
            )
    raise UnsupportedImage(
        f"These {len(data):,} bytes are no picture of a kind that is read here ({', '.join(HEADERS)}). "
        "Convert it to one of them, or check what was sent."
    )


SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF.{4}WEBPVP8[ LX]", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),  # two letters alone may be text
    "TIFF": re.compile(rb"II\*\0|MM\0\*|II\+\0"),
}


JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # not a stuffed byte, a restart or padding
JPEG_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_BARE = frozenset({0x01, 0xC8, 0xD8, *range(0xF0, 0xFE)})  # as the decoders read them: no length follows
SOS, EOI, APP1 = 0xDA, 0xD9, 0xE1


def _jpeg_header(data: Bytes) -> Header:
    size, scans, exifs, at = None, 0, 0, 2
    while marker := JPEG_MARKER.search(data, at):
        code, at = marker[0][1], marker.end()
        if code in JPEG_BARE or (code == EOI and not scans):
            continue
        if code == EOI:
            break
        if code in JPEG_FRAME and size is None:
            height, width = struct.unpack_from(">HH", data, at + 3)
            size = width, height
        scans += code == SOS
        exifs += code == APP1 and data[at + 2 : at + 8] == b"Exif\0\0"
        if scans > MOST_JPEG_SCANS or exifs > MOST_EXIF_SEGMENTS:
            raise BadImage(
                f"The JPEG has more than {MOST_JPEG_SCANS} scans or {MOST_EXIF_SEGMENTS} EXIF segments. Save it anew."
            )
        at += max(2, int.from_bytes(data[at : at + 2]))
    if size is None:
        raise EOFError
    return Header("JPEG", size)


def _png_chunks(data: Bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk, up to and with IEND. Raises `BadImage` where the file ends before it."""
    at = 8
    for _ in range(MOST_PNG_CHUNKS):
        if at + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end
    else:
        raise BadImage(f"The PNG has more than {MOST_PNG_CHUNKS:,} chunks. Save it anew.")
    raise BadImage("The PNG is cut short. Send it again.")


def _png_header(data: Bytes) -> Header:
    kinds = [kind for kind, _, _ in _png_chunks(data)]
    if kinds[0] != b"IHDR":
        raise SyntaxError
    frames = kinds.count(b"fcTL")
    if b"IDAT" in kinds and b"fcTL" in kinds and kinds.index(b"IDAT") < kinds.index(b"fcTL"):
        frames += 1  # a still that stands before the animation, and is what is used
    width, height = struct.unpack_from(">II", data, 16)
    return Header("PNG", (width, height), max(1, frames))


def png_essence(data: bytes) -> bytes:
    """The PNG without what the picture does not need.

    Text and profiles may inflate a thousandfold each and be repeated; of an animation the still is enough.
    """
    view = memoryview(data)
    kept, seen = [view[:8]], set()
    for kind, start, end in _png_chunks(data):
        once = kind in (b"IHDR", b"eXIf", b"iCCP")
        if (once and kind in seen) or (kind == b"iCCP" and not _profile_fits(data[start + 8 : end - 4])):
            continue
        if once or kind in (b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(view[start:end])
            seen.add(kind)
    return b"".join(kept)


def _profile_fits(chunk: bytes) -> bool:
    """Whether an iCCP chunk (name, zero, method, zlib stream) inflates to a profile that Pillow takes."""
    _, zero, stream = chunk.partition(b"\0")
    inflater = zlib.decompressobj()
    with suppress(zlib.error):
        profile = inflater.decompress(stream[1:], MOST_PNG_PROFILE_BYTES)
        return bool(zero and profile) and stream[0] == 0 and not inflater.unconsumed_tail
    return False


def _gif_header(data: Bytes) -> Header:
    """The canvas grows to hold the first frame; frames are counted as far as the bound on blocks goes."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _gif_palette_bytes(flags)
    frames = blocks = 0
    while at < len(data) and data[at] != 0x3B and blocks < MOST_GIF_BLOCKS:
        kind, at = data[at], at + 1
        if kind == 0x2C:
            left, top, w, h, flags = struct.unpack_from("<HHHHB", data, at)
            if not frames:
                width, height = max(width, left + w), max(height, top + h)
            frames += 1
            at += 10 + _gif_palette_bytes(flags)
        elif kind == 0x21:
            at += 1
        if kind in (0x2C, 0x21):
            while data[at]:
                at += data[at] + 1
                blocks += 1
            at += 1
        blocks += 1
    if not frames:
        raise EOFError
    return Header("GIF", (width, height), frames)


def _gif_palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _webp_header(data: Bytes) -> Header:
    chunk = data[12:16]
    if chunk == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
        width, height = (high_width << 16 | low_width) + 1, (high_height << 16 | low_height) + 1
    elif chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    at, frames = 12, 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        frames += kind == b"ANMF"
        at += 8 + length + length % 2
    return Header("WEBP", (width, height), max(1, frames))


def _bmp_header(data: Bytes) -> Header:
    if data[14] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
        return Header("BMP", (width, height))
    width, height, _, _, compression = struct.unpack_from("<IiHHI", data, 18)
    if compression in (1, 2):  # decoded in Python, a pixel at a time
        raise UnsupportedImage("Run-length coded BMP files are not read here. Save the picture as PNG.")
    return Header("BMP", (width, abs(height)))


def _tiff_header(data: Bytes) -> Header:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2] == 43
    count_format, entry_format, offset_format = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    count_bytes, entry_bytes = struct.calcsize(f"={count_format}"), struct.calcsize(f"={entry_format}")

    def unpack(form: str, at: int) -> tuple[Any, ...]:
        return struct.unpack_from(order + form, data, at)

    (first,) = unpack(offset_format, 8 if big else 4)
    (tags,) = unpack(count_format, first)
    if tags > MOST_TIFF_TAGS:
        raise BadImage(f"The TIFF's first page has {tags:,} tags, more than {MOST_TIFF_TAGS:,}. Save it anew.")
    values: dict[int, int] = {}
    for at in range(first + count_bytes, first + count_bytes + tags * entry_bytes, entry_bytes):
        tag, kind, count, value = unpack(entry_format, at)
        if tag in (273, 324) and count > MOST_TIFF_STRIPS:  # offsets of strips, of tiles
            raise BadImage(f"The TIFF has {count:,} strips, more than {MOST_TIFF_STRIPS:,}. Save it anew.")
        if tag in (256, 257, 322, 323):  # width and length of the picture, of a tile
            values.setdefault(tag, struct.unpack_from(order + {3: "H", 4: "I", 16: "Q"}[kind], value)[0])
    width, height = values[256], values[257]
    if values.get(322, 0) * values.get(323, 0) > max(width * height, TIFF_TILE_PX):
        raise BadImage("The TIFF's tiles are larger than its picture. Save it anew.")
    pages: set[int] = set()
    while first and first not in pages and len(pages) < MOST_TIFF_PAGES:
        pages.add(first)
        try:
            (tags,) = unpack(count_format, first)
            (first,) = unpack(offset_format, first + count_bytes + tags * entry_bytes)
        except (struct.error, OverflowError, IndexError):
            break
    return Header("TIFF", (width, height), len(pages))


def _avif_header(data: Bytes) -> Header:
    with Image.open(BytesIO(data), formats=["AVIF"]) as image:  # reads the boxes only
        return Header("AVIF", image.size, getattr(image, "n_frames", 1))


HEADERS: dict[str, Callable[[Bytes], Header]] = {
    "JPEG": _jpeg_header,
    "PNG": _png_header,
    "WEBP": _webp_header,
    "GIF": _gif_header,
    "BMP": _bmp_header,
    "TIFF": _tiff_header,
    **({"AVIF": _avif_header} if features.check("avif") else {}),
}
