"""Real-ESRGAN's anime networks on a GPU, in 16 bits: every convolution is one launch, with all that follows it.

`Redraw` is RRDBNet (Wang et al. 2018, "ESRGAN"; 2021, "Real-ESRGAN"): 64 features, 6 blocks of three dense blocks with
a growth of 32, ×4. A dense block writes each convolution's output behind its input in one buffer of 192 channels, so
nothing is concatenated. `RedrawVideo` is SRVGGNetCompact: 16 convolutions of 64 features with PReLU, ×4 by pixel
shuffle over the nearest pixel. Both pad with zeros.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from animegan.operators import convolutions
from animegan.operators.convolutions import Packed

FEATURES = 64
GROWTH = 32
SLOPE = 0.2  # of every LeakyReLU
SCALE = 0.2  # of what a dense block, and a block of three, adds to its input
VIDEO_CONVOLUTIONS = 16
PAD = (1, 1)  # rows above and columns on the left of a 3×3 convolution's input


class _Network(ABC):
    """Tensors of a state dict, packed for the kernels, in `dtype` on `device`."""

    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> None:
        self._tensors = {name: tensor.to(device, torch.float32) for name, tensor in tensors.items()}
        self._dtype = dtype
        first = self._tensors[f"{self.first}.weight"].to(dtype)
        self._first = first.contiguous(memory_format=torch.channels_last), self._bias(self.first).to(dtype)

    first: str

    @abstractmethod
    def __call__(self, photo: Tensor) -> Tensor:
        """See `Redraw`."""

    def _bias(self, name: str) -> Tensor:
        return self._tensors[f"{name}.bias"]

    def _pack(self, name: str) -> tuple[Packed, Tensor]:
        return convolutions.pack(self._tensors[f"{name}.weight"].to(self._dtype)), self._bias(name)

    def _features(self, photo: Tensor) -> Tensor:
        """The first convolution of a photo (3, h, w): (64, h, w), channels-last."""
        x = photo[None].to(self._dtype, memory_format=torch.channels_last)
        made: Tensor = F.conv2d(x, *self._first, padding=1)
        return made.contiguous(memory_format=torch.channels_last)[0]


class Redraw(_Network):
    """Draw a photo (3, h, w), RGB in 0..1, four times as large: (3, 4h, 4w) in the same range, not clamped."""

    first = "first"

    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype = torch.float16) -> None:
        super().__init__(tensors, device, dtype)
        self._blocks = [
            [[self._pack(f"body.{block}.r.{dense}.c.{index}") for index in range(5)] for dense in range(3)]
            for block in range(_count(tensors, "body"))
        ]
        self._body, self._hr, self._last = (self._pack(name) for name in ("cb", "hr", "last"))
        self._up = [self._pack_up(name) for name in ("u1", "u2")]

    @torch.inference_mode()
    def __call__(self, photo: Tensor) -> Tensor:
        _, height, width = photo.shape
        features = self._features(photo)
        x, spare, other = (self._map(FEATURES + 4 * GROWTH, height, width) for _ in range(3))
        x[:FEATURES] = features
        for block in self._blocks:
            self._dense(block[0], x, spare)
            self._dense(block[1], spare, other)
            self._dense(block[2], other, spare, outer=x[:FEATURES])
            x, spare = spare, x
        packed, bias = self._body
        convolutions.conv(x[:FEATURES], packed, other[:FEATURES], before=PAD, bias=bias, residual=features)
        made = other[:FEATURES]
        for phases in self._up:
            made = self._upsample(made, phases)
        packed, bias = self._hr
        fine = self._map(FEATURES, *made.shape[1:])
        convolutions.conv(made, packed, fine, before=PAD, bias=bias, slope=SLOPE)
        packed, bias = self._last
        drawn = self._map(3, *made.shape[1:])
        convolutions.conv(fine, packed, drawn, before=PAD, bias=bias)
        return drawn

    def _dense(self, layers: list[tuple[Packed, Tensor]], x: Tensor, out: Tensor, outer: Tensor | None = None) -> None:
        """A dense block from `x` (192, h, w), whose first 64 channels are its input, to the first 64 of `out`.

        With `outer`, the block is the last of three: what they add is scaled once more, and added to `outer`.
        """
        *growing, (packed, bias) = layers
        for index, (grow, grow_bias) in enumerate(growing):
            end = FEATURES + index * GROWTH
            convolutions.conv(x[:end], grow, x[end : end + GROWTH], before=PAD, bias=grow_bias, slope=SLOPE)
        share = 1.0 if outer is None else SCALE
        convolutions.conv(
            x, packed, out[:FEATURES], before=PAD, bias=bias, alpha=SCALE * share,
            residual=x[:FEATURES], beta=share, residual2=outer,
        )  # fmt: skip

    def _upsample(self, x: Tensor, phases: list[tuple[int, int, Packed, Tensor]]) -> Tensor:
        out = self._map(FEATURES, 2 * x.shape[1], 2 * x.shape[2])
        for down, across, packed, bias in phases:
            before = (1 - down, 1 - across)
            convolutions.conv(x, packed, out[:, down::2, across::2], before=before, bias=bias, slope=SLOPE)
        return out

    def _pack_up(self, name: str) -> list[tuple[int, int, Packed, Tensor]]:
        """A 3×3 convolution behind nearest ×2 as four 2×2 ones, for output rows and columns that are even or odd.

        Of three neighbours that it reads two are the same pixel, so their weights add up.
        """
        weight = self._tensors[f"{name}.weight"]
        phases = []
        for down, across in product((0, 1), repeat=2):
            rows = _fold(weight, 2, odd=bool(down))
            packed = convolutions.pack(_fold(rows, 3, odd=bool(across)).to(self._dtype))
            phases.append((down, across, packed, self._bias(name)))
        return phases

    def _map(self, channels: int, height: int, width: int) -> Tensor:
        return _channels_last(channels, height, width, self._dtype, self._tensors["first.bias"].device)


class RedrawVideo(_Network):
    """As `Redraw`, at a small part of its time, and softer."""

    first = "b.0"

    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype = torch.float16) -> None:
        super().__init__(tensors, device, dtype)
        self._slopes = [self._tensors[f"b.{2 * index + 1}.weight"] for index in range(VIDEO_CONVOLUTIONS + 1)]
        self._layers = [self._pack(f"b.{2 * index + 2}") for index in range(VIDEO_CONVOLUTIONS + 1)]

    @torch.inference_mode()
    def __call__(self, photo: Tensor) -> Tensor:
        _, height, width = photo.shape
        made = self._features(photo)
        x = F.prelu(made[None], self._slopes[0].to(self._dtype))[0]
        spare = torch.empty_like(x)
        for (packed, bias), slopes in zip(self._layers, self._slopes[1:], strict=False):
            convolutions.conv(x, packed, spare, before=PAD, bias=bias, slope=slopes)
            x, spare = spare, x
        packed, bias = self._layers[-1]
        shuffled = _channels_last(bias.shape[0], height, width, self._dtype, x.device)
        convolutions.conv(x, packed, shuffled, before=PAD, bias=bias)
        nearest = F.interpolate(photo[None].to(self._dtype), scale_factor=4, mode="nearest")
        return (F.pixel_shuffle(shuffled[None], 4) + nearest)[0]


def _count(tensors: Mapping[str, Tensor], name: str) -> int:
    """How many numbered parts that one has."""
    return len({key.split(".")[1] for key in tensors if key.startswith(f"{name}.")})


def _fold(weight: Tensor, axis: int, *, odd: bool) -> Tensor:
    """Three taps on that axis as two: an even output reads one pixel and the next twice, an odd one twice and once."""
    first, middle, last = weight.unbind(axis)
    return torch.stack([first + middle, last] if odd else [first, middle + last], axis)


def _channels_last(channels: int, height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.empty((height, width, channels), dtype=dtype, device=device).permute(2, 0, 1)
