"""A process that may take no more memory draws in smaller bands, or says so, and lives: both families of networks."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from harness.servers import ROOT

SIDE_PX = 640

# The limit is set once each plan was followed: oneDNN's code for it is made then, and OpenMP's threads are there.
CHILD = """
import io, json, resource, sys
from pathlib import Path
from PIL import Image
from animegan.drawing import Photo
from animegan.options import Wish
from animegan.pipeline.pipeline import Pipeline
from animegan.resources.memory import release
from animegan.settings import Settings

style, side, detail, quality = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
pipeline = Pipeline(Settings(style=style, device="cpu", precision="fp32", memory_mb=4096, warmup_px=0))
drawing = pipeline.stylizer(style, fast=quality == "fast")._drawing
photo = Image.effect_noise((side, side), 64).convert("RGB")
file = io.BytesIO()
photo.save(file, "PNG")
plans = list(drawing.plans((side, side), 1, drawing.details(detail)))
for plan in plans:
    drawing.draw([Photo(photo)], plan, Wish(detail))
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
told = []
for left_bytes in 8 * 2**20, (plans[0].peak_bytes + plans[-1].peak_bytes) // 2:
    release(drawing.device)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + left_bytes, hard))
    item = pipeline.decode(file.getvalue(), {"style": style, "detail": detail, "quality": quality})
    pipeline.draw([item])
    pipeline.encode([item])
    told.append(item.error.code if item.error else "recovered" if item.method.recovered else "ok")
print(json.dumps(told))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("style", "detail", "quality"), [("classic", "auto", "92"), ("cel", "fine", "fast")])
def test_what_runs_out_against_the_plan_is_drawn_in_smaller_bands(style: str, detail: str, quality: str) -> None:
    # Else glibc keeps what is given back, and reserves 64 MiB of addresses for each further arena.
    malloc = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    # The limit counts addresses, and each further thread has 8 MiB of them for its stack.
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "handler"), **malloc, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, style, str(SIDE_PX), detail, quality]
    process = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr[-2000:]
    assert json.loads(process.stdout) == ["out_of_memory", "recovered"]
