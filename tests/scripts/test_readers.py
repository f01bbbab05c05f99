"""Weight files of every format, whole, foreign and broken."""

from __future__ import annotations

import io
import pickle
import random
import re
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tflite
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor

import weight_files as files
from animegan.errors import BadSetting, BadWeights
from animegan.generator import Generator, build, tensor_shapes
from animegan_cli import readers
from animegan_cli.graph import tensorflow_names

SHARED = Path(__file__).resolve().parents[3] / "shared"
HAYAO = SHARED / "weights" / "animeganv2_hayao_int8.tflite"
MOUNTAIN = SHARED / "photos" / "mountain_path.jpg"
needs_hayao = pytest.mark.skipif(not HAYAO.is_file(), reason=f"the original Hayao weights are not at {HAYAO}")


@pytest.fixture(scope="module")
def cel() -> dict[str, Tensor]:
    return files.bundled()


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], dict[str, Tensor]]:
    def write_and_read(data: bytes) -> dict[str, Tensor]:
        file = tmp_path / "weights.bin"  # an ending that says nothing
        file.write_bytes(data)
        return readers.read(file)

    return write_and_read


Read = Callable[[bytes], dict[str, Tensor]]


def same(found: dict[str, Tensor], expected: dict[str, Tensor], dtype: torch.dtype) -> bool:
    assert list(found) == list(tensor_shapes())
    assert {tensor.dtype for tensor in found.values()} == {dtype}
    assert all(tensor.is_contiguous() for tensor in found.values())
    return all(torch.equal(found[name], expected[name].to(dtype)) for name in found)


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        (torch.float16, torch.float16),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float64, torch.float32),
    ],
)
@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_state_dicts_keep_their_values(
    read: Read, cel: dict[str, Tensor], form: str, stored: torch.dtype, given: torch.dtype
) -> None:
    tensors = {name: tensor.to(stored) for name, tensor in cel.items()}
    data = save(tensors) if form == "safetensors" else files.checkpoint(tensors, legacy=form == "legacy")
    assert same(read(data), tensors, given)


def test_mixed_precision_becomes_fp32(read: Read, cel: dict[str, Tensor]) -> None:
    cel = cel | {"out_layer.0.weight": cel["out_layer.0.weight"].float()}
    assert same(read(save(cel)), cel, torch.float32)


@pytest.mark.parametrize("nest", ["state_dict", "generator", "model", "params_ema", "G"])
def test_a_state_dict_inside_a_checkpoint(read: Read, cel: dict[str, Tensor], nest: str) -> None:
    data = files.checkpoint({"epoch": 101, nest: cel, "discriminator": {"w": torch.zeros(3)}})
    assert same(read(data), cel, torch.float16)


def test_data_parallel_prefix_is_dropped(read: Read, cel: dict[str, Tensor]) -> None:
    assert same(read(files.checkpoint({f"module.{name}": t for name, t in cel.items()})), cel, torch.float16)


def test_views_of_one_storage_are_parted(read: Read, cel: dict[str, Tensor]) -> None:
    twin = cel["block_a.1.2.weight"]
    shared = cel | {"block_a.2.2.weight": twin, "block_a.0.1.weight": cel["block_a.0.1.weight"].permute(2, 3, 1, 0)}
    shared["block_a.0.1.weight"] = shared["block_a.0.1.weight"].contiguous().permute(3, 2, 0, 1)
    found = read(files.checkpoint(shared))
    assert same(found, shared, torch.float16)
    assert found["block_a.1.2.weight"].data_ptr() != found["block_a.2.2.weight"].data_ptr()
    save(found)  # refuses shared memory


@pytest.mark.parametrize("folded", [False, True])
def test_onnx_of_the_pytorch_port(read: Read, cel: dict[str, Tensor], tmp_path: Path, folded: bool) -> None:
    data = files.exported_onnx(cel, tmp_path / "port.onnx", folded=folded)
    names = {tensor.name for tensor in onnx.load_model_from_string(data).graph.initializer}
    assert ("block_a.0.2.weight" in names) is not folded
    assert same(read(data), cel, torch.float32)


