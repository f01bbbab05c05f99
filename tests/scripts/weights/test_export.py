"""`animegan export`: the ONNX file draws what PyTorch draws, anywhere, and can be imported again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx.utils
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from animegan import __version__
from animegan.errors import BadOption, BadSetting, InternalError, StyleNotInstalled
from animegan.looks import look_of
from animegan.networks.animegan2.generator import Generator, build
from animegan.networks.families import define_network
from animegan.styles import get_style, verify
from animegan_cli.weights import export as work
from animegan_cli.weights import install, readers
from animegan_cli.weights.export import TOLERANCE, compare, export, left_out
from harness.commands import run_command
from harness.files import tflite_weights
from harness.files import weight_files as files

ROOT = Path(__file__).resolve().parents[3]
SIZES = [(1, 32, 32), (1, 67, 51), (1, 16, 17), (2, 33, 48)]  # batch, height, width

Floats = NDArray[np.float32]


def run(data: bytes, **inputs: Floats) -> Floats:
    """The one output, in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    [output] = session.run(None, inputs)
    pixels: Floats = output
    return pixels


def noise(batch: int, height: int, width: int) -> Floats:
    return np.random.default_rng(height).uniform(-1, 1, (batch, 3, height, width)).astype(np.float32)


def eager(network: nn.Module, photo: Floats) -> Floats:
    with torch.inference_mode():
        anime: Floats = network(torch.from_numpy(photo)).numpy()
    return anime


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("export") / "classic.onnx"
    export(file, get_style("classic"))
    return file.read_bytes()


@pytest.fixture(scope="module", params=[False, True], ids=["redraw", "redraw_video"])
def fast(request: pytest.FixtureRequest) -> bool:
    """Return whether the small network of `redraw` is meant."""
    return bool(request.param)


@pytest.fixture(scope="module")
def redraw_data(fast: bool, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("export") / "ink.onnx"
    export(file, get_style("ink"), fast=fast)
    return file.read_bytes()


@pytest.fixture(scope="module")
def generator(cel: dict[str, Tensor]) -> Generator:
    return build(cel)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder for installed styles."""
    home = tmp_path / "home"
    monkeypatch.setenv("ANIMEGAN_HOME", str(home))
    return home


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file that stands where an export is to go, alone in its folder."""
    file = tmp_path / "out" / "cel.onnx"
    file.parent.mkdir()
    file.write_text("old")
    return file


def is_untouched(old: Path) -> bool:
    return old.read_text() == "old" and list(old.parent.iterdir()) == [old]


# ---- What it draws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "height", "width"), SIZES)
def test_it_draws_as_pytorch_does(data: bytes, generator: Generator, batch: int, height: int, width: int) -> None:
    photo = noise(batch, height, width)
    anime = run(data, photo=photo)
    assert anime.shape == photo.shape
    assert np.abs(anime - eager(generator, photo)).max() <= TOLERANCE


@pytest.mark.parametrize("colour", [-1, 0, 1])
def test_a_photo_of_one_colour(data: bytes, generator: Generator, colour: float) -> None:
    photo = np.full((1, 3, 40, 24), colour, np.float32)
    assert np.abs(run(data, photo=photo) - eager(generator, photo)).max() <= TOLERANCE


def test_each_picture_of_a_batch_is_its_own(data: bytes) -> None:
    photo = noise(2, 24, 24) * np.array([1, 0.1], np.float32).reshape(2, 1, 1, 1)
    alone = np.concatenate([run(data, photo=photo[:1]), run(data, photo=photo[1:])])
    assert np.abs(run(data, photo=photo) - alone).max() <= 1e-5


@pytest.mark.parametrize("offset", [0, 100])
def test_the_norm_of_a_large_picture_is_exact(data: bytes, cel: dict[str, Tensor], offset: float) -> None:
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(data))
    norm = onnx.utils.Extractor(model).extract_model(["block_a.0.1/Conv"], ["block_a.0.1/norm"])
    x = np.random.default_rng(0).standard_normal((1, 32, 768, 768), dtype=np.float32) + np.float32(offset)
    value = run(norm.SerializeToString(), **{"block_a.0.1/Conv": x})[0, 5]
    mean, variance = x.mean(dtype=np.float64), x.var(dtype=np.float64)
    gamma, beta = (float(cel[f"block_a.0.2.{name}"][5]) for name in ("weight", "bias"))
    expected = (x[0, 5] - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    assert np.abs(value - expected).max() <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "height", "width"), [(1, 1, 1), (2, 9, 14)])
