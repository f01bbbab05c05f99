"""How large a picture may be, and what it is fitted to. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from animegan.errors import BadImage, PictureTooSmall, TooLarge
from animegan.settings import SMALLEST_SIDE_PX

Size = tuple[int, int]  # width, height in px


@dataclass(frozen=True)
class Limits:
    """What a picture file may weigh and measure."""

    max_bytes: int
    max_pixels: int


def fit(size: Size, max_side: int) -> Size:
    """The size with its longer side at most `max_side` px: ratio kept, rounded, at least 1, never enlarged."""
    longest = max(size)
    if longest <= max_side:
        return size
    width, height = (max(1, (2 * side * max_side + longest) // (2 * longest)) for side in size)
    return width, height


def fit_or_refuse(size: Size, max_side: int) -> Size:
    """`fit`. Raises `PictureTooSmall` for a side below what the generator takes, before or after."""
    need = f"and a side needs at least {SMALLEST_SIDE_PX} px."
    if min(size) < SMALLEST_SIDE_PX:
        detail = f"The picture is {px(size)}, {need} Send a larger one."
        raise PictureTooSmall(detail, smallest_side_px=SMALLEST_SIDE_PX)
    fitted = fit(size, max_side)
    if min(fitted) < SMALLEST_SIDE_PX:
        detail = f"The picture is {px(size)}, fitted to max_side={max_side} it is {px(fitted)}, {need}"
        raise PictureTooSmall(f"{detail} Crop it, or raise max_side.", smallest_side_px=SMALLEST_SIDE_PX)
    return fitted


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
