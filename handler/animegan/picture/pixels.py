"""From any mode, colour profile and orientation to upright sRGB of the size that is wanted. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import ExifTags, Image, ImageChops, ImageCms, TiffImagePlugin

from animegan.picture.colour import Colour
from animegan.picture.formats.header import Flaw
from animegan.picture.sizes import Size, upright
from animegan.picture.transparency import ground

Box = tuple[float, float, float, float]  # left, upper, right, lower in px
Scale = Callable[[Image.Image, Size, Box], Image.Image]  # that box of the image at that size
Shrink = Callable[[Image.Image], Size]

BAND_PX = 1 << 20  # pixels that are converted at a time, so that a second full-size copy never exists
# Lanczos sets in from this many times the size that is wanted; what is larger is first averaged down to that, by whole
# steps. Nobody sees it (45 dB against Lanczos alone, and more), and it takes a fifth of the time at 64 megapixels.
GAP = 2
MOST_METADATA_BYTES = 4 << 20  # a longer ICC profile or EXIF block is ignored


@dataclass(frozen=True)
class Picture:
    """A picture ready for the generator."""

    rgb: Image.Image  # RGB in sRGB, upright, fitted; under what is transparent, the colours beside it
    alpha: Image.Image | None  # L, of the same size; None: the picture is opaque
    original_size: Size  # as sent, upright
    frames: int  # of which the first is used
    small: Image.Image | None = None  # the same as `rgb`, shrunk once from what was decoded
    flaws: tuple[Flaw, ...] = ()  # of a file that is drawn all the same

    @property
    def size(self) -> Size:
        """Return the size at which it is drawn."""
        return self.rgb.size


def pillow_lanczos(image: Image.Image, size: Size, box: Box) -> Image.Image:
    """`box` of the image at `size` by Pillow's Lanczos; the image itself where that is the same."""
    if (size, box) == (image.size, (0, 0, *image.size)):
        return image
    return image.resize(size, Image.Resampling.LANCZOS, box, reducing_gap=GAP)


