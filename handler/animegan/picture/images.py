"""Picture files in and out: bytes to RGB pixels under limits, and pixels to JPEG, PNG or WebP. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Literal

from PIL import (  # noqa: F401 - so that Image.open imports no other plugins
    IcoImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from animegan.errors import BadOption
from animegan.picture import colour
from animegan.picture.colour import Colour
from animegan.picture.headers import HEADERS, Header, essence, inspect
from animegan.picture.pillow_guard import guarded
from animegan.picture.pixels import GAP, Picture, Scale, Shrink, coloured, pillow_lanczos, to_picture
from animegan.picture.sizes import Limits, Size, check_size, fit, fit_or_refuse, px
from animegan.settings import Format

__all__ = ["Encoded", "Header", "Limits", "Picture", "chosen_format", "decode", "encode", "fit", "inspect", "prepare"]

if "HEIF" in HEADERS:
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)

# Bytes that a pixel takes while it is decoded, at the most: `benchmarks/pictures/decoding.py` measures them.
DECODED_BYTES = {
    "JPEG": 6,
    "PNG": 8,
    "WEBP": 17,
    "GIF": 8,
    "BMP": 6,
    "TIFF": 8,
    "HEIF": 16,
    "AVIF": 16,
    "JPEG2000": 26,
    "ICO": 12,
    "PPM": 6,
}
MOST_SIDE_PX = {"jpeg": 65_500, "png": 2**31 - 1, "webp": 16_383}
FULL_CHROMA_QUALITY = 90  # of a JPEG: from it on chroma stays at full resolution, see `encode`


@dataclass(frozen=True)
class Encoded:
    """A picture file and its content type."""

    data: bytes
    content_type: str


def decode(
    data: bytes,
    *,
    max_side: int | None,
    max_pixels: int | None = None,
    limits: Limits,
    scale: Scale = pillow_lanczos,
    gate: Callable[[int], AbstractContextManager[None]] = lambda _: nullcontext(),
    shrink: Shrink | None = None,
    header: Header | None = None,
) -> Picture:
    """The picture in a file, fitted (see `sizes.fit`) by `scale`, and shrunk (see `pixels.to_picture`).

    `header`: the file's, where it was read already. A large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, to no less
    than `GAP` times what it is fitted to. The pixels are decoded inside `gate(the bytes that it takes)`.

    Raises `BadImage`, `TooLarge`, `UnsupportedImage`, `PictureTooSmall`, or `OutOfMemory`.
    """
    header = header or inspect(data, limits)
    with guarded(header.format):
        body = essence(data, header)
    with guarded(header.format), Image.open(BytesIO(body), formats=[header.format]) as image:
        image.info.pop("xmp", None)  # by which Pillow turns a TIFF, and no browser a picture
        original = image.width // header.interleaved, image.height
        size = fit_or_refuse(original, max_side, max_pixels, limits)
        draft = image.draft(None, (GAP * size[0], GAP * size[1]))
        # Pillow's reading of the header, by which it is about to allocate
        check_size((image.width // header.interleaved, image.height), limits)
        with gate(image.width * image.height * DECODED_BYTES[header.format] + header.held_bytes):
            image.load()
            box = draft[1] if draft else (0, 0, *original)
            source_colour = colour_of(image, header, data)
            loaded = image if header.interleaved == 1 else coloured(image, header.interleaved, header.orientation)
            picture = to_picture(loaded, box, original, size, header.frames, scale, source_colour, shrink)
            return replace(picture, flaws=header.flaws)


def colour_of(image: Image.Image, header: Header, data: bytes) -> Colour | None:
    """Return the file's own statement of its colour that precedes its ICC profile, or stands in for one."""
    if header.format == "PNG":
        source_colour, first = colour.in_png(data)
        if first:
            image.info.pop("icc_profile", None)
        return None if image.info.get("icc_profile") else source_colour
    if header.format in ("HEIF", "AVIF") and not image.info.get("icc_profile"):
        return colour.in_heif(data)
    return None


def prepare(
    image: Image.Image, *, max_side: int | None, max_pixels: int | None = None, shrink: Shrink | None = None
) -> Picture:
    """The picture of a PIL image in any mode, fitted (see `sizes.fit`); EXIF and ICC profile are read from `.info`.

    `image` is not changed; of an animated one the current frame is used. Raises `BadImage` or `PictureTooSmall`.
    """
    with guarded("picture"):
        size = fit_or_refuse(image.size, max_side, max_pixels)
        image.load()
        if image.size == size:
            image = image.copy()  # which might become the picture as it is
        return to_picture(image, (0, 0, *image.size), image.size, size, frames=1, shrink=shrink)


def chosen_format(format: Format, alpha: Image.Image | None) -> Literal["jpeg", "png", "webp"]:
    """Return the format for `auto`: JPEG, or PNG with alpha."""
    if format == "auto":
        return "jpeg" if alpha is None else "png"
    return format


def check_side(size: Size, format: Literal["jpeg", "png", "webp"]) -> None:
    """Raise `BadOption` for a side that the format can't hold."""
    if max(size) > MOST_SIDE_PX[format]:
        raise BadOption(
            f"The picture is {px(size)}, and a side of a {format.upper()} file holds at most "
            f"{MOST_SIDE_PX[format]:,} px. Choose format=png, or a smaller max_side.",
            limit_px=MOST_SIDE_PX[format],
        )


def encode(rgb: Image.Image, alpha: Image.Image | None, *, format: Format, quality: int) -> Encoded:
    """A JPEG, PNG or WebP file in sRGB and without metadata; `auto` is JPEG, or PNG with alpha. JPEG is on white.

    Raises `BadOption` for a side that the format can't hold.
    """
    file_format = chosen_format(format, alpha)
    check_side(rgb.size, file_format)
    options = {
        # Chroma at full resolution from quality 90 on, where halving it shows at the coloured edges that this generator
        # draws. Pillow can't stream optimised or progressive files, so busy pictures would overflow its buffer.
        "jpeg": {"quality": quality, "subsampling": 0 if quality >= FULL_CHROMA_QUALITY else 2},
        "png": {"compress_level": 3},  # level 6 takes 2 to 3 times as long for at most 8 % fewer bytes
        "webp": {"quality": quality, "method": 2},  # method 4 takes twice as long for the same bytes
    }[file_format]
    if file_format == "jpeg" and alpha:
        rgb, alpha = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha), None
    picture = rgb.copy() if alpha or rgb.info else rgb
    if alpha:
        picture.putalpha(alpha)
    picture.info.clear()  # Pillow writes some of it into the file
    file = BytesIO()
    picture.save(file, file_format, **options)
    return Encoded(file.getvalue(), f"image/{file_format}")
