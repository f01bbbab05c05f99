"""Convolutions in Triton, for CUDA, where they are faster than cuDNN's or spare a pass over a map. Needs Triton.

An implicit matrix product: a program makes `rows` rows of one tile of the output, all channels, and reads each row of
the input once for all of them. Maps are (C, H, W), channels-last, in 16 bits; sums are fp32. Sums are made in one
order whatever runs first: the same map gives the same bits.
"""

# Triton has no types, and its compiler gives a kernel's arguments theirs.
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from animegan.operators.kernels import affine, merge, reflect

ALIGNMENT = 1  # rows: a map may be cut anywhere
LEAST_CHANNELS = 16  # of the input: what a matrix product of Triton's takes


class Launch(NamedTuple):
    """How a convolution is launched: output rows of a program, pixels of a tile, channels of a step, warps, stages."""

    rows: int
    pixels: int
    channels: int
    warps: int
    stages: int


# The best of a sweep on an H200; by kernel side and channels in and out.
LAUNCHES = {
    (7, 64, 32): Launch(2, 128, 64, 4, 3),
    (3, 64, 32): Launch(2, 128, 64, 4, 3),
    (3, 96, 32): Launch(2, 128, 32, 4, 3),
    (3, 128, 32): Launch(2, 128, 64, 4, 3),
    (3, 160, 32): Launch(2, 128, 32, 4, 3),
    (3, 192, 64): Launch(2, 128, 64, 4, 3),
    (3, 64, 64): Launch(1, 128, 64, 4, 3),
    (2, 64, 64): Launch(1, 128, 64, 4, 3),
    (3, 64, 4): Launch(4, 128, 64, 8, 3),
    (3, 64, 48): Launch(2, 128, 64, 4, 3),
}
DEFAULT = Launch(1, 128, 32, 4, 3)
PIXELS = Launch(1, 128, 32, 4, 2)  # of `first`
LAST_PIXELS = 128  # of a tile of `last`

_GEOMETRY = (
    *("height", "width", "out_height", "out_width", "blocks", "top", "left", "slope", "alpha", "beta", "gamma"),
    "parts",
)
_kernel = triton.jit(do_not_specialize=_GEOMETRY)


class Packed(NamedTuple):
    """A convolution's weights as the kernel reads them: (taps down, taps across, channels in, rows × lanes)."""

    weight: Tensor
    channels: int
    side: int
    launch: Launch


def pack(weight: Tensor) -> Packed:
    """Pack weights (channels out, channels in, side, side). `rows` rows of output share what they read."""
    channels, channels_in, side, _ = weight.shape
    lanes = max(triton.next_power_of_2(channels), 4)
    launch = LAUNCHES.get((side, channels_in, lanes if channels < lanes <= 4 else channels), DEFAULT)
    while launch.rows * lanes < 16:
        launch = launch._replace(rows=2 * launch.rows)
    packed = weight.new_zeros(side + launch.rows - 1, side, channels_in, launch.rows, lanes)
    for row in range(launch.rows):
        packed[row : row + side, :, :, row, :channels] = weight.permute(2, 3, 1, 0)
    return Packed(packed.flatten(3).contiguous(), channels, side, launch)


def scratch_bytes(rows: int, width: int, channels: int, itemsize: int, *, prelu: bool) -> int:  # noqa: ARG001
    """Return 0: the kernels take nothing beside their arguments."""
    return 0


