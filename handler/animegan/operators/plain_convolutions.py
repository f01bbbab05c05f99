"""Convolutions in plain PyTorch, with all that follows each: the reference that the other forms are held to."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

ALIGNMENT = 1  # rows: a map may be cut anywhere
LEAST_CHANNELS = 1  # of the input


def pack(weight: Tensor) -> Tensor:
    """Return weights (channels out, channels in, side, side) as `conv` reads them."""
    return weight.contiguous(memory_format=torch.channels_last)


def scratch_bytes(rows: int, width: int, channels: int, itemsize: int, *, prelu: bool) -> int:
    """Return the most bytes that `conv` takes beside its arguments, for `rows` × `width` px of output."""
    return (2 if prelu else 1) * itemsize * (rows + 1) * (width + 1) * channels


def conv(
    x: Tensor,
    packed: Tensor,
    out: Tensor,
    *,
    before: tuple[int, int],
    bias: Tensor | None = None,
    slope: float | Tensor = 1.0,
    alpha: float = 1.0,
    residual: Tensor | None = None,
    beta: float = 1.0,
    residual2: Tensor | None = None,
    gamma: float = 1.0,
) -> None:
    """Write `alpha * act(conv(x) + bias) + beta * residual + gamma * residual2` into `out`, stride 1.

    `x` (C, H, W), `out` and the residuals (channels, h, w) are channels-last views; `out` must not overlap what is
    read, but for a residual of its own place. `before`: rows above and columns on the left of `x` that the first pixel
    reads. What lies outside `x` is zero. `slope`: of the LeakyReLU (1: none), or one a channel.
    """
    side = packed.shape[2]
    _, height, width = out.shape
    above, left = before
    below, right = height + side - 1 - above - x.shape[1], width + side - 1 - left - x.shape[2]
    # What PyTorch pads alike on both sides costs no copy; a row or column too many is cut off.
    padding = max(above, below), max(left, right)
    values = F.conv2d(x[None], packed, None if bias is None else bias.to(x.dtype), padding=padding)
    top, start = padding[0] - above, padding[1] - left
    values = values[:, :, top : top + height, start : start + width]
    if isinstance(slope, Tensor):
        values = F.prelu(values, slope.to(x.dtype))
    elif slope != 1:
        values = F.leaky_relu_(values, slope)
    values = values[0]
    if alpha != 1:
        values.mul_(alpha)
    if residual is not None:
        values.add_(residual, alpha=beta)
    if residual2 is not None:
        values.add_(residual2, alpha=gamma)
    out.copy_(values)
