"""Convolutions on the CPU, in fp32 or bf16.

In fp32 by Winograd's minimal filtering (`filtering.h`) or as they are defined (`direct.h`), in bf16 as they are defined
(`direct16.h`), in both a channel alone (`depthwise.h`).
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable
from ctypes import POINTER, Structure, byref, c_float, c_int, c_int64, c_void_p
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from animegan.errors import InternalError
from animegan.resources.pages import Pool

FILTERED_SIDES = (2, 3, 7)
DTYPES = {torch.float32: 0, torch.bfloat16: 1}  # of maps, and how the library names them
FEWEST_FILTERED = 16  # channels in: with fewer, the transforms cost more than the multiplications that they save


class Kind(IntEnum):
    """How a convolution is computed."""

    FILTERING = 0
    DIRECT = 1
    DEPTHWISE = 2


class _Filters(Structure):
    _fields_ = (
        *((name, c_int64) for name in ("bf16", "kind", "side", "stride", "channels_in", "channels")),
        ("packed", c_void_p),
    )


class _Pixels(Structure):
    _fields_ = (("data", c_void_p), ("row", c_int64), ("pixel", c_int64))


class _Source(Structure):
    _fields_ = (("x", _Pixels), *((name, c_int64) for name in ("rows", "columns", "above", "left")))


class _Target(Structure):
    _fields_ = (("out", _Pixels), ("rows", c_int64), ("columns", c_int64))


class _Finish(Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("bias", "slopes")),
        *((name, _Pixels) for name in ("residual", "residual2")),
        *((name, c_float) for name in ("slope", "alpha", "beta", "gamma")),
    )


class _Convolution(Structure):
    _fields_ = (("filters", _Filters), ("source", _Source), ("target", _Target), ("finish", _Finish))


FUNCTIONS = {  # arguments, then what is returned
    "animegan_convolves_bf16": ([], c_int),
    "animegan_packed_bytes": ([POINTER(_Filters)], c_int64),
    "animegan_pack": ([POINTER(_Filters), *[c_void_p] * 2], None),
    "animegan_scratch_bytes": ([], c_int64),
    "animegan_conv_blocks": ([POINTER(_Convolution)], c_int64),
    "animegan_conv": ([POINTER(_Convolution), *[c_void_p] * 3, c_int64], None),
}

_held = threading.local()


def kind_of(
    channels_in: int, side: int, stride: int = 1, groups: int = 1, dtype: torch.dtype = torch.float32
) -> Kind | None:
    """Return how a convolution of `channels_in` channels is computed; None for groups of several channels."""
    if groups > 1:
        return Kind.DEPTHWISE if groups == channels_in else None
    filterable = dtype == torch.float32 and stride == 1 and side in FILTERED_SIDES
    filtered = filterable and channels_in >= FEWEST_FILTERED
    return Kind.FILTERING if filtered else Kind.DIRECT


class Packed(NamedTuple):
    """A convolution's filters as the library reads them."""

    memory: Tensor
    dtype: torch.dtype
    kind: Kind
    side: int
    stride: int
    channels_in: int
    channels: int


