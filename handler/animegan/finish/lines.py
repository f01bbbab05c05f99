"""Lines: a difference of Gaussians that follows the edges (Kang, Lee and Chui 2007, "Coherent Line Drawing")."""

from __future__ import annotations

import math

from torch import Tensor

from animegan.finish.filters import Places, blur, blur_radius, double, halve, luma, smoothstep
from animegan.finish.flow import tangent, tensor, tensor_halo
from animegan.finish.frame import Frame
from animegan.looks import LinesStep

RATIO = 1.6  # of the two Gaussians: with it their difference is near a Laplacian's (Marr and Hildreth 1980)
REACH = 3  # samples to each side of one pass along the flow
PASSES = 2
FLOW_SIGMA = 1.2  # of the structure tensor, in px of half the resolution


class Lines:
    """The step `lines` of a recipe: the dark side of each edge, darkened.

    Across an edge the difference is taken with round Gaussians, which at a straight edge is the same as along its
    normal. Along the edge it is smoothed in two passes, each straight along the local tangent: together they bend
    with it. Where there is no direction the passes stay at the pixel.
    """

    planes = 20

    def __init__(self, numbers: LinesStep) -> None:
        self.numbers = numbers

    def sigma(self, scale: float) -> float:
        """Return the narrower Gaussian's standard deviation in px: it grows with the root of the picture's size."""
        return max(0.6, self.numbers.width_px * math.sqrt(scale))

    def halo(self, scale: float) -> int:
        """Return the rows read to each side."""
        sigma = self.sigma(scale)
        flow = 2 * (tensor_halo(FLOW_SIGMA) + 1)
        across = blur_radius(sigma * RATIO)
        return max(flow, across) + PASSES * (math.ceil(REACH * max(1.0, sigma)) + 1)

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
        x, y, coherence = tangent(double(tensor(halve(plane), FLOW_SIGMA), height, width))
        stride = coherence * max(1.0, sigma)
        x, y = x * stride, y * stride
        wide = blur(plane, sigma * RATIO)
        dark = wide - blur(plane, sigma)
        places = Places(height, width, picture.device)
        for _ in range(PASSES):
            total = dark.clone()
            weights = 1.0
            for i in range(1, REACH + 1):
                weight = math.exp(-(i**2) / (2 * (REACH / 2) ** 2))
                for sign in (-i, i):
                    total.add_(places.read(dark, x * sign, y * sign), alpha=weight)
                    weights += weight
            dark = total.div_(weights)
        # In shadows the same edge is a smaller step; a line is judged against its surroundings.
        dark /= numbers.shadows + (1 - numbers.shadows) * wide
        return smoothstep((dark - numbers.threshold) / numbers.softness)
