"""Maps and filters with noise, and what PyTorch makes of them: what the operators' own forms are held to."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def some(channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    """A channels-last map (C, H, W), mostly positive as those behind a LeakyReLU are."""
    noise = torch.randn(height, width, channels, generator=torch.Generator().manual_seed(seed + height * 99 + width))
    return (noise + 0.3).permute(2, 0, 1)


def filters(channels: int, channels_in: int, side: int, groups: int = 1) -> Tensor:
    shape = (channels, channels_in // groups, side, side)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(channels_in))
    return noise.div(side * shape[1] ** 0.5)


def reference(
    x: Tensor,
    weight: Tensor,
    size: tuple[int, int],
    *,
    before: tuple[int, int],
    stride: int = 1,
    groups: int = 1,
    bias: Tensor | None = None,
    slope: float | Tensor = 1.0,
    alpha: float = 1.0,
    residual: Tensor | None = None,
    beta: float = 1.0,
    residual2: Tensor | None = None,
    gamma: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """What stock PyTorch makes of it, (channels, *size), in `dtype`."""
    (above, left), side = before, weight.shape[2]
    below, right = (
        (length - 1) * stride + side - first - there
        for length, first, there in zip(size, before, x.shape[1:], strict=True)
    )
    padded = F.pad(x[None].to(dtype), [max(length, 0) for length in (left, right, above, below)])
    padded = padded[:, :, max(-above, 0) :, max(-left, 0) :]  # negative: what is not read
    padded = padded[:, :, : padded.shape[2] + min(below, 0), : padded.shape[3] + min(right, 0)]
    out = F.conv2d(padded, weight.to(dtype), None if bias is None else bias.to(dtype), stride, groups=groups)[0]
    slopes = slope.to(dtype) if isinstance(slope, Tensor) else torch.full((len(out),), slope, dtype=dtype)
    out = alpha * F.prelu(out[None], slopes)[0]
    for addend, share in ((residual, beta), (residual2, gamma)):
        out = out if addend is None else out + share * addend.to(dtype)
    return out


def in_fp32(x: Tensor, weight: Tensor, size: tuple[int, int], **rest: Any) -> Tensor:
    """As `reference`, in fp32 without oneDNN, whose sums are more or less precise from CPU to CPU."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TF32 acceleration on top of oneDNN")  # setting the flags warns, on any CPU
        with torch.backends.mkldnn.flags(enabled=False):
            return reference(x, weight, size, **rest, dtype=torch.float32)


def error(out: Tensor, expected: Tensor) -> float:
    """The root of the mean squared error."""
    return float((out.double() - expected).square().mean().sqrt())


def empty(channels: int, height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.full((height, width, channels), torch.nan, dtype=dtype).permute(2, 0, 1)
