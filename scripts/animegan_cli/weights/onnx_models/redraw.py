"""Real-ESRGAN's anime networks as ONNX, from the table of their convolutions.

An enlargement before a convolution stays the Resize that the definition has: runtimes fuse what they can.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from animegan.networks.redraw.model import is_video
from animegan.networks.redraw.steps import DRAWING, ENLARGED, PHOTO, REDRAW, REDRAW_VIDEO, Program, Step
from animegan_cli.weights.onnx_models.nodes import INPUT, OUTPUT, Graph, Nodes

DESCRIPTION = (
    "Shrunk photo to drawing of four times its sides: RGB in 0..1, not clamped, NCHW, any batch, any size. "
    "The edges are padded with zeros: mirror 4 px around the photo and cut 16 px off the drawing to draw without a rim."
)


def graph(tensors: Mapping[str, Tensor]) -> Graph:
    """Return the graph of the network that the tensors are of: `model.Redraw`, or `model.RedrawVideo`."""
    video = is_video(tensors)
    program = REDRAW_VIDEO if video else REDRAW
    writer = _Writer(program)
    writer.network()
    return Graph("RedrawVideo" if video else "Redraw", DESCRIPTION, writer, ENLARGED)


class _Writer(Nodes):
    def __init__(self, program: Program) -> None:
        super().__init__()
        self._program = program
        self._maps = {PHOTO: INPUT}  # the value that a map is now, as far as its channels are there
        self._starts: dict[str, str] = {}  # the map's first channels, which residuals read
        self._results: dict[str, str] = {}  # of each convolution

    def network(self) -> None:
        """Write all nodes, from `photo` to `anime`."""
        for step in self._program.steps:
            self._put(step, self._step(step) if step.name else self._starts[step.source])
        self.prefix = DRAWING
        drawing = self._maps[DRAWING]
        if self._program.maps[DRAWING].scale == 1:
            drawing = self.add("DepthToSpace", drawing, blocksize=ENLARGED, mode="CRD")
            drawing = self.add("Add", drawing, self._enlarged(INPUT, ENLARGED), role="residual")
        self.add("Identity", drawing, result=OUTPUT)

    def _step(self, step: Step) -> str:
        """Return the step's result. The program repeats convolutions to save memory; a repeated one is written once."""
        if step.name in self._results:
            return self._results[step.name]
        self.prefix = step.name
        x = self._maps[step.source]
        if step.up:
            x = self._enlarged(x, 2)
        x = self.add("Conv", x, f"{step.name}.weight", f"{step.name}.bias", pads=[1, 1, 1, 1])
        if step.prelu:
            x = self.add("PRelu", x, self.add("Unsqueeze", step.prelu, self.constant("axes", [1, 2]), role="slope"))
        elif step.slope != 1:
            x = self.add("LeakyRelu", x, alpha=step.slope)
        x = self._scaled(x, step.alpha, "scaled")
        for residual, factor, role in (
            (step.residual, step.beta, "residual"),
            (step.residual2, step.gamma, "residual2"),
        ):
            if residual:
                x = self.add("Add", x, self._scaled(self._starts[residual], factor, f"{role}_scaled"), role=role)
        self._results[step.name] = x
        return x

    def _put(self, step: Step, result: str) -> None:
        """Store the result as the step's target, or append its channels to the target."""
        if step.at:
            result = self.add("Concat", self._maps[step.target], result, axis=1)
        else:
            self._starts[step.target] = result
        self._maps[step.target] = result

    def _scaled(self, x: str, factor: float, role: str) -> str:
        if factor == 1:
            return x
        return self.add("Mul", x, self.constant(f"factor_{factor:.6g}", factor, np.float32), role=role)

    def _enlarged(self, x: str, factor: int) -> str:
        """Write a resize, by the nearest pixel, to a map `factor` times as large."""
        scales = self.constant(f"times_{factor}", [1, 1, factor, factor], np.float32)
        return self.add(
            "Resize", x, "", scales,
            mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip
