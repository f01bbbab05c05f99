"""Ways to draw a picture, for comparisons: a network's definition in stock PyTorch, and this project's engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol
from unittest import mock

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F

from animegan.networks.animegan2 import bands
from animegan.networks.animegan2.fused import trace
from animegan.networks.animegan2.generator import Generator, build
from animegan.networks.animegan2.layout import Shape, layout
from animegan.networks.animegan2.network import Network
from animegan.networks.animegan2.plan import BAND_BYTES, banded, plans, whole
from animegan.networks.families import define_network, load_network
from animegan.networks.plan import Mode, Plan
from animegan.networks.redraw.plan import EDGE_PX
from animegan.networks.redraw.steps import ENLARGED
from animegan.networks.weights import load_weights
from animegan.operators.precision import pick_precision
from animegan.settings import Precision
from animegan.styles import get_style, verify
from benchmarks.common.fresh import NotMeasured

PHOTOS = Path(__file__).resolve().parents[2] / "docs" / "photos"
EXAMPLE_PX = 512  # that the article traces with
# By name: the style whose weights are drawn with, and whether they are those of `quality=fast`.
NETWORKS = {"animegan2": ("classic", False), "redraw": ("cel", False), "redraw_video": ("cel", True)}

Net = Callable[[Tensor], Tensor]


class Contender(Protocol):
    """Pictures are uint8 (1, H, W, 3) on the contender's device, values fp32 (1, 3, H, W) in [-1, 1]."""

    def draw(self, picture: Tensor) -> Tensor:
        """Return the drawing of a picture."""

    def values(self, picture: Tensor) -> Tensor:
        """Return what is drawn, before it is rounded to 8 bits."""


def photo(width: int, height: int, name: str = "mountain_path") -> Tensor:
    """Return a photo of docs/photos cut and scaled to that size, as a contender takes it."""
    with Image.open(PHOTOS / f"{name}.jpg") as image:
        crop = ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(crop))[None]


def generator() -> Generator:
    """Return the network's definition with the default style's weights, for inference, in PyTorch's default layout."""
    network = build(load_weights(verify(get_style("classic"))))
    return network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


class Redrawn(nn.Module):
    """One of `redraw`'s networks as a contender's: photo and drawing are of one size, in [-1, 1].

    The photo is shrunk to a quarter of its sides, which 4 must divide, and its edges are mirrored as the engine does.
    """

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, photo: Tensor) -> Tensor:
        small = F.pad(shrink((photo + 1) / 2), (EDGE_PX,) * 4, "reflect")
        rim = ENLARGED * EDGE_PX
        drawing = self.net(small)[:, :, rim:-rim, rim:-rim].clamp(0, 1)
        return drawing * 2 - 1


def shrink(photo: Tensor) -> Tensor:
    """Return (N, 3, h, w) in 0..1 of (N, 3, 4h, 4w): means over 4×4 px."""
    return F.avg_pool2d(photo, ENLARGED)


def weights_of(network: str) -> Path:
    """Return the file with the weights of one of `NETWORKS`."""
    style, fast = NETWORKS[network]
    return verify(get_style(style), fast=fast)


def definition(network: str) -> nn.Module:
    """Return the definition of one of `NETWORKS`, (N, 3, H, W) in [-1, 1] to the same, laid out as `generator`."""
    if network == "animegan2":
        return generator()
    stock = define_network("redraw", weights_of(network))
    return Redrawn(stock.to(memory_format=torch.contiguous_format))  # type: ignore[call-overload]


def result_name(benchmark: str, network: str) -> str:
    """Return the name of a benchmark's result with that network: AnimeGANv2's generator is the article's."""
    return benchmark if network == "animegan2" else f"{benchmark}_{network}"


def half(device: torch.device) -> torch.dtype:
    """Return the 16-bit dtype of the engine on that device. Raises `NotMeasured` where it has none."""
    precision = pick_precision("auto", device)
    if precision == "fp32":
        raise NotMeasured("the engine draws in fp32 on this CPU")
    return torch.float16 if precision == "fp16" else torch.bfloat16


