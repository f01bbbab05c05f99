"""Weight files of every format give the generator's tensors, with their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
import tflite
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from animegan.errors import BadWeights
from animegan.networks.animegan2.generator import Generator, build, tensor_shapes
from animegan.styles import Resize
from animegan_cli.weights import readers
from animegan_cli.weights.graph import tensorflow_names
from animegan_cli.weights.onnx_models import onnx_model
from benchmarks.common.reference import psnr
from harness.files import onnx_weights, tflite_weights
from harness.files import weight_files as files
from harness.pictures import photo_tensor

SHARED = Path(__file__).resolve().parents[4] / "shared"
HAYAO = SHARED / "weights" / "animeganv2_hayao_int8.tflite"
MOUNTAIN = SHARED / "photos" / "mountain_path.jpg"
needs_hayao = pytest.mark.skipif(not HAYAO.is_file(), reason=f"the original Hayao weights are not at {HAYAO}")


Read = Callable[[bytes], dict[str, Tensor]]


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [
        (torch.float16, torch.float16),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float64, torch.float32),
    ],
)
@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_state_dicts_keep_their_values(
    read: Read, cel: dict[str, Tensor], form: str, stored: torch.dtype, dtype: torch.dtype
) -> None:
    tensors = {name: tensor.to(stored) for name, tensor in cel.items()}
    data = save(tensors) if form == "safetensors" else files.checkpoint(tensors, legacy=form == "legacy")
    assert files.same(read(data), tensors, dtype)


def test_mixed_precision_becomes_fp32(read: Read, cel: dict[str, Tensor]) -> None:
    cel = cel | {"out_layer.0.weight": cel["out_layer.0.weight"].float()}
    assert files.same(read(save(cel)), cel, torch.float32)


@pytest.mark.parametrize("nest", ["state_dict", "generator", "model", "params_ema", "G"])
def test_a_state_dict_inside_a_checkpoint(read: Read, cel: dict[str, Tensor], nest: str) -> None:
    data = files.checkpoint({"epoch": 101, nest: cel, "discriminator": {"w": torch.zeros(3)}})
    assert files.same(read(data), cel, torch.float16)


def test_data_parallel_prefix_is_dropped(read: Read, cel: dict[str, Tensor]) -> None:
    assert files.same(read(files.checkpoint({f"module.{name}": t for name, t in cel.items()})), cel, torch.float16)


def test_views_of_one_storage_are_parted(read: Read, cel: dict[str, Tensor]) -> None:
    twin = cel["block_a.1.2.weight"]
    shared = cel | {"block_a.2.2.weight": twin, "block_a.0.1.weight": cel["block_a.0.1.weight"].permute(2, 3, 1, 0)}
    shared["block_a.0.1.weight"] = shared["block_a.0.1.weight"].contiguous().permute(3, 2, 0, 1)
    tensors = read(files.checkpoint(shared))
    assert files.same(tensors, shared, torch.float16)
    assert tensors["block_a.1.2.weight"].data_ptr() != tensors["block_a.2.2.weight"].data_ptr()
    save(tensors)  # refuses shared memory


@pytest.mark.parametrize("folded", [False, True])
def test_onnx_of_the_pytorch_port(read: Read, cel: dict[str, Tensor], tmp_path: Path, folded: bool) -> None:
    data = files.exported_onnx(cel, tmp_path / "port.onnx", folded=folded)
    names = {tensor.name for tensor in onnx.load_model_from_string(data).graph.initializer}
    assert ("block_a.0.2.weight" in names) is not folded
    assert files.same(read(data), cel, torch.float32)


@pytest.mark.parametrize("naming", ["folded", "variables", "anonymous"])
@pytest.mark.parametrize(("stored", "dtype"), [(np.float32, torch.float32), (np.float16, torch.float16)])
def test_onnx_of_the_tensorflow_original(
    read: Read, cel: dict[str, Tensor], naming: onnx_weights.Naming, stored: Any, dtype: torch.dtype
) -> None:
    data = onnx_weights.tensorflow_onnx(cel, naming, stored).SerializeToString()
    assert files.same(read(data), cel, dtype)


def test_onnx_names_are_believed_before_order(read: Read, cel: dict[str, Tensor]) -> None:
    model = onnx_weights.tensorflow_onnx(cel, "variables")
    del model.graph.node[:]
    assert files.same(read(model.SerializeToString()), cel, torch.float32)


def test_onnx_with_a_shift_that_is_taken_away(read: Read, cel: dict[str, Tensor]) -> None:
    model = onnx_weights.tensorflow_onnx(cel, "folded")
    beta = next(node.input[0] for node in model.graph.node if node.op_type == "Sub" and "const" in node.input[0])
    nodes = [node for node in model.graph.node if beta in node.input]
    nodes[0].input[:] = reversed(nodes[0].input)
    expected = cel | {"block_a.0.2.bias": -cel["block_a.0.2.bias"]}
    assert files.same(read(model.SerializeToString()), expected, torch.float32)


def test_every_tensorflow_variable_has_its_place() -> None:
    expected = {variable: name for layer in files.layers() for variable, name in layer.variables().items()}
    assert tensorflow_names() == expected
    assert set(expected.values()) == set(tensor_shapes())


@pytest.mark.parametrize("resize", get_args(Resize))
@pytest.mark.parametrize("form", ["onnx", "old onnx", "exported onnx", "tflite"])
def test_a_graph_says_how_it_scales_up(cel: dict[str, Tensor], tmp_path: Path, resize: Resize, form: str) -> None:
    file = tmp_path / "graph"
    if form == "tflite":
        data = tflite_weights.tensorflow_lite(cel, "float16", aligned=resize == "align_corners")
    elif form == "exported onnx":
        data = onnx_model("animegan2", cel, {}, "1", resize).SerializeToString()
    else:
        model = onnx_weights.tensorflow_onnx(cel, "variables", resize=resize)
        if form == "old onnx":  # whose resizes had no choice
            model.opset_import[0].version, resize = 10, "asymmetric"
        data = model.SerializeToString()
    file.write_bytes(data)
    assert readers.read(file).resize == resize


@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_another_way_to_scale_up_is_refused_by_name(read: Read, cel: dict[str, Tensor], form: str) -> None:
    onnx_data = onnx_weights.tensorflow_onnx(cel, "folded", resize="half_pixel").SerializeToString()
    data = tflite_weights.tensorflow_lite(cel, "float16", half_pixel=True) if form == "tflite" else onnx_data
    with pytest.raises(BadWeights, match=r"by half_pixel, .* one of align_corners, asymmetric\. Export it so"):
        read(data)


def test_tensors_alone_say_nothing_of_it(cel: dict[str, Tensor], tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(files.checkpoint(cel))
    assert readers.read(tmp_path / "weights.pt").resize is None


@pytest.mark.parametrize("resize", get_args(Resize))
def test_the_interpreter_of_tflite_draws_what_the_imported_generator_draws(tmp_path: Path, resize: Resize) -> None:
    """With values that the bundled generator does not have."""
    data = tflite_weights.tensorflow_lite(files.other(), "float32", aligned=resize == "align_corners")
    (tmp_path / "graph.tflite").write_bytes(data)
    x = photo_tensor(tflite_weights.LITE_PX, tflite_weights.LITE_PX)
    expected = interpret(data, x)
    with torch.inference_mode():
        anime = generator(tmp_path / "graph.tflite")(x)
    assert psnr(anime, expected) >= 100


def generator(file: Path) -> Generator:
    tensors, resize = readers.read(file)
    assert resize
    return build(tensors, resize)


def interpret(data: bytes, x: Tensor) -> Tensor:
    """Return the drawing of (1, 3, H, W) by TensorFlow Lite's own interpreter."""
    lite = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = lite.Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x.permute(0, 2, 3, 1).contiguous().numpy())
    interpreter.invoke()
    anime = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return torch.from_numpy(anime).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("stored", "dtype"), [("float32", torch.float32), ("float16", torch.float16)])
