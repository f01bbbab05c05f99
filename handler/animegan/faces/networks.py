"""The three networks of MTCNN, which find faces.

Zhang et al. 2016, "Joint Face Detection and Alignment using Multitask Cascaded Convolutional Networks"; 495,850
parameters. All take (N, 3, H, W), RGB, each value v of 0..255 as (v - 127.5) / 128, and return a score of 0..1 for a
face and by what part of its sides a box is to move: left, upper, right, lower.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from animegan.networks import weights


def conv(channels_in: int, channels: int, side: int) -> list[nn.Module]:
    """Return a convolution without padding, and its PReLU."""
    return [nn.Conv2d(channels_in, channels, side), nn.PReLU(channels)]


def pool(side: int) -> nn.Module:
    """Return a maximum over each second pixel's neighbourhood; the last one may be cut off by the edge."""
    return nn.MaxPool2d(side, 2, ceil_mode=True)


class Proposal(nn.Module):
    """P-Net: every box of 12×12 px, each second pixel. Returns (N, h, w) scores and (N, 4, h, w) moves."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*conv(3, 10, 3), pool(2), *conv(10, 16, 3), *conv(16, 32, 3))
        self.face = nn.Conv2d(32, 2, 1)
        self.move = nn.Conv2d(32, 4, 1)

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.body(photo)
        return self.face(maps).softmax(1)[:, 1], self.move(maps)


class Refinement(nn.Module):
    """R-Net: boxes of 24×24 px. Returns (N,) scores and (N, 4) moves."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv(3, 28, 3), pool(3), *conv(28, 48, 3), pool(3), *conv(48, 64, 2),
            nn.Flatten(), nn.Linear(576, 128), nn.PReLU(128),
        )  # fmt: skip
        self.face = nn.Linear(128, 2)
        self.move = nn.Linear(128, 4)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(crops)
        return self.face(features).softmax(1)[:, 1], self.move(features)


class Output(nn.Module):
    """O-Net: boxes of 48×48 px. Returns (N,) scores, (N, 4) moves, and (N, 2, 5) points in parts of the box.

    The points, x and then y, are the eyes, the tip of the nose and the corners of the mouth, each pair's left first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv(3, 32, 3), pool(3), *conv(32, 64, 3), pool(3), *conv(64, 64, 3), pool(2), *conv(64, 128, 2),
            nn.Flatten(), nn.Linear(1152, 256), nn.PReLU(256),
        )  # fmt: skip
        self.face = nn.Linear(256, 2)
        self.move = nn.Linear(256, 4)
        self.points = nn.Linear(256, 10)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.body(crops)
        return self.face(features).softmax(1)[:, 1], self.move(features), self.points(features).unflatten(1, (2, 5))


class Cascade(nn.Module):
    """All three, as one set of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.proposal, self.refinement, self.output = Proposal(), Refinement(), Output()


def build(tensors: Mapping[str, Tensor]) -> Cascade:
    """Return the networks with those weights, in fp32, ready for inference. Raises `BadWeights`."""
    cascade = Cascade()
    weights.fill(cascade, tensors, "the face detector")
    return cascade


def normalise(pixels: Tensor) -> Tensor:
    """Return (N, 3, H, W), of 0..255, scaled as the networks take it."""
    return (pixels.to(torch.float32) - 127.5) / 128
