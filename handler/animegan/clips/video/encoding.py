"""Drawn frames encoded: H.264 for MP4, VP9 for WebM, a segment of a video at a time. Imports no torch.

A segment is a NUT file, which keeps times as they are. It begins with a key frame and needs none of the others, and no
frame refers to a later one, so that segments are joined as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, Literal

from animegan.clips.video.libraries import pyav
from animegan.clips.video.reading import BT709, FULL_RANGE, LIMITED_RANGE, VideoFrame
from animegan.picture.sizes import Size

Kind = Literal["mp4", "webm"]
CODECS = {"mp4": "libx264", "webm": "libvpx-vp9"}
CONTENT_TYPES = {"mp4": "video/mp4", "webm": "video/webm"}
THREADS = 4  # of the encoder, on any machine: each keeps frames, and the bytes that it writes depend on them
KEY_FRAME_S = 4  # between key frames at the most, so that a player can seek
SRGB = 13  # as the transfer of what was drawn (H.273, table 3)


@dataclass(frozen=True)
class Coding:
    """How frames are encoded. `quality` is from 1 to 100; `unit` of their times, in s; `rate` in frames a second."""

    kind: Kind
    size: Size
    unit: Fraction
    rate: Fraction
    quality: int

    @property
    def options(self) -> dict[str, str]:
        """Return the encoder's own options."""
        if self.kind == "mp4":
            crf = round(51 - 0.36 * self.quality)
            return {"crf": str(crf), "preset": "veryfast", "tune": "animation", "bf": "0", "profile": "high"}
        crf = round(63 - 0.42 * self.quality)
        return {"crf": str(crf), "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1", "lag-in-frames": "0"}


def encode(frames: Iterable[VideoFrame], coding: Coding, file: BinaryIO) -> int:
    """Write a segment of frames, none of which is kept; return how many there were."""
    av = pyav()
    count = 0
    with av.open(file, "w", format="nut") as container:
        stream = container.add_stream(CODECS[coding.kind], rate=coding.rate, options=coding.options)
        stream.width, stream.height = coding.size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = coding.unit
        context = stream.codec_context
        context.gop_size = max(1, round(KEY_FRAME_S * coding.rate))
        context.thread_count = THREADS
        context.colorspace, context.color_primaries = BT709, BT709
        context.color_trc, context.color_range = SRGB, LIMITED_RANGE
        lasts: dict[int, int] = {}
        for frame in frames:
            count += 1
            lasts[frame.at] = frame.lasts
            _mux(container, stream.encode(_encodable(frame, coding.unit)), lasts)
        _mux(container, stream.encode(None), lasts)
    return count


def _encodable(frame: VideoFrame, unit: Fraction) -> object:
    from av.video.reformatter import Interpolation  # noqa: PLC0415 - an optional package

    rgb = pyav().VideoFrame.from_image(frame.rgb)
    yuv = rgb.reformat(
        format="yuv420p",
        src_color_range=FULL_RANGE,
        dst_colorspace=BT709,
        dst_color_range=LIMITED_RANGE,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
    )
    yuv.pts, yuv.time_base = frame.at, unit
    return yuv


def _mux(container: object, packets: Iterable[object], lasts: dict[int, int]) -> None:
    """Write packets, each with the time for which its frame is shown, which encoders do not pass on."""
    for packet in packets:
        packet.duration = lasts.pop(packet.pts, 0)  # type: ignore[attr-defined]
        container.mux(packet)  # type: ignore[attr-defined]
