"""A folder of mixed photos through `animegan stylize`, killed at a random moment and run again.

`scripts/benchmark folder [--photos N] [--max-side PX]` (200 photos, 1024 px, detail bold, mode scene). The photos are
cut from those of `docs/photos`, up to 1200 px, as JPEG, HEIC, PNG, WebP, TIFF and AVIF. `generator_share` is that of
the second run: the seconds in which pictures were drawn over all seconds, from the start of the process. Without
portraits, since the search for faces, beside the drawing, and the drawing of these are counted as one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from animegan_cli.stylize.journal import NAME
from benchmarks.common.result import store, table
from harness.files.picture_files import heic
from harness.pictures import encoded

PHOTOS = Path(__file__).resolve().parents[2] / "docs" / "photos"
SEED = 20261127
KINDS = ("jpg", "jpg", "jpg", "heic", "png", "webp", "tif", "avif")
MOST_S = 3600


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--max-side", type=int, default=1024)
    options = parser.parse_args(arguments)
    chance = random.Random(SEED)  # noqa: S311 - a run that can be had again
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.photos, options.max_side, chance)
    table(("figure", "value"), [*figures.items()])
    store("folder", figures)


def measure(folder: Path, count: int, max_side: int, chance: random.Random) -> dict[str, Any]:
    """Return the figures of both runs. Raise `AssertionError` where a picture is missing, torn or drawn twice."""
    photos, out = folder / "photos", folder / "out"
    photos.mkdir()
    write(photos, count, chance)
    command = [sys.executable, "-m", "animegan_cli", "stylize", str(photos), "-o", str(out)]
    command += ["--max-side", str(max_side), "--detail", "bold", "--mode", "scene", "--report", str(folder / "report")]
    kill_after = chance.randint(count // 5, count // 2)
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + MOST_S
    while len(drawings(out)) < kill_after:
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(chance.uniform(0.01, 0.2))
    first.kill()
    first.wait()
    before = {file: file.stat().st_mtime_ns for file in drawings(out)}
    outputs = {out / json.loads(line)["output"] for line in (out / NAME).read_text().splitlines()}

    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    report = json.loads((folder / "report.json").read_text())
    after = drawings(out)
    assert len(after) == count
    for file in after:
        with Image.open(file) as image:
            image.load()
    again = [file for file, time_ns in before.items() if file.stat().st_mtime_ns != time_ns]
    assert not set(again) & outputs
    assert not [*out.rglob("*.part")]
    seconds_of = {
        phase: sum(picture["seconds"][phase] for picture in report["drawn"]) for phase in ("decode", "run", "encode")
    }
    return {
        "seed": SEED,
        "photos": count,
        "max_side": max_side,
        "pictures_when_killed": len(before),
        "pictures_of_the_second_run": len(report["drawn"]),
        "drawn_again": len(again),
        "pictures_at_the_end": len(after),
        "second_run_s": seconds,
        "pictures_per_s": len(report["drawn"]) / seconds,
        "generator_share": seconds_of["run"] / seconds,
        "decode_share": seconds_of["decode"] / seconds,
        "encode_share": seconds_of["encode"] / seconds,
    }


def drawings(out: Path) -> list[Path]:
    """Return the pictures in the folder."""
    return [file for file in out.rglob("*") if file.suffix in (".jpg", ".png", ".webp")]


def write(folder: Path, count: int, chance: random.Random) -> None:
    """Write photos of several kinds and sizes."""
    sources = []
    for file in sorted(PHOTOS.glob("*.jpg")):
        with Image.open(file) as image:
            sources.append(image.convert("RGB"))
    for number in range(count):
        source, kind = chance.choice(sources), chance.choice(KINDS)
        width, height = (round(side * chance.uniform(0.6, 1.0)) for side in source.size)
        left, top = chance.randint(0, source.width - width), chance.randint(0, source.height - height)
        photo = source.crop((left, top, left + width, top + height))
        factor = chance.uniform(600, 1200) / max(photo.size)
        photo = photo.resize((round(width * factor), round(height * factor)))
        (folder / f"{number:03}.{kind}").write_bytes(_file(photo, kind))


def _file(photo: Image.Image, kind: str) -> bytes:
    if kind == "heic":
        return heic(photo, quality=60)
    formats: dict[str, tuple[str, dict[str, Any]]] = {
        "jpg": ("JPEG", {"quality": 90}),
        "png": ("PNG", {"compress_level": 1}),
        "webp": ("WEBP", {"quality": 80, "method": 0}),
        "tif": ("TIFF", {}),
        "avif": ("AVIF", {"speed": 10}),
    }
    name, options = formats[kind]
    return encoded(photo, name, **options)


if __name__ == "__main__":
    os.environ.setdefault("ANIMEGAN_WARMUP_PX", "0")
    main()
