"""ONNX graphs of the generator, as tf2onnx 1.17 writes them.

Their nodes carry the constants in the true order and places, and compute nothing that a test runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from harness.files.weight_files import Layer, layers

SCOPE = "generator/G_MODEL/"
Naming = Literal["folded", "variables", "anonymous"]


def tensorflow_onnx(
    tensors: Mapping[str, Tensor], naming: Naming, dtype: Any = np.float32, resize: str = "asymmetric"
) -> onnx.ModelProto:
    """A graph as tf2onnx writes it.

    `folded`: convolutions in OIHW, some constants without their names, norms (1, C, 1, 1), the bias in the convolution.
    `variables`: every variable as TensorFlow has it, brought into form by nodes; the bias added by a node of its own.
    `anonymous`: the same without any name, and with Constant nodes for initialisers.
    """
    build = _OnnxGraph(naming, dtype)
    arrays = {name: tensor.float().numpy().astype(dtype) for name, tensor in tensors.items()}
    x = "generator_input:0"
    for layer in layers():
        if layer.scaled:
            sizes = build.constant(np.array([1, 128, 0, 0], np.int64), "")
            mode = {"mode": "linear", "coordinate_transformation_mode": resize}
            x = build.node("Resize", [x, "", "", sizes], **mode)
        x = build.convolution(x, layer, arrays)
        if layer.gamma and layer.beta:
            x = build.norm(x, layer, arrays)
    build.node("Tanh", [x], output="Tanh:0")
    return build.model()


class _OnnxGraph:
    def __init__(self, naming: Naming, dtype: Any) -> None:
        self._naming = naming
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._count = itertools.count()
        self._epsilon = self.constant(np.full((1, 1, 1, 1), 1e-5, dtype), "")

    def constant(self, array: NDArray[Any], name: str) -> str:
        """`name` is what tf2onnx would keep; "" where it makes up one."""
        if self._naming == "anonymous":
            output = f"Const_{next(self._count)}"
            self._nodes.append(
                helper.make_node("Constant", [], [output], value=numpy_helper.from_array(np.ascontiguousarray(array)))
            )
            return output
        output = f"{SCOPE}{name}" if name else f"const_fold_opt__{next(self._count)}"
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), output))
        return output

    def node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or f"{kind}_{next(self._count)}:0"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def convolution(self, x: str, layer: Layer, arrays: Mapping[str, NDArray[Any]]) -> str:
        weight = arrays[layer.weight]
        group = {"group": weight.shape[0]} if layer.depthwise else {}
        padded = self.node("Pad", [x, self.constant(np.zeros(8, np.int64), "")], mode="reflect")
        if self._naming == "folded":
            name = "" if layer.depthwise else layer.variable.replace("/weights", "/Conv2D/ReadVariableOp:0")
            inputs = [padded, self.constant(weight, name)]
            if layer.bias:
                inputs.append(self.constant(arrays[layer.bias], f"{layer.norm[:-2]}/BiasAdd/ReadVariableOp:0"))
            return self.node("Conv", inputs, **group)
        theirs = weight.transpose(2, 3, 0, 1) if layer.depthwise else weight.transpose(2, 3, 1, 0)
        kernel = self.node("Transpose", [self.constant(theirs, f"{layer.variable}/read:0")], perm=[3, 2, 0, 1])
        if layer.depthwise:
            kernel = self.node("Reshape", [kernel, self.constant(np.array(weight.shape, np.int64), "")])
        out = self.node("Conv", [padded, kernel], **group)
        if not layer.bias:
            return out
        name = layer.variable.removesuffix("/w") + "/bias/read:0"
        bias = self.node("Unsqueeze", [self.constant(arrays[layer.bias], name)], axes=[1, 2])
        return self.node("Add", [out, bias])

    def norm(self, x: str, layer: Layer, arrays: Mapping[str, NDArray[Any]]) -> str:
        assert layer.gamma
        assert layer.beta
        gamma, beta = arrays[layer.gamma], arrays[layer.beta]
        names = (f"{layer.norm}/gamma/read:0", f"{layer.norm}/beta/read:0")
        if self._naming == "folded":
            gamma, beta = gamma.reshape(1, -1, 1, 1), beta.reshape(1, -1, 1, 1)
            names = (f"{layer.norm}/batchnorm/mul/ReadVariableOp:0", "")
        mean = self.node("ReduceMean", [x], axes=[1, 2, 3], keepdims=1)
        apart = self.node("Sub", [x, mean])
        variance = self.node("ReduceMean", [self.node("Mul", [apart, apart])], axes=[1, 2, 3], keepdims=1)
        root = self.node("Sqrt", [self.node("Add", [variance, self._epsilon])])
        scale = self.node("Mul", [self.node("Reciprocal", [root]), self.constant(gamma, names[0])])
        shift = self.node("Sub", [self.constant(beta, names[1]), self.node("Mul", [mean, scale])])
        out = self.node("Add", [self.node("Mul", [x, scale]), shift])
        return self.node("LeakyRelu", [out], alpha=0.2)

    def model(self) -> onnx.ModelProto:
        picture = [1, None, None, 3]
        graph = helper.make_graph(
            self._nodes,
            "tf2onnx",
            [helper.make_tensor_value_info("generator_input:0", TensorProto.FLOAT, picture)],
            [helper.make_tensor_value_info("Tanh:0", TensorProto.FLOAT, picture)],
            self._initializers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