class Convolutions:
    """The convolutions of one library. A map's rows that are `align` apart may be computed in different calls.

    The same values come of it, to the bit, whatever the number of threads and the split of the rows.
    """

    align = 4

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._scratch_bytes: int = library.animegan_scratch_bytes()
        self.dtypes = frozenset(DTYPES if library.animegan_convolves_bf16() else {torch.float32})  # that are fast

    def packer(self) -> Callable[..., Packed]:
        """Return `pack` for the filters of one network, which lie side by side."""
        return functools.partial(self.pack, pool=Pool())

    def pack(self, weight: Tensor, stride: int = 1, groups: int = 1, pool: Pool | None = None) -> Packed:
        """Pack filters (channels, channels in / groups, side, side) on the CPU, for maps of their dtype: fp32 or bf16.

        `pool`: of the network that they belong to. Raise `InternalError` for other filters, and for groups of several
        channels.
        """
        channels, of_a_group, side, across = weight.shape
        channels_in = of_a_group * groups
        kind = kind_of(channels_in, side, stride, groups, weight.dtype)
        depthwise = groups > 1 and (channels != groups or of_a_group != 1)
        if kind is None or depthwise or side != across or weight.dtype not in DTYPES or weight.device.type != "cpu":
            raise InternalError(
                f"The compiled convolutions take square filters of fp32 or bf16 on the CPU, in one group or one a"
                f" channel, not {weight.dtype} {tuple(weight.shape)} in {groups} groups on {weight.device}."
            )
        filters = _Filters(DTYPES[weight.dtype], kind, side, stride, channels_in, channels, None)
        size: int = self._library.animegan_packed_bytes(byref(filters))
        memory = pool.zeros(size) if pool else torch.zeros(size, dtype=torch.uint8)
        values = weight.float().contiguous()
        self._library.animegan_pack(byref(filters), values.data_ptr(), memory.data_ptr())
        return Packed(memory, weight.dtype, kind, side, stride, channels_in, channels)

    def conv(
        self,
        x: Tensor,
        packed: Packed,
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
        moments: bool = False,
    ) -> Tensor | None:
        """Convolve as `plain_convolutions.conv`, with the stride and the dtype that the filters were packed for.

        Bias and slopes are fp32. In bf16 nothing is rounded before the output.

        With `moments`, return mean and variance of what is written, (1, 2) float64; its pixels must lie side by side.

        Raise `InternalError` for maps and parameters of other shapes, dtypes or strides. Where values are not finite in
        PyTorch, they are not finite here, and nor may be others of the same 4×4 outputs.
        """
        slopes = slope if isinstance(slope, Tensor) else None
        _, height, width = out.shape
        like = (packed.channels, height, width)
        convolution = _Convolution(
            _Filters(DTYPES[packed.dtype], *packed[2:], packed.memory.data_ptr()),
            _Source(_pixels(x, (packed.channels_in, *x.shape[1:]), packed.dtype), *x.shape[1:], *before),
            _Target(_pixels(out, like, packed.dtype), height, width),
            _Finish(
                _parameter(bias, packed.channels), _parameter(slopes, packed.channels),
                _pixels(residual, like, packed.dtype), _pixels(residual2, like, packed.dtype),
                1.0 if slopes is not None else slope, alpha, beta, gamma,
            ),
        )  # fmt: skip
        blocks = self._library.animegan_conv_blocks(byref(convolution))
        if not blocks:
            raise InternalError(f"The compiled convolutions do not take {packed.channels_in} channels at a time.")
        if moments and out.stride(2) != packed.channels:
            raise InternalError("Moments are taken of pixels that lie side by side.")
        threads = torch.get_num_threads()
        scratch, parts, total = self._scratch(threads), None, None
        if moments:
            parts, total = (torch.empty(count, dtype=torch.float64) for count in ((blocks, 3), (1, 2)))
        self._library.animegan_conv(
            byref(convolution), scratch.data_ptr(), *(x if x is None else x.data_ptr() for x in (parts, total)), threads
        )
        return total

    def scratch_bytes(self, threads: int) -> int:
        """Return the memory that every thread of Python which calls `conv` holds, for so many threads of PyTorch's."""
        return threads * self._scratch_bytes

    def _scratch(self, threads: int) -> Tensor:
        size = self.scratch_bytes(threads)
        scratch: Tensor | None = getattr(_held, "scratch", None)
        if scratch is None or scratch.shape[0] < size:
            scratch = _held.scratch = torch.empty(size, dtype=torch.uint8)
        return scratch


def _pixels(x: Tensor | None, shape: tuple[int, ...], dtype: torch.dtype) -> _Pixels:
    if x is None:
        return _Pixels()
    down, across = x.stride()[1:]
    if x.dtype != dtype or x.device.type != "cpu" or x.shape != shape or (x.stride(0) != 1 and shape[0] > 1):
        raise InternalError(
            f"The compiled convolutions take {dtype} maps {shape} with channels last, on the CPU, not {x.dtype}"
            f" {tuple(x.shape)} with strides {x.stride()} on {x.device}."
        )
    return _Pixels(x.data_ptr(), down, across)


def _parameter(x: Tensor | None, channels: int) -> int | None:
    if x is None:
        return None
    if x.dtype != torch.float32 or x.device.type != "cpu" or x.shape != (channels,) or not x.is_contiguous():
        raise InternalError(
            f"The compiled convolutions take {channels} fp32 parameters on the CPU, not {x.dtype} {tuple(x.shape)}."
        )
    return x.data_ptr()
