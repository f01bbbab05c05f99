"""Picture files in and out: bytes to RGB pixels under limits, and pixels to JPEG, PNG or WebP. Imports no torch.

Pillow decodes. What a hostile file could make it do at a cost out of proportion to the file's size is refused or left
out, from the file's structure and before a pixel is decoded: see "What the file says of itself" below.
"""

from __future__ import annotations

import re
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import AvifImagePlugin, ExifTags, Image, ImageChops, ImageCms, TiffImagePlugin, WebPImagePlugin, features

from animegan.errors import (
    AnimeganError,
    BadImage,
    BadOption,
    OutOfMemory,
    PictureTooSmall,
    TooLarge,
    UnsupportedImage,
)
from animegan.settings import SMALLEST_SIDE_PX, Format

Size = tuple[int, int]  # width, height in px
Box = tuple[float, float, float, float]  # left, upper, right, lower in px

# Image.open would import every plugin that Pillow has, when it first met one of these formats.
PLUGINS = (AvifImagePlugin, TiffImagePlugin, WebPImagePlugin)

BAND_PX = 1 << 20  # pixels that are converted and scaled at a time, so that a second full-size copy never exists
DRAFT_GAP = 2  # a large JPEG is decoded at 1/2, 1/4 or 1/8, to no less than this many times the size it is fitted to

MOST_JPEG_SCANS = 100  # each makes the decoder visit every block; encoders write about ten
MOST_EXIF_SEGMENTS = 16  # Pillow joins them in quadratic time; encoders write one
MOST_PNG_CHUNKS = 100_000
MOST_GIF_BLOCKS = 1_000_000
MOST_TIFF_PAGES = 10_000
MOST_TIFF_TAGS = 4096  # in the first page's directory
MOST_TIFF_STRIPS = 100_000
TIFF_TILE_PX = 1 << 22  # a tile may be larger than its picture up to this many pixels
MOST_METADATA_BYTES = 4 << 20  # a longer ICC profile or EXIF block is ignored
MOST_PNG_PROFILE_BYTES = 1 << 20  # inflated; Pillow refuses the whole file past this


@dataclass(frozen=True)
class Limits:
    """What a picture file may weigh and measure."""

    max_bytes: int
    max_pixels: int


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself: Pillow's name of its format, width and height as stored, frames or pages."""

    format: str
    size: Size
    frames: int = 1


@dataclass(frozen=True)
class Picture:
    """A picture ready for the generator."""

    rgb: Image.Image  # RGB in sRGB, upright, fitted; what is transparent is composited on white
    alpha: Image.Image | None  # L, of the same size; None: the picture is opaque
    original_size: Size  # as sent, upright
    frames: int  # of which the first is used

    @property
    def fitted(self) -> bool:
        """Whether the picture was scaled down."""
        return self.rgb.size != self.original_size


@dataclass(frozen=True)
class Encoded:
    """A picture file and its content type."""

    data: bytes
    content_type: str