@pytest.mark.parametrize("naming", ["folded", "variables", "anonymous"])
@pytest.mark.parametrize(("stored", "given"), [(np.float32, torch.float32), (np.float16, torch.float16)])
def test_onnx_of_the_tensorflow_original(
    read: Read, cel: dict[str, Tensor], naming: files.Naming, stored: Any, given: torch.dtype
) -> None:
    data = files.tensorflow_onnx(cel, naming, stored).SerializeToString()
    assert same(read(data), cel, given)


def test_onnx_names_are_believed_before_order(read: Read, cel: dict[str, Tensor]) -> None:
    model = files.tensorflow_onnx(cel, "variables")
    del model.graph.node[:]
    assert same(read(model.SerializeToString()), cel, torch.float32)


def test_onnx_with_a_shift_that_is_taken_away(read: Read, cel: dict[str, Tensor]) -> None:
    model = files.tensorflow_onnx(cel, "folded")
    beta = next(node.input[0] for node in model.graph.node if node.op_type == "Sub" and "const" in node.input[0])
    used = [node for node in model.graph.node if beta in node.input]
    used[0].input[:] = reversed(used[0].input)
    expected = cel | {"block_a.0.2.bias": -cel["block_a.0.2.bias"]}
    assert same(read(model.SerializeToString()), expected, torch.float32)


def test_every_tensorflow_variable_has_its_place() -> None:
    expected = {variable: name for layer in files.layers() for variable, name in layer.variables().items()}
    assert tensorflow_names() == expected
    assert set(expected.values()) == set(tensor_shapes())


@pytest.mark.parametrize(("stored", "given"), [("float32", torch.float32), ("float16", torch.float16)])
def test_tflite_float(read: Read, cel: dict[str, Tensor], stored: files.Precision, given: torch.dtype) -> None:
    assert same(read(files.tensorflow_lite(cel, stored)), cel, given)


def test_tflite_int8_is_within_half_a_step(read: Read, cel: dict[str, Tensor]) -> None:
    found = read(files.tensorflow_lite(cel, "int8"))
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    for name, tensor in cel.items():
        true = tensor.float()
        if true.ndim == 4:
            step = true.abs().amax((1, 2, 3), keepdim=True) / 127
        elif name.endswith("layers.1.1.bias"):
            step = torch.tensor(2.0**-20)
        else:
            step = (true.max().clamp(min=0) - true.min().clamp(max=0)) / 255
        assert ((found[name] - true).abs() <= 0.501 * step).all(), name


@needs_hayao
def test_the_original_hayao_by_order_is_the_original_by_name() -> None:
    found = readers.read(HAYAO)
    model = tflite.Model.GetRootAs(HAYAO.read_bytes(), 0)
    graph = model.Subgraphs(0)
    ours, shapes = tensorflow_names(), tensor_shapes()
    compared = set()
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        variable = tensor.Name().decode().rpartition("G_MODEL/")[2]
        variable = re.sub(r"/Conv2D1?$", "/weights", variable)
        variable = re.sub(r"^(C/(r\d)/\2)/\2\d?$", r"\1/w", variable)  # C/r1/r1/r1, C/r4/r4/r41
        name = ours.get(variable)
        if name is None or tensor.Type() != tflite.TensorType.INT8 or tensor.ShapeLength() != len(shapes[name]):
            continue
        data = model.Buffers(tensor.Buffer()).DataAsNumpy()
        if isinstance(data, int):  # an activation
            continue
        data = data.view(np.int8).reshape(tensor.ShapeAsNumpy())
        scale = tensor.Quantization().ScaleAsNumpy()
        if data.ndim == 4:
            data = data.transpose((3, 0, 1, 2) if name.endswith("1.1.weight") and data.shape[0] == 1 else (0, 3, 1, 2))
            scale = scale.reshape(-1, 1, 1, 1)
        expected = torch.from_numpy(data * scale)
        torch.testing.assert_close(found[name], expected.float(), rtol=1e-6, atol=0)
        compared.add(name)
    assert len(compared) == 25 + 48
    assert len(found) == 77
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}


