"""Weights for tests, of the bundled style's tensors: checkpoints, and what a converter made of each layer."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from animegan.networks.animegan2 import generator
from animegan.networks.animegan2.generator import tensor_shapes
from animegan.styles import bundled_dir


def bundled_tensors() -> dict[str, Tensor]:
    """Return the tensors of the bundled generator, fp16 as stored."""
    return load_file(bundled_dir() / "classic.safetensors")


def other() -> dict[str, Tensor]:
    """Return tensors of the same shapes and other values."""
    return {name: (tensor.float() * 1.01).to(tensor.dtype) for name, tensor in bundled_tensors().items()}


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
        """Return whether its input is scaled up."""
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
    result: list[Layer] = []
    for ours, theirs, norm in rows:
        if norm:
            result.append(_layer(f"{ours}.1", None, f"{ours}.2", f"{theirs}/weights", norm))
        else:
            inside = f"{ours}.layers"
            result += [
                _layer(f"{inside}.0.1", None, f"{inside}.0.2", f"{theirs}/Conv/weights", f"{theirs}/LayerNorm"),
                _layer(f"{inside}.1.1", "bias", f"{inside}.1.2", f"{theirs}/{theirs[2:]}/w", f"{theirs}/1"),
                _layer(f"{inside}.2", None, f"{inside}.3", f"{theirs}/Conv_1/weights", f"{theirs}/2"),
            ]
    return [*result, Layer("out_layer.0.weight", None, None, None, "out_layer/Conv/weights", "")]


def _layer(conv: str, bias: str | None, norm: str, variable: str, scope: str) -> Layer:
    biased = f"{conv}.{bias}" if bias else None
    return Layer(f"{conv}.weight", biased, f"{norm}.weight", f"{norm}.bias", variable, scope)


def checkpoint(content: Any, *, legacy: bool = False) -> bytes:
    """Return the bytes that `torch.save` writes; `legacy`: as before PyTorch 1.6."""
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


def same(actual: dict[str, Tensor], expected: dict[str, Tensor], dtype: torch.dtype) -> bool:
    assert list(actual) == list(tensor_shapes())
    assert {tensor.dtype for tensor in actual.values()} == {dtype}
    assert all(tensor.is_contiguous() for tensor in actual.values())
    return all(torch.equal(actual[name], expected[name].to(dtype)) for name in actual)
