"""`animegan export`: a style's generator as an ONNX file, compared with PyTorch before it is put in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from animegan import __version__
from animegan.errors import BadOption, BadSetting, InternalError
from animegan.looks import look_of
from animegan.networks.animegan2.generator import RESIZE, Generator, build
from animegan.resources.hardware import cpu_count
from animegan.styles import Style, verify
from animegan_cli.replacing import replacing

ENDING = ".onnx"
TOLERANCE = 1e-3  # most that a value of the output, in [-1, 1], may differ from PyTorch's
_CHECKED = ((1, 32, 32), (2, 67, 51))  # batch, height and width of what is compared


def export(file: Path, style: Style) -> float | None:
    """Write the style's generator, in one step at the end. Returns its largest difference from PyTorch.

    None: onnxruntime is not installed, so that only ONNX's own checker has seen the file. Raises `BadOption` where the
    file does not end in .onnx or the style's network is of another family, `StyleNotInstalled`, `BadWeights`,
    `BadSetting` where it can't be written or the package onnx is missing, `InternalError` where ONNX Runtime draws
    something else than PyTorch.
    """
    if file.suffix.lower() != ENDING or file.is_dir():
        raise BadOption(f"--onnx {file}: name a file that ends in {ENDING}.")
    if look_of(style).network != "animegan2":
        raise BadOption(f"--style {style.id}: ONNX is written of AnimeGANv2's generators alone. Use one, as classic.")
    tensors = load_file(verify(style))
    with replacing(file) as part:
        data = _checked_model(tensors, style)
        difference = compare(data, build(tensors, style.resize or RESIZE))
        part.write_bytes(data)
    return difference


def _checked_model(tensors: dict[str, torch.Tensor], style: Style) -> bytes:
    try:
        import onnx  # noqa: PLC0415 - an optional package

        from animegan_cli.weights.onnx_model import onnx_model  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BadSetting(
            f"Writing ONNX needs the package {error.name}. "
            "Install animegan-serve with its extra: animegan-serve[import]."
        ) from None
    metadata = {
        "style": style.id,
        "license": style.license,
        "license_url": style.license_url,
        "source": style.source,
        "noncommercial": str(style.noncommercial).lower(),
        "version": __version__,
    }
    model = onnx_model(tensors, metadata, __version__, style.resize or RESIZE)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def compare(data: bytes, generator: Generator) -> float | None:
    """The largest difference of the ONNX model's output in ONNX Runtime from the generator's, on noise of two sizes.

    None where onnxruntime is not installed. Raises `InternalError` past `TOLERANCE`.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - an optional package
    except ModuleNotFoundError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_count()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    largest = 0.0
    for batch, height, width in _CHECKED:
        noise = np.random.default_rng(0).uniform(-1, 1, (batch, 3, height, width)).astype(np.float32)
        [drawn] = session.run(None, {"photo": noise})
        with torch.inference_mode():
            difference = float(np.abs(drawn - generator(torch.from_numpy(noise)).numpy()).max())
        if not difference <= TOLERANCE:  # or it is no number
            raise InternalError(
                f"At {width}x{height} px ONNX Runtime {onnxruntime.__version__} differs from PyTorch by "
                f"{difference:.2g}, over {TOLERANCE:g}. Nothing was written. Try another version of onnxruntime."
            )
        largest = max(largest, difference)
    return largest
