"""Convolutions of stride 1 in fp32 on the CPU, of side 2, 3 or 7, by Winograd's minimal filtering: `convolution.h`."""

from __future__ import annotations

import ctypes
import threading
from ctypes import c_float, c_int, c_int64, c_void_p
from typing import NamedTuple

import torch
from torch import Tensor

from animegan.errors import InternalError

SIDES = (2, 3, 7)  # of the filters

_PIXELS = [c_void_p, *[c_int64] * 2]  # with the strides of rows and columns
_FILTERS = [*[c_int64] * 3]  # side, channels in, channels
FUNCTIONS = {  # arguments, then what is returned
    "animegan_packed_floats": ([*_FILTERS], c_int64),
    "animegan_pack": ([*_FILTERS, *[c_void_p] * 2], c_int),
    "animegan_scratch_bytes": ([], c_int64),
    "animegan_conv": (
        [
            *(*_FILTERS, c_void_p),
            *(*_PIXELS, *[c_int64] * 4),  # x, its rows and columns, before
            *(*_PIXELS, *[c_int64] * 2),  # out, its rows and columns
            *(c_void_p, c_void_p, *_PIXELS, *_PIXELS, *[c_float] * 4),  # what follows the convolution
            *(c_void_p, c_int64),  # scratch, threads
        ],
        c_int,
    ),
}

_held = threading.local()


class Packed(NamedTuple):
    """A convolution's filters as the library reads them: those transformed, (channels in, channels, side)."""

    weight: Tensor
    channels_in: int
    channels: int
    side: int


class Convolutions:
    """The convolutions of one library. A map's rows that are `align` apart may be computed in different calls.

    The same values come of it, to the bit, whatever the number of threads and the split of the rows.
    """

    align = 4

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._scratch_bytes: int = library.animegan_scratch_bytes()

    def pack(self, weight: Tensor) -> Packed:
        """Pack filters (channels, channels in, side, side), fp32, of a side among `SIDES`; else `InternalError`."""
        channels, channels_in, side, across = weight.shape
        if side not in SIDES or side != across or weight.dtype != torch.float32 or weight.device.type != "cpu":
            raise InternalError(
                f"The compiled convolutions take fp32 filters of sides {SIDES} on the CPU, not {weight.dtype}"
                f" {tuple(weight.shape)} on {weight.device}."
            )
        packed = torch.zeros(self._library.animegan_packed_floats(side, channels_in, channels))
        given = weight.contiguous()
        self._library.animegan_pack(side, channels_in, channels, given.data_ptr(), packed.data_ptr())
        return Packed(packed, channels_in, channels, side)

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
    ) -> None:
        """Convolve as `plain_convolutions.conv`, in fp32.

        Raise `InternalError` for maps and parameters of other shapes, dtypes or strides. Where values are not finite in
        PyTorch, they are not finite here, and nor may be others of the same 4×4 outputs.
        """
        slopes = slope if isinstance(slope, Tensor) else None
        _, height, width = out.shape
        like = (packed.channels, height, width)
        maps = (
            *_pixels(x, (packed.channels_in, *x.shape[1:])), *x.shape[1:], *before, *_pixels(out, like), height, width,
        )  # fmt: skip
        threads = torch.get_num_threads()
        refused = self._library.animegan_conv(
            packed.side, packed.channels_in, packed.channels, packed.weight.data_ptr(), *maps,
            _parameter(bias, packed.channels), _parameter(slopes, packed.channels),
            *_pixels(residual, like), *_pixels(residual2, like),
            1.0 if slopes is not None else slope, alpha, beta, gamma, self._scratch(threads).data_ptr(), threads,
        )  # fmt: skip
        if refused:
            raise InternalError(f"The compiled convolutions do not take {packed.channels_in} channels at a time.")

    def scratch_bytes(self, threads: int) -> int:
        """Return the memory that every thread of Python which calls `conv` holds, for so many threads of PyTorch's."""
        return threads * self._scratch_bytes

    def _scratch(self, threads: int) -> Tensor:
        size = self.scratch_bytes(threads)
        scratch: Tensor | None = getattr(_held, "scratch", None)
        if scratch is None or scratch.shape[0] < size:
            scratch = _held.scratch = torch.empty(size, dtype=torch.uint8)
        return scratch


def _pixels(x: Tensor | None, shape: tuple[int, ...]) -> tuple[int | None, int, int]:
    if x is None:
        return (None, 0, 0)
    down, across = x.stride()[1:]
    if x.dtype != torch.float32 or x.device.type != "cpu" or x.shape != shape or (x.stride(0) != 1 and shape[0] > 1):
        raise InternalError(
            f"The compiled convolutions take fp32 maps {shape} with channels last, on the CPU, not {x.dtype}"
            f" {tuple(x.shape)} with strides {x.stride()} on {x.device}."
        )
    return (x.data_ptr(), down, across)


def _parameter(x: Tensor | None, channels: int) -> int | None:
    if x is None:
        return None
    if x.dtype != torch.float32 or x.device.type != "cpu" or x.shape != (channels,) or not x.is_contiguous():
        raise InternalError(
            f"The compiled convolutions take {channels} fp32 parameters on the CPU, not {x.dtype} {tuple(x.shape)}."
        )
    return x.data_ptr()
