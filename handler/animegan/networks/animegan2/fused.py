"""The generator with the passes between its convolutions fused: whole maps, in a form that can be traced.

The functions are scripted, so that a trace output at one size reads every size from its input.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import record_function

from animegan import operators  # noqa: F401 - registers torch.ops.animegan
from animegan.networks import torchscript
from animegan.networks.animegan2.generator import Generator
from animegan.networks.animegan2.layers import LAYERS, Layer
from animegan.networks.animegan2.plan import WIDEST_BAND_ROWS
from animegan.styles import Resize

EXAMPLE_PX = 32  # any size will do: every size in the graph is read from the input


@torch.jit.script
def norm_act_pad(
    x: Tensor, weight: Tensor, bias: Tensor, slope: float, residual: Tensor | None, before: int, after: int
) -> Tensor:
    """`leaky_relu(norm(x)) + residual`, with so many reflected rows and columns around it."""
    moments = torch.ops.animegan.moments(x)
    height, width = x.size(2), x.size(3)
    padded: Tensor = torch.ops.animegan.norm_act_pad(
        x, moments, weight, bias, slope, residual, [0, height, -before, height + after, -before, width + after]
    )
    return padded


@torch.jit.script
def upsample_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    slope: float,
    asymmetric: bool,
    picture: Tensor,
    scale: int,
    conv: Tensor,
    band: int,
) -> Tensor:
    """A 3×3 convolution of `leaky_relu(norm(x))` scaled up to the picture's size over `scale`.

    The scaled map is the network's widest: on the CPU only `band` rows of it are there at a time.
    """
    moments = torch.ops.animegan.moments(x)
    below, height, width = x.size(2), picture.size(2) // scale, picture.size(3) // scale
    rows = height if x.is_cuda else band
    out = torch.empty([0], dtype=x.dtype, device=x.device)
    for first in range(0, height, rows):
        last = min(first + rows, height)
        window = torch.ops.animegan.upsample_pad(
            x, moments, weight, bias, slope, [height, width, int(asymmetric)],
            [0, below, first - 1, last + 1, -1, width + 1],
        )  # fmt: skip
        output = F.conv2d(window, conv)
        if rows >= height:
            return output
        if first == 0:
            out = torch.empty(
                [x.size(0), output.size(1), height, width],
                dtype=x.dtype,
                device=x.device,
                memory_format=torch.channels_last,
            )
        out[:, :, first:last] = output
    return out


class Fused(nn.Module):
    """A `Generator`'s weights, drawn by the operators of `animegan.operators`. See `resize_of` for a trace's resize."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.resize = generator.resize
        self.register_buffer("asymmetric", torch.tensor(self.resize == "asymmetric"))
        self.generator = generator

    def forward(self, picture: Tensor) -> Tensor:
        """As `Generator.forward`."""
        first, *rest = LAYERS
        with record_function(first.name):  # the trace keeps them: `animegan profile` reads the layers' times by name
            x = self._conv(first, F.pad(picture, (3, 3, 3, 3), mode="reflect"))
        residual = None
        for below, layer in zip(LAYERS, rest, strict=False):
            norm = self.generator.get_submodule(below.norm)
            norm_act = (norm.weight, norm.bias, below.slope)
            with record_function(layer.name):
                if layer.source == "upsample":
                    conv = self.generator.get_submodule(layer.name)
                    size = (picture, layer.scale)
                    x = upsample_conv(x, *norm_act, self.resize == "asymmetric", *size, conv.weight, WIDEST_BAND_ROWS)
                    continue
                x = norm_act_pad(x, *norm_act, residual if below.residual else None, layer.before, layer.after)
                if below.closes:
                    residual = x
                x = self._conv(layer, x)
        return torch.tanh(x)

    def _conv(self, layer: Layer, padded: Tensor) -> Tensor:
        conv = self.generator.get_submodule(layer.name)
        assert isinstance(conv, nn.Conv2d)
        return F.conv2d(padded, conv.weight, conv.bias, layer.stride, groups=layer.groups)


def resize_of(traced: torch.jit.ScriptModule) -> Resize:
    """Return how a traced generator scales up."""
    return "asymmetric" if traced.asymmetric else "align_corners"


def trace(generator: Generator, example_px: int = EXAMPLE_PX) -> torch.jit.ScriptModule:
    """The generator with its passes fused, traced in fp32 for any batch and size; its weights stay parameters."""
    example = torch.zeros(1, 3, example_px, example_px).to(memory_format=torch.channels_last)
    return torchscript.trace(Fused(generator), example)
