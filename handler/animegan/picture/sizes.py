"""How large a picture may be, and what it is fitted to. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from animegan.errors import BadImage, PictureTooSmall, TooLarge
from animegan.settings import SMALLEST_SIDE_PX

Size = tuple[int, int]  # width, height in px

QUARTER_TURNS = frozenset({5, 6, 7, 8})  # orientations, as EXIF numbers them, that swap width and height
LONG = 2  # a picture more than so many times as long as it is wide would be narrow under a limit on its longest side


@dataclass(frozen=True)
class Limits:
    """Limits of a picture: bytes and pixels of its file, and pixels that may be drawn; None: no limit."""

    max_bytes: int
    max_pixels: int
    max_drawn_pixels: int | None = None


def upright(size: Size, orientation: int) -> Size:
    """Return the size after a picture of it, as stored, was turned upright; or the other way round."""
    return size[::-1] if orientation in QUARTER_TURNS else size


def fit(size: Size, max_side: int | None, max_pixels: int | None = None) -> Size:
    """The size with its longer side at most `max_side` px: ratio kept, rounded, at least 1, never enlarged.

    With `max_pixels`, a picture that is more than `LONG` times as long as it is wide has at most so many pixels
    instead, as has any picture without a `max_side`. Without both it keeps its size.
    """
    longest, shortest = max(size), min(size)
    if _by_pixels(size, max_side, max_pixels):
        assert max_pixels
        if longest * shortest <= max_pixels:
            return size
        max_side = max(1, isqrt(max_pixels * longest // max(1, shortest)))
        shorter = max(1, min((2 * shortest * max_side + longest) // (2 * longest), max_pixels // max_side))
        return (max_side, shorter) if size[0] == longest else (shorter, max_side)
    if max_side is None or longest <= max_side:
        return size
    width, height = (max(1, (2 * side * max_side + longest) // (2 * longest)) for side in size)
    return width, height


def _by_pixels(size: Size, max_side: int | None, max_pixels: int | None) -> bool:
    """Return whether the limit on the pixels is the one that holds."""
    return max_pixels is not None and (max_side is None or max(size) > LONG * min(size))


def fit_or_refuse(
    size: Size, max_side: int | None, max_pixels: int | None = None, limits: Limits | None = None
) -> Size:
    """`fit`. Raises `PictureTooSmall` for a side below what the generator takes, before or after, or `TooLarge`."""
    need = f"and a side needs at least {SMALLEST_SIDE_PX} px."
    if min(size) < SMALLEST_SIDE_PX:
        detail = f"The picture is {px(size)}, {need} Send a larger one."
        raise PictureTooSmall(detail, smallest_side_px=SMALLEST_SIDE_PX)
    target = fit(size, max_side, max_pixels)
    if min(target) < SMALLEST_SIDE_PX:
        name = "max_pixels" if _by_pixels(size, max_side, max_pixels) else "max_side"
        value = max_pixels if name == "max_pixels" else max_side
        detail = f"The picture is {px(size)}, fitted to {name}={value} it is {px(target)}, {need}"
        raise PictureTooSmall(f"{detail} Crop it, or raise {name}.", smallest_side_px=SMALLEST_SIDE_PX)
    pixels, most = target[0] * target[1], limits and limits.max_drawn_pixels
    if most and pixels > most:
        raise TooLarge(
            f"As sent the picture is {px(target)}, {pixels:,} pixels, and at most {most:,} are drawn. "
            f"Set max_pixels={most}, or a max_side.",
            pixels=pixels,
            limit_pixels=most,
        )
    return target


def check_size(size: Size, limits: Limits) -> None:
    """Raise `TooLarge`, `PictureTooSmall`, or `BadImage` where there are no pixels at all."""
    pixels = size[0] * size[1]
    if pixels > limits.max_pixels:
        raise TooLarge(
            f"The picture is {px(size)}, {pixels:,} pixels, over the limit of {limits.max_pixels:,}. "
            "Scale it down before sending it.",
            pixels=pixels,
            limit_pixels=limits.max_pixels,
        )
    if min(size) < 1:
        raise BadImage(f"The picture's header says {px(size)}. Send a picture with pixels.")
    fit_or_refuse(size, max(size))


def px(size: Size) -> str:
    return f"{size[0]}×{size[1]} px"
