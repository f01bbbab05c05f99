"""Every form of the operators against one reference: stock PyTorch in float64, whole maps from which windows are cut.

The forms are those that this machine runs: plain, Triton, compiled for this CPU, and `torch.ops.animegan` itself.
"""

from __future__ import annotations

import importlib.util
import io
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import animegan.operators  # noqa: F401 - registers torch.ops.animegan
from animegan.operators import native, plain
from animegan.operators.passes import Norm, Upsampling, Window

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
FP32 = torch.finfo(torch.float32).eps
ROUNDINGS = 16  # of fp32, at most, between what is read and what is written; each is of the largest term at most

few = settings(deadline=None, max_examples=12)  # Triton's interpreter takes a second for each


@dataclass(frozen=True)
class Form:
    """The three operators in one form, for tensors on `device`."""

    moments: Callable[..., Tensor]
    norm_act_pad: Callable[..., Tensor]
    upsample_pad: Callable[..., Tensor]
    device: str = "cpu"


def _registered_form(device: str) -> Form:
    """The operators as a script calls them: values as lists."""
    operators = torch.ops.animegan

    def norm_act_pad(x: Tensor, norm: Norm, residual: Tensor | None, window: Window) -> Tensor:
        output: Tensor = operators.norm_act_pad(x, *norm, residual, list(window))
        return output

    def upsample_pad(x: Tensor, norm: Norm, upsampling: Upsampling, window: Window) -> Tensor:
        output: Tensor = operators.upsample_pad(x, *norm, list(map(int, upsampling)), list(window))
        return output

    return Form(operators.moments, norm_act_pad, upsample_pad, device)


def _forms() -> dict[str, Form]:
    def form(of: object, device: str, prefix: str = "") -> Form:
        moments, norm, upsample = (getattr(of, prefix + name) for name in ("moments", "norm_act_pad", "upsample_pad"))
        return Form(moments, norm, upsample, device)

    gpu = "cuda" if torch.cuda.is_available() else "cpu"
    forms = {"plain": form(plain, "cpu", "plain_"), "registered": _registered_form("cpu")}
    if importlib.util.find_spec("triton"):
        forms["triton"] = form(import_module("animegan.operators.kernels"), gpu)
    if gpu == "cuda":
        forms |= {"plain-cuda": form(plain, gpu, "plain_"), "registered-cuda": _registered_form(gpu)}
    return forms | {f"native-{name}": form(native.load(name), "cpu") for name in native.forms()}


FORMS = _forms()


def _each(names: Iterable[str]) -> pytest.MarkDecorator:
    def marks(name: str) -> list[pytest.MarkDecorator]:
        return [pytest.mark.slow] if name == "triton" and FORMS[name].device == "cpu" else []  # its interpreter

    return pytest.mark.parametrize("form", [pytest.param(FORMS[name], id=name, marks=marks(name)) for name in names])


every_form = _each(FORMS)
writing_form = _each(name for name in FORMS if not name.startswith("registered"))  # whose schema has no `out`
triton_form = _each(name for name in FORMS if name == "triton")


