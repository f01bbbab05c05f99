"""From the constants of an exported graph (ONNX, TFLite) to the generator's tensors.

Converters rename, fold and reshape what they meet, so the order of use is what can be relied on: the generator is a
chain of 25 convolutions, and what is multiplied and added between one and the next are its bias and its norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from animegan.errors import BadWeights
from animegan.networks.animegan2.generator import tensor_shapes
from animegan.styles import Resize

Array = NDArray[np.generic]

CONVOLUTION = "convolution"

_RESIDUAL = {
    "0.1.weight": "Conv/weights",
    "0.2.weight": "LayerNorm/gamma",
    "0.2.bias": "LayerNorm/beta",
    "1.1.weight": "{scope}/w",
    "1.1.bias": "{scope}/bias",
    "1.2.weight": "1/gamma",
    "1.2.bias": "1/beta",
    "2.weight": "Conv_1/weights",
    "3.weight": "2/gamma",
    "3.bias": "2/beta",
}
_PLAIN = {"1.weight": "Conv{n}/weights", "2.weight": "LayerNorm{n}/gamma", "2.bias": "LayerNorm{n}/beta"}


@dataclass
class _Layer:
    weight: Array
    channels: int
    bias: Array | None
    scales: list[Array] = field(default_factory=list)
    shifts: list[Array] = field(default_factory=list)


class Graph:
    """Collects a graph's constants; its methods are to be called in the order of the nodes."""

    def __init__(self) -> None:
        self._layers: list[_Layer] = []

    def convolution(self, weight: Array, bias: Array | None) -> None:
        """Take in the next convolution; `weight` is OIHW, a depthwise one's (C, 1, H, W)."""
        self._layers.append(_Layer(weight, weight.shape[0], bias))

    def combine(self, operation: Literal["mul", "add", "sub"], operands: Sequence[Array | None]) -> None:
        """Take in an element-wise operation; an operand that is not constant is None.

        A constant counts if it has one value for each channel of the last convolution: it is a norm's or a bias.
        """
        for position, constant in enumerate(operands):
            if constant is None or not self._layers or constant.size != self._layers[-1].channels:
                continue
            if operation == "mul":
                self._layers[-1].scales.append(constant)
            else:
                minus = operation == "sub" and position == 1
                self._layers[-1].shifts.append(np.negative(constant) if minus else constant)

    def tensors(self) -> dict[str, Array]:
        """Return the tensors by the generator's names; a missing one is left out, a wrong shape left as it is.

        Raises `BadWeights` where the number of convolutions or of the constants between two of them is another.
        """
        names = _by_layer()
        if len(self._layers) != len(names):
            raise BadWeights(
                f"Not the weights of AnimeGANv2's generator: the graph has {len(self._layers)} convolutions with "
                f"constant weights, not {len(names)}."
            )
        tensors: dict[str, Array] = {}
        for layer, (weight, scale, shifts) in zip(self._layers, names, strict=True):
            tensors[weight] = layer.weight
            layer_shifts = ([] if layer.bias is None else [layer.bias]) + layer.shifts
            if layer.bias is not None and len(layer_shifts) > len(shifts) and not layer.bias.any():
                layer_shifts = layer.shifts  # a converter's own zeros
            surplus = len(layer.scales) > len(scale) or len(layer_shifts) > len(shifts)
            if surplus and scale:  # the last convolution has no norm: what follows it is the caller's scaling
                raise BadWeights(
                    f"Not the weights of AnimeGANv2's generator: {weight} is followed by {len(layer.scales)} scales "
                    f"and {len(layer_shifts)} shifts, not {len(scale)} and {len(shifts)}."
                )
            tensors |= {name: array.reshape(-1) for name, array in zip(scale, layer.scales, strict=False)}
            tensors |= {name: array.reshape(-1) for name, array in zip(shifts, layer_shifts, strict=False)}
        return tensors


def resize_of(operations: Sequence[str]) -> Resize | None:
    """Return how the generator of a graph scales up; None: nothing in it says so.

    `operations`: the graph's convolutions, as `CONVOLUTION`, and its resizes, by their modes in ONNX's words, in order.
    What is scaled before the first convolution and after the last is the photo. Raises `BadWeights` for another mode.
    """
    places = [place for place, operation in enumerate(operations) if operation == CONVOLUTION]
    modes = {*operations[places[0] : places[-1]]} - {CONVOLUTION} if places else set()
    usual = {mode: mode for mode in get_args(Resize)}
    if len(modes) > 1 or not modes <= usual.keys():
        raise BadWeights(
            f"The graph scales up by {' and '.join(sorted(modes))}, and AnimeGANv2's generator by one of "
            f"{', '.join(usual)}. Export it so, or import the PyTorch checkpoint that it was made from."
        )
    return usual[modes.pop()] if modes else None


def _by_layer() -> list[tuple[str, list[str], list[str]]]:
    """Return each convolution's name with the names of its scales and of its shifts, in order of use."""
    layers: list[tuple[str, list[str], list[str]]] = []
    for name, shape in tensor_shapes().items():
        if len(shape) == 4:
            layers.append((name, [], []))
        else:
            _, scales, shifts = layers[-1]
            (scales if name.endswith("weight") else shifts).append(name)
    return layers


def tensorflow_names() -> dict[str, str]:
    """Return our name of each of TensorFlow's variables of the generator, which are named from `G_MODEL/` on."""
    names = {}
    plain: dict[str, list[str]] = {}  # block: the positions of its plain convolutions
    for name in tensor_shapes():
        block, position, rest = name.split(".", 2)
        scope = "out_layer" if block == "out_layer" else block[-1].upper()
        if scope == "out_layer":
            names["out_layer/Conv/weights"] = name
        elif rest.startswith("layers."):
            variable = _RESIDUAL[rest.removeprefix("layers.")].format(scope=f"r{position}")
            names[f"{scope}/r{position}/{variable}"] = name
        else:
            positions = plain.setdefault(block, [])
            if position not in positions:
                positions.append(position)
            n = positions.index(position)
            names[f"{scope}/{_PLAIN[rest].format(n=f'_{n}' if n else '')}"] = name
    return names
