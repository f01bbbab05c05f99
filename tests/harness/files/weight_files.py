"""Weight files for tests, of the bundled style's tensors, in the shapes that converters write.

The ONNX and TFLite graphs follow what tf2onnx 1.17 and TensorFlow Lite 2.21 made of the generator. The ONNX one's nodes
carry the constants in the true order and places, and compute nothing that a test runs; the float TFLite one is whole.
"""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import onnx
import tflite
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file
from torch import Tensor

from animegan.networks.animegan2 import generator
from animegan.networks.animegan2.generator import tensor_shapes
from animegan.styles import bundled_dir

SCOPE = "generator/G_MODEL/"


def bundled() -> dict[str, Tensor]:
    """Return the tensors of the bundled generator, fp16 as stored."""
    return load_file(bundled_dir() / "classic.safetensors")


def other() -> dict[str, Tensor]:
    """Return tensors of the same shapes and other values."""
    return {name: (tensor.float() * 1.01).to(tensor.dtype) for name, tensor in bundled().items()}


@dataclass(frozen=True)
class Layer:
    """One convolution: our names of its tensors, and TensorFlow's variable and the scope of its norm."""

    weight: str
    bias: str | None
    gamma: str | None
    beta: str | None
    variable: str
    norm: str

    @property
    def depthwise(self) -> bool:
        return self.bias is not None

    @property
    def halves(self) -> bool:
        return self.weight.startswith(("block_a.1", "block_b.0"))

    @property
    def scaled(self) -> bool:
        """Whether its input is scaled up."""
        return self.weight.startswith(("block_d.0", "block_e.0"))

    def variables(self) -> dict[str, str]:
        """TensorFlow's variables, from `G_MODEL/` on, and our name of each."""
        pairs = {self.variable: self.weight}
        if self.bias:
            pairs[self.variable.removesuffix("/w") + "/bias"] = self.bias
        if self.gamma and self.beta:
            pairs |= {f"{self.norm}/gamma": self.gamma, f"{self.norm}/beta": self.beta}
        return pairs


def layers() -> list[Layer]:
    """The 25 convolutions in order."""
    rows = [
        ("block_a.0", "A/Conv", "A/LayerNorm"),
        ("block_a.1", "A/Conv_1", "A/LayerNorm_1"),
        ("block_a.2", "A/Conv_2", "A/LayerNorm_2"),
        ("block_b.0", "B/Conv", "B/LayerNorm"),
        ("block_b.1", "B/Conv_1", "B/LayerNorm_1"),
        ("block_c.0", "C/Conv", "C/LayerNorm"),
        ("block_c.1", "C/r1", ""),
        ("block_c.2", "C/r2", ""),
        ("block_c.3", "C/r3", ""),
        ("block_c.4", "C/r4", ""),
        ("block_c.5", "C/Conv_1", "C/LayerNorm_1"),
        ("block_d.0", "D/Conv", "D/LayerNorm"),
        ("block_d.1", "D/Conv_1", "D/LayerNorm_1"),
        ("block_e.0", "E/Conv", "E/LayerNorm"),
        ("block_e.1", "E/Conv_1", "E/LayerNorm_1"),
        ("block_e.2", "E/Conv_2", "E/LayerNorm_2"),
    ]
    found: list[Layer] = []
    for ours, theirs, norm in rows:
        if norm:
            found.append(_layer(f"{ours}.1", None, f"{ours}.2", f"{theirs}/weights", norm))
        else:
            inside = f"{ours}.layers"
            found += [
                _layer(f"{inside}.0.1", None, f"{inside}.0.2", f"{theirs}/Conv/weights", f"{theirs}/LayerNorm"),
                _layer(f"{inside}.1.1", "bias", f"{inside}.1.2", f"{theirs}/{theirs[2:]}/w", f"{theirs}/1"),
                _layer(f"{inside}.2", None, f"{inside}.3", f"{theirs}/Conv_1/weights", f"{theirs}/2"),
            ]
    return [*found, Layer("out_layer.0.weight", None, None, None, "out_layer/Conv/weights", "")]


