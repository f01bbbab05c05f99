"""A video of 5 s drawn to a file, as `animegan stylize` does it: seconds, memory and flicker.

`scripts/benchmark video`. 640×360 px at 25 frames a second, with sound: a still scene with noise (standard deviation 4
of 255), a slow pan (half a pixel a frame), and a cut between them, made of `docs/photos` and encoded as H.264.
`memory_mib` is what the process holds at its most above what it holds once the style is loaded and warm; `plan_mib` is
what the plan foretells of that: drawing a frame, what is kept of it for the next, decoder, encoder and their libraries.
`half_way_mib` is the first once half of the frames are drawn, which shows whether memory grows with the length.
`cpu_seconds` are those of all threads, which other work on the machine changes less. The figure of flicker is the mean
difference from frame to frame in the still scene, the drawn video's over the sent one's, both decoded.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from animegan.clips.drawing import HELD_BYTES
from animegan.clips.limits import NO_LIMITS
from animegan.clips.video.memory import video_bytes
from animegan.clips.video.reading import open_video
from animegan.picture.headers import inspect
from animegan.picture.sources import LIMITS
from animegan.resources.memory import release
from animegan.stylizer import Stylizer
from benchmarks.common.resident import held_bytes, peak_bytes, reset_peak
from benchmarks.common.result import store, table

PHOTOS = Path(__file__).resolve().parents[2] / "docs" / "photos"
SIZE, RATE, STILL, PANNED, NOISE, STEP_PX = (640, 360), 25, 50, 75, 4.0, 0.5
MODULE = "benchmarks.pictures.video"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        figures = _measure(Path(folder))
    result = {"size": list(SIZE), "frames": STILL + PANNED, "style": "cel", **figures}
    table(("figure", "value"), [(name, value) for name, value in result.items() if not isinstance(value, list)])
    store("video", result)


def make(file: Path) -> None:
    """Write the video."""
    import av  # noqa: PLC0415 - its libraries are part of what the child is measured by

    random = np.random.default_rng(20261128)
    with av.open(str(file), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"crf": "12", "preset": "veryfast"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        sound: Any = container.add_stream("aac", rate=48_000, layout="mono")
        for image in _images(random):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")))
        container.mux(stream.encode(None))
        tone = (np.sin(np.arange(48_000 * (STILL + PANNED) // RATE) * 0.05) * 8000).astype(np.int16)
        for start in range(0, len(tone) - 1024, 1024):
            frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="s16", layout="mono")
            frame.sample_rate, frame.pts = 48_000, start
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def _images(random: np.random.Generator) -> Any:
    width, height = SIZE
    plain = np.asarray(Image.open(PHOTOS / "palace.jpg").convert("RGB").resize(SIZE), np.float32)
    for _ in range(STILL):
        noisy = np.clip(plain + random.normal(0, NOISE, plain.shape), 0, 255)
        yield Image.fromarray(noisy.round().astype(np.uint8))
    wide = Image.open(PHOTOS / "mountain_path.jpg").convert("RGB").resize((width + 48, height))
    for number in range(PANNED):
        place = (1, 0, number * STEP_PX, 0, 1, 0)
        yield wide.transform(SIZE, Image.Transform.AFFINE, place, Image.Resampling.BICUBIC)


def _measure(folder: Path) -> dict[str, float]:
    source, anime = folder / "sent.mp4", folder / "drawn.mp4"
    make(source)
    words = [sys.executable, "-c", f"from {MODULE} import draw; draw()", str(source), str(anime)]
    process = subprocess.run(words, capture_output=True, text=True, check=True)
    seconds, cpu_seconds, memory, half_way, plan = map(float, process.stdout.split()[-5:])
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "memory_mib": round(memory),
        "half_way_mib": round(half_way),
        "plan_mib": round(plan),
        "flicker": round(_movement(anime) / _movement(source), 3),
        "sent_bytes": source.stat().st_size,
        "drawn_bytes": anime.stat().st_size,
    }


def draw() -> None:
    """Draw the file that is named first to the second, in this process, and print seconds and MiB."""
    fast = Stylizer("cel", device="cpu", warmup_px=0, fast=True)
    fast.draw([Image.new("RGB", SIZE)])
    release(fast.device)
    reset_peak()  # loading the style had one of its own
    before, start, cpu = held_bytes(), time.perf_counter(), time.process_time()
    halves: list[int] = []

    def progress(share: float) -> None:
        if share >= 0.5 and not halves:
            halves.append(peak_bytes() - before)

    fast.stylize_video(sys.argv[1], sys.argv[2], progress=progress)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    memory = (peak_bytes() - before, halves[0], _planned_bytes(fast))
    print(seconds, cpu, *(bytes_ / 2**20 for bytes_ in memory))


def _planned_bytes(stylizer: Stylizer) -> int:
    """Return the bytes of the plan for the file that is named first."""
    file = Path(sys.argv[1])
    video = open_video(file, inspect(file.read_bytes(), LIMITS), None, None, LIMITS, NO_LIMITS)
    pixels = SIZE[0] * SIZE[1]
    return stylizer.plan(SIZE[1], SIZE[0]).peak_bytes + video_bytes(video, "mp4") + pixels * HELD_BYTES


def _movement(file: Path) -> float:
    """Return the mean difference from frame to frame in the still scene."""
    import av  # noqa: PLC0415 - as above

    frames = []
    with av.open(str(file), "r") as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == STILL:
                break
            if number >= 2:  # the running mean of the first frames has few of them
                frames.append(frame.to_ndarray(format="rgb24").astype(np.float32))
    return float(np.mean([np.abs(one - other).mean() for one, other in pairwise(frames)]))


if __name__ == "__main__":
    main()
