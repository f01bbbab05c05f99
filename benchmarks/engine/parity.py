"""AnimeGANv2's generator in each precision and plan, compared with an independent computation of it in fp64.

`scripts/benchmark parity`. Photos of docs/photos at 256 px; PSNR's peak is the output's full range, -1 to 1. fp16 runs
on a GPU where there is one, else on the CPU.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from animegan.networks.animegan2.bands import from_pixels
from animegan.networks.weights import load_weights
from animegan.resources.hardware import DTYPES
from animegan.styles import get_style, verify
from benchmarks.common.contenders import Ours
from benchmarks.common.reference import generate, psnr
from benchmarks.common.result import store, table

ROOT = Path(__file__).resolve().parents[2]

SIDE_PX = 256


def main() -> None:
    photos = sorted((ROOT / "docs" / "photos").glob("*.jpg"))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    weights = load_weights(verify(get_style("classic")))
    expected = {photo: generate(weights, from_pixels(_pixels(photo).permute(0, 3, 1, 2)).double()) for photo in photos}
    rows = []
    for precision in DTYPES:
        for plan in ("whole", "bands"):
            contender = Ours(device, plan, precision)
            for photo in photos:
                values = contender.values(_pixels(photo).to(device)).cpu()
                rows.append((plan, photo.stem, precision, device.type, psnr(values, expected[photo])))
    table(("plan", "photo", "precision", "device", "PSNR dB"), rows)
    worst = {precision: min(row[4] for row in rows if row[2] == precision) for precision in DTYPES}
    print(f"\nworst: {worst}")
    store(
        "parity",
        {
            "side_px": SIDE_PX,
            "worst_psnr_db": worst,
            "rows": [dict(zip(("plan", "photo", "precision", "device", "psnr_db"), row, strict=True)) for row in rows],
        },
    )


def _pixels(file: Path) -> torch.Tensor:
    with Image.open(file) as image:
        image.thumbnail((SIDE_PX, SIDE_PX))
        return torch.from_numpy(np.array(image.convert("RGB")))[None]


if __name__ == "__main__":
    main()