def conv(
    x: Tensor,
    packed: Packed,
    out: Tensor,
    *,
    before: tuple[int, int],
    mirror: bool = False,
    bias: Tensor | None = None,
    slope: float | Tensor = 1.0,
    alpha: float = 1.0,
    residual: Tensor | None = None,
    beta: float = 1.0,
    residual2: Tensor | None = None,
    gamma: float = 1.0,
    moments: bool = False,
) -> Tensor | None:
    """Write `alpha * act(conv(x) + bias) + beta * residual + gamma * residual2` into `out`, stride 1.

    `x` (C, H, W), `out` and the residuals (channels, h, w) are channels-last views; `out` must not overlap what is
    read, but for a residual of its own place. `before`: rows above and columns on the left of `x` that the first pixel
    reads. What lies outside `x` is zero, or reflected where `mirror`. `slope`: of the LeakyReLU (1: none), or one a
    channel.

    Return the moments (1, 2) of what was written, fp64: mean and variance, where `moments`; else None.
    """
    launch, lanes = packed.launch, packed.weight.shape[3] // packed.launch.rows
    channels, out_height, out_width = out.shape
    blocks = triton.cdiv(out_width, launch.pixels)
    parts = blocks * triton.cdiv(out_height, launch.rows)
    partial = torch.empty((3, parts), dtype=torch.float32, device=x.device) if moments else None
    slopes = slope if isinstance(slope, Tensor) else None
    with torch.cuda.device_of(x):
        _conv[(parts,)](
            x, *_strides(x), packed.weight, bias, slopes, residual, *_strides(residual), residual2,
            *_strides(residual2), out, *_strides(out), partial, parts,
            x.shape[1], x.shape[2], out_height, out_width, blocks, -before[0], -before[1],
            1.0 if slopes is not None else slope, alpha, beta, gamma,
            packed.weight.shape[2], channels, lanes, *packed.weight.shape[:2], launch.rows, mirror,
            launch.pixels, min(launch.channels, packed.weight.shape[2]),
            num_warps=launch.warps, num_stages=launch.stages,
        )  # fmt: skip
        return None if partial is None else _total(partial)


def first(pixels: Tensor, packed: Tensor, out: Tensor) -> Tensor:
    """Write the 7×7 convolution of uint8 pixels (H, W, 3), as values in [-1, 1] and reflected, into `out` (32, H, W).

    `packed` is of `pack_first`. Return the moments (1, 2) of what was written, fp64.
    """
    channels, height, width = out.shape
    blocks = triton.cdiv(width, PIXELS.pixels)
    partial = torch.empty((3, blocks * height), dtype=torch.float32, device=out.device)
    with torch.cuda.device_of(out):
        _first[(blocks * height,)](
            pixels, pixels.stride(0), packed, out, *_strides(out), partial, blocks * height, height, width, blocks,
            packed.shape[0], channels, packed.shape[1], PIXELS.pixels, num_warps=PIXELS.warps, num_stages=PIXELS.stages,
        )  # fmt: skip
        return _total(partial)


def pack_first(weight: Tensor) -> Tensor:
    """Pack weights (channels out, 3, side, side) as (side, 3 * side filled up to a power of two, channels out)."""
    channels, colours, side, _ = weight.shape
    packed = weight.new_zeros(side, triton.next_power_of_2(colours * side), channels)
    packed[:, : colours * side] = weight.permute(2, 3, 1, 0).flatten(1, 2)
    return packed.contiguous()


def last(
    x: Tensor, moments: Tensor, weight: Tensor, bias: Tensor, slope: float, projection: Tensor, out: Tensor
) -> None:
    """Write `tanh(projection @ leaky_relu(norm(x)))` as pixels into `out`, uint8 (H, W, 3).

    `x` is (C, H, W), `moments` (1, 2), `weight` and `bias` the norm's (C), `projection` (3, C), fp32.
    """
    channels, height, width = x.shape
    blocks = triton.cdiv(width, LAST_PIXELS)
    with torch.cuda.device_of(x):
        _last[(blocks * height,)](
            x, *_strides(x), moments, weight, bias, slope, projection, out, out.stride(0), width, blocks,
            channels, triton.next_power_of_2(channels), LAST_PIXELS, num_warps=4,
        )  # fmt: skip


def _strides(x: Tensor | None) -> tuple[int, int]:
    """From row to row and from column to column, in elements; from channel to channel it is 1."""
    return (0, 0) if x is None else (x.stride(1), x.stride(2))