def test_tflite_float(read: Read, cel: dict[str, Tensor], stored: tflite_weights.Precision, dtype: torch.dtype) -> None:
    assert files.same(read(tflite_weights.tensorflow_lite(cel, stored)), cel, dtype)


def test_tflite_int8_is_within_half_a_step(read: Read, cel: dict[str, Tensor]) -> None:
    tensors = read(tflite_weights.tensorflow_lite(cel, "int8"))
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    for name, tensor in cel.items():
        true = tensor.float()
        if true.ndim == 4:
            step = true.abs().amax((1, 2, 3), keepdim=True) / 127
        elif name.endswith("layers.1.1.bias"):
            step = torch.tensor(2.0**-20)
        else:
            step = (true.max().clamp(min=0) - true.min().clamp(max=0)) / 255
        assert ((tensors[name] - true).abs() <= 0.501 * step).all(), name


def mountain(width: int, height: int) -> Tensor:
    with Image.open(MOUNTAIN) as photo:
        pixels = photo.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 127.5 - 1


@needs_hayao
def test_the_original_hayao_by_order_is_the_original_by_name() -> None:
    tensors, resize = readers.read(HAYAO)
    assert resize == "asymmetric"
    model = tflite.Model.GetRootAs(HAYAO.read_bytes(), 0)
    graph = model.Subgraphs(0)
    ours, shapes = tensorflow_names(), tensor_shapes()
    names = set()
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
        torch.testing.assert_close(tensors[name], expected.float(), rtol=1e-6, atol=0)
        names.add(name)
    assert len(names) == 25 + 48
    assert len(tensors) == 77
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


@pytest.mark.slow
@needs_hayao
def test_the_original_hayao_is_drawn_as_its_graph_draws_it() -> None:
    """Within what 8-bit activations leave of the interpreter's picture, 28 dB; by the port's rule it is 22."""
    x = mountain(256, 256)
    expected = interpret(HAYAO.read_bytes(), x)
    with torch.inference_mode():
        ours, port = generator(HAYAO)(x), build(readers.read(HAYAO).tensors, "align_corners")(x)
    assert psnr(ours, expected) >= 26
    assert psnr(ours, expected) >= psnr(port, expected) + 4


@pytest.mark.slow
@needs_hayao
def test_the_original_hayao_draws_its_look() -> None:
    x = mountain(512, 384)
    with torch.inference_mode():
        y = generator(HAYAO)(x)
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
