"""A network's weights in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from animegan.errors import BadWeights

MOST_COMPLAINTS = 8  # that one error names


def load_weights(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.safetensors` file by name."""
    return load_file(file)


def fill(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Give a network its weights, in fp32, channels-last and ready for inference; `name` is for the error.

    Raises `BadWeights`, naming each tensor that is missing, unexpected, of the wrong shape, or not finite.
    """
    check_weights(tensors, {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}, name)
    network.load_state_dict(dict(tensors))
    network.float().eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def check_weights(tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], name: str) -> None:
    """Raise `BadWeights` unless the tensors are those of the shapes, all of them, and finite."""
    wrong = [f"{key} is missing" for key in shapes if key not in tensors]
    wrong += [f"{key} is unexpected" for key in tensors if key not in shapes]
    for key, shape in shapes.items():
        if key in tensors and tuple(tensors[key].shape) != shape:
            wrong.append(f"{key} has the shape {tuple(tensors[key].shape)}, not {shape}")
        elif key in tensors and not torch.isfinite(tensors[key].float()).all():
            wrong.append(f"{key} holds values that are not finite")
    if wrong:
        more = f" and {len(wrong) - MOST_COMPLAINTS} more" if len(wrong) > MOST_COMPLAINTS else ""
        raise BadWeights(f"Not the weights of {name}: {'; '.join(wrong[:MOST_COMPLAINTS])}{more}.")