def _total(partial: Tensor) -> Tensor:
    """The moments (1, 2), fp64, of parts (count, mean, sum of squares)."""
    out = torch.empty((1, 2), dtype=torch.float64, device=partial.device)
    _merge[(1,)](partial, out, partial.shape[1], 4096, num_warps=16)
    return out


@_kernel
def _merge(partial, out, parts, step: tl.constexpr):
    place = tl.arange(0, step)
    count = tl.full((step,), 0, tl.float64)
    mean = tl.full((step,), 0, tl.float64)
    squares = tl.full((step,), 0, tl.float64)
    for start in range(0, parts, step):
        inside = start + place < parts
        more = tl.load(partial + start + place, mask=inside, other=0).to(tl.float64)
        their_mean = tl.load(partial + parts + start + place, mask=inside, other=0).to(tl.float64)
        total = count + more
        off = their_mean - mean
        share = more / tl.maximum(total, 1)
        squares += tl.load(partial + 2 * parts + start + place, mask=inside, other=0).to(tl.float64)
        squares += off * off * count * share
        mean += off * share
        count = total
    count, mean, squares = merge(count, mean, squares)
    tl.store(out, mean)
    tl.store(out + 1, squares / count)


@_kernel
def _conv(
    x, row_stride, column_stride, weight, bias, slopes, residual, residual_row_stride, residual_column_stride,
    residual2, residual2_row_stride, residual2_column_stride, out, out_row_stride, out_column_stride, partial, parts,
    height, width, out_height, out_width, blocks, top, left, slope, alpha, beta, gamma,
    channels_in: tl.constexpr, channels: tl.constexpr, lanes: tl.constexpr, down: tl.constexpr, across: tl.constexpr,
    rows: tl.constexpr, mirror: tl.constexpr, pixels: tl.constexpr, step: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    strip = tile // blocks
    column = (tile - strip * blocks) * pixels + tl.arange(0, pixels)
    lane = tl.arange(0, rows * lanes)
    k = tl.arange(0, step)
    steps: tl.constexpr = channels_in // step
    total = tl.full((pixels, rows * lanes), 0, tl.float32)
    for index in range(down * across * steps):
        tap = index // steps
        channel = (index - tap * steps) * step + k
        from_row = strip * rows + top + tap // across
        from_column = column + left + tap % across
        if mirror:  # what the tile reads beyond the map's mirrored edge is not written
            from_row = tl.minimum(tl.maximum(reflect(from_row, height), 0), height - 1)
            from_column = tl.minimum(tl.maximum(reflect(from_column, width), 0), width - 1)
            here = (
                x + tl.cast(from_row, tl.int64) * row_stride + tl.cast(from_column, tl.int64)[:, None] * column_stride
            )
            value = tl.load(here + channel[None, :])
        else:
            inside = (from_row >= 0) & (from_row < height) & (from_column >= 0) & (from_column < width)
            here = (
                x + tl.cast(from_row, tl.int64) * row_stride + tl.cast(from_column, tl.int64)[:, None] * column_stride
            )
            value = tl.load(here + channel[None, :], mask=inside[:, None], other=0)
        factor = tl.load(weight + (tap * channels_in + channel)[:, None] * (rows * lanes) + lane[None, :])
        total = tl.dot(value, factor, total)
    row = strip * rows + lane // lanes
    channel = lane % lanes
    inside = (column < out_width)[:, None] & ((row < out_height) & (channel < channels))[None, :]
    if bias is not None:
        total += tl.load(bias + channel, mask=channel < channels, other=0).to(tl.float32)[None, :]
    if slopes is not None:
        total *= tl.where(total >= 0, 1, tl.load(slopes + channel, mask=channel < channels, other=0)[None, :])
    else:
        total = tl.maximum(total, total * slope)  # as a slope is at most 1
    total *= alpha
    row = tl.cast(row, tl.int64)[None, :]
    across_row = tl.cast(column, tl.int64)[:, None]
    if residual is not None:
        place = row * residual_row_stride + across_row * residual_column_stride + channel[None, :]
        total += beta * tl.load(residual + place, mask=inside, other=0).to(tl.float32)
    if residual2 is not None:
        place = row * residual2_row_stride + across_row * residual2_column_stride + channel[None, :]
        total += gamma * tl.load(residual2 + place, mask=inside, other=0).to(tl.float32)
    if partial is not None:
        _store_moments(total, inside, partial + tile, parts)
    place = row * out_row_stride + across_row * out_column_stride + channel[None, :]
    tl.store(out + place, total.to(out.dtype.element_ty), mask=inside)


@_kernel
def _first(
    x, row_stride, weight, out, out_row_stride, out_column_stride, partial, parts, height, width, blocks,
    side: tl.constexpr, channels: tl.constexpr, lanes: tl.constexpr, pixels: tl.constexpr,
):  # fmt: skip
    """The taps of one row are neighbours in memory, so a row of the kernel is one step of the product."""
    tile = tl.program_id(0)
    row = tile // blocks
    column = (tile - row * blocks) * pixels + tl.arange(0, pixels)
    k = tl.arange(0, lanes)
    channel = tl.arange(0, channels)
    from_column = column[:, None] + (k // 3)[None, :] - side // 2
    from_column = tl.minimum(tl.maximum(reflect(from_column, width), 0), width - 1)
    mask = (k < 3 * side)[None, :] & (column < width)[:, None]
    total = tl.full((pixels, channels), 0, tl.float32)
    for tap in tl.static_range(side):
        from_row = tl.cast(reflect(row + tap - side // 2, height), tl.int64)
        level = tl.load(x + from_row * row_stride + from_column * 3 + (k % 3)[None, :], mask=mask, other=0)
        value = (level.to(tl.float32) * (1 / 127.5) - 1).to(weight.dtype.element_ty)
        factor = tl.load(weight + (tap * lanes + k)[:, None] * channels + channel[None, :])
        total = tl.dot(value, factor, total)
    inside = (column < width)[:, None] & (channel < channels)[None, :]
    _store_moments(total, inside, partial + tile, parts)
    place = tl.cast(row, tl.int64) * out_row_stride + tl.cast(column, tl.int64)[:, None] * out_column_stride
    tl.store(out + place + channel[None, :], total.to(out.dtype.element_ty), mask=inside)


@_kernel
def _last(
    x, row_stride, column_stride, moments, weight, bias, slope, projection, out, out_row_stride, width, blocks,
    channels: tl.constexpr, lanes: tl.constexpr, pixels: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    row = tl.cast(tile // blocks, tl.int64)
    column = (tile % blocks) * pixels + tl.arange(0, pixels)
    lane = tl.arange(0, lanes)[None, :]
    scale, shift = affine(moments, weight, bias, 0, lane, channels)
    place = row * row_stride + tl.cast(column, tl.int64)[:, None] * column_stride + lane
    inside = (column < width)[:, None] & (lane < channels)
    value = tl.load(x + place, mask=inside, other=0).to(tl.float32) * scale + shift
    value = tl.maximum(value, value * slope)
    for colour in tl.static_range(3):
        factor = tl.load(projection + colour * channels + lane, mask=lane < channels, other=0)
        colors = tl.sum(tl.where(inside, value * factor, 0), axis=1)
        level = 2 * tl.sigmoid(2 * colors) * 127.5  # tanh(y) + 1 = 2 / (1 + exp(-2y))
        level = tl.floor(tl.minimum(tl.maximum(level, 0), 255) + 0.5)
        tl.store(out + row * out_row_stride + column * 3 + colour, level.to(tl.uint8), mask=column < width)


@triton.jit
def _store_moments(value, inside, partial, parts):
    count = tl.sum(inside.to(tl.float32))
    mean = tl.sum(tl.where(inside, value, 0)) / count
    off = tl.where(inside, value - mean, 0)
    tl.store(partial, count)
    tl.store(partial + parts, mean)
    tl.store(partial + 2 * parts, tl.sum(off * off))
