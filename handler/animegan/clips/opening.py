"""Clips of either kind, animations and videos, by one name. Imports no torch."""

from __future__ import annotations

from animegan.clips import animation
from animegan.clips.animation import Animation
from animegan.clips.limits import ClipLimits
from animegan.clips.video import reading
from animegan.clips.video.reading import Video
from animegan.options import Options
from animegan.picture.formats.films import is_video
from animegan.picture.headers import Header
from animegan.picture.sizes import Limits, Size
from animegan.settings import Settings

Clip = Animation | Video


def limits_of(header: Header, settings: Settings) -> ClipLimits:
    """Return what the settings say of a clip of that kind."""
    return ClipLimits.of_videos(settings) if is_video(header) else ClipLimits.of(settings)


def moves(header: Header, options: Options) -> bool:
    """Return whether the file is a clip and is drawn as one: a video where no picture's format is asked for."""
    if is_video(header):
        return options.frames == "all" and options.format == "auto"
    return animation.is_animation(header) and options.keeps_motion


def check(header: Header, max_side: int | None, max_pixels: int | None, limits: Limits, most: ClipLimits) -> Size:
    """Return the size of its frames as drawn, by the file's header. Raise `ClipTooLong`, or as `fit_or_refuse`."""
    look = reading.check if is_video(header) else animation.check
    return look(header, max_side, max_pixels, limits, most)


def open_clip(
    data: bytes, header: Header, max_side: int | None, max_pixels: int | None, limits: Limits, most: ClipLimits
) -> Clip:
    """Return the clip. Raise `ClipTooLong`, `BadImage`, `PictureTooSmall`, `TooLarge` or `OutOfMemory`."""
    if is_video(header):
        return reading.open_video(data, header, max_side, max_pixels, limits, most)
    return animation.open_animation(data, header, max_side, max_pixels, limits, most)
