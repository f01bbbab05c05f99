"""What a video takes beside the drawing of its frames, as `scripts/benchmark video_memory` measures it. No torch."""

from __future__ import annotations

from animegan.clips.video.deinterlacing import HELD_FRAMES
from animegan.clips.video.encoding import Kind
from animegan.clips.video.reading import Video
from animegan.picture.sizes import Size

LIBRARY_BYTES = 34 * 2**20  # of the libraries of PyAV and FFmpeg, sound, and what malloc holds free
# Of each pixel as sent: the frames that later ones may refer to, and the one on its way to RGB.
DECODER_BYTES = {"h264": 42, "hevc": 36, "libdav1d": 26, "vp9": 20, "vp8": 18, "mpeg4": 18, "mjpeg": 15, "prores": 14}
MOST_DECODER_BYTES = max(DECODER_BYTES.values())
DEINTERLACING_BYTES = 2 * HELD_FRAMES  # of each, of frames with a half or more of their colour
USUAL_DEPTH, DEEP = 8, 1.5  # bits of a sample, up to which it is a byte; how much more deeper ones take
ENCODER_BYTES: dict[Kind, int] = {"mp4": 98, "webm": 108}  # of each pixel as drawn: frames that are looked ahead at


def decoder_bytes(size: Size, codec: str = "", depth: int = USUAL_DEPTH, *, interlaced: bool = False) -> int:
    """Return what decoding takes, of frames of that size in px as sent; of any codec where it is not told."""
    each = DECODER_BYTES.get(codec, MOST_DECODER_BYTES) + (DEINTERLACING_BYTES if interlaced else 0)
    return round(size[0] * size[1] * each * (1 if depth <= USUAL_DEPTH else DEEP))


def video_bytes(video: Video, kind: Kind) -> int:
    """Return what decoding the video and encoding its drawing take."""
    encoder_bytes = video.size[0] * video.size[1] * ENCODER_BYTES[kind]
    return (
        LIBRARY_BYTES
        + decoder_bytes(video.header.size, video.codec, video.depth, interlaced=video.interlaced)
        + encoder_bytes
    )
