"""Animations in GIF, PNG, WebP and AVIF: their frames as viewers show them, decoded one at a time. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from animegan.clips.clip import FIRST, ClipFile, Frame
from animegan.clips.limits import ClipLimits, check_clip
from animegan.errors import AnimeganError, BadImage
from animegan.picture import images
from animegan.picture.formats import png
from animegan.picture.headers import Header
from animegan.picture.pillow_guard import guarded
from animegan.picture.pixels import orientation_of, to_picture
from animegan.picture.sizes import QUARTER_TURNS, Limits, Size, fit_or_refuse

KINDS = ("GIF", "PNG", "WEBP", "AVIF")
FRAME_BYTES = 32  # of each pixel as sent, while frames are decoded one after the other: `benchmarks/decoding.py`
FOREVER = 0  # as `plays`


@dataclass(frozen=True)
class Animation(ClipFile):
    """An animation's file, each of whose frames can be decoded.

    `seconds`: for how long all frames are shown. `plays`: how often, 0 is for ever. `has_alpha`: something of a frame
    is transparent.
    """

    name = "The animation"
    data: bytes
    seconds: float
    plays: int
    has_alpha: bool

    def read(self) -> Iterator[Frame]:
        """Yield the frames. Raise `BadImage` or `OutOfMemory`."""
        with _open(self.data, self.header) as image:
            with guarded(self.kind):
                colour = images.colour_of(image, self.header, self.data)
            for frame in _frames(image, self.header):
                with guarded(self.kind):
                    picture = to_picture(
                        frame.copy(), (0, 0, *frame.size), frame.size, self.stored_size, 1, colour=colour
                    )
                yield Frame(picture.rgb, picture.alpha, _ms(frame))


def is_animation(header: Header) -> bool:
    """Return whether the file is an animation of a kind that is read here."""
    return header.motion is not None and header.format in KINDS


def check(header: Header, max_side: int | None, max_pixels: int | None, limits: Limits, most: ClipLimits) -> Size:
    """Return the size of its frames as drawn, by the file's header. Raise `ClipTooLong`, or as `fit_or_refuse`."""
    assert header.motion
    size = fit_or_refuse(header.size, max_side, max_pixels, limits)
    check_clip(Animation.name, header.motion, header.size, size, most, FIRST)
    return size


def open_animation(
    data: bytes, header: Header, max_side: int | None, max_pixels: int | None, limits: Limits, most: ClipLimits
) -> Animation:
    """Return the animation, each of whose frames was decoded once, so that none fails when others are drawn.

    Raise `ClipTooLong`, `BadImage`, `PictureTooSmall`, `TooLarge` or `OutOfMemory`.
    """
    size = check(header, max_side, max_pixels, limits, most)
    if header.format == "PNG":
        with guarded("PNG"):
            data = png.animated(data)
    ms, has_alpha = 0.0, False
    with _open(data, header) as image:
        turned = orientation_of(image) in QUARTER_TURNS
        for frame in _frames(image, header):
            ms += _ms(frame)
            has_alpha = has_alpha or _is_transparent(frame)
        plays = _plays(image)
    return Animation(header, size, turned, data, ms / 1000, plays, has_alpha)


@contextmanager
def _open(data: bytes, header: Header) -> Iterator[Image.Image]:
    with guarded(header.format):
        image = Image.open(BytesIO(data), formats=[header.format])
        image.info.pop("xmp", None)  # by which no browser turns a picture
    with image:
        yield image


def _frames(image: Image.Image, header: Header) -> Iterator[Image.Image]:
    """Yield the image at each of its frames. Raise `BadImage` where one is missing."""
    assert header.motion
    count, size = header.motion.frames, header.size
    first = 1 if image.info.get("default_image") else 0  # a still for viewers that know no animation
    for number in range(count):
        with guarded(header.format):
            try:
                image.seek(first + number)
                if image.size != size:
                    raise BadImage("A frame of the animation reaches beyond its border. Save it anew.")
                image.load()
            except (AnimeganError, MemoryError):
                raise
            except Exception as error:
                raise BadImage(
                    f"The animation is damaged or cut short: {number} of its {count} frames can be decoded. "
                    f"Send it again. {FIRST}"
                ) from error
        yield image


def _is_transparent(frame: Image.Image) -> bool:
    if not frame.has_transparency_data:
        return False
    low, _ = frame.convert("RGBA").getchannel("A").getextrema()
    return low != 255


def _ms(frame: Image.Image) -> float:
    return float(frame.info.get("duration") or 0)


def _plays(image: Image.Image) -> int:
    """Return how often the animation is shown, as its file says; an AVIF's is taken to be for ever."""
    if image.format == "GIF":  # which says how often it is repeated, or nothing: it is shown once
        repeats = image.info.get("loop")
        return 1 if repeats is None else repeats + 1 if repeats else FOREVER
    return int(image.info.get("loop", FOREVER))
