"""The operators compiled for the CPU: `operators.cpp`, built once for each vector width, through ctypes.

The libraries lie beside this file where `animegan compile` built them; without one, the plain form does the work.
They run on the threads of PyTorch's own OpenMP pool, as many as `torch.get_num_threads()`.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
from collections.abc import Callable
from ctypes import POINTER, Structure, c_double, c_float, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from animegan.errors import InternalError
from animegan.operators.native import convolutions
from animegan.operators.native.convolutions import DTYPES, Convolutions
from animegan.operators.passes import Norm, Upsampling, Window
from animegan.operators.plain import EPS, plain_moments, plain_norm_act_pad, plain_upsample_pad, window_like

FOLDER = Path(__file__).resolve().parent
AVX2 = {"avx2", "fma"}
AVX512 = {*AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl"}
FORMS = {  # fastest first; what /proc/cpuinfo lists of a CPU that can run it
    "amx": {*AVX512, "avx512_bf16", "amx_tile", "amx_bf16"},
    "avx512bf16": {*AVX512, "avx512_bf16"},
    "avx512": AVX512,
    "avx2": AVX2,
    "plain": set(),
}


class _Map(Structure):
    _fields_ = (
        *(("bf16", c_int64), ("data", c_void_p)),
        *((name, c_int64) for name in ("pictures", "channels", "rows", "columns", "picture", "row")),
    )


class _Norm(Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("moments", "weight", "bias", "table")),
        *(("slope", c_float), ("eps", c_double)),
    )


class _Window(Structure):
    _fields_ = tuple((name, c_int64) for name in Window._fields)


class _Upsampling(Structure):
    _fields_ = tuple((name, c_int64) for name in Upsampling._fields)


_FUNCTIONS = {  # arguments, of which the last is the number of threads; then what is returned
    "animegan_moments": ([POINTER(_Map), *[c_void_p] * 2, c_int64], None),
    "animegan_norm_act_pad": ([*[POINTER(_Map)] * 3, POINTER(_Norm), POINTER(_Window), c_int64], c_int),
    "animegan_upsample_pad": (
        [*[POINTER(_Map)] * 2, POINTER(_Norm), POINTER(_Upsampling), POINTER(_Window), c_int64],
        c_int,
    ),
    "animegan_read_table": ([c_void_p, c_int64, *[c_void_p, c_int64, c_int64] * 2, c_int64], None),
    **convolutions.FUNCTIONS,
    "animegan_start": ([], c_int),
}

logger = logging.getLogger(__name__)


class Native:
    """One form of the operators, for inference. What it does not take (dtypes, strides) it leaves to the plain form.

    `out` may be x or the residual, where the window is those pixels themselves.
    """

    def __init__(self, form: str, library: ctypes.CDLL) -> None:
        self.form = form
        self.convolutions = Convolutions(library)
        self._library = library

    def moments(self, x: Tensor) -> Tensor:
        """As `plain.plain_moments`."""
        if not _takes(x):
            return plain_moments(x)
        out = torch.empty(x.shape[0], 2, dtype=torch.float64)
        parts = torch.empty(x.shape[0], x.shape[2], 3, dtype=torch.float64)
        self._library.animegan_moments(_map(x), parts.data_ptr(), out.data_ptr(), torch.get_num_threads())
        return out

    def norm_act_pad(
        self, x: Tensor, norm: Norm, residual: Tensor | None, window: Window, *, out: Tensor | None = None
    ) -> Tensor:
        """As `plain.plain_norm_act_pad`."""
        target = self._target(x, norm, window, out)
        if target is not None and (residual is None or _takes(residual, like=x)):
            added = None if residual is None else _map(residual)
            if self._run(self._library.animegan_norm_act_pad, norm, _map(x), added, _map(target), window=window):
                return target
        return plain_norm_act_pad(x, norm, residual, window, out=out)

    def upsample_pad(
        self, x: Tensor, norm: Norm, upsampling: Upsampling, window: Window, *, out: Tensor | None = None
    ) -> Tensor:
        """As `plain.plain_upsample_pad`."""
        target = self._target(x, norm, window, out)
        if target is not None:
            more = _Upsampling(*upsampling)
            if self._run(self._library.animegan_upsample_pad, norm, _map(x), _map(target), window=window, more=more):
                return target
        return plain_upsample_pad(x, norm, upsampling, window, out=out)

    def read_table(self, values: Tensor, planes: int, picture: Tensor) -> Tensor:
        """Return what a table says of each colour of (3, H, W), fp32 in 0..1: (planes, H, W).

        `values`: (side, side, side, 4) along blue, green, red; up to four planes. Between them the eight nearest are
        mixed (trilinear). Raises `InternalError` for another dtype.
        """
        if picture.dtype != torch.float32:
            raise InternalError(f"A compiled table is read at fp32 colours, not {picture.dtype}.")
        _, height, width = picture.shape
        colors = picture if picture.stride()[1:] == (width, 1) else picture.contiguous()
        out = colors.new_empty(planes, height, width)
        self._library.animegan_read_table(
            values.data_ptr(), len(values), colors.data_ptr(), colors.stride(0), height * width,
            out.data_ptr(), out.stride(0), planes, torch.get_num_threads(),
        )  # fmt: skip
        return out

    def _target(self, x: Tensor, norm: Norm, window: Window, out: Tensor | None) -> Tensor | None:
        """Return what to write into: `out` if it is there; None where the library does not take x, the norm or it."""
        if not (_takes(x) and _is_norm_of(x, norm)):
            return None
        target = window_like(x, *window.size) if out is None else out
        return target if _takes(target, like=x, size=window.size) else None

    def _run(
        self,
        function: Callable[..., int],
        norm: Norm,
        *maps: _Map | None,
        window: Window,
        more: _Upsampling | None = None,
    ) -> bool:
        """Return whether the function wrote the window: it does not where it lacks rows or columns."""
        parts = [part.to("cpu", torch.float64).contiguous() for part in norm[:3]]
        table = torch.empty(2, norm.moments.shape[0], norm.weight.shape[0])
        read = _Norm(*(part.data_ptr() for part in (*parts, table)), norm.slope, EPS)
        values = (read, *([] if more is None else [more]), _Window(*window))
        return not function(*maps, *values, torch.get_num_threads())


def forms() -> list[str]:
    """The forms that are built and run here, fastest first."""
    return [form for form in FORMS if _library(FOLDER, form) is not None]


def load(form: str) -> Native:
    """One of `forms()`. Raises `InternalError` for another."""
    library = _library(FOLDER, form) if form in FORMS else None
    if library is None:
        raise InternalError(f"The operators are not compiled in the form {form!r} here, but in {forms()}.")
    return Native(form, library)


def best() -> Native | None:
    """The fastest form that runs here, if any."""
    libraries = ((form, _library(FOLDER, form)) for form in FORMS)
    return next((Native(form, library) for form, library in libraries if library), None)


@cache
def _library(folder: Path, form: str) -> ctypes.CDLL | None:
    """The form's library; None if it is not there, not for this CPU, or unusable, which the log tells."""
    file = folder / f"liboperators-{form}.so"
    if not file.is_file() or not FORMS[form] <= _cpu_flags():
        return None
    try:
        if _digest(folder).encode() not in file.read_bytes():  # its functions may take other arguments
            raise OSError("it was built from other sources")
        library = ctypes.CDLL(str(file))
        for name, (arguments, returned) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, returned
        if library.animegan_start():
            raise OSError("the kernel does not let its instructions run")
    except (OSError, AttributeError) as error:
        logger.warning("%s is left out: %s", file, error)
        return None
    return library


def _digest(folder: Path) -> str:
    """Of the sources there, as `animegan compile` takes it."""
    sources = sorted([*folder.glob("*.cpp"), *folder.glob("*.h")])
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


@cache
def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def _takes(x: Tensor, like: Tensor | None = None, size: tuple[int, int] | None = None) -> bool:
    """Return whether the compiled form reads x as it lies, and x has the dtype and shape (or `size`) of `like`."""
    if like is not None and (x.dtype != like.dtype or x.shape != (*like.shape[:2], *(size or like.shape[2:]))):
        return False
    return (
        x.dtype in DTYPES
        and x.device.type == "cpu"
        and x.dim() == 4
        and x.numel() > 0
        and (x.stride(1) == 1 or x.shape[1] == 1)
        and (x.stride(3) == x.shape[1] or x.shape[3] == 1)
    )


def _is_norm_of(x: Tensor, norm: Norm) -> bool:
    channels = x.shape[1:2]
    return norm.moments.shape == (x.shape[0], 2) and norm.weight.shape == channels and norm.bias.shape == channels


def _map(x: Tensor) -> _Map:
    return _Map(DTYPES[x.dtype], x.data_ptr(), *x.shape, x.stride(0), x.stride(2))
