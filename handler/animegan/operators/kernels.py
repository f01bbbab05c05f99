"""The Triton form of the operators (see `operators`), for CUDA. Needs Triton, which PyTorch brings with CUDA on Linux.

Every kernel works on tiles of neighbouring pixels by all their channels, so that what a thread reads and writes is 16
bytes of consecutive channels. Sums are made in one order whatever runs first: the same map gives the same bits.
Geometry is not specialised on: a new size of picture compiles nothing anew.
"""

# Triton has no types, and its compiler gives a kernel's arguments theirs.
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from animegan.operators.passes import Norm, Upsampling, Window
from animegan.operators.plain import EPS, window_like


class Launch(NamedTuple):
    """How an operator's programs are cut: elements of a tile, warps of a program, rows of output of one program."""

    tile: int = 4096  # 32 elements a thread, four loads of 16 bytes in flight in fp16, and registers for the statistics
    warps: int = 4
    rows: int = 1


# What `benchmarks.gpu.gpu_tuning` sweeps: its `best` has the same names.
LAUNCHES = {
    "moments": Launch(),
    "norm_act_pad": Launch(),
    "upsample_pad": Launch(rows=4),  # a program keeps the rows between which it interpolates
}

_PARTS = 4096  # of a picture's statistics at most: many times what runs at once, and still merged in one go
_MERGE_WARPS = 16

_EPS = tl.constexpr(EPS)

# Sizes and places, which differ from picture to picture and band to band. Strides and channels are specialised on:
# that they divide by 16 is what makes wide reads and writes of them.
_GEOMETRY = (
    *("parts", "blocks", "first_row", "height", "width", "out_height", "out_width"),
    *("top", "bottom", "left", "right"),
)
_kernel = triton.jit(do_not_specialize=_GEOMETRY)


def moments(x: Tensor) -> Tensor:
    """See `plain.plain_moments`. A pass over the map in parts, each of which leaves count, mean and squares."""
    x, launch = _channels_last(x), LAUNCHES["moments"]
    pictures, channels, height, width = x.shape
    pixels, lanes = _tile(channels, launch)
    blocks = triton.cdiv(width, pixels)
    parts = min(blocks * height, _PARTS)
    partial = torch.empty((pictures, 3, parts), dtype=torch.float32, device=x.device)
    out = torch.empty((pictures, 2), dtype=torch.float64, device=x.device)
    with torch.cuda.device_of(x):
        _partial_moments[(parts, pictures)](
            x, *_strides(x), partial, parts, channels, height, width, blocks, pixels, lanes, num_warps=launch.warps
        )
        _merged_moments[(pictures,)](partial, out, parts, _PARTS, num_warps=_MERGE_WARPS)
    return out


def norm_act_pad(
    x: Tensor, norm: Norm, residual: Tensor | None, window: Window, *, out: Tensor | None = None
) -> Tensor:
    """See `plain.plain_norm_act_pad`. One program a tile of the window, which it reads before it writes."""
    rows, columns = window.size
    launch = LAUNCHES["norm_act_pad"]
    x, residual = _channels_last(x), None if residual is None else _channels_last(residual)
    out = window_like(x, rows, columns) if out is None else out
    pixels, lanes = _tile(x.shape[1], launch)
    blocks = triton.cdiv(columns, pixels)
    with torch.cuda.device_of(x):
        _norm_act_pad[(blocks * rows, x.shape[0])](
            x, *_strides(x), *norm,
            residual, *_strides(x if residual is None else residual),
            out, *_strides(out), x.shape[1],
            window.first_row, window.height, x.shape[3], window.top, window.left, columns, blocks,
            pixels, lanes, num_warps=launch.warps,
        )  # fmt: skip
    return out