def _layer(conv: str, bias: str | None, norm: str, variable: str, scope: str) -> Layer:
    biased = f"{conv}.{bias}" if bias else None
    return Layer(f"{conv}.weight", biased, f"{norm}.weight", f"{norm}.bias", variable, scope)


def checkpoint(content: Any, *, legacy: bool = False) -> bytes:
    """What `torch.save` writes; `legacy`: as before PyTorch 1.6."""
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def exported_onnx(tensors: Mapping[str, Tensor], file: Path, *, folded: bool) -> bytes:
    """torch.onnx's export of the public port's form; `folded`: the norms lose their names and get two more axes."""
    model = generator.build(tensors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.zeros(1, 3, 32, 32),), str(file), dynamo=False, opset_version=12, do_constant_folding=folded
        )
    return file.read_bytes()


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
    side, begun = LITE_PX, x
    for layer in layers():
        if layer.scaled:
            side *= 2
            x = build.resize(x, side, aligned=aligned, half_pixel=half_pixel)
        if layer.weight.endswith("layers.0.1.weight"):
            begun = x
        side //= 2 if layer.halves else 1
        x = build.convolution(x, layer, arrays)
        if not (layer.gamma and layer.beta):
            continue
        x = build.norm(x, arrays[layer.gamma], arrays[layer.beta])
        if not layer.weight.endswith("layers.2.weight"):
            x = build.operator(tflite.BuiltinOperator.LEAKY_RELU, [x], "LeakyRelu", Alpha=0.2)
        elif 2 * arrays[layer.weight].shape[0] == arrays[layer.weight].shape[1]:  # as many channels as before the block
            x = build.operator(tflite.BuiltinOperator.ADD, [x, begun], "Add")
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
        moved = self.operator(kinds.MUL, [mean, scale], "Mul")
        shift = self.operator(kinds.SUB, [self.vector(beta), moved], "Sub")
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
        return self._quantised(np.round(array / scale.reshape(along)), np.int8, scale, np.zeros(len(scale)), axis)

    def bias(self, array: NDArray[Any]) -> int:
        if self._precision != "int8":
            return self._float(array)
        scale = np.full(len(array), 2**-20, np.float32)
        return self._quantised(np.round(array / scale), np.int32, scale, np.zeros(len(array)), 0)

    def vector(self, array: NDArray[Any]) -> int:
        if self._precision != "int8":
            return self._float(array)
        low, high = min(float(array.min()), 0.0), max(float(array.max()), 0.0)
        scale = np.float32((high - low) / 255)
        zero = round(-128 - low / float(scale))
        return self._quantised(np.round(array / scale) + zero, np.int8, np.array([scale]), np.array([zero]), 0)

    def _float(self, array: NDArray[Any]) -> int:
        data = array.astype(self._precision)
        stored = self.tensor(data.dtype.type, list(array.shape), data.tobytes())
        return self.operator(tflite.BuiltinOperator.DEQUANTIZE, [stored]) if data.dtype == np.float16 else stored

    def _quantised(self, array: NDArray[Any], dtype: Any, scale: NDArray[Any], zero: NDArray[Any], axis: int) -> int:
        limits = np.iinfo(dtype)
        data = array.clip(limits.min, limits.max).astype(dtype).tobytes()
        return self.tensor(dtype, list(array.shape), data, (scale, zero, axis))

    def file(self, given: int, made: int) -> bytes:
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
            content = self._aligned(data) if data else None
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
        ends = [b.CreateNumpyVector(np.array([end], np.int32)) for end in (given, made)]
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

    def _aligned(self, data: bytes) -> int:
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


def same(found: dict[str, Tensor], expected: dict[str, Tensor], dtype: torch.dtype) -> bool:
    assert list(found) == list(tensor_shapes())
    assert {tensor.dtype for tensor in found.values()} == {dtype}
    assert all(tensor.is_contiguous() for tensor in found.values())
    return all(torch.equal(found[name], expected[name].to(dtype)) for name in found)
