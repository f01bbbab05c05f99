"""The generator in an ONNX file: its tensors, by their names where those were kept, else by the order of their use."""

from __future__ import annotations

import re

import numpy as np
import onnx
from onnx import numpy_helper

from animegan.errors import BadWeights
from animegan.networks.animegan2.generator import tensor_shapes
from animegan.styles import Resize
from animegan_cli.weights.graph import CONVOLUTION, Array, Graph, resize_of, tensorflow_names

# A constant's shape matters to a convolution only; Unsqueeze and Squeeze are met on the way to a norm.
_SAME_VALUES = {"Identity", "Cast", "Unsqueeze", "Squeeze"}
_NORMS = {"InstanceNormalization", "GroupNormalization", "LayerNormalization"}
_DECORATION = re.compile(r"(/read)?(__\d+)?(:\d+)?$")  # what TensorFlow and tf2onnx append to a variable's name


_MODES_SINCE = 11  # the operator set in which a resize first names how it samples; before, all were asymmetric


def read_onnx(data: bytes) -> tuple[dict[str, Array], Resize | None]:
    """Return arrays by the generator's names, of any float type, and how it scales up.

    Raises `BadWeights`; broken bytes raise protobuf's errors.
    """
    model = onnx.load_model_from_string(data)
    graph = model.graph
    constants = {tensor.name: _array(tensor) for tensor in graph.initializer}
    arrays = _by_name(constants) or _by_tensorflow_name(constants) or _by_order(graph, constants)
    version = max((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), default=1)
    return arrays, resize_of([operation for node in graph.node if (operation := _operation(node, version))])


def _operation(node: onnx.NodeProto, version: int) -> str:
    """Return the node as `resize_of` takes it; "" for neither a convolution nor a resize."""
    if node.op_type == "Conv":
        return CONVOLUTION
    if node.op_type not in ("Resize", "Upsample"):
        return ""
    words: dict[str, str] = {attribute.name: attribute.s.decode() for attribute in node.attribute}
    if words.get("mode", "nearest") != "linear":
        return words.get("mode", "nearest")
    return "asymmetric" if version < _MODES_SINCE else words.get("coordinate_transformation_mode", "half_pixel")


def _array(tensor: onnx.TensorProto) -> Array:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise BadWeights(
            f"The ONNX file keeps {tensor.name!r} in a file beside it. "
            "Save it as one file first: onnx.save(onnx.load(FILE), ONE_FILE)."
        )
    array: Array = numpy_helper.to_array(tensor)
    return array.astype(np.float32) if tensor.data_type == onnx.TensorProto.BFLOAT16 else array


def _by_name(constants: dict[str, Array]) -> dict[str, Array] | None:
    """Return the tensors of a file whose exporter kept all PyTorch names."""
    shapes = tensor_shapes()
    return {name: constants[name] for name in shapes} if shapes.keys() <= constants.keys() else None


def _by_tensorflow_name(constants: dict[str, Array]) -> dict[str, Array] | None:
    """Return the tensors of a file whose converter kept all of TensorFlow's variables; their convolutions are HWIO."""
    variables = {
        _DECORATION.sub("", name.rpartition("G_MODEL/")[2]): array
        for name, array in constants.items()
        if "G_MODEL/" in name
    }
    names, shapes = tensorflow_names(), tensor_shapes()
    if not names.keys() <= variables.keys():
        return None
    tensors = {}
    for variable, name in names.items():
        array = variables[variable]
        if array.ndim == 4 and array.shape != shapes[name]:  # tf2onnx turns some into OIHW, in place
            array = array.transpose((2, 3, 0, 1) if variable.endswith("/w") else (3, 2, 0, 1))
        tensors[name] = array
    return tensors


def _by_order(graph: onnx.GraphProto, constants: dict[str, Array]) -> dict[str, Array]:
    values = dict(constants)
    defined = values.keys() | {value.name for value in graph.input} | {""}
    result = Graph()
    for node in graph.node:
        if not defined >= set(node.input):
            raise BadWeights("The ONNX file's nodes are not in topological order, as the format wants them.")
        defined |= set(node.output)
        constant = _fold(node, values)
        if constant is not None:
            values[node.output[0]] = constant
            continue
        operands = [values.get(name) for name in node.input]
        floats = [array if array is not None and array.dtype.kind == "f" else None for array in operands]
        match node.op_type:
            case "Conv":
                weight, bias = floats[1], floats[2] if len(floats) > 2 else None
                if weight is not None and weight.ndim == 4:
                    result.convolution(weight, bias)
            case "Mul":
                result.combine("mul", floats)
            case "Add":
                result.combine("add", floats)
            case "Sub":
                result.combine("sub", floats)
            case norm if norm in _NORMS:
                result.combine("mul", floats[1:2])
                result.combine("add", floats[2:3])
    return result.tensors()


def _fold(node: onnx.NodeProto, values: dict[str, Array]) -> Array | None:
    """Return the node's output where it only brings a constant into another form."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "Constant":
        return _array(attributes["value"].t) if "value" in attributes else None
    value = values.get(node.input[0]) if node.input else None
    if value is None:
        return None
    if node.op_type in _SAME_VALUES:
        return value
    if node.op_type == "Transpose":
        return value.transpose(attributes["perm"].ints if "perm" in attributes else None)
    if node.op_type == "Reshape" and node.input[1] in values:
        sizes = values[node.input[1]].tolist()
        return value.reshape([value.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)])
    return None
