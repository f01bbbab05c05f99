"""Lines: a difference of Gaussians that follows the edges (after Kang, Lee and Chui 2007, "Coherent Line Drawing")."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from animegan.finish.filters import blur, blur_radius, double, halve, luma, smoothstep
from animegan.finish.flow import directions, tensor, tensor_halo
from animegan.finish.frame import Frame
from animegan.looks import LinesStep

RATIO = 1.6  # of the two Gaussians: with it their difference is near a Laplacian's (Marr and Hildreth 1980)
ALONG = 1.8  # standard deviation of the smoothing along an edge, of the line's or of 1 px
FLOW_SIGMA = 1.2  # of the structure tensor, in px of half the resolution
AROUND = 5  # standard deviation of a neighbourhood, of the line's or of 1 px, in px of half the resolution
WAYS = ((0, 1), (1, 1), (1, 0), (1, -1))  # (down, right) of the directions at 0°, 45°, 90° and 135°


class Lines:
    """The step `lines` of a recipe: the dark side of each edge, darkened.

    Across an edge the difference is taken with round Gaussians, which at a straight edge is the same as along its
    normal. Along the edge it is smoothed: of four smoothings, one a direction, each pixel mixes the two that lie
    nearest to its edge. Where there is no edge nothing is smoothed.
    """

    planes = 13

    def __init__(self, numbers: LinesStep) -> None:
        self.numbers = numbers

    def sigma(self, scale: float) -> float:
        """Return the narrower Gaussian's standard deviation in px: it grows with the root of the picture's size."""
        return max(0.6, self.numbers.width_px * math.sqrt(scale))

    def halo(self, scale: float) -> int:
        """Return the rows read to each side."""
        sigma = self.sigma(scale)
        flow = 2 * (tensor_halo(FLOW_SIGMA) + 1)
        around = 2 * (blur_radius(AROUND * max(1.0, sigma)) + 1)
        return max(flow, blur_radius(sigma * RATIO) + along_radius(sigma)) + around

    def measure(self, small: Tensor) -> tuple[float, ...]:  # noqa: ARG002
        """Return nothing: lines need no measure of the whole."""
        return ()

    def apply(self, picture: Tensor, frame: Frame) -> Tensor:
        """Return the picture with its lines, (3, H, W)."""
        return picture * (1 - self.numbers.amount * self.trace(picture, frame))

    def trace(self, picture: Tensor, frame: Frame) -> Tensor:
        """Return the lines alone, 0 to 1, (1, H, W)."""
        numbers, sigma = self.numbers, self.sigma(frame.scale)
        height, width = picture.shape[1:]
        plane = luma(picture)
        flow = double(directions(tensor(halve(plane), FLOW_SIGMA)), height, width)
        wide = blur(plane, sigma * RATIO)
        dark = smooth_along(wide - blur(plane, sigma), flow, sigma)
        # In shadows the same edge is a smaller step; a line is judged against its surroundings.
        dark /= numbers.shadows + (1 - numbers.shadows) * wide
        lines = smoothstep((dark - numbers.threshold) / numbers.softness)
        # Leaves and far windows would be a black heap: where lines crowd, all of them are lighter.
        share = double(blur(halve(lines), AROUND * max(1.0, sigma)), height, width)
        return lines.div_(share.div_(numbers.crowd).clamp_(min=1))


def along_radius(sigma: float) -> int:
    """Return how many pixels to each side `smooth_along` reads."""
    return math.ceil(2 * ALONG * max(1.0, sigma))


def smooth_along(plane: Tensor, flow: Tensor, sigma: float) -> Tensor:
    """Return (1, H, W) smoothed along its edges. `flow`: their `flow.directions`; `sigma`: a line's, in px."""
    height, width = plane.shape[1:]
    radius, along = along_radius(sigma), ALONG * max(1.0, sigma)
    padded = F.pad(plane[None], (radius,) * 4, mode="replicate")[0, 0]
    shares = flow.clamp(min=0).square_(), flow.clamp(max=0).square_()
    out = plane[0] * (1 - flow.square().sum(0))
    for index, (down, right) in enumerate(WAYS):
        step = math.hypot(down, right)
        taps = [(i, math.exp(-((i * step) ** 2) / (2 * along**2))) for i in range(1, int(radius / step) + 1)]
        sums = plane[0].clone()
        for i, weight in taps:
            for sign in (-i, i):
                y, x = radius + sign * down, radius + sign * right
                sums.add_(padded[y : y + height, x : x + width], alpha=weight)
        share = shares[index // 2][index % 2]
        out.addcmul_(sums, share, value=1 / (1 + 2 * sum(weight for _, weight in taps)))
    return out[None]