class Case:
    """A random map with its norm. It lies in a larger buffer, amid values that are not numbers."""

    def __init__(self, data: st.DataObject, device: str) -> None:
        self._data = data
        self._random = torch.Generator().manual_seed(self.draw(0, 2**32 - 1))
        self.dtype = data.draw(st.sampled_from(DTYPES))
        self.slope = data.draw(st.sampled_from([0.2, 1.0]))
        self.channels = data.draw(st.sampled_from([32, 64, 128, 256, 512, 24]))
        self.height, self.width = self.draw(1, 7), self.draw(1, 40)
        self._frame = [self.draw(0, 2) for _ in range(4)]
        self._shape = (self.draw(1, 3), self.channels, self.height, self.width)
        self._device = device
        self.x = self.map(data.draw(st.sampled_from([0.0, 5.0])), data.draw(st.sampled_from([0.25, 1.0, 4.0])))
        self.residual = self.map(0, 1) if data.draw(st.booleans()) else None
        norm = data.draw(st.sampled_from([torch.float32, self.dtype]))
        self.weight, self.bias = torch.randn(2, self.channels, generator=self._random).to(device, norm)

    def draw(self, least: int, most: int) -> int:
        return self._data.draw(st.integers(least, most))

    def map(self, mean: float, deviation: float) -> Tensor:
        above, below, before, after = self._frame
        pictures, channels, height, width = self._shape
        shape = (pictures, height + above + below, width + before + after, channels)
        buffer = torch.full(shape, torch.nan, dtype=self.dtype, device=self._device).permute(0, 3, 1, 2)
        x = buffer[:, :, above : above + height, before : before + width]
        return x.copy_(torch.randn(self._shape, generator=self._random) * deviation + mean)

    def span(self, size: int) -> tuple[int, int]:
        """Some of an axis that is reflected once at either end."""
        start = self.draw(1 - size, 2 * size - 2)
        return start, self.draw(start + 1, 2 * size - 1)

    def band(self, first: int, last: int) -> slice:
        """Rows of the map, [first, last] among them."""
        return slice(self.draw(0, first), self.draw(last + 1, self.height))

    @property
    def norm(self) -> Norm:
        return Norm(moments_of(self.x), self.weight, self.bias, self.slope)

    @property
    def activation(self) -> Tensor:
        """The whole map behind norm and LeakyReLU: float64."""
        weight, bias = self.weight.double(), self.bias.double()
        return F.leaky_relu(F.group_norm(self.x.double(), 1, weight, bias, eps=1e-5), self.slope)

    @property
    def largest(self) -> float:
        """Return a bound on every term of the arithmetic."""
        mean, variance = self.norm.moments.unbind(dim=1)
        scale = self.weight.abs().max() * torch.rsqrt(variance.min() + 1e-5)
        values = (self.x.double().abs().max() + mean.abs().max()) * scale + self.bias.abs().max()
        return float(values) + (0 if self.residual is None else float(self.residual.abs().max()))


def moments_of(x: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x.double(), dim=(1, 2, 3), correction=0)
    return torch.stack([mean, variance], dim=1)


def mirror(span: tuple[int, int], size: int) -> list[int]:
    return [index if index < size else 2 * (size - 1) - index for index in map(abs, range(*span))]


