"""The generator as TorchScript: the form in the archive and the form that runs."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from animegan.fused import Fused
from animegan.generator import Generator, build
from animegan.network import Network
from animegan.styles import Style, bundled_dir, verify

EXAMPLE_PX = 32  # any size will do: every size in the graph is read from the input


def trace(generator: Generator, example_px: int = EXAMPLE_PX) -> torch.jit.ScriptModule:
    """The generator with its passes fused, traced in fp32 for any batch and size; its weights stay parameters."""
    example = torch.zeros(1, 3, example_px, example_px).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        traced: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
            Fused(generator), example, check_trace=False
        )
    return traced


def traced_name(style_id: str) -> str:
    """Where a traced generator lies below the folder of the bundled styles, in the archive."""
    return f"generators/{style_id}.pt"


def load_network(style: Style, device: torch.device, precision: str) -> Network:
    """The archive's traced generator where there is one, else one traced now from the style's weights.

    Raises `StyleNotInstalled` or `BadWeights`.
    """
    packed = bundled_dir() / traced_name(style.id)
    if packed.is_file():
        traced: torch.jit.ScriptModule = torch.jit.load(packed)  # type: ignore[no-untyped-call]
    else:
        traced = trace(build(load_weights(verify(style))))
    return Network(traced, device, precision)


def load_weights(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a `.safetensors` file."""
    return load_file(file)
