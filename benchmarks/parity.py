"""How close the generator comes, in each precision, to an independent computation of the same network in fp64.

`scripts/benchmark parity`. Photos of docs/photos at 256 px; PSNR's peak is the output's full range, -1 to 1. fp16 runs
on a GPU where there is one, else on the CPU.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from animegan.networks.animegan2.fused import trace
from animegan.networks.animegan2.generator import build
from animegan.networks.animegan2.network import Network
from animegan.networks.weights import load_weights
from animegan.resources.hardware import DTYPES
from animegan.styles import bundled_styles, verify
from benchmarks.reference import generate, psnr
from benchmarks.result import store, table

ROOT = Path(__file__).resolve().parents[1]

SIDE_PX = 256


def main() -> None:
    photos = sorted((ROOT / "docs" / "photos").glob("*.jpg"))
    rows = []
    for style in (style for style in bundled_styles().values() if style.weights):
        weights = load_weights(verify(style))
        for photo in photos:
            x = _tensor(photo)
            expected = generate(weights, x.double())
            for precision in DTYPES:
                device = "cuda" if torch.cuda.is_available() else "cpu"
                network = Network(trace(build(weights)), torch.device(device), precision)
                drawn = network.generate(x.to(device)).float().cpu()
                rows.append((style.id, photo.stem, precision, device, psnr(drawn, expected)))
    table(("style", "photo", "precision", "device", "PSNR dB"), rows)
    worst = {precision: min(row[4] for row in rows if row[2] == precision) for precision in DTYPES}
    print(f"\nworst: {worst}")
    store(
        "parity",
        {
            "side_px": SIDE_PX,
            "worst_psnr_db": worst,
            "rows": [dict(zip(("style", "photo", "precision", "device", "psnr_db"), row, strict=True)) for row in rows],
        },
    )


def _tensor(file: Path) -> torch.Tensor:
    with Image.open(file) as image:
        image.thumbnail((SIDE_PX, SIDE_PX))
        pixels = torch.from_numpy(np.array(image.convert("RGB")))
    return pixels[None].permute(0, 3, 1, 2).float().div(127.5).sub(1)


if __name__ == "__main__":
    main()
