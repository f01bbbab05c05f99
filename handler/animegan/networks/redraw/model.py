"""Real-ESRGAN's anime networks, which draw a photo four times as large.

`Redraw` is RRDBNet (Wang et al. 2018, "ESRGAN"; Wang et al. 2021, "Real-ESRGAN") with 6 blocks: 4,467,779 parameters.
`RedrawVideo` is SRVGGNetCompact: 16 convolutions, PReLU, and a pixel shuffle over the nearest pixel: 621,424
parameters, a sixteenth of the time, and softer. Neither has a norm, so a crop is drawn as in the whole, and both pad
with zeros.

This is their definition, in stock PyTorch; `stream` computes the same a few rows at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from animegan.networks import weights
from animegan.networks.redraw.steps import BLOCKS, FEATURES, GROWTH, SCALE, SLOPE, VIDEO_CONVOLUTIONS


def conv(channels_in: int, channels: int) -> nn.Conv2d:
    """Return a 3×3 convolution that keeps the size."""
    return nn.Conv2d(channels_in, channels, 3, padding=1)


class Dense(nn.Module):
    """Five convolutions; each of the first four adds 32 channels to what the next ones read."""

    def __init__(self) -> None:
        super().__init__()
        growing = [conv(FEATURES + index * GROWTH, GROWTH) for index in range(4)]
        self.c = nn.ModuleList([*growing, conv(FEATURES + 4 * GROWTH, FEATURES)])

    def forward(self, x: Tensor) -> Tensor:
        *growing, last = self.c
        maps = x
        for layer in growing:
            maps = torch.cat([maps, F.leaky_relu(layer(maps), SLOPE)], 1)
        out: Tensor = x + SCALE * last(maps)
        return out


class Block(nn.Module):
    """Three dense blocks in a residual: RRDB."""

    def __init__(self) -> None:
        super().__init__()
        self.r = nn.ModuleList([Dense() for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for dense in self.r:
            out = dense(out)
        return x + SCALE * out


class Redraw(nn.Module):
    """Photo to drawing: (N, 3, H, W), RGB in 0..1, to (N, 3, 4H, 4W) in the same range, not clamped."""

    def __init__(self) -> None:
        super().__init__()
        self.first = conv(3, FEATURES)
        self.body = nn.ModuleList([Block() for _ in range(BLOCKS)])
        self.cb = conv(FEATURES, FEATURES)
        self.u1, self.u2, self.hr = (conv(FEATURES, FEATURES) for _ in range(3))
        self.last = conv(FEATURES, 3)

    def forward(self, photo: Tensor) -> Tensor:
        features = self.first(photo)
        x = features
        for block in self.body:
            x = block(x)
        x = features + self.cb(x)
        for up in (self.u1, self.u2):
            x = F.leaky_relu(up(F.interpolate(x, scale_factor=2.0, mode="nearest")), SLOPE)
        drawing: Tensor = self.last(F.leaky_relu(self.hr(x), SLOPE))
        return drawing


class RedrawVideo(nn.Module):
    """As `Redraw`."""

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.ModuleList()
        for index in range(VIDEO_CONVOLUTIONS):
            self.b += [conv(FEATURES if index else 3, FEATURES), nn.PReLU(FEATURES)]
        self.b.append(conv(FEATURES, 48))

    def forward(self, photo: Tensor) -> Tensor:
        x = photo
        for layer in self.b:
            x = layer(x)
        return F.pixel_shuffle(x, 4) + F.interpolate(photo, scale_factor=4.0, mode="nearest")


def build(tensors: Mapping[str, Tensor]) -> Redraw | RedrawVideo:
    """Return the network that the weights are of, in fp32 and channels-last, ready for inference.

    Raises `BadWeights`.
    """
    network = RedrawVideo() if is_video(tensors) else Redraw()
    weights.fill(network, tensors, f"Real-ESRGAN's network {type(network).__name__}")
    return network


def is_video(names: Mapping[str, Tensor]) -> bool:
    """Return whether a state dict is of `RedrawVideo`."""
    return "b.0.weight" in names