def to_picture(
    image: Image.Image,
    box: Box,
    original: Size,
    size: Size,
    frames: int,
    scale: Scale = pillow_lanczos,
    colour: Colour | None = None,
    shrink: Shrink | None = None,
) -> Picture:
    """Return the picture of a loaded image, `box` of it scaled to `size`; these are as stored, as is `original`.

    `scale` is for RGB. `colour` is what the file says of it without an ICC profile. `shrink` tells, from the fitted
    photo, the size of the small one.

    An image that needs nothing done becomes the picture itself, without a copy, and loses its info.
    """
    orientation = orientation_of(image)

    def scaled(size: Size) -> tuple[Image.Image, Image.Image | None]:
        rgb, alpha = _srgb(_scaled(image, size, box, scale), image.info.get("icc_profile"), colour)
        if orientation in TURNS:
            rgb = rgb.transpose(TURNS[orientation])
            alpha = None if alpha is None else alpha.transpose(TURNS[orientation])
        return rgb, alpha

    rgb, alpha = scaled(size)
    small = None
    if shrink and (small_size := shrink(rgb)) != rgb.size:
        small, _ = scaled(upright(small_size, orientation))
        small.info.clear()
    rgb.info.clear()  # ImageCms leaves the profile in it
    return Picture(rgb, alpha, upright(original, orientation), frames, small)


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) to 8; 1 where it is missing or unreadable."""
    with suppress(Exception):  # broken EXIF is no reason to refuse a picture
        if len(image.info.get("exif", b"")) <= MOST_METADATA_BYTES:
            exif = Image.Exif()
            if image.info.get("exif"):
                exif.load(image.info["exif"])  # Pillow's getexif falls back on XMP, which browsers don't
            elif isinstance(image, TiffImagePlugin.TiffImageFile):
                exif = image.getexif()
            return int(exif.get(ExifTags.Base.Orientation, 1))
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


def _scaled(image: Image.Image, size: Size, box: Box, scale: Scale) -> Image.Image:
    """`box` of the image at `size` by Lanczos, in L, RGB, CMYK or LAB, or premultiplied in La or RGBa.

    A mode that can't be scaled is converted a band of rows at a time: Lanczos takes the rows first, then the columns.
    """
    if image.mode in ("L", "RGB", "CMYK", "LAB", "La", "RGBa") and not _has_transparent_colour(image):
        return (scale if image.mode == "RGB" else pillow_lanczos)(image, size, box)
    levels = _levels(image)
    middle: Image.Image | None = None
    for top, band in bands(image):
        narrow = pillow_lanczos(_plain(band, levels), (size[0], band.height), (box[0], 0, box[2], band.height))
        if middle is None:
            middle = Image.new(narrow.mode, (size[0], image.height))
        middle.paste(narrow, (0, top))
    assert middle is not None
    return pillow_lanczos(middle, size, (0, box[1], size[0], box[3]))


def _has_transparent_colour(image: Image.Image) -> bool:
    return image.mode in ("L", "RGB") and image.has_transparency_data


def bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
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
    for _, band in bands(image):
        values = np.asarray(band)
        values = values[np.isfinite(values)]
        if values.size:
            lows.append(float(values.min()))
            highs.append(float(values.max()))
    low, high = min(lows, default=0), max(highs, default=1)
    return (0, 1) if image.mode == "F" and low >= 0 and high <= 1 else (low, high)


def coloured(image: Image.Image, values: int, orientation: int) -> Image.Image:
    """The RGB or RGBA image, of 8 bits, of a loaded F image with 3 or 4 values beside each other for a pixel.

    Its levels are those of a grey picture (see `_levels`), but that black is 0 or less; alpha is from 0 to 1.
    """
    low, high = _levels(image) or (0, 1)
    low = min(0, low)
    result = Image.new("RGB" if values == 3 else "RGBA", (image.width // values, image.height))
    for top, band in bands(image):
        finite = np.nan_to_num(np.asarray(band), nan=low, posinf=high, neginf=low).astype(np.float64)
        floats = finite.reshape(band.height, -1, values)
        colours = (floats[..., :3] - low) * (255 / (high - low or 1))
        codes = np.concatenate([colours, 255 * floats[..., 3:]], axis=-1)
        result.paste(Image.fromarray((np.clip(codes, 0, 255) + 0.5).astype(np.uint8)), (0, top))
    if "icc_profile" in image.info:
        result.info["icc_profile"] = image.info["icc_profile"]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    result.info["exif"] = exif.tobytes()
    return result


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
    mode = "L" if band.mode in ("1", "L", "LA") else "RGB"
    if not band.has_transparency_data:
        return band.convert(mode)
    if band.mode == "1":
        band = band.convert("L")
    return band.convert(f"{mode}A").convert(f"{mode}a")


# How much of a pixel's own colour is drawn, by its alpha. Below a fourth, a premultiplied colour of 8 bits isn't exact.
VISIBLE = [min(255, 4 * alpha) for alpha in range(256)]
ICC_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}
COLOURS = Image.fromarray(np.stack(np.meshgrid(*[np.arange(0, 256, 51, dtype=np.uint8)] * 3), -1).reshape(12, 18, 3))


def _srgb(image: Image.Image, profile: bytes | None, colour: Colour | None) -> tuple[Image.Image, Image.Image | None]:
    """An L, RGB, CMYK, LAB, La or RGBa image in sRGB, and its alpha unless that is 255 throughout.

    Behind what is transparent are the colours beside it (see `transparency`).
    """
    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    mode = straight[:-1] if straight else image.mode
    to_srgb = colour.to_srgb if colour and mode in ("L", "RGB") else _conversion(mode, profile)
    if image.mode == "RGB" and to_srgb is None:
        return image, None
    if straight:
        behind = ground(image)
        rgb = (to_srgb(behind) if to_srgb else behind).resize(image.size, Image.Resampling.BILINEAR)
    else:
        rgb = Image.new("RGB", image.size)
    alpha = Image.new("L", image.size) if straight else None
    for top, band in bands(image):
        mask = None
        if alpha and straight:
            band = band.convert(straight)  # noqa: PLW2901
            mask = band.getchannel("A")
            alpha.paste(mask, (0, top))
            mask = mask.point(VISIBLE)
            band = band.convert(straight[:-1])  # noqa: PLW2901
        rgb.paste(to_srgb(band) if to_srgb else band, (0, top), mask)
    return rgb, alpha if alpha and alpha.getextrema() != (255, 255) else None


def _conversion(mode: str, profile: bytes | None) -> Callable[[Image.Image], Image.Image] | None:
    """From L, RGB, CMYK or LAB to sRGB by the ICC profile where that can be used; None: RGB that is sRGB already."""
    if profile and len(profile) <= MOST_METADATA_BYTES:
        with suppress(OSError, TypeError, ValueError, ImageCms.PyCMSError):  # a broken one is ignored
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            profile_mode = ICC_MODES.get(source.profile.xcolor_space, "")
            if profile_mode == mode or (profile_mode, mode) == ("RGB", "L"):
                transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), profile_mode, "RGB")
                transform.apply(Image.new(profile_mode, (1, 1)))
                if not (profile_mode == "RGB" and _changes_nothing(transform)):
                    return lambda image: transform.apply(image if mode == profile_mode else image.convert(profile_mode))
    return None if mode == "RGB" else lambda image: image.convert("RGB")


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return whether the profile is sRGB, whatever its name: no colour moves by more than one step."""
    differences = ImageChops.difference(COLOURS, transform.apply(COLOURS)).getextrema()
    return all(high <= 1 for _, high in differences)  # type: ignore[misc]
