"""Weight files that are not this generator's, hostile or broken: refused by name, and nothing of them is run."""

from __future__ import annotations

import io
import pickle
import random
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from animegan.errors import BadSetting, BadWeights
from animegan.networks.animegan2.generator import Generator, tensor_shapes
from animegan_cli.weights import readers
from harness.files import onnx_weights, tflite_weights
from harness.files import weight_files as files

Read = Callable[[bytes], dict[str, Tensor]]


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_pickled_code_is_refused_and_not_run(read: Read, cel: dict[str, Tensor], tmp_path: Path, form: str) -> None:
    mark = tmp_path / "mark"
    content = {**cel, "extra": Evil(mark)}
    data = pickle.dumps(content) if form == "pickle" else files.checkpoint(content, legacy=form == "legacy")
    with pytest.raises(BadWeights, match=r"more than tensors.* run code .*state_dict"):
        read(data)
    assert not mark.exists()


def test_a_pickled_module_is_refused(read: Read) -> None:
    with pytest.raises(BadWeights, match=r"animegan\.networks\.animegan2\.generator\.Generator.*state_dict"):
        read(files.checkpoint(Generator()))


def test_torchscript_is_refused(read: Read) -> None:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), stream)
    with pytest.raises(BadWeights, match="TorchScript archive holds code"):
        read(stream.getvalue())


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {3: torch.zeros(3)}, "words"])
def test_a_checkpoint_without_a_state_dict(read: Read, content: Any) -> None:
    with pytest.raises(BadWeights, match="no state dict"):
        read(files.checkpoint(content))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"block_c.3.layers.3.bias": None}, r"block_c\.3\.layers\.3\.bias is missing"),
        ({"extra.weight": torch.zeros(2)}, r"extra\.weight is unexpected"),
        ({"out_layer.0.weight": torch.zeros(3, 32, 3, 3)}, r"out_layer\.0\.weight has the shape \(3, 32, 3, 3\)"),
        ({"block_a.0.2.bias": torch.full((32,), torch.nan)}, r"block_a\.0\.2\.bias holds values that are not finite"),
        ({"block_a.0.2.bias": torch.full((32,), 1e300, dtype=torch.float64)}, "not finite"),
        ({"block_a.0.2.bias": torch.zeros(32, dtype=torch.int64)}, r"block_a\.0\.2\.bias is torch\.int64"),
        ({"block_a.0.2.bias": torch.zeros(32).to_sparse()}, r"block_a\.0\.2\.bias is .*not a dense"),
        ({"block_a.0.2.bias": 7}, r"block_a\.0\.2\.bias is int"),
        ({"block_a.0.1.weight": torch.zeros(1).expand(10**6, 10**6)}, r"block_a\.0\.1\.weight has the shape"),
    ],
)
def test_a_wrong_tensor_is_named(read: Read, cel: dict[str, Tensor], change: dict[str, Any], complaint: str) -> None:
    tensors = {name: tensor for name, tensor in (cel | change).items() if tensor is not None}
    with pytest.raises(BadWeights, match=complaint):
        read(files.checkpoint(tensors))


@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_a_wrong_tensor_of_a_graph_is_named(read: Read, cel: dict[str, Tensor], form: str) -> None:
    wrong = cel | {"block_b.1.1.weight": torch.zeros(128, 128, 5, 5)}
    data = (
        onnx_weights.tensorflow_onnx(wrong, "folded").SerializeToString()
        if form == "onnx"
        else tflite_weights.tensorflow_lite(wrong, "float32")
    )
    with pytest.raises(
        BadWeights, match=r"block_b\.1\.1\.weight has the shape \(128, 128, 5, 5\), not \(128, 128, 3, 3\)"
    ):
        read(data)