def test_redraw_draws_four_times_as_large_as_pytorch_does(
    redraw_data: bytes, fast: bool, batch: int, height: int, width: int
) -> None:
    photo = np.abs(noise(batch, height, width))
    network = define_network("redraw", verify(get_style("ink"), fast=fast))
    anime = run(redraw_data, photo=photo)
    assert anime.shape == (batch, 3, 4 * height, 4 * width)
    assert np.abs(anime - eager(network, photo)).max() <= 1e-4


# ---- What is in the file ---------------------------------------------------------------------------------------------


def test_it_uses_plain_operators_and_takes_any_size(data: bytes) -> None:
    model = onnx.load_model_from_string(data)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    for end, name in ((model.graph.input, "photo"), (model.graph.output, "anime")):
        [value] = end
        sizes = [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        assert (value.name, sizes) == (name, ["batch", 3, "height", "width"])


def test_redraw_uses_plain_operators_and_names_the_drawings_size(redraw_data: bytes) -> None:
    model = onnx.load_model_from_string(redraw_data)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    shapes = {
        end.name: [axis.dim_param or axis.dim_value for axis in end.type.tensor_type.shape.dim]
        for end in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"photo": ["batch", 3, "height", "width"], "anime": ["batch", 3, "4*height", "4*width"]}


def test_redraw_says_what_the_file_does_not_do(redraw_data: bytes, fast: bool) -> None:
    model = onnx.load_model_from_string(redraw_data)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert (metadata["style"], metadata["network"], metadata["license"]) == ("ink", "redraw", "BSD-3-Clause")
    assert metadata["weights"] == ("redraw_video.safetensors" if fast else "redraw.safetensors")
    look = look_of(get_style("ink"))
    steps = [step.step for step in look.finish]
    assert metadata["left_out"].split(", ")[2:] == steps
    assert "levels" in steps
    assert metadata["left_out"].startswith("shrink to 0.")
    assert left_out(look_of(get_style("classic"))) == ""
    assert "mirror 4 px" in model.doc_string


def test_a_style_without_a_small_network_says_so(old: Path) -> None:
    with pytest.raises(BadOption, match="'classic' has one network"):
        export(old, get_style("classic"), fast=True)
    assert is_untouched(old)


def test_it_names_the_style_and_its_terms(data: bytes) -> None:
    style = get_style("classic")
    model = onnx.load_model_from_string(data)
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "style": "classic",
        "network": "animegan2",
        "weights": "classic.safetensors",
        "left_out": "",
        "license": style.license,
        "license_url": style.license_url,
        "source": style.source,
        "noncommercial": "false",
        "version": __version__,
    }


def test_it_scales_up_as_the_style_does(home: Path, tmp_path: Path) -> None:
    """ONNX Runtime's `asymmetric` is TensorFlow's rule; the export is refused where its picture is another."""
    weights, file = tmp_path / "weights.tflite", tmp_path / "hayao.onnx"
    weights.write_bytes(tflite_weights.tensorflow_lite(files.other(), "float16"))
    style = install.import_file(weights, "mine", license="MIT")
    assert style.resize == "asymmetric"
    export(file, style)
    photo = noise(1, 35, 50)
    assert np.abs(run(file.read_bytes(), photo=photo) - eager(build(files.other(), "asymmetric"), photo)).max() < 1e-3
    assert readers.read(file).resize == "asymmetric"


def test_a_style_for_non_commercial_use_says_so(home: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    weights.write_bytes(files.checkpoint(files.other()))
    style = install.import_file(weights, "hayao")
    export(tmp_path / "hayao.onnx", style)
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "hayao.onnx").metadata_props}
    assert (metadata["style"], metadata["license"]) == ("hayao", "LicenseRef-AnimeGANv2-NonCommercial")
    assert metadata["noncommercial"] == "true"


def test_it_can_be_read_again(data: bytes, cel: dict[str, Tensor], read: Callable[[bytes], dict[str, Tensor]]) -> None:
    assert files.same(read(data), cel, torch.float32)


def test_the_same_style_gives_the_same_bytes(data: bytes, tmp_path: Path) -> None:
    export(tmp_path / "again.onnx", get_style("classic"))
    assert (tmp_path / "again.onnx").read_bytes() == data


# ---- The check -------------------------------------------------------------------------------------------------------


