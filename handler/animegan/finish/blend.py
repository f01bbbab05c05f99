"""The options of a request that keep some of the photo in the drawing: its pixels, its colours."""

from __future__ import annotations

import torch
from torch import Tensor

from animegan.finish.chain import planar, to_pixels
from animegan.finish.oklab import from_oklab, to_oklab


def with_strength(photo: Tensor, drawing: Tensor, strength: float) -> Tensor:
    """Return uint8 (H, W, 3) between the fitted photo (0, byte for byte) and the drawing (1, byte for byte)."""
    if strength <= 0:
        return photo
    if strength >= 1:
        return drawing
    return torch.lerp(photo.float(), drawing.float(), strength).add_(0.5).to(torch.uint8)


def with_photo_color(photo: Tensor, drawing: Tensor) -> Tensor:
    """Return the drawing's OKLab lightness in the photo's hue and chroma, uint8 (H, W, 3).

    Colours that sRGB can't show at that lightness are cut off channel by channel.
    """
    lightness = to_oklab(planar(drawing))[:1]
    color = to_oklab(planar(photo))[1:]
    return to_pixels(from_oklab(torch.cat([lightness, color])))