def onnx_without(cel: dict[str, Tensor], choose: Callable[[onnx.NodeProto], bool]) -> bytes:
    model = onnx_weights.tensorflow_onnx(cel, "folded")
    nodes = [node for node in model.graph.node if choose(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    outputs = {name for node in nodes for name in node.output}
    model.graph.input.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in {name for node in nodes for name in node.input} - outputs
    )
    data: bytes = model.SerializeToString()
    return data


def test_onnx_with_a_norm_left_out(read: Read, cel: dict[str, Tensor]) -> None:
    model = onnx_weights.tensorflow_onnx(cel, "folded")
    left_out = next(node for node in model.graph.node if any("B/LayerNorm/batchnorm" in name for name in node.input))
    with pytest.raises(BadWeights, match=r"block_b\.0\.2\.weight is missing"):
        read(onnx_without(cel, lambda node: node.output != left_out.output))


def test_onnx_with_fewer_convolutions(read: Read, cel: dict[str, Tensor]) -> None:
    with pytest.raises(BadWeights, match="21 convolutions with constant weights, not 25"):
        read(
            onnx_without(cel, lambda node: node.op_type != "Conv" or not any(a.name == "group" for a in node.attribute))
        )


def test_onnx_with_one_norm_too_many(read: Read, cel: dict[str, Tensor]) -> None:
    model = onnx_weights.tensorflow_onnx(cel, "folded")
    at = next(
        i for i, node in enumerate(model.graph.node) if any("A/LayerNorm/batchnorm" in name for name in node.input)
    )
    twin = onnx.NodeProto()
    twin.CopyFrom(model.graph.node[at])
    twin.output[:] = ["twin"]
    model.graph.node.insert(at, twin)
    with pytest.raises(BadWeights, match=r"block_a\.0\.1\.weight is followed by 2 scales and 1 shifts, not 1 and 1"):
        read(model.SerializeToString())


def test_onnx_with_a_bias_that_the_generator_has_not(read: Read, cel: dict[str, Tensor]) -> None:
    model = onnx_weights.tensorflow_onnx(cel, "folded")
    bias = np.zeros(32, np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(bias, "bias"))
    next(node for node in model.graph.node if node.op_type == "Conv").input.append("bias")
    assert files.same(read(model.SerializeToString()), cel, torch.float32)
    bias[7] = 0.5
    model.graph.initializer[-1].CopyFrom(onnx.numpy_helper.from_array(bias, "bias"))
    with pytest.raises(BadWeights, match=r"block_a\.0\.1\.weight is followed by 1 scales and 2 shifts, not 1 and 1"):
        read(model.SerializeToString())


def test_onnx_out_of_order_is_refused(read: Read, cel: dict[str, Tensor]) -> None:
    model = onnx_weights.tensorflow_onnx(cel, "folded")
    nodes = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with pytest.raises(BadWeights, match="topological order"):
        read(model.SerializeToString())


def test_onnx_with_external_data_is_refused(cel: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / "two.onnx"
    onnx.save_model(
        onnx_weights.tensorflow_onnx(cel, "folded"),
        str(file),
        save_as_external_data=True,
        location="two.bin",
        size_threshold=0,
    )
    with pytest.raises(BadWeights, match=r"in a file beside it\. Save it as one file"):
        readers.read(file)


def test_a_graph_of_something_else_is_refused(read: Read) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "relu", values[:1], values[1:]))
    with pytest.raises(BadWeights, match="0 convolutions"):
        read(model.SerializeToString())


def test_a_missing_package_is_named(read: Read, cel: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    data = onnx_weights.tensorflow_onnx(cel, "folded").SerializeToString()
    monkeypatch.delitem(sys.modules, "animegan_cli.weights.onnx_graph", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BadSetting, match=r"package onnx\..*animegan-serve\[import\]"):
        read(data)


@pytest.mark.parametrize("data", [b"", b"\x08", b"hello", bytes(1000), b"PK\x03\x04", b"\x80\x02", b"\0\0\0\0TFL3"])
def test_garbage_is_refused(read: Read, data: bytes) -> None:
    with pytest.raises(BadWeights):
        read(data)


def test_a_header_that_promises_too_much_is_refused(read: Read) -> None:
    with pytest.raises(BadWeights):
        read(struct.pack("<Q", 2**60) + b'{"a":1}')


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=r"absent\.pt can't be read: No such file"):
        readers.read(tmp_path / "absent.pt")
    with pytest.raises(BadWeights, match="can't be read: Is a directory"):
        readers.read(tmp_path)


def test_a_huge_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MOST_BYTES", 2**20)
    file = tmp_path / "huge"
    file.write_bytes(bytes(2**20 + 1))
    with pytest.raises(BadWeights, match="larger than 1 MiB"):
        readers.read(file)


def test_a_checkpoint_that_unpacks_to_too_much_is_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MOST_BYTES", 2**20)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(2**24))
    assert len(packed.getvalue()) < 2**20
    with pytest.raises(BadWeights, match="unpacks to 16777220 bytes, over 1 MiB"):
        read(packed.getvalue())


@pytest.fixture(scope="module")
def whole(cel: dict[str, Tensor]) -> dict[str, bytes]:
    return {
        "safetensors": save(cel),
        "zip": files.checkpoint(cel),
        "legacy": files.checkpoint(cel, legacy=True),
        "onnx": onnx_weights.tensorflow_onnx(cel, "folded", np.float16).SerializeToString(),
        "tflite": tflite_weights.tensorflow_lite(cel, "int8"),
    }


FORMS = ["safetensors", "zip", "legacy", "onnx", "tflite"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0.0001, 0.5, 0.9999])
def test_a_truncated_file_is_refused(read: Read, whole: dict[str, bytes], form: str, share: float) -> None:
    with pytest.raises(BadWeights):
        read(whole[form][: int(len(whole[form]) * share)])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_damage_is_refused_or_harmless(read: Read, whole: dict[str, bytes], form: str, seed: int) -> None:
    generator = random.Random(seed)
    data = bytearray(whole[form])
    edge = 20_000  # formats keep their structure at the ends
    for _ in range(8):
        place = generator.randrange(edge)
        data[place if generator.random() < 0.5 else -1 - place] = generator.randrange(256)
    try:
        tensors = read(bytes(data))
    except BadWeights:
        return
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == tensor_shapes()
