"""How long an animation or a video may be. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from animegan.errors import ClipTooLong
from animegan.picture.formats.header import Motion
from animegan.picture.sizes import Size, fit
from animegan.settings import SMALLEST_SIDE_PX, Settings

DECODING_RATIO = 8  # times as many pixels as are drawn may be decoded, which is that much faster
MILLION = 1_000_000


@dataclass(frozen=True)
class ClipLimits:
    """The most frames, seconds, and pixels of all frames together, as drawn."""

    frames: int
    seconds: float
    pixels: int

    @classmethod
    def of(cls, settings: Settings) -> ClipLimits:
        """Return the limits of animations that the settings name."""
        return cls(settings.clip_frames, settings.clip_s, settings.clip_mpx * MILLION)

    @classmethod
    def of_videos(cls, settings: Settings) -> ClipLimits:
        """Return those of videos."""
        return cls(settings.video_frames, settings.video_s, settings.video_mpx * MILLION)


NO_LIMITS = ClipLimits(frames=10**9, seconds=math.inf, pixels=10**15)


def check_clip(what: str, motion: Motion, source_size: Size, size: Size, limits: ClipLimits, way_out: str) -> None:
    """Raise `ClipTooLong` for a clip over a limit. `what` names it, as in "The animation"; sizes are those of a frame.

    `way_out`: how to send it otherwise, as a sentence.
    """
    frames = motion.frames
    if frames > limits.frames:
        detail = f"{what} has {frames:,} frames, over the limit of {limits.frames:,}. {way_out}"
        raise ClipTooLong(detail, frames=frames, limit_frames=limits.frames)
    if motion.seconds > limits.seconds:
        detail = f"{what} lasts {motion.seconds:.0f} s, over the limit of {limits.seconds:.0f} s. {way_out}"
        raise ClipTooLong(detail, seconds=round(motion.seconds, 1), limit_seconds=limits.seconds)
    pixels = frames * size[0] * size[1]
    if pixels > limits.pixels:
        side = math.floor(max(size) * math.sqrt(limits.pixels / pixels))
        smaller = f"Set max_side to {side} px or less. " if min(fit(size, side)) >= SMALLEST_SIDE_PX else ""
        raise ClipTooLong(
            f"{what} has {frames:,} frames of {size[0]}×{size[1]} px, {pixels / MILLION:,.0f} million pixels in all, "
            f"over the limit of {limits.pixels // MILLION:,} million. {smaller}{way_out}",
            pixels=pixels,
            limit_pixels=limits.pixels,
            fits_side_px=side if smaller else 0,
        )
    pixels, most = frames * source_size[0] * source_size[1], DECODING_RATIO * limits.pixels
    if pixels > most:
        raise ClipTooLong(
            f"{what} was sent with {frames:,} frames of {source_size[0]}×{source_size[1]} px, "
            f"{pixels / MILLION:,.0f} million pixels in all, over the limit of {most // MILLION:,} million. "
            f"Scale it down before sending it. {way_out}",
            pixels=pixels,
            limit_pixels=most,
        )
