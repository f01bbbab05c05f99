"""A network as TorchScript: the form in the archive and the form that runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from animegan.styles import Style, bundled_dir


def trace(module: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    """Return the module traced for inference; its weights stay parameters."""
    with torch.inference_mode():
        traced: torch.jit.ScriptModule = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
    return traced


def traced_name(style_id: str) -> str:
    """Where a traced network lies below the folder of the bundled styles, in the archive."""
    return f"generators/{style_id}.pt"


def load_traced(style: Style) -> torch.jit.ScriptModule | None:
    """Return the archive's traced network of the style; None where there is none."""
    packed = bundled_dir() / traced_name(style.id)
    if not packed.is_file():
        return None
    traced: torch.jit.ScriptModule = torch.jit.load(packed)  # type: ignore[no-untyped-call]
    return traced
