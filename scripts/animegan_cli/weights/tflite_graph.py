"""The generator in a TensorFlow Lite file, float or quantised: its tensors by the order of their use."""

from __future__ import annotations

import numpy as np
import tflite

from animegan.errors import BadWeights
from animegan.styles import Resize
from animegan_cli.weights.graph import CONVOLUTION, Array, Graph, resize_of

_MOST_PARTS = 10_000  # tensors or operators; the generator's graph has about 500 of each
_DTYPES = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.UINT8: np.uint8,
    tflite.TensorType.INT8: np.int8,
    tflite.TensorType.INT16: np.int16,
    tflite.TensorType.INT32: np.int32,
}


def read_tflite(data: bytes) -> tuple[dict[str, Array], Resize | None]:
    """Return arrays by the generator's names, in their own float type or float32 if quantised, and how it scales up.

    Raises `BadWeights`; broken bytes raise whatever the flatbuffer's or NumPy's reading of them does.
    """
    model = tflite.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    if max(graph.TensorsLength(), graph.OperatorsLength()) > _MOST_PARTS:
        raise BadWeights(f"The TFLite file has over {_MOST_PARTS} tensors or operators: not AnimeGANv2's generator.")
    values = {
        index: array
        for index in range(graph.TensorsLength())
        if (array := _array(model, graph.Tensors(index))) is not None
    }
    result = Graph()
    operations: list[str] = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        operands = [values.get(tensor) for tensor in operator.InputsAsNumpy().tolist()]
        match max(code.BuiltinCode(), code.DeprecatedBuiltinCode()):  # files of before schema 3a have the latter only
            case tflite.BuiltinOperator.DEQUANTIZE if operands[0] is not None:  # how float16 files bring in constants
                values[operator.Outputs(0)] = operands[0]
            case tflite.BuiltinOperator.CONV_2D:
                operations.append(CONVOLUTION)
                _convolution(result, operands, (0, 3, 1, 2))
            case tflite.BuiltinOperator.DEPTHWISE_CONV_2D:
                _convolution(result, operands, (3, 0, 1, 2))
            case tflite.BuiltinOperator.MUL:
                result.combine("mul", operands)
            case tflite.BuiltinOperator.ADD:
                result.combine("add", operands)
            case tflite.BuiltinOperator.SUB:
                result.combine("sub", operands)
            case tflite.BuiltinOperator.RESIZE_BILINEAR:
                operations.append(_mode(operator))
            case tflite.BuiltinOperator.RESIZE_NEAREST_NEIGHBOR:
                operations.append("nearest")
    return result.tensors(), resize_of(operations)


def _mode(operator: tflite.Operator) -> str:
    """Return how a bilinear resize samples, in ONNX's words."""
    options, table = tflite.ResizeBilinearOptions(), operator.BuiltinOptions()
    if table is None:  # every option has its default, which is no
        return "asymmetric"
    options.Init(table.Bytes, table.Pos)
    if options.HalfPixelCenters():
        return "half_pixel"
    return "align_corners" if options.AlignCorners() else "asymmetric"


def _convolution(collected: Graph, operands: list[Array | None], axes: tuple[int, ...]) -> None:
    weight, bias = operands[1], operands[2] if len(operands) > 2 else None
    if weight is not None and weight.ndim == 4:
        collected.convolution(weight.transpose(axes), bias)


def _array(model: tflite.Model, tensor: tflite.Tensor) -> Array | None:
    """Return a constant tensor's values; None for an activation and for what is neither float nor quantised."""
    data = model.Buffers(tensor.Buffer()).DataAsNumpy()
    if tensor.Type() not in _DTYPES or isinstance(data, int):  # the generated code answers 0 where there is no data
        return None
    array: Array = data.view(_DTYPES[tensor.Type()]).reshape(tensor.ShapeAsNumpy() if tensor.ShapeLength() else ())
    if array.dtype.kind == "f":
        return array
    quantization = tensor.Quantization()
    if quantization is None or not quantization.ScaleLength():
        return None
    along = [1] * array.ndim
    if quantization.ScaleLength() > 1:
        along[quantization.QuantizedDimension()] = -1
    scale = quantization.ScaleAsNumpy().astype(np.float64).reshape(along)
    zero = quantization.ZeroPointAsNumpy().reshape(along) if quantization.ZeroPointLength() else 0
    values: Array = ((array - zero) * scale).astype(np.float32)  # multiplied in float64: a bias has 32 bits
    return values
