"""Animated PNG and WebP files, put together from frames that are encoded one at a time. Imports no torch."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from io import BytesIO
from typing import Any

from PIL import Image, ImageChops

from animegan.clips.clip import Frame
from animegan.picture.formats import png
from animegan.picture.sizes import Size

Box = tuple[int, int, int, int]  # left, top, right, bottom in px


def write_png(frames: Iterable[Frame], plays: int, *, has_alpha: bool) -> bytes:
    """Return the animated PNG of frames of one size (PNG, third edition, 11.3.6)."""
    pieces: list[bytes] = []
    sequence = count = 0
    start = b""
    for count, (frame, image, box) in enumerate(_changes(frames, has_alpha=has_alpha, step=1), 1):
        left, top, right, bottom = box
        delay = Fraction(frame.ms / 1000).limit_denominator(1000)
        pieces.append(
            png.chunk_of(
                b"fcTL",
                struct.pack(
                    ">IIIIIHHBB", sequence, right - left, bottom - top, left, top,
                    min(65535, delay.numerator), delay.denominator, 0, 0,
                ),
            )
        )  # fmt: skip
        sequence += 1
        data = _encoded(image.crop(box), "PNG", compress_level=3)
        start = start or data[: data.index(b"IDAT") - 4]
        for chunk in png.chunks(data):
            if chunk.kind == b"IDAT" and count == 1:
                pieces.append(data[chunk.start : chunk.end])
            elif chunk.kind == b"IDAT":
                body = struct.pack(">I", sequence) + data[chunk.start + 8 : chunk.end - 4]
                pieces.append(png.chunk_of(b"fdAT", body))
                sequence += 1
    return b"".join([start, png.chunk_of(b"acTL", struct.pack(">II", count, plays)), *pieces, png.chunk_of(b"IEND")])


def write_webp(frames: Iterable[Frame], size: Size, plays: int, *, has_alpha: bool, quality: int) -> bytes:
    """Return the animated WebP of frames of one size (RFC 9649, 2.7.1)."""
    pieces: list[bytes] = []
    for frame, image, box in _changes(frames, has_alpha=has_alpha, step=2):
        left, top, right, bottom = box
        place = _three(left // 2) + _three(top // 2) + _three(right - left - 1) + _three(bottom - top - 1)
        head = place + _three(min(2**24 - 1, round(frame.ms))) + b"\x02"  # in place of what is there, and left there
        data = _encoded(image.crop(box), "WEBP", quality=quality, method=2)
        pieces.append(_chunk(b"ANMF", head + b"".join(_bitstreams(data))))
    flags = 0x02 | (0x10 if has_alpha else 0)
    canvas = _chunk(b"VP8X", struct.pack("<I", flags) + _three(size[0] - 1) + _three(size[1] - 1))
    body = b"".join([b"WEBP", canvas, _chunk(b"ANIM", struct.pack("<IH", 0, plays)), *pieces])
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _changes(frames: Iterable[Frame], *, has_alpha: bool, step: int) -> Iterator[tuple[Frame, Image.Image, Box]]:
    """Yield each frame, as an image with the animation's mode, and the box of what differs from the one before it.

    The box begins at multiples of `step` px, and has one pixel at least.
    """
    before: Image.Image | None = None
    for frame in frames:
        image = frame.rgb
        if has_alpha:
            image = frame.rgb.copy()
            image.putalpha(frame.alpha or 255)
        box: Box = (0, 0, *image.size)
        if before is not None:
            differs = ImageChops.difference(image, before).getbbox(alpha_only=False) or (0, 0, 1, 1)
            box = (differs[0] // step * step, differs[1] // step * step, differs[2], differs[3])
        yield frame, image, box
        before = image


def _encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    image.info.clear()
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _bitstreams(webp: bytes) -> Iterator[bytes]:
    """Yield the chunks of a still WebP that hold its alpha and its colours."""
    at = 12
    while at + 8 <= len(webp):
        kind, length = struct.unpack_from("<4sI", webp, at)
        end = at + 8 + length + length % 2
        if kind in (b"ALPH", b"VP8 ", b"VP8L"):
            yield webp[at:end]
        at = end


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _three(value: int) -> bytes:
    return value.to_bytes(3, "little")
