"""What a video's decoder and encoder take beside the drawing, of each pixel, for codecs and sizes.

`scripts/benchmark video_memory`. Each figure is a process of its own, which first handles a small video of the codec,
so that libraries are loaded, and then one of 24 frames of moving noise, with as many references as there may be and
B-frames in H.264 and HEVC. Bytes are the peak of what is resident above what it was before, of each pixel as sent
(decoded to RGB, frame by frame) or as drawn (encoded); microseconds are of CPU, of each pixel of each frame.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from animegan.clips.video.encoding import Kind
from animegan.clips.video.memory import ENCODER_BYTES, decoder_bytes
from benchmarks.common.resident import held_bytes, peak_bytes, reset_peak
from benchmarks.common.result import store, table

MODULE = "benchmarks.pictures.video_memory"
SMALL, SIZES, FRAMES = (192, 128), ((640, 360), (1280, 720), (1920, 1080)), 24
X265 = {"preset": "ultrafast", "crf": "18", "x265-params": "ref=8:bframes=3:log-level=error"}
DECODED: dict[str, tuple[str, str, dict[str, str]]] = {  # decoder: encoder, pixels, its options
    "h264": ("libx264", "yuv420p", {"preset": "veryfast", "refs": "16", "bf": "3", "b-pyramid": "normal", "crf": "18"}),
    "hevc": ("libx265", "yuv420p", X265),
    "hevc, 10 bits": ("libx265", "yuv420p10le", X265),
    "vp8": ("libvpx", "yuv420p", {"deadline": "realtime", "cpu-used": "8", "b": "4M"}),
    "vp9": ("libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8", "b": "4M"}),
    "libdav1d": ("libsvtav1", "yuv420p", {"preset": "11", "crf": "30"}),
    "mpeg4": ("mpeg4", "yuv420p", {"b": "8M"}),
    "mjpeg": ("mjpeg", "yuvj420p", {"q": "3"}),
    "prores, 10 bits": ("prores_ks", "yuv422p10le", {}),
}
CONTAINERS = {"vp8": "matroska", "vp9": "matroska", "prores, 10 bits": "mov"}
CONSTANT_BYTES = 3 * 2**19  # of what does not depend on the size; the plan has it among the libraries
ENCODED: tuple[Kind, ...] = ("mp4", "webm")


def main() -> None:
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            for codec in DECODED:
                for each in (SMALL, size):
                    _make(Path(folder) / f"{codec}{each[0]}", codec, each)
                rows.append(_measure("decode", codec, size, folder))
            rows += [_measure("encode", kind, size, folder) for kind in ENCODED]
    table(
        ("what", "codec", "width", "MiB", "planned", "bytes/px", "µs/px"),
        [
            (
                *(row["what"], row["codec"], row["size"][0], row["mib"]),
                *(row["planned_mib"], row["bytes_per_pixel"], row["us_per_pixel"]),
            )
            for row in rows
        ],
    )
    store("video_memory", {"frames": FRAMES, "figures": rows})


def _measure(what: str, codec: str, size: tuple[int, int], folder: str) -> dict[str, Any]:
    words = [sys.executable, "-m", MODULE, what, codec, str(size[0]), str(size[1]), folder]
    process = subprocess.run(words, capture_output=True, text=True, check=True)
    bytes_, seconds = map(float, process.stdout.split()[-2:])
    pixels = size[0] * size[1]
    estimate = ENCODER_BYTES[codec] * pixels if codec in ENCODER_BYTES else _decoder_bytes(codec, size)
    return {
        "what": what,
        "codec": codec,
        "size": list(size),
        "mib": round(bytes_ / 2**20, 1),
        "planned_mib": round((estimate + CONSTANT_BYTES) / 2**20, 1),
        "bytes_per_pixel": round(bytes_ / pixels, 1),
        "us_per_pixel": round(1e6 * seconds / pixels / FRAMES, 4),
    }


def _images(size: tuple[int, int]) -> Iterator[Image.Image]:
    noise = np.random.default_rng(1).integers(0, 255, (size[1] + FRAMES, size[0], 3), np.uint8)
    for first in range(FRAMES):
        yield Image.fromarray(noise[first : first + size[1]] // 8 * 4 + 60)


def _make(file: Path, codec: str, size: tuple[int, int]) -> None:
    encoder, pixels, options = DECODED[codec]
    with av.open(str(file), "w", format=CONTAINERS.get(codec, "mp4")) as container:
        stream: Any = container.add_stream(encoder, rate=25, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        for image in _images(size):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")))
        container.mux(stream.encode(None))


def _decoder_bytes(codec: str, size: tuple[int, int]) -> int:
    name, _, depth = codec.partition(", ")
    return decoder_bytes(size, name, 10 if depth else 8)


def measure(what: str, codec: str, size: tuple[int, int], folder: Path) -> None:
    """Handle a small video and then the one of that size, and print what the second took: bytes and CPU seconds."""
    from animegan.clips.limits import NO_LIMITS  # noqa: PLC0415 - the parent needs none of it
    from animegan.clips.video.encoding import Coding, encode  # noqa: PLC0415
    from animegan.clips.video.reading import VideoFrame, open_video  # noqa: PLC0415
    from animegan.picture.headers import inspect  # noqa: PLC0415
    from animegan.picture.sizes import Limits  # noqa: PLC0415

    def handle(size: tuple[int, int]) -> None:
        if what == "decode":
            file = folder / f"{codec}{size[0]}"
            limits = Limits(max_bytes=2**40, max_pixels=2**40, max_drawn_pixels=2**40)
            header = inspect(file.read_bytes(), limits)
            for _ in open_video(file, header, 256, None, limits, NO_LIMITS).read():
                pass
        else:
            picture = np.asarray(next(_images(size)))
            pictures = (Image.fromarray(np.roll(picture, number, 0)) for number in range(FRAMES))
            frames = (VideoFrame(image, None, 40.0, at, 1) for at, image in enumerate(pictures))
            assert codec in ("mp4", "webm")
            encode(frames, Coding(codec, size, Fraction(1, 25), Fraction(25), 92), BytesIO())  # type: ignore[arg-type]

    handle(SMALL)
    gc.collect()
    reset_peak()
    before, start = held_bytes(), time.process_time()
    handle(size)
    print(peak_bytes() - before, time.process_time() - start)


if __name__ == "__main__":
    if arguments := sys.argv[1:]:
        measure(arguments[0], arguments[1], (int(arguments[2]), int(arguments[3])), Path(arguments[4]))
    else:
        main()