def cut(whole: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """The window of a map, from all of it with as much reflected around it as there can be."""
    height, width = whole.shape[2:]
    around = F.pad(whole, (width - 1, width - 1, height - 1, height - 1), mode="reflect")
    (top, bottom), (left, right) = rows, columns
    return around[:, :, top + height - 1 : bottom + height - 1, left + width - 1 : right + width - 1]


def agree(out: Tensor, expected: Tensor, case: Case) -> None:
    """That they differ by fp32's rounding and one last place of the dtype: Triton's interpreter truncates to bf16."""
    assert (out.dtype, out.shape) == (case.dtype, expected.shape)
    assert out.is_contiguous(memory_format=torch.channels_last)
    allowed = torch.finfo(out.dtype).eps * expected.abs() + ROUNDINGS * FP32 * case.largest
    assert bool(((out.double() - expected).abs() <= allowed).all())


def agree_on_moments(out: Tensor, x: Tensor) -> None:
    """That means differ by fp32's rounding of the largest value, variances by theirs and that of the mean squared."""
    assert (out.dtype, out.shape) == (torch.float64, (x.shape[0], 2))
    (mean, variance), (true_mean, true_variance) = out.unbind(dim=1), moments_of(x).unbind(dim=1)
    slack = 4 * FP32 * x.double().abs().amax(dim=(1, 2, 3))
    assert bool(((mean - true_mean).abs() <= slack).all())
    assert bool(((variance - true_variance).abs() <= slack.square() + ROUNDINGS * FP32 * true_variance).all())


def test_no_form_is_missing() -> None:
    """Where the wheels for development exist, Triton's is there."""
    assert "triton" in FORMS or (sys.platform, platform.machine()) != ("linux", "x86_64")


@every_form
@few
@given(data=st.data())
def test_norm_act_pad(form: Form, data: st.DataObject) -> None:
    case = Case(data, form.device)
    rows, columns = case.span(case.height), case.span(case.width)
    read = mirror(rows, case.height)
    band = case.band(min(read), max(read))
    residual = None if case.residual is None else case.residual[:, :, band]
    window = Window(band.start, case.height, *rows, *columns)
    out = form.norm_act_pad(case.x[:, :, band], case.norm, residual, window)
    expected = case.activation if case.residual is None else case.activation + case.residual
    agree(out, cut(expected, rows, columns), case)


@every_form
@few
@given(data=st.data())
def test_upsample_pad(form: Form, data: st.DataObject) -> None:
    case = Case(data, form.device)
    height, width = case.draw(case.height, 2 * case.height + 1), case.draw(case.width, 2 * case.width + 1)
    rows, columns = case.span(height), case.span(width)
    asymmetric = data.draw(st.booleans())
    span, steps = (case.height, height) if asymmetric else (case.height - 1, max(height - 1, 1))
    read = [row * span // steps for row in mirror(rows, height)]
    band = case.band(min(read), min(max(read) + 1, case.height - 1))
    window = Window(band.start, case.height, *rows, *columns)
    out = form.upsample_pad(case.x[:, :, band], case.norm, Upsampling(height, width, asymmetric), window)
    agree(out, cut(scaled_up(case.activation, height, width, asymmetric), rows, columns), case)


def scaled_up(whole: Tensor, height: int, width: int, asymmetric: bool) -> Tensor:
    if not asymmetric:
        return F.interpolate(whole, (height, width), mode="bilinear", align_corners=True)
    for axis, size in ((2, height), (3, width)):
        place = torch.arange(size, device=whole.device, dtype=torch.float64) * whole.shape[axis] / size
        near, last = place.long(), whole.shape[axis] - 1
        share = (place - near).view(-1, *[1] * (3 - axis))
        whole = torch.lerp(whole.index_select(axis, near), whole.index_select(axis, (near + 1).clamp(max=last)), share)
    return whole


@writing_form
@few
@given(data=st.data())
def test_norm_act_pad_over_its_residual(form: Form, data: st.DataObject) -> None:
    case = Case(data, form.device)
    residual, first = case.map(0, 1), case.draw(0, case.height - 1)
    before, norm = residual.clone(), case.norm
    window = Window(0, case.height, first, case.draw(first + 1, case.height), 0, case.width)
    over = slice(first, window.bottom)
    out = residual[:, :, over]
    expected = form.norm_act_pad(case.x, norm, residual, window)
    assert form.norm_act_pad(case.x, norm, residual, window, out=out).data_ptr() == out.data_ptr()
    assert torch.equal(out, expected)
    before[:, :, over] = expected
    assert torch.equal(residual, before)


@writing_form
@few
@given(data=st.data())
def test_upsample_pad_into_part_of_a_map(form: Form, data: st.DataObject) -> None:
    case = Case(data, form.device)
    whole = case.map(0, 1)
    before = whole.clone()
    first, left = case.draw(0, case.height - 1), case.draw(0, case.width - 1)
    rows, columns = slice(first, case.draw(first + 1, case.height)), slice(left, case.draw(left + 1, case.width))
    same = Upsampling(case.height, case.width, data.draw(st.booleans()))
    window = Window(0, case.height, rows.start, rows.stop, columns.start, columns.stop)
    out = whole[:, :, rows, columns]
    expected = form.upsample_pad(case.x, case.norm, same, window)
    assert form.upsample_pad(case.x, case.norm, same, window, out=out).data_ptr() == out.data_ptr()
    before[:, :, rows, columns] = expected
    assert torch.equal(whole, before)


@every_form
@few
@given(data=st.data())
def test_moments(form: Form, data: st.DataObject) -> None:
    case = Case(data, form.device)
    agree_on_moments(form.moments(case.x), case.x)


@every_form
@few
@given(data=st.data())
def test_moments_of_bands_merge_to_those_of_the_whole(form: Form, data: st.DataObject) -> None:
    case = Case(data, form.device)
    cut = torch.split(case.x, case.draw(1, case.height), dim=2)
    parts = [form.moments(band) for band in cut]
    agree_on_moments(plain.merge_moments(parts, [band.shape[2] for band in cut]), case.x)


@every_form
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_statistics_that_cancel(form: Form, dtype: torch.dtype) -> None:
    noise = torch.randn(2, 64, 33, 70, generator=torch.Generator().manual_seed(1))
    tiny = 1000 + 1e-2 * noise
    outliers = noise.clone()
    outliers[:, :, 0, 0] = 3e4
    outliers[1, 5, 20] = -6e4
    for values in (torch.full_like(noise, 0.7), torch.full_like(noise, -1000), tiny, outliers, torch.zeros_like(noise)):
        x = values.to(form.device, dtype).contiguous(memory_format=torch.channels_last)
        agree_on_moments(form.moments(x), x)


@triton_form
def test_triton_adds_up_many_tiles_in_one_program(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("animegan.operators.kernels._PARTS", 4)
    x = torch.randn(2, 256, 7, 37).add_(100).to(form.device).contiguous(memory_format=torch.channels_last)
    agree_on_moments(form.moments(x), x)


@every_form
def test_offsets_beyond_32_bits(form: Form) -> None:
    """A map of three rows, each 2^30 elements behind the one before: the memory between them is never touched."""
    apart, width, channels = 2**30, 5, 32
    buffer = torch.empty(2 * apart + width * channels, dtype=torch.bfloat16, device=form.device)
    x = buffer.as_strided((1, channels, 3, width), (1, 1, apart, channels)).copy_(torch.randn(1, channels, 3, width))
    close = x.contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(2, channels, device=form.device)
    norm, window = Norm(moments_of(close), weight, bias, 0.2), Window(0, 3, -1, 4, -1, width + 1)
    twice = Upsampling(6, 2 * width, asymmetric=False)
    assert torch.equal(form.moments(x), form.moments(close))
    out = form.norm_act_pad(x, norm, x, window)
    assert torch.equal(out, form.norm_act_pad(close, norm, close, window))
    out = form.upsample_pad(x, norm, twice, window)
    assert torch.equal(out, form.upsample_pad(close, norm, twice, window))


class Passes(nn.Module):
    """What a traced generator holds of the operators."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        height, width = x.shape[2:]
        moments = torch.ops.animegan.moments(x)
        norm = moments, weight, bias, 0.2
        x = torch.ops.animegan.norm_act_pad(x, *norm, x, [0, height, -1, height + 1, 0, width])
        window = [0, height + 2, -1, 2 * height + 1, -1, 2 * width + 1]
        up: Tensor = torch.ops.animegan.upsample_pad(x, *norm, [2 * height, 2 * width, 1], window)
        return up


@pytest.mark.parametrize("device", sorted({form.device for form in FORMS.values()}))
def test_a_script_carries_the_operators_by_name(device: str) -> None:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Passes()), file)
    file.seek(0)
    loaded = torch.jit.load(file)  # type: ignore[no-untyped-call]
    for name in ("moments", "norm_act_pad", "upsample_pad"):
        assert f"ops.animegan.{name}" in loaded.code
    x = torch.randn(2, 32, 5, 6, device=device).contiguous(memory_format=torch.channels_last)
    norm = (torch.randn(32, device=device), torch.randn(32, device=device))
    assert torch.equal(loaded(x, *norm), Passes()(x, *norm))
