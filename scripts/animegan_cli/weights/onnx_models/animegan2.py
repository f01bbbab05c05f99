"""AnimeGANv2's generator as ONNX, from the table of its layers; `readers.read` takes the file back."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from torch import Tensor

from animegan.networks.animegan2.generator import RESIZE
from animegan.networks.animegan2.layers import LAYERS, Layer
from animegan.operators.plain import EPS
from animegan.styles import Resize
from animegan_cli.weights.onnx_models.nodes import INPUT, OUTPUT, Graph, Nodes

DESCRIPTION = "Photo to anime picture: RGB in [-1, 1], NCHW, any batch, sides of at least 16 px."


def graph(tensors: Mapping[str, Tensor], resize: Resize = RESIZE) -> Graph:
    """Return the generator's graph; `anime` has the shape of `photo`, both in [-1, 1]. `resize`: how it scales up."""
    writer = _Writer(tensors, resize)
    writer.generator()
    return Graph("AnimeGANv2", DESCRIPTION, writer)


class _Writer(Nodes):
    """Each method but `generator` returns the name of its result."""

    def __init__(self, tensors: Collection[str], resize: Resize) -> None:
        super().__init__()
        self._tensors = tensors
        self._resize = resize

    def generator(self) -> None:
        """Write all nodes, from `photo` to `anime`."""
        x = INPUT
        block_inputs: dict[str, str] = {}  # each block's input
        scale_maps = {1: INPUT}  # a map of each scale
        for layer in LAYERS:
            self.prefix = layer.name
            block = layer.name.partition(".layers.")[0]
            block_inputs.setdefault(block, x)
            if layer.source == "upsample":
                x = self._upsample(x, scale_maps[layer.scale])
            x = self._convolution(x, layer)
            scale_maps.setdefault(layer.scale, x)
            if layer.norm:
                x = self._norm(x, layer)
            if layer.slope != 1:
                x = self.add("LeakyRelu", x, alpha=layer.slope)
            if layer.residual:
                x = self.add("Add", x, block_inputs[block], role="residual")
        self.add("Tanh", x, result=OUTPUT)

    def _convolution(self, x: str, layer: Layer) -> str:
        if layer.after:
            before, after = layer.before, layer.after
            pads = self.constant(f"pads_{before}_{after}", [0, 0, before, before, 0, 0, after, after])
            x = self.add("Pad", x, pads, mode="reflect")
        constants = [f"{layer.name}.{kind}" for kind in ("weight", "bias") if f"{layer.name}.{kind}" in self._tensors]
        strides = [layer.stride, layer.stride]
        return self.add("Conv", x, *constants, strides=strides, group=layer.groups)

    def _norm(self, x: str, layer: Layer) -> str:
        centred = self.add("Sub", x, self._mean(x, "mean"), role="centred")
        variance = self._mean(self.add("Mul", centred, centred, role="squares"), "variance")
        epsilon = self.constant("epsilon", EPS, np.float32)
        deviation = self.add("Sqrt", self.add("Add", variance, epsilon, role="safe"), role="deviation")
        axes = self.constant("axes", [1, 2])  # that make (C, 1, 1) of (C,)
        gamma, beta = (self.add("Unsqueeze", f"{layer.norm}.{name}", axes, role=name) for name in ("weight", "bias"))
        scale = self.add("Div", gamma, deviation, role="scale")
        return self.add("Add", self.add("Mul", centred, scale, role="scaled"), beta, role="norm")

    def _mean(self, x: str, role: str) -> str:
        """Write the mean over a picture, an axis at a time.

        In one sum over the whole picture, as in InstanceNormalization, ONNX Runtime's fp32 loses enough to put the
        output 0.003 off at 1024×1024.
        """
        rows = self.add("ReduceMean", x, role=f"{role}_of_rows", axes=[3])
        channels = self.add("ReduceMean", rows, role=f"{role}_of_channels", axes=[2])
        return self.add("ReduceMean", channels, role=role, axes=[1])

    def _upsample(self, x: str, like: str) -> str:
        """Write a bilinear resize to the height and width of `like`."""
        outer = self.add("Shape", x, role="batch_and_channels", end=2)
        sides = self.add("Shape", like, role="height_and_width", start=2)
        shape = self.add("Concat", outer, sides, role="shape", axis=0)
        return self.add("Resize", x, "", "", shape, mode="linear", coordinate_transformation_mode=self._resize)
