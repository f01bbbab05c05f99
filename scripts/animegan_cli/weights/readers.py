"""Weight files in; out the generator's 77 tensors, and how it scales up.

The format is told by the content, never by the file's ending.
"""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from animegan.errors import AnimeganError, BadSetting, BadWeights
from animegan.networks.animegan2.generator import check_weights, tensor_shapes
from animegan.styles import Resize

if TYPE_CHECKING:
    from animegan_cli.weights.graph import Array

MOST_BYTES = 256 * 2**20  # of a file, and of what it unpacks to; the published ones have 2 to 9 MiB

# Where training code keeps the generator's state dict in a checkpoint that holds more.
_NESTS = ("state_dict", "generator", "model", "model_state_dict", "params_ema", "params", "g_ema", "G")


class Contents(NamedTuple):
    """The content of a file of weights; `resize`: how the generator scales up, None where the file has only tensors."""

    tensors: dict[str, Tensor]
    resize: Resize | None


def read(file: Path) -> Contents:
    """Return the generator in a file, its tensors in its own order: fp16 where all of them are stored so, else fp32.

    A quantised file gives fp32: an 8-bit value times its 32-bit scale does not fit 16 bits.

    PyTorch checkpoints (never their pickle code), safetensors, ONNX, TensorFlow Lite. Raises `BadWeights`, which names
    what is missing or of the wrong shape, and `BadSetting` where the package that reads the format is not installed.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadWeights(f"{file} can't be read: {error.strerror}.") from None
    if len(data) > MOST_BYTES:
        raise BadWeights(f"{file} is larger than {MOST_BYTES // 2**20} MiB: not the weights of AnimeGANv2's generator.")
    try:
        tensors, resize = _parse(data)
        return Contents(_normal(tensors), resize)
    except AnimeganError:
        raise
    except Exception as error:  # a file from anywhere can raise anything in its format's parser
        reason = str(error).partition("\n")[0]
        raise BadWeights(f"{file} is broken or not what it seems: {type(error).__name__}: {reason}") from error


def _parse(data: bytes) -> tuple[Mapping[str, Tensor], Resize | None]:
    try:
        if data[4:8] == b"TFL3":
            from animegan_cli.weights.tflite_graph import read_tflite  # noqa: PLC0415 - an optional package

            arrays, resize = read_tflite(data)
            return _tensors(arrays), resize
        if data[8:9] == b"{":  # after the length of safetensors' header
            return safetensors.torch.load(data), None
        if data.startswith(b"PK\3\4"):
            _check_archive(data)
            return _state_dict(data), None
        if data.startswith(b"\x80"):  # a pickle: torch.save's form before 1.6
            return _state_dict(data), None
        if data.startswith(b"\x08"):  # protobuf's first field as a number: ONNX's ir_version
            from animegan_cli.weights.onnx_graph import read_onnx  # noqa: PLC0415 - an optional package

            arrays, resize = read_onnx(data)
            return _tensors(arrays), resize
    except ModuleNotFoundError as error:
        raise BadSetting(
            f"Reading this format needs the package {error.name}. "
            "Install animegan-serve with its extra: animegan-serve[import]."
        ) from None
    raise BadWeights("Not a PyTorch checkpoint, a safetensors, an ONNX or a TFLite file.")


def _check_archive(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        scripted = any(name.endswith("/constants.pkl") for name in archive.namelist())
    if size > MOST_BYTES:
        raise BadWeights(
            f"The checkpoint unpacks to {size} bytes, over {MOST_BYTES // 2**20} MiB: not this generator's."
        )
    if scripted:
        raise BadWeights("A TorchScript archive holds code, which is not run here. Save the generator's state_dict().")


def _state_dict(data: bytes) -> Mapping[str, Tensor]:
    """Return the generator's part of a checkpoint. `weights_only` builds tensors and containers and runs no code."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickle protocols that torch.save does not write
            loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        match = re.search(r"GLOBAL (\S+) was not", str(error))
        raise BadWeights(
            f"The checkpoint holds more than tensors{f' ({match[1]})' if match else ''}, and such content can run code "
            "when it is read, so it is not. Save the generator's state_dict() alone."
        ) from None
    if isinstance(loaded, Mapping):
        loaded = next((loaded[key] for key in _NESTS if isinstance(loaded.get(key), Mapping)), loaded)
    if not isinstance(loaded, Mapping) or not all(isinstance(name, str) for name in loaded):
        raise BadWeights(f"The checkpoint holds no state dict but a {type(loaded).__name__}.")
    return {name.removeprefix("module."): tensor for name, tensor in loaded.items()}  # DataParallel's prefix


def _tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def _normal(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.layout != torch.strided:
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise BadWeights(f"Not the weights of AnimeGANv2's generator: {name} is {kind}, not a dense float tensor.")
    check_weights(tensors)
    dtype = torch.float16 if all(tensor.dtype == torch.float16 for tensor in tensors.values()) else torch.float32
    return {name: tensors[name].to(dtype).contiguous().clone() for name in tensor_shapes()}
