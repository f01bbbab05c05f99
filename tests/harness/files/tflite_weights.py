"""TFLite graphs of the generator, as TensorFlow Lite 2.21 writes them; the float one is whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import tflite
from numpy.typing import NDArray
from torch import Tensor

from harness.files.weight_files import Layer, layers

Precision = Literal["float32", "float16", "int8"]


LITE_PX = 64  # of the TFLite graph's photo, which has one size


def tensorflow_lite(
    tensors: Mapping[str, Tensor], precision: Precision, *, aligned: bool = False, half_pixel: bool = False
) -> bytes:
    """A graph as TensorFlow Lite's converter writes it, (1, `LITE_PX`, `LITE_PX`, 3) in [-1, 1] to the same.

    Every convolution has a bias, zeros where the generator has none. `float16`: each constant through a DEQUANTIZE.
    `int8`: weights per channel, biases in 32 bits, norms per tensor with a zero point. `aligned`, `half_pixel`: the
    options of its resizes.
    """
    build = _TfliteGraph(precision)
    arrays = {name: tensor.float().numpy() for name, tensor in tensors.items()}
    photo = x = build.tensor(np.float32, [1, LITE_PX, LITE_PX, 3])
    side, shortcut = LITE_PX, x
    for layer in layers():
        if layer.scaled:
            side *= 2
            x = build.resize(x, side, aligned=aligned, half_pixel=half_pixel)
        if layer.weight.endswith("layers.0.1.weight"):
            shortcut = x
        side //= 2 if layer.halves else 1
        x = build.convolution(x, layer, arrays)
        if not (layer.gamma and layer.beta):
            continue
        x = build.norm(x, arrays[layer.gamma], arrays[layer.beta])
        if not layer.weight.endswith("layers.2.weight"):
            x = build.operator(tflite.BuiltinOperator.LEAKY_RELU, [x], "LeakyRelu", Alpha=0.2)
        elif 2 * arrays[layer.weight].shape[0] == arrays[layer.weight].shape[1]:  # as many channels as before the block
            x = build.operator(tflite.BuiltinOperator.ADD, [x, shortcut], "Add")
    return build.file(photo, build.operator(tflite.BuiltinOperator.TANH, [x]))


class _TfliteGraph:
    def __init__(self, precision: Precision) -> None:
        self._precision = precision
        self._builder = flatbuffers.Builder(2**20)
        self._buffers: list[bytes] = [b""]
        self._tensors: list[tuple[Any, list[int], int, tuple[NDArray[Any], NDArray[Any], int] | None]] = []
        self._operators: list[tuple[int, list[int], int, str, dict[str, Any]]] = []

    def tensor(
        self,
        dtype: Any,
        shape: list[int],
        data: bytes = b"",
        quantization: tuple[NDArray[Any], NDArray[Any], int] | None = None,
    ) -> int:
        buffer = 0
        if data:
            self._buffers.append(data)
            buffer = len(self._buffers) - 1
        self._tensors.append((dtype, shape, buffer, quantization))
        return len(self._tensors) - 1

    def operator(self, kind: int, inputs: list[int], options: str = "", **values: Any) -> int:
        """`options`: the name of their table, without its ending; its `values`, by the fields' names in the schema."""
        output = self.tensor(np.float32, [1])
        self._operators.append((kind, inputs, output, options, values))
        return output

    def constant(self, values: Any) -> int:
        """A small tensor of int32."""
        array = np.array(values, np.int32)
        return self.tensor(np.int32, list(array.shape), array.tobytes())

    def convolution(self, x: int, layer: Layer, arrays: Mapping[str, NDArray[Any]]) -> int:
        weight = arrays[layer.weight]
        channels, kernel = weight.shape[0], weight.shape[2]
        if kernel > 1:
            pad = (0 if layer.halves else kernel // 2, kernel // 2)
            padding = self.constant([(0, 0), pad, pad, (0, 0)])
            mode = tflite.MirrorPadMode.REFLECT
            x = self.operator(tflite.BuiltinOperator.MIRROR_PAD, [x, padding], "MirrorPad", Mode=mode)
        theirs = weight.transpose(1, 2, 3, 0) if layer.depthwise else weight.transpose(0, 2, 3, 1)
        bias = arrays[layer.bias] if layer.bias else np.zeros(channels, np.float32)
        inputs = [x, self.weight(theirs, axis=3 if layer.depthwise else 0), self.bias(bias)]
        step = 2 if layer.halves else 1
        options = {"Padding": tflite.Padding.VALID, "StrideW": step, "StrideH": step}
        if layer.depthwise:
            kind = tflite.BuiltinOperator.DEPTHWISE_CONV_2D
            return self.operator(kind, inputs, "DepthwiseConv2D", DepthMultiplier=1, **options)
        return self.operator(tflite.BuiltinOperator.CONV_2D, inputs, "Conv2D", **options)

    def norm(self, x: int, gamma: NDArray[Any], beta: NDArray[Any]) -> int:
        kinds, axes = tflite.BuiltinOperator, self.constant([1, 2, 3])
        mean = self.operator(kinds.MEAN, [x, axes], "Reducer", KeepDims=True)
        squares = self.operator(kinds.SQUARED_DIFFERENCE, [x, mean], "SquaredDifference")
        variance = self.operator(kinds.MEAN, [squares, axes], "Reducer", KeepDims=True)
        epsilon = self.tensor(np.float32, [], np.float32(1e-5).tobytes())
        root = self.operator(kinds.RSQRT, [self.operator(kinds.ADD, [variance, epsilon], "Add")])
        scale = self.operator(kinds.MUL, [root, self.vector(gamma)], "Mul")
        offset = self.operator(kinds.MUL, [mean, scale], "Mul")
        shift = self.operator(kinds.SUB, [self.vector(beta), offset], "Sub")
        return self.operator(kinds.ADD, [self.operator(kinds.MUL, [x, scale], "Mul"), shift], "Add")

    def resize(self, x: int, side: int, *, aligned: bool, half_pixel: bool) -> int:
        options = {"AlignCorners": aligned, "HalfPixelCenters": half_pixel}
        kind = tflite.BuiltinOperator.RESIZE_BILINEAR
        return self.operator(kind, [x, self.constant([side, side])], "ResizeBilinear", **options)

    def weight(self, array: NDArray[Any], axis: int) -> int:
        if self._precision != "int8":
            return self._float(array)
        others = tuple(i for i in range(array.ndim) if i != axis)
        scale = (np.abs(array).max(others) / 127).astype(np.float32)
        along = [-1 if i == axis else 1 for i in range(array.ndim)]
        return self._quantise(np.round(array / scale.reshape(along)), np.int8, scale, np.zeros(len(scale)), axis)

    def bias(self, array: NDArray[Any]) -> int:
        if self._precision != "int8":
            return self._float(array)
        scale = np.full(len(array), 2**-20, np.float32)
        return self._quantise(np.round(array / scale), np.int32, scale, np.zeros(len(array)), 0)

    def vector(self, array: NDArray[Any]) -> int:
        if self._precision != "int8":
            return self._float(array)
        low, high = min(float(array.min()), 0.0), max(float(array.max()), 0.0)
        scale = np.float32((high - low) / 255)
        zero = round(-128 - low / float(scale))
        return self._quantise(np.round(array / scale) + zero, np.int8, np.array([scale]), np.array([zero]), 0)

    def _float(self, array: NDArray[Any]) -> int:
        data = array.astype(self._precision)
        stored = self.tensor(data.dtype.type, list(array.shape), data.tobytes())
        return self.operator(tflite.BuiltinOperator.DEQUANTIZE, [stored]) if data.dtype == np.float16 else stored

    def _quantise(self, array: NDArray[Any], dtype: Any, scale: NDArray[Any], zero: NDArray[Any], axis: int) -> int:
        limits = np.iinfo(dtype)
        data = array.clip(limits.min, limits.max).astype(dtype).tobytes()
        return self.tensor(dtype, list(array.shape), data, (scale, zero, axis))

    def file(self, source: int, target: int) -> bytes:
        """The model that makes one tensor of another."""
        b = self._builder
        kinds = sorted({kind for kind, *_ in self._operators})
        codes = []
        for kind in kinds:
            tflite.OperatorCodeStart(b)
            tflite.OperatorCodeAddDeprecatedBuiltinCode(b, kind)
            tflite.OperatorCodeAddBuiltinCode(b, kind)
            codes.append(tflite.OperatorCodeEnd(b))
        buffers = []
        for data in self._buffers:
            content = self._align(data) if data else None
            tflite.BufferStart(b)
            if content is not None:
                tflite.BufferAddData(b, content)
            buffers.append(tflite.BufferEnd(b))
        tensors = [self._tensor(*tensor) for tensor in self._tensors]
        operators = []
        for kind, inputs, output, options, values in self._operators:
            reads, writes = (b.CreateNumpyVector(np.array(ids, np.int32)) for ids in (inputs, [output]))
            table = self._options(options, values) if options else None
            tflite.OperatorStart(b)
            tflite.OperatorAddOpcodeIndex(b, kinds.index(kind))
            tflite.OperatorAddInputs(b, reads)
            tflite.OperatorAddOutputs(b, writes)
            if table is not None:
                tflite.OperatorAddBuiltinOptionsType(b, getattr(tflite.BuiltinOptions, f"{options}Options"))
                tflite.OperatorAddBuiltinOptions(b, table)
            operators.append(tflite.OperatorEnd(b))
        parts = self._offsets(tensors), self._offsets(operators)
        ends = [b.CreateNumpyVector(np.array([end], np.int32)) for end in (source, target)]
        tflite.SubGraphStart(b)
        tflite.SubGraphAddInputs(b, ends[0])
        tflite.SubGraphAddOutputs(b, ends[1])
        tflite.SubGraphAddTensors(b, parts[0])
        tflite.SubGraphAddOperators(b, parts[1])
        graph = tflite.SubGraphEnd(b)
        graphs, code_table, buffer_table = self._offsets([graph]), self._offsets(codes), self._offsets(buffers)
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, 3)
        tflite.ModelAddOperatorCodes(b, code_table)
        tflite.ModelAddSubgraphs(b, graphs)
        tflite.ModelAddBuffers(b, buffer_table)
        b.Finish(tflite.ModelEnd(b), file_identifier=b"TFL3")
        return bytes(b.Output())

    def _options(self, name: str, values: Mapping[str, Any]) -> int:
        getattr(tflite, f"{name}OptionsStart")(self._builder)
        for field, value in values.items():
            getattr(tflite, f"{name}OptionsAdd{field}")(self._builder, value)
        end: int = getattr(tflite, f"{name}OptionsEnd")(self._builder)
        return end

    def _align(self, data: bytes) -> int:
        """A vector of bytes that begins at a multiple of 16, as the schema wants a buffer's."""
        b = self._builder
        b.StartVector(1, len(data), 16)
        b.head -= len(data)
        b.Bytes[b.head : b.head + len(data)] = data
        end: int = b.EndVector()
        return end

    def _offsets(self, offsets: list[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        end: int = self._builder.EndVector()
        return end

    def _tensor(
        self, dtype: Any, shape: list[int], buffer: int, quantization: tuple[NDArray[Any], NDArray[Any], int] | None
    ) -> int:
        b = self._builder
        sizes = b.CreateNumpyVector(np.array(shape, np.int32))
        parameters = None
        if quantization:
            scale, zero, axis = quantization
            scales = b.CreateNumpyVector(scale.astype(np.float32))
            zeros = b.CreateNumpyVector(zero.astype(np.int64))
            tflite.QuantizationParametersStart(b)
            tflite.QuantizationParametersAddScale(b, scales)
            tflite.QuantizationParametersAddZeroPoint(b, zeros)
            tflite.QuantizationParametersAddQuantizedDimension(b, axis)
            parameters = tflite.QuantizationParametersEnd(b)
        tflite.TensorStart(b)
        tflite.TensorAddShape(b, sizes)
        tflite.TensorAddType(b, getattr(tflite.TensorType, np.dtype(dtype).name.upper()))
        tflite.TensorAddBuffer(b, buffer)
        if parameters is not None:
            tflite.TensorAddQuantization(b, parameters)
        end: int = tflite.TensorEnd(b)
        return end
