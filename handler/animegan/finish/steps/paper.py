"""Paper: the grain of the sheet under the paint, a tile that repeats over the page."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from animegan.finish.frame import Frame
from animegan.looks import PaperStep

TILE = 512  # px: the grain repeats after it
MIX = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)  # primes of xxHash (Collet 2012)
GRAINS = ((1, 0.55), (3, 0.45))  # radius in px of each grain's blur, and its share


class Paper:
    """The step `paper` of a recipe: lighter and darker by the page's grain, which depends on a pixel's place alone."""

    planes = 11

    def __init__(self, numbers: PaperStep) -> None:
        self.numbers = numbers

    def halo(self, scale: float) -> int:  # noqa: ARG002
        """Return 0: a pixel's grain depends on its place alone."""
        return 0

    def measure(self, small: Tensor) -> tuple[float, ...]:  # noqa: ARG002
        """Return nothing: the paper needs no measure of the picture."""
        return ()

    def apply(self, picture: Tensor, frame: Frame) -> Tensor:
        """Return the picture on its paper, (3, H, W)."""
        height, width = picture.shape[1:]
        sheet = tile().to(picture.device)
        rows = (torch.arange(height, device=picture.device) + frame.top) % TILE
        columns = torch.arange(width, device=picture.device) % TILE
        relief = sheet[rows][:, columns] * self.numbers.amount
        # Paint hides the sheet: in the lights the grain is half as strong, and in black there is none.
        tone = picture.mean(0)
        strength = (tone * 4).clamp_(max=1).mul_(1 - 0.5 * tone)
        return (picture + relief * strength).clamp_(0, 1)


@functools.cache
def tile() -> Tensor:
    """Return the grain, (TILE, TILE), of mean 0 and variance 1; seamless."""
    n = torch.arange(TILE, dtype=torch.int64)
    noise = _hash(n[:, None] * TILE + n).to(torch.float32) / 2**32 - 0.5
    grain = torch.zeros(TILE, TILE)
    for radius, share in GRAINS:
        soft = noise
        for axis in (0, 1):
            for _ in range(2):  # two boxes make a tent
                soft = torch.stack([soft.roll(i, axis) for i in range(-radius, radius + 1)]).mean(0)
        grain += share * soft / soft.std()
    return (grain - grain.mean()) / grain.std()


def _hash(n: Tensor) -> Tensor:
    """Return 32 bits for each integer, mixed until no pattern shows."""
    for prime, shift in zip(MIX, (15, 13, 16), strict=True):
        n = (n * prime) & 0xFFFFFFFF
        n = n ^ (n >> shift)
    return n
