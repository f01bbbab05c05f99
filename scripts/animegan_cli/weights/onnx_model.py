"""The generator as an ONNX model of plain operators, written from the table of its layers; no exporter takes part.

The tensors keep the generator's names and shapes, so `readers.read` takes the file back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from animegan.networks.animegan2.generator import RESIZE
from animegan.networks.animegan2.layers import LAYERS, Layer
from animegan.operators.plain import EPS
from animegan.styles import Resize

INPUT, OUTPUT = "photo", "anime"
_OPSET = 17  # the last before reductions take their axes as an input: runtimes since 2022 read it
_IR_VERSION = 8  # the format's own version that belongs to it
_DESCRIPTION = "Photo to anime picture: RGB in [-1, 1], NCHW, any batch, sides of at least 16 px."


def onnx_model(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], producer_version: str, resize: Resize = RESIZE
) -> onnx.ModelProto:
    """The generator with those tensors, in fp32: `photo` (N, 3, H, W) to `anime` of the same shape, both in [-1, 1]."""
    graph = helper.make_graph(
        _Nodes(tensors, resize).generator(),
        "AnimeGANv2",
        [_picture(INPUT)],
        [_picture(OUTPUT)],
        [*_constants(), *(numpy_helper.from_array(tensors[name].float().numpy(), name) for name in tensors)],
        doc_string=_DESCRIPTION,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="animegan-serve",
        producer_version=producer_version,
        doc_string=_DESCRIPTION,
    )
    helper.set_model_props(model, dict(metadata))
    return model


def _picture(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, "height", "width"])


def _constants() -> list[onnx.TensorProto]:
    """What several nodes share: the norm's epsilon, the axes that make (C,) of (C, 1, 1), the widths of the pads."""
    pads = {_pads(layer): (layer.before, layer.after) for layer in LAYERS if layer.after}
    return [
        numpy_helper.from_array(np.array(EPS, np.float32), "epsilon"),
        numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
        *(
            numpy_helper.from_array(np.array([0, 0, before, before, 0, 0, after, after], np.int64), name)
            for name, (before, after) in pads.items()
        ),
    ]


def _pads(layer: Layer) -> str:
    return f"pads_{layer.before}_{layer.after}"


class _Nodes:
    """Collects the graph's nodes in the order in which they run; each method returns the name of its result."""

    def __init__(self, tensors: Collection[str], resize: Resize) -> None:
        self._tensors = tensors
        self._resize = resize
        self._nodes: list[onnx.NodeProto] = []
        self._prefix = ""  # of the nodes' names: the layer that is written

    def generator(self) -> list[onnx.NodeProto]:
        """All of them, from `photo` to `anime`."""
        x = INPUT
        begun: dict[str, str] = {}  # each block's input
        sized = {1: INPUT}  # a map of each scale
        for layer in LAYERS:
            self._prefix = layer.name
            block = layer.name.partition(".layers.")[0]
            begun.setdefault(block, x)
            if layer.source == "upsample":
                x = self._upsample(x, sized[layer.scale])
            x = self._convolution(x, layer)
            sized.setdefault(layer.scale, x)
            if layer.norm:
                x = self._norm(x, layer)
            if layer.slope != 1:
                x = self._node("LeakyRelu", x, alpha=layer.slope)
            if layer.residual:
                x = self._node("Add", x, begun[block], role="residual")
        self._node("Tanh", x, result=OUTPUT)
        return self._nodes

    def _node(self, kind: str, *inputs: str, role: str = "", result: str = "", **attributes: Any) -> str:
        name = f"{self._prefix}/{role or kind}"
        result = result or name
        self._nodes.append(helper.make_node(kind, inputs, [result], name, **attributes))
        return result

    def _convolution(self, x: str, layer: Layer) -> str:
        if layer.after:
            x = self._node("Pad", x, _pads(layer), mode="reflect")
        constants = [f"{layer.name}.{kind}" for kind in ("weight", "bias") if f"{layer.name}.{kind}" in self._tensors]
        strides = [layer.stride, layer.stride]
        return self._node("Conv", x, *constants, strides=strides, group=layer.groups)

    def _norm(self, x: str, layer: Layer) -> str:
        centred = self._node("Sub", x, self._mean(x, "mean"), role="centred")
        variance = self._mean(self._node("Mul", centred, centred, role="squares"), "variance")
        deviation = self._node("Sqrt", self._node("Add", variance, "epsilon", role="safe"), role="deviation")
        gamma, beta = (
            self._node("Unsqueeze", f"{layer.norm}.{name}", "axes", role=name) for name in ("weight", "bias")
        )
        scale = self._node("Div", gamma, deviation, role="scale")
        return self._node("Add", self._node("Mul", centred, scale, role="scaled"), beta, role="norm")

    def _mean(self, x: str, role: str) -> str:
        """Over a whole picture, an axis at a time: in one sum over all of it, as InstanceNormalization takes too, ONNX
        Runtime's fp32 loses enough to put the output 0.003 off at 1024×1024.
        """
        rows = self._node("ReduceMean", x, role=f"{role}_of_rows", axes=[3])
        channels = self._node("ReduceMean", rows, role=f"{role}_of_channels", axes=[2])
        return self._node("ReduceMean", channels, role=role, axes=[1])

    def _upsample(self, x: str, like: str) -> str:
        """Bilinear, to the height and width of `like`."""
        outer = self._node("Shape", x, role="batch_and_channels", end=2)
        sides = self._node("Shape", like, role="height_and_width", start=2)
        shape = self._node("Concat", outer, sides, role="shape", axis=0)
        return self._node("Resize", x, "", "", shape, mode="linear", coordinate_transformation_mode=self._resize)
