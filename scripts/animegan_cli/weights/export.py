"""`animegan export`: a style's network as an ONNX file, compared with PyTorch before it is put in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from animegan import __version__
from animegan.errors import BadOption, BadSetting, InternalError
from animegan.looks import Look, look_of
from animegan.networks.families import define_network
from animegan.networks.weights import load_weights
from animegan.resources.hardware import cpu_count
from animegan.styles import Style, verify
from animegan_cli.replacing import replacing

ENDING = ".onnx"
TOLERANCE = 1e-3  # most that a value of the output may differ from PyTorch's, where pictures are in [-1, 1] or 0..1
_CHECKED = ((1, 32, 32), (2, 67, 51))  # batch, height and width of what is compared


def export(file: Path, style: Style, *, fast: bool = False) -> float | None:
    """Write the style's network, in one step at the end. Return its largest difference from PyTorch.

    `fast`: the small network of `quality=fast`. None: onnxruntime is not installed, so that only ONNX's own checker has
    seen the file. Raises `BadOption` where the file does not end in .onnx or the style has no small network,
    `StyleNotInstalled`, `BadWeights`, `BadLook`, `BadSetting` where it can't be written or the package onnx is missing,
    `InternalError` where ONNX Runtime draws something else than PyTorch.
    """
    if file.suffix.lower() != ENDING or file.is_dir():
        raise BadOption(f"--onnx {file}: name a file that ends in {ENDING}.")
    if fast and not style.fast:
        raise BadOption(f"--fast: the style {style.id!r} has one network, without a small one. Leave --fast out.")
    weights, look = verify(style, fast=fast), look_of(style)
    with replacing(file) as part:
        data = _checked_model(weights, style, look)
        difference = compare(data, define_network(look.network, weights, style.resize))
        part.write_bytes(data)
    return difference


def _checked_model(weights: Path, style: Style, look: Look) -> bytes:
    try:
        import onnx  # noqa: PLC0415 - an optional package

        from animegan_cli.weights.onnx_models import onnx_model  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BadSetting(
            f"Writing ONNX needs the package {error.name}. "
            "Install animegan-serve with its extra: animegan-serve[import]."
        ) from None
    metadata = {
        "style": style.id,
        "network": look.network,
        "weights": weights.name,
        "left_out": left_out(look),
        "license": style.license,
        "license_url": style.license_url,
        "source": style.source,
        "noncommercial": str(style.noncommercial).lower(),
        "version": __version__,
    }
    model = onnx_model(look.network, load_weights(weights), metadata, __version__, style.resize)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def left_out(look: Look) -> str:
    """Return the parts of the look that are not its network, in order; empty where there are none."""
    steps: list[str] = [step.step for step in look.finish]
    if look.detail:
        steps = [f"shrink to {look.detail.shrink:g} of the sides before", "scale to the photo's size after", *steps]
    return ", ".join(steps)


def compare(data: bytes, network: nn.Module) -> float | None:
    """Return the largest difference of the model's output in ONNX Runtime from the network's, on noise of two sizes.

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
        [drawing] = session.run(None, {"photo": noise})
        with torch.inference_mode():
            difference = float(np.abs(drawing - network(torch.from_numpy(noise)).numpy()).max())
        if not difference <= TOLERANCE:  # or it is no number
            raise InternalError(
                f"At {width}x{height} px ONNX Runtime {onnxruntime.__version__} differs from PyTorch by "
                f"{difference:.2g}, over {TOLERANCE:g}. Nothing was written. Try another version of onnxruntime."
            )
        largest = max(largest, difference)
    return largest
