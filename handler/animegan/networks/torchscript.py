"""A network as TorchScript: the form in the archive and the form that runs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from animegan.styles import bundled_dir


def trace(module: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    """Return the module traced for inference; its weights stay parameters."""
    with torch.inference_mode():
        traced: torch.jit.ScriptModule = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
    return traced


def traced_name(weights: str) -> str:
    """Return where the traced network of a weights file lies below the folder of the bundled styles, in the archive."""
    return f"networks/{Path(weights).stem}.pt"


def load_traced(weights: str) -> torch.jit.ScriptModule | None:
    """Return the archive's traced network of a weights file; None where there is none."""
    packed = bundled_dir() / traced_name(weights)
    if not packed.is_file():
        return None
    traced: torch.jit.ScriptModule = torch.jit.load(packed)  # type: ignore[no-untyped-call]
    return traced
