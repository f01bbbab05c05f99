"""Picture files for tests: whole ones of each kind, and pieces to build damaged and hostile ones from."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from animegan.picture.headers import HEADERS
from animegan.picture.images import Limits, Picture, decode
from harness.pictures import encoded, photo

STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

LIMITS = Limits(max_bytes=8 << 20, max_pixels=64_000_000)
HANDLER = Path(__file__).resolve().parents[3] / "handler"
PHOTOS = HANDLER.parent / "docs" / "photos"

needs_avif = pytest.mark.skipif("AVIF" not in HEADERS, reason="this Pillow has no AVIF")


def load(data: bytes, max_side: int | None = 1024, limits: Limits = LIMITS) -> Picture:
    return decode(data, max_side=max_side, limits=limits)


def pixels(image: Image.Image | None) -> NDArray[np.int64]:
    assert image is not None
    return np.asarray(image).astype(np.int64)


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean absolute difference, in 8-bit steps."""
    return float(np.abs(pixels(a) - pixels(b)).mean())


def psnr(a: Image.Image, b: Image.Image) -> float:
    """Peak signal to noise, in dB."""
    return float(10 * np.log10(255**2 / np.square(pixels(a) - pixels(b)).mean()))


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size: tuple[int, int], depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG by hand; `rows` without filter bytes, `extra` chunks before the data."""
    stride = len(rows) // size[1]
    raw = b"".join(b"\0" + rows[y * stride : (y + 1) * stride] for y in range(size[1]))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND")


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of one colour whose pixels would take width × height × 3 bytes."""
    rows = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    pixels = b"".join([*(rows.compress(row) for _ in range(height)), rows.flush()])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND")


def tiff(*tags: tuple[int, int, int, int], data: bytes = b"\0" * 1024, next_page: int = 0) -> bytes:
    """A 16×16 grey TIFF by hand; `tags` (tag, type, count, value) replace or join the usual ones."""
    fields = {256: (3, 1, 16), 257: (3, 1, 16), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8)}
    fields |= {277: (3, 1, 1), 278: (3, 1, 16), 279: (4, 1, 256)} | {tag: (a, b, c) for tag, a, b, c in tags}
    entries = b"".join(struct.pack("<HHII", tag, *rest) for tag, rest in sorted(fields.items()))
    head = b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + struct.pack("<I", next_page)
    return head + data


def bmp(width: int, height: int, compression: int = 0, data: bytes = b"") -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + header + data


def gif(canvas: tuple[int, int], frame: tuple[int, int], before: bytes = b"") -> bytes:
    image = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\2\2\x44\1\0"
    return b"GIF89a" + struct.pack("<HHBBB", *canvas, 0, 0, 0) + before + image + b";"