def upsample_pad(x: Tensor, norm: Norm, upsampling: Upsampling, window: Window, *, out: Tensor | None = None) -> Tensor:
    """See `plain.plain_upsample_pad`. One program some rows of tiles of the window."""
    rows, columns = window.size
    x, launch = _channels_last(x), LAUNCHES["upsample_pad"]
    out = window_like(x, rows, columns) if out is None else out
    pixels, lanes = _tile(x.shape[1], launch)
    blocks = triton.cdiv(columns, pixels)
    with torch.cuda.device_of(x):
        _upsample_pad[(blocks * triton.cdiv(rows, launch.rows), x.shape[0])](
            x, *_strides(x), *norm,
            out, *_strides(out), x.shape[1],
            window.first_row, window.height, x.shape[3], upsampling.height, upsampling.width,
            window.top, window.bottom, window.left, window.right, blocks,
            upsampling.asymmetric, launch.rows, pixels, lanes, num_warps=launch.warps,
        )  # fmt: skip
    return out


def _tile(channels: int, launch: Launch) -> tuple[int, int]:
    """Pixels and channels of a tile, powers of two."""
    lanes: int = triton.next_power_of_2(channels)
    return max(1, launch.tile // lanes), lanes


def _channels_last(x: Tensor) -> Tensor:
    """Return the map channels-last, as the kernels read it; a convolution may leave it in another order."""
    return x if x.stride(1) == 1 else x.contiguous(memory_format=torch.channels_last)


def _strides(x: Tensor) -> tuple[int, int, int]:
    """From picture to picture, row to row, column to column, in elements; from channel to channel it is 1."""
    return x.stride(0), x.stride(2), x.stride(3)


@_kernel
def _partial_moments(
    x, picture_stride, row_stride, column_stride, partial, parts, channels, height, width, blocks,
    pixels: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    """Welford's update in each place of the tile, over every `parts`-th tile; then the places are merged."""
    part, picture = tl.program_id(0), tl.program_id(1)
    lane = tl.arange(0, lanes)[None, :]
    count = tl.full((pixels, 1), 0, tl.float32)
    mean = tl.full((pixels, lanes), 0, tl.float32)
    squares = tl.full((pixels, lanes), 0, tl.float32)
    for tile in range(part, blocks * height, parts):
        row = tile // blocks
        column = _columns(tile - row * blocks, pixels)
        inside = (column < width) & (lane < channels)
        place = _place(picture, row, column, picture_stride, row_stride, column_stride)
        value = tl.load(x + place + lane, mask=inside, other=0).to(tl.float32)
        count += (column < width).to(tl.float32)
        off = tl.where(inside, value - mean, 0)
        mean += off * (1 / tl.maximum(count, 1))
        squares += off * (value - mean)
    count, mean, squares = merge(tl.where(lane < channels, count, 0), mean, squares)
    here = partial + picture * 3 * parts + part
    tl.store(here, count)
    tl.store(here + parts, mean)
    tl.store(here + 2 * parts, squares)


@_kernel
def _merged_moments(partial, out, parts, most: tl.constexpr):
    picture, part = tl.program_id(0), tl.arange(0, most)
    here, inside = partial + picture * 3 * parts + part, part < parts
    count = tl.load(here, mask=inside, other=0).to(tl.float64)
    mean = tl.load(here + parts, mask=inside, other=0).to(tl.float64)
    squares = tl.load(here + 2 * parts, mask=inside, other=0).to(tl.float64)
    count, mean, squares = merge(count, mean, squares)
    tl.store(out + 2 * picture, mean)
    tl.store(out + 2 * picture + 1, squares / count)


@_kernel
def _norm_act_pad(
    x, picture_stride, row_stride, column_stride, moments, weight, bias, slope,
    residual, residual_picture_stride, residual_row_stride, residual_column_stride,
    out, out_picture_stride, out_row_stride, out_column_stride, channels,
    first_row, height, width, top, left, out_width, blocks,
    pixels: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    tile, picture = tl.program_id(0), tl.program_id(1)
    row = tile // blocks
    column = _columns(tile - row * blocks, pixels)
    lane = tl.arange(0, lanes)[None, :]
    inside = (column < out_width) & (lane < channels)
    scale, shift = affine(moments, weight, bias, picture, lane, channels)

    from_row, from_column = reflect(top + row, height) - first_row, reflect(left + column, width)
    place = _place(picture, from_row, from_column, picture_stride, row_stride, column_stride)
    value = _activated(x + place + lane, inside, scale, shift, slope)
    if residual is not None:
        strides = residual_picture_stride, residual_row_stride, residual_column_stride
        place = _place(picture, from_row, from_column, *strides)
        value += tl.load(residual + place + lane, mask=inside).to(tl.float32)
    place = _place(picture, row, column, out_picture_stride, out_row_stride, out_column_stride)
    tl.store(out + place + lane, value, mask=inside)


@_kernel
def _upsample_pad(
    x, picture_stride, row_stride, column_stride, moments, weight, bias, slope,
    out, out_picture_stride, out_row_stride, out_column_stride, channels,
    first_row, height, width, out_height, out_width, top, bottom, left, right, blocks,
    asymmetric: tl.constexpr, rows: tl.constexpr, pixels: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    tile, picture = tl.program_id(0), tl.program_id(1)
    strip = tile // blocks
    column = _columns(tile - strip * blocks, pixels)
    lane = tl.arange(0, lanes)[None, :]
    inside = (column < right - left) & (lane < channels)
    scale, shift = affine(moments, weight, bias, picture, lane, channels)

    before, after, across = _between(reflect(left + column, out_width), width, out_width, asymmetric)
    here = x + lane + _place(picture, -first_row, 0, picture_stride, row_stride, column_stride)
    before, after = here + before * column_stride, here + after * column_stride
    above_row = tl.full((), -2, tl.int64)  # the row that `above` holds; `below` holds the next
    above = tl.full((pixels, lanes), 0, tl.float32)
    below = tl.full((pixels, lanes), 0, tl.float32)
    for row in range(strip * rows, tl.minimum(strip * rows + rows, bottom - top)):
        first, second, down = _between(reflect(top + row, out_height), height, out_height, asymmetric)
        if first != above_row:
            if first == above_row + 1:
                above = below
            else:
                place = first * row_stride
                above = _activated(before + place, inside, scale, shift, slope)
                above += (_activated(after + place, inside, scale, shift, slope) - above) * across
            place = second * row_stride
            below = _activated(before + place, inside, scale, shift, slope)
            below += (_activated(after + place, inside, scale, shift, slope) - below) * across
            above_row = first
        place = _place(picture, row, column, out_picture_stride, out_row_stride, out_column_stride)
        tl.store(out + place + lane, above + (below - above) * down, mask=inside)


@triton.jit
def _columns(block, pixels: tl.constexpr):
    return (block * pixels + tl.arange(0, pixels))[:, None]


@triton.jit
def _place(picture, row, column, picture_stride, row_stride, column_stride):
    """Offset of the pixels' first channel. In 64 bits: 8192×8192 pixels by 64 channels are more than 32 hold."""
    pixel = tl.cast(picture, tl.int64) * picture_stride + tl.cast(row, tl.int64) * row_stride
    return pixel + tl.cast(column, tl.int64) * column_stride


@triton.jit
def affine(moments, weight, bias, picture, lane, channels):
    mean = tl.load(moments + 2 * picture).to(tl.float32)
    variance = tl.load(moments + 2 * picture + 1) + _EPS
    scale = tl.load(weight + lane, mask=lane < channels) * tl.rsqrt(variance.to(tl.float32))
    return scale, tl.load(bias + lane, mask=lane < channels) - mean * scale


@triton.jit
def _activated(pointers, inside, scale, shift, slope):
    wide = tl.load(pointers, mask=inside).to(tl.float32) * scale + shift
    return tl.maximum(wide, wide * slope)  # as a slope is at most 1


@triton.jit
def reflect(index, size):
    index = tl.abs(index)
    return tl.where(index < size, index, 2 * (size - 1) - index)


@triton.jit
def _between(index, size, out_size, asymmetric: tl.constexpr):
    """See `plain._between`."""
    span = size if asymmetric else size - 1
    steps = out_size if asymmetric else tl.maximum(out_size - 1, 1)
    place = tl.cast(index, tl.int64) * span
    first = place // steps
    return first, tl.minimum(first + 1, size - 1), (place - first * steps).to(tl.float32) / steps.to(tl.float32)


@triton.jit
def merge(count, mean, squares):
    """One count, mean and sum of squares about it, of many: see `plain.plain_moments`."""
    total = tl.sum(count)
    centre = tl.sum(count * mean) / total
    return total, centre, tl.sum(squares + count * (mean - centre) * (mean - centre))
