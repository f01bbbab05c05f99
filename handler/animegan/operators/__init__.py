"""The passes between the convolutions, as operators `torch.ops.animegan.*` that a traced generator carries by name.

`moments` reads a map once; `norm_act_pad` and `upsample_pad` write what the next convolution reads, in one pass over
memory where stock PyTorch makes four. Each has three forms that are held to the same reference: plain PyTorch (`plain`,
anywhere), compiled C++ (`native`, on a CPU) and Triton (`kernels`, on a GPU).

Maps are (N, C, H, W), channels-last. A *window* is what is wanted of a map (`passes.Window`); it may reach beyond the
map's edges, where it is reflected. A band of a map, not all of it, may be given.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.library import Library

from animegan.operators import native, plain, plain_convolutions
from animegan.operators.passes import Norm, Upsampling, Window

logger = logging.getLogger(__name__)


class Form(NamedTuple):
    """The operators in one form: see `plain`. The last two write into a tensor `out` where one is given."""

    moments: Callable[..., Tensor]
    norm_act_pad: Callable[..., Tensor]
    upsample_pad: Callable[..., Tensor]


@functools.cache
def form(device: torch.device) -> Form:
    """Return what runs the operators on that device, decided at the first call."""
    if device.type == "cuda" and (triton := _triton(device)):
        return triton
    if device.type == "cpu" and (compiled := native.best()):
        return Form(compiled.moments, compiled.norm_act_pad, compiled.upsample_pad)
    return Form(plain.plain_moments, plain.plain_norm_act_pad, plain.plain_upsample_pad)


class Convolutions(NamedTuple):
    """Convolutions in one form, see `plain_convolutions`.

    A map may be cut into bands whose first rows are multiples of `alignment`: every pixel is the same. An input has at
    least `least_channels` channels. `packer()` returns what packs the filters of one network.
    """

    packer: Callable[[], Callable[..., Any]]
    conv: Callable[..., Any]
    scratch_bytes: Callable[..., int]
    alignment: int
    least_channels: int


@functools.cache
def convolutions(device: torch.device, dtype: torch.dtype) -> Convolutions:
    """Return what runs convolutions of that dtype on that device, decided at the first call."""
    if device.type == "cpu" and (compiled := native.best()) and dtype in compiled.convolutions.dtypes:
        filters = compiled.convolutions
        return Convolutions(
            filters.packer,
            filters.conv,
            lambda *_, **__: filters.scratch_bytes(torch.get_num_threads()),
            filters.align,
            plain_convolutions.LEAST_CHANNELS,
        )
    form: ModuleType = plain_convolutions
    if device.type == "cuda" and dtype != torch.float32 and _triton(device):
        from animegan.operators import triton_convolutions as form  # noqa: PLC0415 - Triton comes with PyTorch for CUDA alone
    return Convolutions(lambda: form.pack, form.conv, form.scratch_bytes, form.ALIGNMENT, form.LEAST_CHANNELS)


def _triton(device: torch.device) -> Form | None:
    try:
        from animegan.operators import kernels  # noqa: PLC0415 - Triton comes with PyTorch for CUDA alone

        kernels.moments(torch.zeros(1, 32, 1, 1, device=device))  # what Triton launches with is built now, or never
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - no Triton, no C compiler, no headers of Python, a GPU it doesn't know
        logger.warning("Triton does not run here (%s): the fused operators run in plain PyTorch, slower.", error)
        return None
    return Form(kernels.moments, kernels.norm_act_pad, kernels.upsample_pad)


def _moments(x: Tensor) -> Tensor:
    return form(x.device).moments(x)


def _norm_act_pad(
    x: Tensor, moments: Tensor, weight: Tensor, bias: Tensor, slope: float, residual: Tensor | None, window: list[int]
) -> Tensor:
    return form(x.device).norm_act_pad(x, Norm(moments, weight, bias, slope), residual, Window(*window))


def _upsample_pad(
    x: Tensor, moments: Tensor, weight: Tensor, bias: Tensor, slope: float, upsampling: list[int], window: list[int]
) -> Tensor:
    height, width, asymmetric = upsampling
    norm = Norm(moments, weight, bias, slope)
    return form(x.device).upsample_pad(x, norm, Upsampling(height, width, bool(asymmetric)), Window(*window))


_NORM = "Tensor moments, Tensor weight, Tensor bias, float slope"  # and lists in the order of `passes`
_OPERATORS = {
    "moments(Tensor x) -> Tensor": _moments,
    f"norm_act_pad(Tensor x, {_NORM}, Tensor? residual, int[] window) -> Tensor": _norm_act_pad,
    f"upsample_pad(Tensor x, {_NORM}, int[] upsampling, int[] window) -> Tensor": _upsample_pad,
}
_library = Library("animegan", "DEF")  # type: ignore[no-untyped-call]  # the operators live as long as it
for _schema, _operator in _OPERATORS.items():
    _library.define(_schema)  # type: ignore[no-untyped-call]
    for _key in ("CPU", "CUDA"):
        _library.impl(_schema.partition("(")[0], _operator, _key)  # type: ignore[no-untyped-call]
