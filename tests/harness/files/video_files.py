"""Videos for tests, made by PyAV: a photo that moves, with a sound that begins at a time that can be found again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import Any

import av
import numpy as np
from PIL import Image

from harness.pictures import photo

SOUND_HZ = 48_000
BEEP_S = 0.4  # from the beginning, when the sound sets in
UNIT = Fraction(1, 12_800)
CODECS = {"mp4": "libx264", "mov": "libx264", "matroska": "libx264", "webm": "libvpx-vp9"}


@dataclass(frozen=True)
class Film:
    """A video's frames and sound, as decoded: times in s."""

    images: list[Image.Image]
    times: list[float]
    beep: float | None
    codecs: list[str]


def moving(count: int = 8, size: tuple[int, int] = (64, 48), seed: int = 1) -> list[Image.Image]:
    """Return a photo that moves by two pixels a frame."""
    wide = photo(size[0] + 2 * count, size[1], seed)
    return [wide.crop((2 * number, 0, 2 * number + size[0], size[1])) for number in range(count)]


def video(
    frames: Sequence[Image.Image] | None = None,
    *,
    kind: str = "mp4",
    codec: str = "",
    times: Sequence[float] | None = None,
    sound: str = "",
    rotation: int = 0,
    matrix: int = 1,
    primaries: int = 1,
    transfer: int = 1,
    full: bool = False,
    fragments: bool = False,
    interlaced: bool = False,
) -> bytes:
    """Return a video's file. `times` of its frames in s; `rotation` clockwise, in an MP4; `sound`: its codec.

    `fragments`: an MP4 in pieces, as recorders write it. `interlaced`: H.264 whose odd lines are of a later moment.
    """
    frames = moving() if frames is None else frames
    times = [number / 25 for number in range(len(frames))] if times is None else times
    file = BytesIO()
    with av.open(file, "w", format=kind, options={"movflags": "+frag_keyframe"} if fragments else {}) as container:
        stream: Any = container.add_stream(codec or CODECS[kind], rate=25)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = UNIT
        context = stream.codec_context
        context.options = {"crf": "10", "b": "0"} if "x26" not in (codec or CODECS[kind]) else {"crf": "8"}
        if interlaced:
            context.options = {"crf": "8", "x264-params": "interlaced=1:tff=1"}
        context.colorspace, context.color_primaries, context.color_trc = matrix, primaries, transfer
        context.color_range = 2 if full else 1
        audio: Any = container.add_stream(sound, rate=SOUND_HZ, layout="mono") if sound else None
        for image, time in zip(frames, times, strict=True):
            rgb = av.VideoFrame.from_ndarray(np.asarray(image.convert("RGB")), format="rgb24")
            frame = rgb.reformat(
                format="yuv420p", src_color_range=2, dst_colorspace=matrix, dst_color_range=2 if full else 1
            )
            frame.pts, frame.time_base = round(time / UNIT), UNIT
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio:
            for samples in _beep(times[-1] + 0.04):
                container.mux(audio.encode(samples))
            container.mux(audio.encode(None))
    return _rotate(file.getvalue(), rotation)


def decoded(data: bytes) -> Film:
    """Return what a video's file holds, decoded by PyAV."""
    images, times, beep = [], [], None
    with av.open(BytesIO(data), "r") as container:
        codecs = [stream.codec_context.name for stream in container.streams]
        for frame in container.decode(video=0):
            images.append(Image.fromarray(frame.to_ndarray(format="rgb24")))
            times.append(float(frame.time or 0))
    with av.open(BytesIO(data), "r") as container:
        if container.streams.audio:
            for sound in container.decode(audio=0):
                loud = np.abs(sound.to_ndarray().astype(np.float64)).max(axis=0)
                if sound.format.is_planar is False:
                    loud = loud.reshape(-1, len(sound.layout.channels)).max(axis=1)
                place = np.flatnonzero(loud > 0.5 * _full(sound.format.name))
                if beep is None and len(place):
                    beep = float(sound.time or 0) + float(place[0]) / sound.sample_rate
    return Film(images, times, beep, codecs)


def _full(format: str) -> float:
    return 2**14 if format.startswith("s16") else 0.5


def _beep(seconds: float) -> Iterable[av.AudioFrame]:
    samples = np.sin(np.arange(round(max(seconds, 2 * BEEP_S) * SOUND_HZ)) * 0.2)
    samples[: round(BEEP_S * SOUND_HZ)] = 0
    whole = (samples * 30_000).astype(np.int16)
    for start in range(0, len(whole) - 960, 960):
        frame = av.AudioFrame.from_ndarray(whole[None, start : start + 960], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_HZ, start, Fraction(1, SOUND_HZ)
        yield frame


def _rotate(data: bytes, rotation: int) -> bytes:
    """Write the matrix of a rotation into the first track's header."""
    if not rotation:
        return data
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[rotation]
    at = data.index(b"tkhd") + 4 + 40
    numbers = [a << 16, b << 16, 0, c << 16, d << 16]
    return data[:at] + b"".join(number.to_bytes(4, signed=True) for number in numbers) + data[at + 20 :]
