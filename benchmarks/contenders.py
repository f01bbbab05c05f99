"""Ways to draw a picture, for comparisons: the network's definition in stock PyTorch, and this project's engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol
from unittest import mock

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from animegan.networks.animegan2 import bands
from animegan.networks.animegan2.fused import trace
from animegan.networks.animegan2.generator import Generator, build
from animegan.networks.animegan2.layout import Shape, layout
from animegan.networks.animegan2.network import Network
from animegan.networks.animegan2.plan import BAND_BYTES, banded, plans, whole
from animegan.networks.plan import Mode, Plan
from animegan.networks.weights import load_weights
from animegan.resources.hardware import pick_precision
from animegan.styles import get_style, verify
from benchmarks.fresh import NotMeasured

PHOTOS = Path(__file__).resolve().parents[1] / "docs" / "photos"
EXAMPLE_PX = 512  # that the article traces with

Net = Callable[[Tensor], Tensor]


class Contender(Protocol):
    """Pictures are uint8 (1, H, W, 3) on the contender's device, values fp32 (1, 3, H, W) in [-1, 1]."""

    def draw(self, picture: Tensor) -> Tensor:
        """Picture to picture."""

    def values(self, picture: Tensor) -> Tensor:
        """What is drawn, before it is rounded to 8 bits."""


def photo(width: int, height: int, name: str = "mountain_path") -> Tensor:
    """A photo of docs/photos cut and scaled to that size, as a contender takes it."""
    with Image.open(PHOTOS / f"{name}.jpg") as image:
        fitted = ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(fitted))[None]


def generator() -> Generator:
    """The network's definition with the default style's weights, for inference, laid out as PyTorch does by default."""
    network = build(load_weights(verify(get_style("classic"))))
    return network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


def half(device: torch.device) -> torch.dtype:
    """The 16-bit dtype that the engine takes there. Raises `NotMeasured` where it takes none."""
    precision = pick_precision("auto", device)
    if precision == "fp32":
        raise NotMeasured("this CPU has neither AMX nor AVX512-BF16")
    return torch.float16 if precision == "fp16" else torch.bfloat16


def precisions() -> dict[str, str]:
    """What `auto` is on each device that is here."""
    here = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    return {name: pick_precision("auto", torch.device(name)) for name in here}


class Stock:
    """Any callable on (1, 3, H, W) in [-1, 1]; `grad` keeps what a backward pass would need."""

    def __init__(
        self,
        net: Net,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.contiguous_format,
        *,
        grad: bool = False,
    ) -> None:
        self.net = net
        self.device = device
        self.dtype = dtype
        self.memory_format = memory_format
        self.grad = grad

    def draw(self, picture: Tensor) -> Tensor:
        drawn = self._run(picture)
        pixels = drawn.detach().float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous()

    def values(self, picture: Tensor) -> Tensor:
        return self._run(picture).detach().float()

    def _run(self, picture: Tensor) -> Tensor:
        x = picture.permute(0, 3, 1, 2).float().div(127.5).sub(1)
        x = x.to(self.device, self.dtype, memory_format=self.memory_format)
        with torch.set_grad_enabled(True) if self.grad else torch.inference_mode():
            return self.net(x)


def traced_fp32(device: torch.device, example_px: int = EXAMPLE_PX) -> Stock:
    """As the article does it."""
    return Stock(_traced(generator().to(device), torch.zeros(1, 3, example_px, example_px, device=device)), device)


def traced_half(device: torch.device, example_px: int = EXAMPLE_PX) -> Stock:
    """In 16 bits, channels-last and frozen. Raises `NotMeasured` where the engine takes no 16 bits."""
    dtype = half(device)
    network = generator().to(device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    example = torch.zeros(1, 3, example_px, example_px, device=device, dtype=dtype)
    made = _traced(network, example.to(memory_format=torch.channels_last))
    return Stock(torch.jit.freeze(made), device, dtype, torch.channels_last)


def _traced(network: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    with torch.inference_mode():
        made: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
            network, example, check_trace=False
        )
    return made


class Ours:
    """The engine, drawing in one mode whatever is free; `planned`: as it would itself."""

    def __init__(self, device: torch.device, mode: Mode | Literal["planned"], precision: str | None = None) -> None:
        self.device = device
        self.mode = mode
        self.network = Network(trace(generator()), device, precision or pick_precision("auto", device))

    def plan(self, picture: Tensor) -> Plan:
        return plan_of(
            Shape(picture.shape[1], picture.shape[2], 1, self.network.itemsize),
            self.mode,
            cuda=self.device.type == "cuda",
        )

    def draw(self, picture: Tensor) -> Tensor:
        return self.network.draw(picture, self.plan(picture))

    def values(self, picture: Tensor) -> Tensor:
        return self.values_by(self.plan(picture), picture)

    def values_by(self, plan: Plan, picture: Tensor) -> Tensor:
        """As `values`, following that plan."""
        if plan.mode == "whole":
            return self.network.generate(bands.from_pixels(picture.permute(0, 3, 1, 2))).float()
        out = torch.empty(picture.shape[1:], dtype=torch.float32, device=self.device)
        laid = layout(plan.shape, plan.mode, plan.band_bytes, cuda=plan.cuda)
        with mock.patch.object(bands, "to_pixels", lambda values: values):
            bands.draw(self.network._weights, picture[0], out, laid)
        return out.permute(2, 0, 1)[None]


def plan_of(shape: Shape, mode: Mode | Literal["planned"], *, cuda: bool) -> Plan:
    """The plan that the engine would take of that mode, the fastest if it has several."""
    known = list(plans(shape, cuda=cuda))
    if mode == "planned":
        return known[0]
    if mode == "whole":
        return whole(shape, cuda=cuda)
    smallest = banded(shape, mode, BAND_BYTES, cuda=cuda)
    return next((plan for plan in known if plan.mode == mode), smallest)
