"""The whole way on a GPU: 8-megapixel JPEGs in, 1024 px JPEGs out: `scripts/gpu pipeline`.

Pictures a second by the size of a group and the number of threads, and where one picture's time goes. A rehearsal takes
the CPU and small pictures; what encodes on the device is Pillow there.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import closing

import torch
from PIL import Image, ImageOps

from animegan.picture import images
from animegan.picture.jpeg import device_encoder
from animegan.picture.lanczos import Lanczos
from animegan.picture.pixels import pillow_lanczos
from animegan.picture.sizes import fit
from animegan.picture.transfer import download, upload
from animegan.pipeline.items import Item
from animegan.pipeline.pipeline import Pipeline
from animegan.resources.hardware import cpu_count
from animegan.settings import Settings
from benchmarks.common.contenders import PHOTOS
from benchmarks.common.fresh import NotMeasured
from benchmarks.gpu import gpu

CAMERA = 3264, 2448  # 8 megapixels
QUALITY = 92
EACH_S = 8  # for a row
RUNS = 5


def main() -> None:
    rehearse = gpu.rehearsal()
    results, where = gpu.Results("pipeline", rehearse=rehearse), gpu.device(rehearse=rehearse)
    size, side = ((160, 120), 64) if rehearse else (CAMERA, 1024)
    files = photos(size)
    cpus = cpu_count()
    groups = (
        [(2, 2)] if rehearse else [(2 * cpus, cpus), (4 * cpus, cpus), (4 * cpus, 2 * cpus), (cpus, cpus), (1, cpus)]
    )
    for group, threads in groups:
        throughput(results, where, files, side, group, threads, 0.5 if rehearse else EACH_S)
    steps(results, where, files[0], side)
    fastest = [row["pictures_per_s"] for row in results.figures["throughput"] if "pictures_per_s" in row]
    results.add("best", pictures_per_s=max(fastest, default=None))
    results.end()


def photos(size: tuple[int, int]) -> list[bytes]:
    """Return distinct JPEGs of that size: the photos of docs/photos, and each mirrored."""
    files = []
    for path in sorted(PHOTOS.glob("*.jpg")):
        with Image.open(path) as image:
            large = ImageOps.fit(image.convert("RGB"), size, Image.Resampling.BICUBIC)
        for picture in (large, ImageOps.mirror(large)):
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=QUALITY)
            files.append(file.getvalue())
    return files


def throughput(
    results: gpu.Results, where: torch.device, files: list[bytes], side: int, group: int, threads: int, most_s: float
) -> None:
    """Add a row of groups as the handler takes them; seconds of a phase are summed over the threads."""
    with (
        results.trial("throughput", group=group, threads=threads) as row,
        closing(Pipeline(Settings(device=where.type, quality=QUALITY), threads=threads)) as pipeline,
    ):
        run_group(pipeline, files, side, group)
        count, totals, start = 0, {"decode": 0.0, "run": 0.0, "encode": 0.0}, time.perf_counter()
        while not count or time.perf_counter() - start < most_s:
            for item in run_group(pipeline, files, side, group):
                for phase in totals:
                    totals[phase] += item.seconds[phase]
            count += group
        seconds = time.perf_counter() - start
        row.update({"pictures": count, "pictures_per_s": count / seconds})
        row.update({f"{phase}_ms": 1000 * total / count for phase, total in totals.items()})
        row["encoder"] = "Pillow" if pipeline._jpeg is None else "nvJPEG"


def run_group(pipeline: Pipeline, files: list[bytes], side: int, group: int) -> list[Item]:
    """Draw one group, start to end. Raises a picture's error."""
    options = {"format": "jpeg", "max_side": str(side)}
    items = [pipeline.decode(files[index % len(files)], options) for index in range(group)]
    pipeline.draw(items)
    pipeline.encode(items)
    for item in items:
        item.result()
    return items


def steps(results: gpu.Results, where: torch.device, data: bytes, side: int) -> None:
    """Add rows of each step alone, one picture in one thread."""
    limits = images.Limits(max_bytes=2**30, max_pixels=2**27)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    size, box = fit(image.size, side), (0.0, 0.0, float(image.width), float(image.height))
    small = image.resize(size)
    batch = upload([small], where)
    lanczos, encode = Lanczos(where), device_encoder(where)
    pipeline = Pipeline(Settings(device=where.type), threads=0)
    stylizer = pipeline.stylizer(pipeline.settings.style)
    cases: dict[str, Callable[[], object]] = {
        "decode, whole, no scaling": lambda: images.decode(data, max_side=10**5, limits=limits),
        "decode and scale, Pillow": lambda: images.decode(data, max_side=side, limits=limits),
        "scale, Pillow": lambda: pillow_lanczos(image, size, box),
        "scale, device": lambda: lanczos(image, size, box),
        "upload": lambda: upload([small], where),
        "draw, transfers included": lambda: stylizer.run([small]).pictures,
        "download": lambda: download(batch),
        "encode, Pillow": lambda: images.encode(small, None, format="jpeg", quality=QUALITY),
    }
    for name, step in cases.items():
        with results.trial("steps", step=name) as row:
            step()
            row.update(gpu.times_ms(step, torch.device("cpu"), most_s=1, runs=RUNS))
    with results.trial("steps", step="encode, device") as row:
        if encode is None and where.type == "cuda":
            raise NotMeasured("torchvision with nvJPEG is not here")
        if encode is None:
            row["instead"] = "Pillow"
        last = (lambda: encode(batch[0], QUALITY)) if encode else cases["encode, Pillow"]
        row.update({"bytes": len(encode(batch[0], QUALITY))} if encode else {})
        row.update(gpu.times_ms(last, torch.device("cpu"), most_s=1, runs=RUNS))


if __name__ == "__main__":
    main()