def test_the_difference_is_told(data: bytes, generator: Generator) -> None:
    difference = compare(data, generator)
    assert difference is not None
    assert 0 < difference <= TOLERANCE


def test_other_weights_are_noticed(data: bytes) -> None:
    with pytest.raises(InternalError, match=r"differs from PyTorch by .*, over 0\.001"):
        compare(data, build(files.other()))


def test_values_that_are_no_numbers_are_noticed(data: bytes, cel: dict[str, Tensor]) -> None:
    generator = build(cel)
    generator.out_layer[0].weight.fill_(torch.nan)  # type: ignore[operator]
    with pytest.raises(InternalError, match="nan"):
        compare(data, generator)


def test_what_differs_is_not_put_in_place(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "TOLERANCE", 0.0)
    with pytest.raises(InternalError, match="Nothing was written"):
        export(old, get_style("classic"))
    assert is_untouched(old)


def test_without_onnxruntime_it_is_written_unheard(data: bytes, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert export(old, get_style("classic")) is None
    assert old.read_bytes() == data
    assert list(old.parent.iterdir()) == [old]


def test_without_onnx_the_way_to_it_is_told(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BadSetting, match=r"needs the package onnx.*animegan-serve\[import\]"):
        export(old, get_style("classic"))
    assert is_untouched(old)


# ---- The place -------------------------------------------------------------------------------------------------------


def test_folders_are_made_and_files_replaced(data: bytes, old: Path, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "cel.ONNX"
    for file in (deep, old):
        export(file, get_style("classic"))
        assert file.read_bytes() == data
        assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("name", ["cel", "cel.pt", "cel.onnx.bak", ".onnx", "folder.onnx"])
def test_a_name_that_is_none_of_an_onnx_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(BadOption, match=r"name a file that ends in \.onnx"):
        export(tmp_path / name, get_style("classic"))


def test_a_place_that_cannot_be_written(old: Path) -> None:
    with pytest.raises(BadSetting, match=r"can't be written: .*name another place"):
        export(old / "below" / "a" / "cel.onnx", get_style("classic"))
    assert is_untouched(old)


def test_a_style_that_is_not_installed(home: Path, old: Path) -> None:
    with pytest.raises(StyleNotInstalled, match="animegan fetch paprika"):
        export(old, get_style("paprika"))
    assert is_untouched(old)


# ---- The command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `animegan` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return partial(run_command, environment={"PATH": os.environ["PATH"], "ANIMEGAN_HOME": str(home)})


def test_out_and_in_again(
    command: Callable[..., subprocess.CompletedProcess[str]], cel: dict[str, Tensor], home: Path
) -> None:
    out = command("export", "--onnx", "cel.onnx")
    assert (out.returncode, out.stderr) == (0, "")
    lines = out.stdout.splitlines()
    assert "Not in the file" not in out.stdout
    assert lines[0] == "Classic (classic)"
    assert "  licence  CC-BY-SA-4.0, commercial use allowed" in lines
    assert lines[-2] == "Wrote cel.onnx (8 MiB)"
    assert lines[-1].startswith("Checked in ONNX Runtime: at most ")
    back = command("import", "cel.onnx", "--style", "mine", "--license", "CC-BY-SA-4.0")
    assert (back.returncode, back.stderr) == (0, "")
    assert files.same(readers.read(verify(get_style("mine"))).tensors, cel, torch.float32)


def test_a_look_is_told_apart_from_its_network(command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    out = command("export", "--onnx", "cel.onnx", "--style", "cel", "--fast")
    assert (out.returncode, out.stderr) == (0, "")
    lines = out.stdout.splitlines()
    assert lines[-3] == "Wrote cel.onnx (2 MiB)"
    assert lines[-2].startswith(
        "Not in the file: shrink to 0.25 of the sides before, scale to the photo's size after, "
    )
    back = command("import", "cel.onnx", "--style", "mine", "--license", "BSD-3-Clause")
    assert back.returncode == 1
    assert "AnimeGANv2's generator" in back.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--onnx", "x.onnx", "--style", "nosuch"], "There is no style 'nosuch'. Use one of: cel, "),
        (["--onnx", "x.onnx", "--style", "hayao"], "Install it with: animegan import FILE --style hayao"),
        (["--onnx", "x.pt"], "name a file that ends in .onnx"),
    ],
)
def test_what_it_cannot_do_is_one_line(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    result = command("export", *arguments)
    [line] = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == (1, "")
    assert complaint in line
    assert not (tmp_path / "x.onnx").exists()
