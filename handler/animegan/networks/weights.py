"""A network's weights in a file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file


def load_weights(file: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a `.safetensors` file by name."""
    return load_file(file)
