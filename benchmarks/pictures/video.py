"""A video of 5 s drawn to a file, as `animegan stylize` does it: seconds, memory and flicker.

`scripts/benchmark video`. 640×360 px at 25 frames a second, with sound: a still scene with noise (standard deviation 4
of 255), a slow pan (half a pixel a frame), and a cut between them, made of `docs/photos` and encoded as H.264.
`memory_mib` is what the process has at its most above what it has once the style is loaded and warm; `plan_mib` is what
drawing a frame may take by its plan. `twice_as_long_mib` is the same of the video shown twice. The figure of flicker is
the mean difference from frame to frame in the still scene, the drawn video's over the sent one's, both decoded.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from benchmarks.common.result import store, table

PHOTOS = Path(__file__).resolve().parents[2] / "docs" / "photos"
SIZE, RATE, STILL, PANNED, NOISE, STEP_PX = (640, 360), 25, 50, 75, 4.0, 0.5
KIB_IN_MIB = 1024
MODULE = "benchmarks.pictures.video"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        figures = {times: _measured(Path(folder), times) for times in (1, 2)}
    once = figures[1]
    result = {
        "size": list(SIZE),
        "frames": STILL + PANNED,
        "style": "cel",
        **once,
        "twice_as_long_mib": figures[2]["memory_mib"],
    }
    table(("figure", "value"), [(name, value) for name, value in result.items() if not isinstance(value, list)])
    store("video", result)


def make(file: Path, times: int) -> None:
    """Write the video, shown so many times."""
    random = np.random.default_rng(20261128)
    with av.open(str(file), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"crf": "12", "preset": "veryfast"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        sound: Any = container.add_stream("aac", rate=48_000, layout="mono")
        for _ in range(times):
            for image in _images(random):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")))
        container.mux(stream.encode(None))
        tone = (np.sin(np.arange(48_000 * times * (STILL + PANNED) // RATE) * 0.05) * 8000).astype(np.int16)
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


def _measured(folder: Path, times: int) -> dict[str, float]:
    sent, drawn = folder / f"sent-{times}.mp4", folder / f"drawn-{times}.mp4"
    make(sent, times)
    words = [sys.executable, "-c", f"from {MODULE} import draw; draw()"]
    done = subprocess.run([*words, str(sent), str(drawn)], capture_output=True, text=True, check=True)
    seconds, memory, plan = map(float, done.stdout.split()[-3:])
    return {
        "seconds": round(seconds, 1),
        "seconds_a_frame": round(seconds / (times * (STILL + PANNED)), 3),
        "memory_mib": round(memory),
        "plan_mib": round(plan),
        "flicker": round(_moved(drawn) / _moved(sent), 3),
        "drawn_bytes": drawn.stat().st_size,
    }


def draw() -> None:
    """Draw the file that is named first to the second, in this process, and print seconds and MiB."""
    from animegan.stylizer import Stylizer  # noqa: PLC0415 - the parent measures none of it

    stylizer = Stylizer("cel", device="cpu", warmup_px=0, fast=True)
    stylizer.draw([Image.new("RGB", SIZE)])
    before, began = _peak(), time.perf_counter()
    stylizer.stylize_video(sys.argv[1], sys.argv[2])
    seconds = time.perf_counter() - began
    print(seconds, _peak() - before, stylizer.plan(SIZE[1], SIZE[0]).peak_bytes / 2**20)


def _peak() -> float:
    """Return the most that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_IN_MIB


def _moved(file: Path) -> float:
    """Return the mean difference from frame to frame in the still scene."""
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
