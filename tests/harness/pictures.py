"""Pictures for tests: generated, so that no test waits for a file. They have edges, gradients and texture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from PIL import Image


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB picture with a sky, a hill, a disc and some grain."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    sky = np.stack([0.4 + 0.4 * y, 0.6 + 0.2 * y, 0.9 - 0.2 * y], axis=-1)
    hill = (y > 0.45 + 0.15 * np.sin(7 * x + seed))[..., None]
    ground = np.stack([0.3 + 0.2 * x, 0.5 - 0.2 * x, 0.2 + 0 * x], axis=-1)
    disc = ((x - 0.6) ** 2 + (y - 0.2) ** 2 < 0.01)[..., None]
    picture = np.where(hill, ground, sky)
    picture = np.where(disc, [1.0, 0.9, 0.5], picture) + random.normal(0, 0.03, picture.shape)
    return Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8))


def photo_tensor(height: int, width: int) -> torch.Tensor:
    """The same as (1, 3, height, width) in [-1, 1], fp32, channels-last."""
    pixels = torch.from_numpy(np.array(photo(width, height)))[None]
    return pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def encoded(image: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    """The picture as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
