"""The generator as TorchScript: the form in the archive and the form that runs."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from animegan.generator import Generator, build
from animegan.hardware import DTYPES
from animegan.styles import Style, bundled_dir, verify

EXAMPLE_PX = 32  # any size will do: every size in the graph is read from the input


def trace(generator: Generator, example_px: int = EXAMPLE_PX) -> torch.jit.ScriptModule:
    """The generator traced and frozen, in its own dtype and device, for any batch and size."""
    weight = generator.out_layer[0].weight
    assert isinstance(weight, torch.Tensor)
    example = torch.zeros(1, 3, example_px, example_px, dtype=weight.dtype, device=weight.device)
    example = example.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        traced = torch.jit.trace(generator, example, check_trace=False)  # type: ignore[no-untyped-call]
        frozen: torch.jit.ScriptModule = torch.jit.freeze(traced)
    return frozen


def traced_name(style_id: str, precision: str) -> str:
    """Where a traced generator lies below the folder of the bundled styles, in the archive."""
    return f"generators/{style_id}-{precision}.pt"


def load_generator(style: Style, device: torch.device, precision: str) -> torch.jit.ScriptModule:
    """The archive's traced generator where there is one, else one traced now from the style's weights.

    Raises `StyleNotInstalled` or `BadWeights`.
    """
    packed = bundled_dir() / traced_name(style.id, precision)
    if packed.is_file():
        loaded: torch.jit.ScriptModule = torch.jit.load(packed, map_location=device)  # type: ignore[no-untyped-call]
        return loaded
    generator = build(load_weights(verify(style)))
    return trace(generator.to(device=device, dtype=DTYPES[precision]))


def load_weights(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a `.safetensors` file."""
    return load_file(file)