def fit(size: Size, max_side: int) -> Size:
    """The size with its longer side at most `max_side` px: ratio kept, rounded, at least 1, never enlarged."""
    longest = max(size)
    if longest <= max_side:
        return size
    width, height = (max(1, (2 * side * max_side + longest) // (2 * longest)) for side in size)
    return width, height


def inspect(data: bytes, limits: Limits) -> Header:
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
    with _pillow(kind):
        header = HEADERS[kind](data)
        _check_size(header.size, limits)
    return header


def decode(data: bytes, *, max_side: int, limits: Limits) -> Picture:
    """The picture in a file, fitted to `max_side` px.

    Raises `BadImage`, `TooLarge`, `UnsupportedImage`, `PictureTooSmall`, or `OutOfMemory`.
    """
    header = inspect(data, limits)
    if header.format == "PNG":
        data = _png_essence(data)
    with _pillow(header.format), Image.open(BytesIO(data), formats=[header.format]) as image:
        _check_size(image.size, limits)  # Pillow's reading of the header, by which it is about to allocate
        original, size = image.size, _fit(image.size, max_side)
        draft = image.draft(None, (DRAFT_GAP * size[0], DRAFT_GAP * size[1]))
        image.load()
        return _picture(image, draft[1] if draft else (0, 0, *original), original, size, header.frames)


def prepare(image: Image.Image, *, max_side: int) -> Picture:
    """The picture of a PIL image in any mode, fitted to `max_side` px; EXIF and ICC profile are read from `.info`.

    `image` is not changed; of an animated one the current frame is used. Raises `BadImage` or `PictureTooSmall`.
    """
    with _pillow("picture"):
        size = _fit(image.size, max_side)
        image.load()
        return _picture(image, (0, 0, *image.size), image.size, size, frames=1)


def encode(rgb: Image.Image, alpha: Image.Image | None, *, format: Format, quality: int) -> Encoded:
    """A JPEG, PNG or WebP file in sRGB and without metadata; `auto` is JPEG, or PNG with alpha. JPEG drops the alpha.

    Raises `BadOption` for a side that the format can't hold.
    """
    chosen = ("jpeg" if alpha is None else "png") if format == "auto" else format
    limit, options = {
        # Chroma at full resolution from quality 90 on, where halving it shows at the coloured edges that this generator
        # draws. Pillow can't stream optimised or progressive files, so busy pictures would overflow its buffer.
        "jpeg": (65_500, {"quality": quality, "subsampling": 0 if quality >= 90 else 2}),
        "png": (2**31 - 1, {"compress_level": 3}),  # level 6 takes 2 to 3 times as long for at most 8 % fewer bytes
        "webp": (16_383, {"quality": quality, "method": 2}),  # method 4 takes twice as long for the same bytes
    }[chosen]
    if max(rgb.size) > limit:
        raise BadOption(
            f"The picture is {_px(rgb.size)}, and a side of a {chosen.upper()} file holds at most {limit:,} px. "
            "Choose format=png, or a smaller max_side.",
            limit_px=limit,
        )
    picture = rgb.copy()
    if alpha is not None and chosen != "jpeg":
        picture.putalpha(alpha)
    picture.info.clear()  # Pillow writes some of it into the file
    file = BytesIO()
    picture.save(file, chosen, **options)
    return Encoded(file.getvalue(), f"image/{chosen}")


def _fit(size: Size, max_side: int) -> Size:
    """`fit`. Raises `PictureTooSmall` for a side below what the generator takes, before or after."""
    need = f"and a side needs at least {SMALLEST_SIDE_PX} px."
    if min(size) < SMALLEST_SIDE_PX:
        detail = f"The picture is {_px(size)}, {need} Send a larger one."
        raise PictureTooSmall(detail, smallest_side_px=SMALLEST_SIDE_PX)
    fitted = fit(size, max_side)
    if min(fitted) < SMALLEST_SIDE_PX:
        detail = f"The picture is {_px(size)}, fitted to max_side={max_side} it is {_px(fitted)}, {need}"
        raise PictureTooSmall(f"{detail} Crop it, or raise max_side.", smallest_side_px=SMALLEST_SIDE_PX)
    return fitted


def _check_size(size: Size, limits: Limits) -> None:
    """Raise `TooLarge`, `PictureTooSmall`, or `BadImage` where there are no pixels at all."""
    pixels = size[0] * size[1]
    if pixels > limits.max_pixels:
        raise TooLarge(
            f"The picture is {_px(size)}, {pixels:,} pixels, over the limit of {limits.max_pixels:,}. "
            "Scale it down before sending it.",
            pixels=pixels,
            limit_pixels=limits.max_pixels,
        )
    if min(size) < 1:
        raise BadImage(f"The picture's header says {_px(size)}. Send a picture with pixels.")
    _fit(size, max(size))


def _px(size: Size) -> str:
    return f"{size[0]}×{size[1]} px"


# ---- Pillow's errors and warnings ------------------------------------------------------------------------------------


class _Hush:
    """While any thread is inside, warnings from Pillow's modules are ignored: a broken tag is no news to anyone.

    `warnings.catch_warnings` alone restores the wrong filters when threads leave in another order than they came.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.__exit__(None, None, None)


_hush = _Hush()


@contextmanager
def _pillow(what: str) -> Iterator[None]:
    """Whatever Pillow raises inside becomes an error of ours, whose text has nothing of Pillow's."""
    try:
        with _hush:
            yield
    except AnimeganError:
        raise
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        detail = f"The picture has more than {most:,} pixels, the most that Pillow opens here. Scale it down first."
        raise TooLarge(detail, limit_pixels=most) from error
    except MemoryError as error:
        raise OutOfMemory(f"Not enough memory to decode the {what} now. Try later, or scale it down first.") from error
    except Exception as error:
        raise BadImage(
            f"The {what} is damaged, cut short, or of a kind that can't be read here. "
            "Send it again, or save it anew as JPEG, PNG or WebP."
        ) from error


# ---- What the file says of itself ------------------------------------------------------------------------------------


def _kind(data: bytes) -> str:
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


def _jpeg_header(data: bytes) -> Header:
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


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
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


def _png_header(data: bytes) -> Header:
    kinds = [kind for kind, _, _ in _png_chunks(data)]
    if kinds[0] != b"IHDR":
        raise SyntaxError
    frames = kinds.count(b"fcTL")
    if b"IDAT" in kinds and b"fcTL" in kinds and kinds.index(b"IDAT") < kinds.index(b"fcTL"):
        frames += 1  # a still that stands before the animation, and is what is used
    width, height = struct.unpack_from(">II", data, 16)
    return Header("PNG", (width, height), max(1, frames))


def _png_essence(data: bytes) -> bytes:
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


def _gif_header(data: bytes) -> Header:
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


def _webp_header(data: bytes) -> Header:
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


def _bmp_header(data: bytes) -> Header:
    if data[14] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
        return Header("BMP", (width, height))
    width, height, _, _, compression = struct.unpack_from("<IiHHI", data, 18)
    if compression in (1, 2):  # decoded in Python, a pixel at a time
        raise UnsupportedImage("Run-length coded BMP files are not read here. Save the picture as PNG.")
    return Header("BMP", (width, abs(height)))


def _tiff_header(data: bytes) -> Header:
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


def _avif_header(data: bytes) -> Header:
    with Image.open(BytesIO(data), formats=["AVIF"]) as image:  # reads the boxes only
        return Header("AVIF", image.size, getattr(image, "n_frames", 1))


HEADERS: dict[str, Callable[[bytes], Header]] = {
    "JPEG": _jpeg_header,
    "PNG": _png_header,
    "WEBP": _webp_header,
    "GIF": _gif_header,
    "BMP": _bmp_header,
    "TIFF": _tiff_header,
    **({"AVIF": _avif_header} if features.check("avif") else {}),
}


# ---- From any mode, profile and orientation to upright sRGB ----------------------------------------------------------


def _picture(image: Image.Image, box: Box, original: Size, size: Size, frames: int) -> Picture:
    """The picture of a loaded image, `box` of it scaled to `size`. `original` and `size` are as stored, not upright."""
    orientation = _orientation(image)
    colour = _scaled(image, size, box)
    alpha = None
    if colour.mode in ("La", "RGBa"):
        straight = colour.convert("LA" if colour.mode == "La" else "RGBA")
        colour, alpha = straight.convert(straight.mode[:-1]), straight.getchannel("A")
        if alpha.getextrema() == (255, 255):
            alpha = None
    rgb = _srgb(colour, image.info.get("icc_profile"))
    if alpha is not None:
        rgb = Image.composite(rgb, Image.new("RGB", size, "white"), alpha)
    if orientation in TURNS:
        rgb = rgb.transpose(TURNS[orientation])
        alpha = None if alpha is None else alpha.transpose(TURNS[orientation])
    if orientation in (5, 6, 7, 8):
        original = original[1], original[0]
    rgb.info.clear()  # ImageCms leaves the profile in it
    return Picture(rgb, alpha, original, frames)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) to 8; 1 where it is missing or unreadable."""
    with suppress(Exception):  # broken EXIF is no reason to refuse a picture
        if len(image.info.get("exif", b"")) <= MOST_METADATA_BYTES:
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _scaled(image: Image.Image, size: Size, box: Box) -> Image.Image:
    """`box` of the image at `size` by Lanczos, in L, RGB, CMYK or LAB, or premultiplied in La or RGBa.

    Pillow scales in two passes, rows first, so rows can be taken a band at a time with the same result.
    """
    levels = _levels(image)
    middle: Image.Image | None = None
    for top, band in _bands(image):
        plain = _plain(band, levels)
        narrow = plain.resize((size[0], band.height), Image.Resampling.LANCZOS, (box[0], 0, box[2], band.height))
        if middle is None:
            middle = Image.new(narrow.mode, (size[0], image.height))
        middle.paste(narrow, (0, top))
    assert middle is not None
    return middle.resize(size, Image.Resampling.LANCZOS, (0, box[1], size[0], box[3]))


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, BAND_PX // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _levels(image: Image.Image) -> tuple[float, float] | None:
    """The values that become black and white where a pixel has more than 8 bits; None where it has not.

    32-bit integers and floats have no white of their own: the smallest and the largest value are taken, or 0 and 1 for
    floats that stay inside.
    """
    if image.mode.startswith("I;16"):
        return 0, 65535
    if image.mode not in ("I", "F"):
        return None
    lows, highs = [], []
    for _, band in _bands(image):
        values = np.asarray(band)
        values = values[np.isfinite(values)]
        if values.size:
            lows.append(float(values.min()))
            highs.append(float(values.max()))
    low, high = min(lows, default=0), max(highs, default=1)
    return (0, 1) if image.mode == "F" and low >= 0 and high <= 1 else (low, high)


def _plain(band: Image.Image, levels: tuple[float, float] | None) -> Image.Image:
    """The band in a mode that can be scaled: L, RGB, CMYK, LAB, or premultiplied (La, RGBa) if it has transparency."""
    if levels is not None:
        low, high = levels
        values = np.asarray(band)
        finite = np.nan_to_num(values, nan=low, posinf=high, neginf=low).astype(np.float64)
        grey = Image.fromarray(((finite - low) * (255 / (high - low or 1)) + 0.5).astype(np.uint8))
        key = band.info.get("transparency")
        if not isinstance(key, int):
            return grey
        opaque = Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))
        return Image.merge("LA", (grey, opaque)).convert("La")
    if band.mode in ("La", "RGBa", "CMYK", "LAB"):
        return band
    mode = "L" if band.mode in ("1", "L", "LA") else "RGB"
    if not band.has_transparency_data:
        return band if band.mode == mode else band.convert(mode)
    if band.mode == "1":
        band = band.convert("L")
    return band.convert(f"{mode}A").convert(f"{mode}a")


ICC_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}
COLOURS = Image.fromarray(np.stack(np.meshgrid(*[np.arange(0, 256, 51, dtype=np.uint8)] * 3), -1).reshape(12, 18, 3))


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An L, RGB, CMYK or LAB image in sRGB, by its ICC profile where that can be used."""
    if profile and len(profile) <= MOST_METADATA_BYTES:
        with suppress(OSError, TypeError, ValueError, ImageCms.PyCMSError):  # a broken one is ignored
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            mode = ICC_MODES.get(source.profile.xcolor_space)
            if mode == "RGB" and image.mode == "L":
                image = image.convert("RGB")
            if mode == image.mode:
                transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
                if mode == "RGB" and _changes_nothing(transform):
                    return image
                return transform.apply(image)
    return image.convert("RGB")


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether the profile is sRGB, whatever its name: no colour moves by more than one step."""
    moved = ImageChops.difference(COLOURS, transform.apply(COLOURS)).getextrema()
    return all(high <= 1 for _, high in moved)  # type: ignore[misc]