def precisions(precision: Precision = "auto") -> dict[str, str]:
    """Return what a precision, `auto` among them, is on each device that is here."""
    here = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    return {name: pick_precision(precision, torch.device(name)) for name in here}


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
        output = self._run(picture)
        pixels = output.detach().float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous()

    def values(self, picture: Tensor) -> Tensor:
        return self._run(picture).detach().float()

    def _run(self, picture: Tensor) -> Tensor:
        x = picture.permute(0, 3, 1, 2).float().div(127.5).sub(1)
        x = x.to(self.device, self.dtype, memory_format=self.memory_format)
        with torch.set_grad_enabled(True) if self.grad else torch.inference_mode():
            return self.net(x)


def traced_fp32(device: torch.device, example_px: int = EXAMPLE_PX, network: str = "animegan2") -> Stock:
    """Return the network traced in fp32, as the article does it."""
    return Stock(
        _traced(definition(network).to(device), torch.zeros(1, 3, example_px, example_px, device=device)), device
    )


def traced_half(device: torch.device, example_px: int = EXAMPLE_PX, network: str = "animegan2") -> Stock:
    """Return the network in 16 bits, channels-last, frozen. Raises `NotMeasured` where the engine takes no 16 bits."""
    dtype = half(device)
    net = definition(network).to(device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    example = torch.zeros(1, 3, example_px, example_px, device=device, dtype=dtype)
    module = _traced(net, example.to(memory_format=torch.channels_last))
    return Stock(torch.jit.freeze(module), device, dtype, torch.channels_last)


def _traced(network: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    with torch.inference_mode():
        module: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
            network, example, check_trace=False
        )
    return module


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
        """Return as `values` does, following that plan."""
        if plan.mode == "whole":
            return self.network.generate(bands.from_pixels(picture.permute(0, 3, 1, 2))).float()
        out = torch.empty(picture.shape[1:], dtype=torch.float32, device=self.device)
        arrangement = layout(plan.shape, plan.mode, plan.band_bytes, cuda=plan.cuda)
        with mock.patch.object(bands, "to_pixels", lambda values: values):
            bands.draw(self.network._weights, picture[0], out, arrangement)
        return out.permute(2, 0, 1)[None]


class OursRedraw:
    """As `Ours`, of one of `redraw`'s networks; its values are rounded to 8 bits, as it draws no others."""

    def __init__(self, device: torch.device, mode: Mode | Literal["planned"], network: str, precision: str) -> None:
        style, fast = NETWORKS[network]
        self.mode = mode
        self.network = load_network("redraw", get_style(style), device, precision, fast=fast)

    def plan(self, small: Tensor) -> Plan:
        """Return the fastest plan of the mode for the shrunk photo. Raises `NotMeasured` where there is none."""
        plans = [*self.network.plans(small.shape[1], small.shape[2], 1)]
        choices = [plan for plan in plans if self.mode in ("planned", plan.mode)]
        if not choices:
            raise NotMeasured(f"this network has no plan {self.mode!r} for such a picture")
        return choices[0]

    def draw(self, picture: Tensor) -> Tensor:
        planes = shrink(picture.permute(0, 3, 1, 2).float())
        small = planes.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        return self.network.draw(small, self.plan(small))

    def values(self, picture: Tensor) -> Tensor:
        return self.draw(picture).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def ours(
    device: torch.device, mode: Mode | Literal["planned"], network: str, precision: str | None = None
) -> Ours | OursRedraw:
    """Return the engine, drawing with one of `NETWORKS` in that mode; in the precision that `auto` is, unless told."""
    precision = precision or pick_precision("auto", device)
    return Ours(device, mode, precision) if network == "animegan2" else OursRedraw(device, mode, network, precision)


def plan_of(shape: Shape, mode: Mode | Literal["planned"], *, cuda: bool) -> Plan:
    """Return the plan that the engine would take of that mode, the fastest if it has several."""
    choices = list(plans(shape, cuda=cuda))
    if mode == "planned":
        return choices[0]
    if mode == "whole":
        return whole(shape, cuda=cuda)
    smallest = banded(shape, mode, BAND_BYTES, cuda=cuda)
    return next((plan for plan in choices if plan.mode == mode), smallest)