def webp(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + canvas


@cache
def files() -> dict[str, bytes]:
    """One small whole file of each kind."""
    image = photo(72, 48)
    kinds = {
        "JPEG": encoded(image, quality=90),
        "JPEG, progressive": encoded(image, progressive=True, exif=orientation_exif(6), icc_profile=srgb_profile()),
        "JPEG, CMYK": encoded(image.convert("CMYK")),
        "MPO": animation("MPO"),
        "PNG": encoded(image, "PNG", icc_profile=srgb_profile(), exif=orientation_exif(3)),
        "PNG, palette": encoded(image.quantize(), "PNG", transparency=bytes(range(0, 256, 2))),
        "PNG, animated": animation("PNG"),
        "WEBP": encoded(image, "WEBP", exif=orientation_exif(2)),
        "WEBP, lossless": encoded(image.convert("RGBA"), "WEBP", lossless=True),
        "WEBP, animated": animation("WEBP"),
        "GIF": encoded(image.quantize(), "GIF"),
        "GIF, animated": animation("GIF"),
        "BMP": encoded(image, "BMP"),
        "TIFF": encoded(image, "TIFF", exif=orientation_exif(8)),
        "TIFF, LZW": encoded(image, "TIFF", compression="tiff_lzw"),
        "TIFF, pages": animation("TIFF"),
        "TIFF, JPEG": encoded(image, "TIFF", compression="jpeg"),
        "TIFF, floats": float_tiff(np.asarray(image, np.float32) / 255),
        "HEIF": heic(image, exif=orientation_exif(6)),
        "HEIF, burst": heic(image, photo(72, 48, 1), photo(72, 48, 2)),
        "JPEG2000": encoded(image, "JPEG2000"),
        "ICO": encoded(image, "ICO", sizes=[(32, 32), (72, 48)]),
        "ICO, bitmap": encoded(image.convert("RGBA"), "ICO", sizes=[(72, 48)], bitmap_format="bmp"),
        "PPM": encoded(image, "PPM"),
    }
    return kinds | ({"AVIF": encoded(image, "AVIF", exif=orientation_exif(6))} if "AVIF" in HEADERS else {})


def float_tiff(values: NDArray[np.floating[Any]], *, order: str = "<", predictor: int = 1) -> bytes:
    """An uncompressed TIFF of floats of (height, width, 3 or 4)."""
    height, width, samples = values.shape
    pixels = values.astype(f"{order}f4").tobytes()
    lists = struct.pack(f"{order}{2 * samples}H", *[32] * samples, *[3] * samples)
    tags = [(256, width), (257, height), (258, None), (259, 1), (262, 2), (273, None), (274, 6), (277, samples)]
    tags += [(278, height), (279, len(pixels)), (284, 1), (317, predictor), (339, None)]
    start = 8 + 2 + 12 * len(tags) + 4
    places = {258: start, 339: start + 2 * samples, 273: start + len(lists)}
    directory = struct.pack(f"{order}H", len(tags))
    for tag, value in tags:
        kind, count = (3, samples) if tag in (258, 339) else (4, 1)
        directory += struct.pack(f"{order}HHII", tag, kind, count, places[tag] if value is None else value)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return head + directory + bytes(4) + lists + pixels


def heic(first: Image.Image, *others: Image.Image, primary: int = 0, **options: Any) -> bytes:
    """A HEIC file of pictures, one of which is the primary one; `exif` turns it, as an `irot` box."""
    file, target = pillow_heif.from_pillow(first), BytesIO()
    for image in others:
        file.add_frombytes(image.mode, image.size, image.tobytes())
    file.save(target, primary_index=primary, **{"quality": 90, **options})
    return target.getvalue()


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box of an ISO base media file."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def heic_as_a_phone(image: Image.Image, tile: int = 128, extra: tuple[int, int] = (0, 0), turns: int = 0) -> bytes:
    """A HEIC by hand, as phones write them: a grid of tiles, turned, with a map beside it that `extra` is the size of.

    `image` is as stored; a side is a multiple of `tile` px.
    """
    columns, rows = image.width // tile, image.height // tile
    corners = [(tile * x, tile * y) for y in range(rows) for x in range(columns)]
    coded = [_encode_tile(image.crop((x, y, x + tile, y + tile))) for x, y in corners]
    if extra[0]:
        coded.append(_encode_tile(Image.new("L", extra, 255).convert("RGB")))
    grid, count = len(coded) + 1, rows * columns
    full = b"\0\0\0\0"
    items = [*((1 + i, b"hvc1", int(i < count)) for i in range(len(coded))), (grid, b"grid", 0)]
    kinds = b"".join(
        box(b"infe", bytes([2, 0, 0, flags]), struct.pack(">HH4s", i, 0, kind), b"\0") for i, kind, flags in items
    )
    references = box(b"dimg", struct.pack(f">HH{count}H", grid, count, *range(1, count + 1)))
    properties = [coded[0][0], box(b"ispe", full, struct.pack(">II", tile, tile))]
    properties += [box(b"ispe", full, struct.pack(">II", *image.size)), box(b"irot", bytes([turns]))]
    owners = [(1 + i, [0x81, 2]) for i in range(count)] + [(grid, [3, 0x84])]
    if extra[0]:
        references += box(b"auxl", struct.pack(">HHH", grid - 1, 1, grid))
        gain = b"urn:com:apple:photo:2020:aux:hdrgainmap\0"
        properties += [coded[-1][0], box(b"ispe", full, struct.pack(">II", *extra)), box(b"auxC", full, gain)]
        owners.append((grid - 1, [0x85, 6, 7]))
    ownership = b"".join(struct.pack(">HB", i, len(those)) + bytes(those) for i, those in sorted(owners))
    payloads = [*(data for _, data in coded), bytes([0, 0, rows - 1, columns - 1]) + struct.pack(">HH", *image.size)]
    brands = box(b"ftyp", b"heic\0\0\0\0mif1heic")

    def meta(start: int) -> bytes:
        at, places = start, b""
        for (item, _, _), payload in zip(items, payloads, strict=True):
            places += struct.pack(">HHHII", item, 0, 1, at, len(payload))
            at += len(payload)
        return box(
            b"meta",
            full,
            box(b"hdlr", full, b"\0\0\0\0pict" + b"\0" * 13),
            box(b"pitm", full, struct.pack(">H", grid)),
            box(b"iloc", full, b"\x44\0", struct.pack(">H", len(items)), places),
            box(b"iinf", full, struct.pack(">H", len(items)), kinds),
            box(b"iref", full, references),
            box(b"iprp", box(b"ipco", *properties), box(b"ipma", full, struct.pack(">I", len(owners)), ownership)),
        )

    start = len(brands) + len(meta(0)) + 8
    return brands + meta(start) + box(b"mdat", *payloads)


def _encode_tile(image: Image.Image) -> tuple[bytes, bytes]:
    """The `hvcC` box and the pixels of one picture."""
    data = heic(image, quality=95, chroma="420")
    at = data.index(b"hvcC") - 4
    configuration = data[at : at + int.from_bytes(data[at : at + 4])]
    return configuration, data[data.index(b"mdat") + 4 :]


def animation(form: str, **options: Any) -> bytes:
    """Three frames, the first of which is `photo(72, 48)`."""
    first, *others = (photo(72, 48, seed) for seed in range(3))
    return encoded(first, form, save_all=True, append_images=others, **options)


def gliding_gif(seconds: float, size: tuple[int, int] = (320, 240), per_s: int = 10) -> bytes:
    """A part of a photo that glides over it, from the left to the right."""
    width, height = size
    with Image.open(PHOTOS / "mountain_path.jpg") as picture:
        wide = picture.convert("RGB").resize((2 * width, round(2 * width * picture.height / picture.width)))
    count = round(seconds * per_s)
    lefts = [round(place * width / max(1, count - 1)) for place in range(count)]
    first, *others = (wide.crop((left, 0, left + width, height)) for left in lefts)
    return encoded(first, "GIF", save_all=True, append_images=others, duration=1000 // per_s, loop=0)


def orientation_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "secret"
    return exif.tobytes()


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def icc(space: bytes, connection: bytes, **tags: bytes) -> bytes:
    """An ICC 2.4 input profile by hand."""
    tags = {"desc": b"desc" + struct.pack(">4xI", 5) + b"test\0" + b"\0" * 78} | tags
    tags["wtpt"] = b"XYZ " + struct.pack(">4x3i", 63190, 65536, 54061)  # D50
    table, body, at = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        padded = data + b"\0" * (-len(data) % 4)
        table += struct.pack(">4sII", name.encode(), at + len(body), len(data))
        body += padded
    date = struct.pack(">6H", 2024, 1, 1, 0, 0, 0)
    head = struct.pack(">I4xI4s4s4s", at + len(body), 0x02400000, b"scnr", space, connection) + date + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


PRIMARIES = {  # of sRGB, adapted to D50
    "rXYZ": b"XYZ " + struct.pack(">4x3i", 28578, 14581, 912),
    "gXYZ": b"XYZ " + struct.pack(">4x3i", 25240, 46981, 6362),
    "bXYZ": b"XYZ " + struct.pack(">4x3i", 9372, 3974, 46787),
}


def gamma(value: float) -> bytes:
    return b"curv" + struct.pack(">4xIH", 1, round(value * 256))


def swapped_primaries() -> bytes:
    """sRGB with red for blue."""
    return srgb_profile().replace(b"rXYZ", b"swap").replace(b"bXYZ", b"rXYZ").replace(b"swap", b"bXYZ")
