"""What a picture file says of itself, read before a decoder sees a byte of it. Imports no torch.

A hostile file can make a decoder work out of proportion to its size; the bounds here refuse it, or leave out the part,
from the file's structure alone. No pixel is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO

from PIL import AvifImagePlugin, Image, features  # noqa: F401 - the plugin registers itself

from animegan.errors import BadImage, TooLarge, UnsupportedImage
from animegan.picture.formats import heif, jpeg, matroska, mp4, others, png, refused, tiff
from animegan.picture.formats.films import FORMATS
from animegan.picture.formats.header import Bytes, Flaw, Header, Motion
from animegan.picture.pillow_guard import guarded
from animegan.picture.sizes import Limits, check_size

__all__ = ["HEADERS", "Bytes", "Flaw", "Header", "content_type", "essence", "inspect", "kind"]

KIND_BYTES = 8192  # by which the kind of a file can be told
REDUCTION = 4  # decoded at half the width and height, which a `max_side` of up to a fourth of either leaves room for


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
    format = kind(data)
    with guarded(format):
        header = HEADERS[format](data)
        check_size(header.size, _limits(header, limits))
    return header


def _limits(header: Header, limits: Limits) -> Limits:
    """More pixels for a file that can be decoded at a fraction of its size; `images.decode` limits those it takes."""
    return replace(limits, max_pixels=REDUCTION * limits.max_pixels) if header.reducible else limits


def essence(data: bytes, header: Header) -> bytes:
    """Return the file for the decoder: without what it does not need, and with the end that it may lack.

    Raises `BadImage` where part of the picture is missing.
    """
    if header.format == "PNG" and not SIGNATURES["PNG"].match(data):
        data = others.largest_icon(data)
    return ESSENCES[header.format](data, header) if header.format in ESSENCES else data


def content_type(header: Header) -> str:
    """Return the media type of a file with that header."""
    family = "video" if header.format in FORMATS else "image"
    return f"{family}/{header.format.lower()}"


def kind(data: Bytes) -> str:
    """Pillow's name of the format, told by the first `KIND_BYTES`, or more.

    Raises `UnsupportedImage`, which names the other kinds.
    """
    for format, signature in SIGNATURES.items():
        if signature.match(data):
            return format
    brands = heif.brands(data)
    if brands & heif.AVIF_BRANDS and "AVIF" in HEADERS:
        return "AVIF"
    if brands & (heif.HEIC_BRANDS | heif.PICTURE_BRANDS):
        if "HEIF" not in HEADERS:
            raise UnsupportedImage(
                "This is a HEIC picture, whose decoder isn't installed on this server (pillow-heif). Send it as JPEG.",
                kind="heif",
            )
        return "HEIF"
    if refused.name(data) is None and (film := _film(data, brands)):
        if film not in HEADERS:
            raise UnsupportedImage(refused.NO_DECODER.detail, kind=refused.NO_DECODER.id)
        return film
    raise refused.refuse(data, ", ".join(HEADERS))


def _film(data: Bytes, brands: set[bytes]) -> str:
    """Return which kind of video it is; empty: none that is read here."""
    if FILMS["MATROSKA"].match(data):
        return "MATROSKA"
    return "MP4" if brands & refused.VIDEO_BRANDS or FILMS["MP4"].match(data) else ""


SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(re.escape(png.SIGNATURE)),
    "WEBP": re.compile(rb"RIFF.{4}WEBPVP8[ LX]", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),  # two letters alone may be text
    "TIFF": re.compile(rb"II\*\0(?!.{4}CR)|MM\0\*|II\+\0", re.DOTALL),
    "JPEG2000": re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    "ICO": re.compile(rb"\0\0\x01\0[^\0]\0...\0", re.DOTALL),
    "PPM": re.compile(rb"P[456][\s#]"),
}
FILMS = {
    "MP4": re.compile(rb".{4}(moov|mdat|wide|free|skip).", re.DOTALL),  # QuickTime's, before there were brands
    "MATROSKA": re.compile(rb"\x1a\x45\xdf\xa3"),
}


def _ico_header(data: Bytes) -> Header:
    """Of the largest picture in a Windows icon, which may be a PNG file."""
    picture = others.largest_icon(data)
    return png.header(picture) if SIGNATURES["PNG"].match(picture) else others.ico_header(data)


def _avif_header(data: Bytes) -> Header:
    with Image.open(BytesIO(data), formats=["AVIF"]) as image:  # reads the boxes only
        frames = getattr(image, "n_frames", 1)
    return Header("AVIF", image.size, frames, motion=Motion(frames, heif.film_seconds(data)) if frames > 1 else None)


HEADERS: dict[str, Callable[[Bytes], Header]] = {
    "JPEG": jpeg.header,
    "PNG": png.header,
    "WEBP": others.webp_header,
    "GIF": others.gif_header,
    "BMP": others.bmp_header,
    "TIFF": tiff.header,
    **({"HEIF": heif.header} if find_spec("pillow_heif") else {}),
    **({"AVIF": _avif_header} if features.check("avif") else {}),
    **({"JPEG2000": others.jpeg2000_header} if features.check("jpg_2000") else {}),
    "ICO": _ico_header,
    "PPM": others.anymap_header,
    **({"MP4": mp4.header, "MATROSKA": matroska.header} if find_spec("av") else {}),
}
ESSENCES: dict[str, Callable[[bytes, Header], bytes]] = {
    "JPEG": jpeg.essence,
    "PNG": png.essence,
    "TIFF": tiff.essence,
    "ICO": others.single_icon,
}
