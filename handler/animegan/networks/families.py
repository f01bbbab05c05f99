"""The network families behind one interface: a folder each, whose `network` has `load`, `build` and `traced`."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from animegan.networks.plan import Plan
from animegan.networks.torchscript import load_traced
from animegan.networks.weights import load_weights
from animegan.styles import Resize, Style, verify, weights_file


class Network(Protocol):
    """A network with its weights on one device. Pictures are uint8 (N, H, W, 3), RGB.

    `enlarges`: how many times as large as the photo a drawing is. `keeps_tone`: whether a dark photo is drawn dark and
    a white one white.
    """

    enlarges: int
    keeps_tone: bool

    def plans(self, height: int, width: int, batch: int) -> Iterable[Plan]:
        """Return the ways to draw photos of that size in px, the fastest first, each smaller than the one before."""
        ...

    def batch_size(self, height: int, width: int, budget_bytes: int) -> int:
        """Return how many photos of that size in px to draw as one batch: at least 1, which may be too large."""
        ...

    def draw(self, pictures: Tensor, plan: Plan) -> Tensor:
        """Draw photos on the network's device as the plan says."""
        ...


# Looks that draw with the same weights share a network.
_loaded: WeakValueDictionary[tuple[str, str, str | None, Resize | None, torch.device, str], Network] = (
    WeakValueDictionary()
)


def load_network(family: str, style: Style, device: torch.device, precision: str, *, fast: bool = False) -> Network:
    """Return a style's network of that family, in that precision; `fast`: with the weights of `quality=fast`.

    Raises `BadWeights` or `StyleNotInstalled`.
    """
    weights, digest = weights_file(style).name, style.sha256
    if fast and style.fast:
        weights, digest = style.fast.file, style.fast.sha256
    key = family, weights, digest, style.resize, device, precision
    network = _loaded.get(key)
    if network is None:
        network = _module(family).load(
            lambda: load_weights(verify(style, fast=fast)),
            load_traced(weights),
            device,
            precision,
            **_definition(style.resize),
        )
        _loaded[key] = network
    return network


def define_network(family: str, weights: Path, resize: Resize | None = None) -> nn.Module:
    """Return the definition of that family with those weights, in fp32. Raises `BadWeights`."""
    network: nn.Module = _module(family).build(load_weights(weights), **_definition(resize))
    return network


def trace_network(family: str, weights: Path, resize: Resize | None = None) -> torch.jit.ScriptModule:
    """Return the network of that family with those weights traced, in fp32. Raises `BadWeights`."""
    traced: torch.jit.ScriptModule = _module(family).traced(load_weights(weights), **_definition(resize))
    return traced


def _definition(resize: Resize | None) -> dict[str, Resize]:
    """Return what a style's entry says of its network's definition; a family without that choice is not asked."""
    return {"resize": resize} if resize else {}


def _module(family: str) -> ModuleType:
    return import_module(f"animegan.networks.{family}.network")