@needs_hayao
def test_the_original_hayao_draws_its_look() -> None:
    photo = Image.open(MOUNTAIN).convert("RGB")
    photo.thumbnail((512, 512), Image.Resampling.LANCZOS)
    assert photo.size == (512, 384)
    x = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        y = build(readers.read(HAYAO))(x)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    before, after = (x[0] * luma).sum(0), (y[0] * luma).sum(0)

    def flat(picture: Tensor) -> float:
        return picture.diff(dim=1).abs().lt(0.02).float().mean().item()

    assert torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1] > 0.8  # the same scene
    assert flat(after) > flat(before) + 0.15  # drawn in flat areas
    red, green, blue = y[0, :, 5:60, 300:500].mean((1, 2))  # the sky
    assert blue > green > red
    red, green, blue = y[0, :, 300:370, 250:500].mean((1, 2))  # the meadow
    assert green > red > blue


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
    with pytest.raises(BadWeights, match=r"animegan\.generator\.Generator.*state_dict"):
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
        files.tensorflow_onnx(wrong, "folded").SerializeToString()
        if form == "onnx"
        else files.tensorflow_lite(wrong, "float32")
    )
    with pytest.raises(
        BadWeights, match=r"block_b\.1\.1\.weight has the shape \(128, 128, 5, 5\), not \(128, 128, 3, 3\)"
    ):
        read(data)


def onnx_without(cel: dict[str, Tensor], wanted: Callable[[onnx.NodeProto], bool]) -> bytes:
    model = files.tensorflow_onnx(cel, "folded")
    nodes = [node for node in model.graph.node if wanted(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    known = {name for node in nodes for name in node.output}
    model.graph.input.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in {name for node in nodes for name in node.input} - known
    )
    data: bytes = model.SerializeToString()
    return data


def test_onnx_with_a_norm_left_out(read: Read, cel: dict[str, Tensor]) -> None:
    model = files.tensorflow_onnx(cel, "folded")
    left_out = next(node for node in model.graph.node if any("B/LayerNorm/batchnorm" in name for name in node.input))
    with pytest.raises(BadWeights, match=r"block_b\.0\.2\.weight is missing"):
        read(onnx_without(cel, lambda node: node.output != left_out.output))


def test_onnx_with_fewer_convolutions(read: Read, cel: dict[str, Tensor]) -> None:
    with pytest.raises(BadWeights, match="21 convolutions with constant weights, not 25"):
        read(
            onnx_without(cel, lambda node: node.op_type != "Conv" or not any(a.name == "group" for a in node.attribute))
        )


def test_onnx_with_one_norm_too_many(read: Read, cel: dict[str, Tensor]) -> None:
    model = files.tensorflow_onnx(cel, "folded")
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
    model = files.tensorflow_onnx(cel, "folded")
    bias = np.zeros(32, np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(bias, "bias"))
    next(node for node in model.graph.node if node.op_type == "Conv").input.append("bias")
    assert same(read(model.SerializeToString()), cel, torch.float32)
    bias[7] = 0.5
    model.graph.initializer[-1].CopyFrom(onnx.numpy_helper.from_array(bias, "bias"))
    with pytest.raises(BadWeights, match=r"block_a\.0\.1\.weight is followed by 1 scales and 2 shifts, not 1 and 1"):
        read(model.SerializeToString())


def test_onnx_out_of_order_is_refused(read: Read, cel: dict[str, Tensor]) -> None:
    model = files.tensorflow_onnx(cel, "folded")
    nodes = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with pytest.raises(BadWeights, match="topological order"):
        read(model.SerializeToString())


def test_onnx_with_external_data_is_refused(cel: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / "two.onnx"
    onnx.save_model(
        files.tensorflow_onnx(cel, "folded"),
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
    data = files.tensorflow_onnx(cel, "folded").SerializeToString()
    monkeypatch.delitem(sys.modules, "animegan_cli.onnx_graph", raising=False)
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
        "onnx": files.tensorflow_onnx(cel, "folded", np.float16).SerializeToString(),
        "tflite": files.tensorflow_lite(cel, "int8"),
    }


FORMS = ["safetensors", "zip", "legacy", "onnx", "tflite"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kept", [0.0001, 0.5, 0.9999])
def test_a_truncated_file_is_refused(read: Read, whole: dict[str, bytes], form: str, kept: float) -> None:
    with pytest.raises(BadWeights):
        read(whole[form][: int(len(whole[form]) * kept)])


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
        found = read(bytes(data))
    except BadWeights:
        return
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == tensor_shapes()
