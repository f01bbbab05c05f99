"""The compiled convolutions against stock PyTorch in float64, in every form that runs here."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from animegan.errors import InternalError
from animegan.operators import native
from animegan.operators.native.convolutions import FEWEST_FILTERED, FILTERED_SIDES, Convolutions, Kind, kind_of
from harness.engine.maps import empty, error, filters, in_fp32, reference, some

ROOT = Path(__file__).resolve().parents[3]
FORMS = native.forms()
LAYERS = [  # of RRDBNet, SRVGGNetCompact and AnimeGANv2's generator: channels in and out, side
    *((channels, 32, 3) for channels in (64, 96, 128, 160)),
    *((3, 64, 3), (192, 64, 3), (64, 64, 3), (64, 64, 2), (64, 3, 3), (64, 48, 3)),
    *((128, 64, 3), (256, 128, 3), (64, 32, 7), (3, 32, 7), (256, 512, 1), (512, 256, 1), (32, 3, 1)),
]
SIDES = (1, *FILTERED_SIDES)
PRECISION = {1: 2, 2: 4, 3: 4, 7: 100}  # times the error of stock PyTorch in fp32, at most, by the filters' side
GUARD = 1234.5

every_form = pytest.mark.parametrize("form", FORMS)
every_layer = pytest.mark.parametrize(("channels_in", "channels", "side"), LAYERS)
few = settings(deadline=None, max_examples=40)


def convolutions(form: str) -> Convolutions:
    return native.load(form).convolutions


@every_form
@every_layer
@pytest.mark.parametrize("size", [(12, 37), (21, 6)])
def test_a_layer_is_as_precise_as_in_pytorch(
    form: str, channels_in: int, channels: int, side: int, size: tuple[int, int]
) -> None:
    x, weight, bias = some(channels_in, *size), filters(channels, channels_in, side), some(channels, 1, 1).flatten()
    rest: dict[str, Any] = {
        "before": (1, side - 2), "bias": bias, "slope": 0.2, "alpha": 0.2, "residual": some(channels, *size, seed=1),
        "beta": 0.5, "residual2": some(channels, *size, seed=2), "gamma": -1.5,
    }  # fmt: skip
    kernels = convolutions(form)
    out = empty(channels, *size)
    kernels.conv(x, kernels.pack(weight), out, **rest)
    expected = reference(x, weight, size, **rest)
    allowed = PRECISION[side] * error(in_fp32(x, weight, size, **rest), expected)
    assert error(out, expected) <= allowed
    assert float((out - expected).abs().max()) <= 12 * allowed


@every_form
@pytest.mark.parametrize(
    ("channels_in", "channels", "stride", "groups", "kind"),
    [(32, 64, 2, 1, Kind.DIRECT), (64, 128, 2, 1, Kind.DIRECT), (512, 512, 1, 512, Kind.DEPTHWISE)],
)
def test_a_layer_with_a_stride_or_of_each_channel_is_as_precise(
    form: str, channels_in: int, channels: int, stride: int, groups: int, kind: Kind
) -> None:
    x, weight, bias = some(channels_in, 41, 53), filters(channels, channels_in, 3, groups), some(channels, 1, 1)
    kernels, size = convolutions(form), (40 // stride, 52 // stride)
    rest: dict[str, Any] = {"before": (0, 1), "bias": bias.flatten()}
    packed, out = kernels.pack(weight, stride, groups), empty(channels, *size)
    assert packed.kind is kind
    kernels.conv(x, packed, out, **rest)
    expected = reference(x, weight, size, **rest, stride=stride, groups=groups)
    stock = in_fp32(x, weight, size, **rest, stride=stride, groups=groups)
    assert error(out, expected) <= PRECISION[1] * error(stock, expected)


@every_form
@pytest.mark.parametrize(
    ("channels_in", "channels", "side", "stride", "groups"),
    [
        *((channels_in, channels, side, 1, 1) for channels_in, channels, side in LAYERS),
        *((32, 64, 3, 2, 1), (64, 128, 3, 2, 1), (512, 512, 3, 1, 512)),
    ],
)
def test_in_bf16_only_the_output_is_rounded(
    form: str, channels_in: int, channels: int, side: int, stride: int, groups: int
) -> None:
    width = 300 if channels_in < 64 else 70
    x, weight = (
        part.bfloat16() for part in (some(channels_in, 11, width), filters(channels, channels_in, side, groups))
    )
    size = (10 // stride, width // stride)
    residual = some(channels, *size, seed=1).bfloat16()
    rest: dict[str, Any] = {"before": (1, side // 2), "bias": some(channels, 1, 1).flatten(), "slope": 0.2}
    rest |= {"alpha": 0.2, "residual": residual, "beta": 0.5}
    kernels, out = convolutions(form), empty(channels, *size, dtype=torch.bfloat16)
    packed = kernels.pack(weight, stride, groups)
    assert packed.kind is (Kind.DEPTHWISE if groups > 1 else Kind.DIRECT)
    moments = kernels.conv(x, packed, out, **rest, moments=True)
    expected = reference(x, weight, size, **rest, stride=stride, groups=groups)
    torch.testing.assert_close(out.double(), expected, rtol=2**-8, atol=1e-5)
    values = out.double()
    expected = torch.stack([values.mean(), values.var(unbiased=False)])[None]
    torch.testing.assert_close(moments, expected, rtol=1e-6, atol=1e-7)


@every_form
@pytest.mark.parametrize(
    ("channels_in", "channels", "side", "stride", "groups"),
    [(64, 32, 3, 1, 1), (3, 32, 7, 1, 1), (96, 40, 1, 1, 1), (32, 64, 3, 2, 1), (72, 72, 3, 1, 72)],
)
def test_the_moments_are_those_of_what_was_written(
    form: str, channels_in: int, channels: int, side: int, stride: int, groups: int
) -> None:
    kernels, x = convolutions(form), some(channels_in, 75, 141) + 1000
    packed = kernels.pack(filters(channels, channels_in, side, groups), stride, groups)
    out = empty(channels, 70 // stride, 131 // stride)
    moments = kernels.conv(x, packed, out, before=(0, 0), moments=True)
    assert moments is not None
    values = out.double()
    expected = torch.stack([values.mean(), values.var(unbiased=False)])[None]
    torch.testing.assert_close(moments, expected, rtol=1e-6, atol=0)
    view = empty(channels + 8, 70 // stride, 131 // stride)[:channels]
    with pytest.raises(InternalError, match="side by side"):
        kernels.conv(x, packed, view, before=(0, 0), moments=True)


class Case:
    """A convolution of a view in a larger buffer, amid values that are not numbers."""

    def __init__(self, data: st.DataObject, dtype: torch.dtype) -> None:
        self.dtype = dtype

        def draw(least: int, most: int) -> int:
            return data.draw(st.integers(least, most))

        self.side, stride = data.draw(st.sampled_from(SIDES)), draw(1, 2)
        self.channels_in, self.channels = draw(1, 40), draw(1, 40)
        groups = self.channels_in if data.draw(st.booleans()) else 1
        if groups > 1:
            self.channels = groups
        self.packing: dict[str, Any] = {"stride": stride, "groups": groups}
        self.rows, self.columns = draw(1, 14), draw(1, 14)
        self.before = draw(-1, 2), draw(-1, 2)
        size = draw(1, 14), draw(1, 14)
        steps = draw(1, 2), draw(1, 2)
        self.x = self._view(self.channels_in, (self.rows, self.columns), (1, 1), (draw(0, 3), draw(0, 2)))
        self.x.copy_(some(self.channels_in, self.rows, self.columns))
        self.frame = torch.full((size[0] * steps[0] + 2, size[1] * steps[1] + 2, self.channels + 9), GUARD, dtype=dtype)
        self.out = self.frame.permute(2, 0, 1)[5 : 5 + self.channels, 1:-1, 1:-1][:, :: steps[0], :: steps[1]]
        self.size = size
        self.weight = filters(self.channels, self.channels_in, self.side, groups).to(dtype)
        self.rest: dict[str, Any] = {"before": self.before}
        if data.draw(st.booleans()):
            self.rest["bias"] = some(self.channels, 1, 1, seed=3).flatten()
        slope = data.draw(st.sampled_from([0.2, 1.0, None]))
        self.rest["slope"] = some(self.channels, 1, 1, seed=4).flatten() if slope is None else slope
        if data.draw(st.booleans()):
            self.rest |= {"alpha": 0.5, "residual": some(self.channels, *size, seed=5).to(dtype), "beta": 2.0}
        if data.draw(st.booleans()):
            self.rest |= {"residual2": some(self.channels, *size, seed=6).to(dtype), "gamma": -0.5}

    def _view(self, channels: int, size: tuple[int, int], steps: tuple[int, int], around: tuple[int, int]) -> Tensor:
        height, width = (length * step for length, step in zip(size, steps, strict=True))
        buffer = torch.full((height + 2, width + 2, channels + sum(around)), torch.nan, dtype=self.dtype).permute(
            2, 0, 1
        )
        inner = buffer[around[0] : around[0] + channels, 1:-1, 1:-1]
        return inner[:, :: steps[0], :: steps[1]]


@every_form
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 0), (torch.bfloat16, 2**-8)])
@few
@given(data=st.data())
def test_any_view_is_read_and_written_and_nothing_else(
    form: str, dtype: torch.dtype, rounding: float, data: st.DataObject
) -> None:
    case, kernels = Case(data, dtype), convolutions(form)
    kernels.conv(case.x, kernels.pack(case.weight, **case.packing), case.out, **case.rest)
    expected = reference(case.x, case.weight, case.size, **case.rest, **case.packing)
    torch.testing.assert_close(case.out.double(), expected, rtol=rounding, atol=5e-6 * PRECISION[case.side])
    case.out.fill_(GUARD)
    assert bool((case.frame == GUARD).all())


@every_form
@pytest.mark.parametrize("which", ["residual", "residual2"])
def test_it_may_write_over_a_residual(form: str, which: str) -> None:
    kernels, x, residual = convolutions(form), some(64, 9, 21), some(32, 9, 21, seed=1)
    packed, out = kernels.pack(filters(32, 64, 3)), empty(32, 9, 21)
    rest: dict[str, Any] = {"before": (1, 1), "slope": 0.2, which: residual}
    kernels.conv(x, packed, out, **rest)
    kernels.conv(x, packed, residual, **rest)
    assert torch.equal(residual, out)


@every_form
def test_it_may_write_beside_what_it_reads(form: str) -> None:
    """A dense block's convolutions write behind their input, in one buffer."""
    kernels, buffer, weight = convolutions(form), some(192, 10, 19), filters(32, 96, 3)
    before = buffer.clone()
    kernels.conv(buffer[:96], kernels.pack(weight), buffer[96:128], before=(1, 1))
    torch.testing.assert_close(
        buffer[96:128].double(), reference(before[:96], weight, (10, 19), before=(1, 1)), rtol=0, atol=2e-5
    )
    assert torch.equal(buffer[:96], before[:96])
    assert torch.equal(buffer[128:], before[128:])


@every_form
@pytest.mark.parametrize(
    ("side", "channels", "groups"), [(3, 32, 1), (2, 64, 1), (3, 3, 1), (7, 32, 1), (1, 40, 1), (3, 64, 64)]
)
@pytest.mark.parametrize("width", [5, 130])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_of_rows_are_the_whole_to_the_bit(
    form: str, side: int, channels: int, groups: int, width: int, dtype: torch.dtype
) -> None:
    height, kernels = 23, convolutions(form)
    x, packed = (
        some(64, height, width).to(dtype),
        kernels.pack(filters(channels, 64, side, groups).to(dtype), 1, groups),
    )
    whole = empty(channels, height, width, dtype)
    kernels.conv(x, packed, whole, before=(side // 2, 1), slope=0.2)
    for rows in (kernels.align, 2 * kernels.align, 5 * kernels.align):
        out = empty(channels, height, width, dtype)
        for first in range(0, height, rows):
            last = min(first + rows, height)
            top, bottom = max(first - side // 2, 0), min(last + side // 2, height)
            before = (side // 2 - first + top, 1)
            kernels.conv(x[:, top:bottom], packed, out[:, first:last], before=before, slope=0.2)
        assert torch.equal(out, whole)


def test_filtering_is_for_stride_1_and_enough_channels() -> None:
    assert kind_of(FEWEST_FILTERED, 3) is Kind.FILTERING
    assert kind_of(FEWEST_FILTERED - 1, 3) is kind_of(64, 1) is kind_of(64, 3, stride=2) is Kind.DIRECT
    assert kind_of(64, 3, dtype=torch.bfloat16) is Kind.DIRECT
    assert kind_of(64, 3, groups=2) is None


@every_form
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_stays_so_and_stays_near(form: str, bad: float) -> None:
    kernels, x, weight = convolutions(form), some(16, 20, 20), filters(8, 16, 3)
    x[3, 9, 9] = bad
    out = empty(8, 20, 20)
    kernels.conv(x, kernels.pack(weight), out, before=(1, 1), slope=0.2)
    expected = reference(x, weight, (20, 20), before=(1, 1), slope=0.2)
    assert not out[~expected.isfinite()].isfinite().any()
    assert out[:, :8].isfinite().all()
    assert out[:, 12:].isfinite().all()
    assert out[:, :, :8].isfinite().all()
    assert out[:, :, 12:].isfinite().all()


THREADS = """
import sys, torch
from animegan.operators import native

made = native.load(sys.argv[1]).convolutions
for dtype in (torch.float32, torch.bfloat16):
    x, weight = (torch.randn(shape, dtype=dtype) for shape in ((90, 77, 64), (32, 64, 3, 3)))
    packed, outs = made.pack(weight), []
    for threads in (1, 2, 3, 1):
        torch.set_num_threads(threads)
        out = torch.empty(90, 77, 32, dtype=dtype).permute(2, 0, 1)
        made.conv(x.permute(2, 0, 1), packed, out, before=(1, 1))
        outs.append(out)
    assert all(torch.equal(out, outs[0]) for out in outs)
"""


@pytest.mark.slow
@every_form
def test_the_number_of_threads_changes_no_bit(form: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "handler")}
    process = subprocess.run(
        [sys.executable, "-c", THREADS, form], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr


@every_form
def test_calls_from_many_threads_do_not_meet(form: str) -> None:
    kernels = convolutions(form)
    maps, packed = [some(64, 40 + i, 50) for i in range(8)], kernels.pack(filters(32, 64, 3))

    def conv(x: Tensor) -> Tensor:
        out = empty(32, *x.shape[1:])
        kernels.conv(x, packed, out, before=(1, 1))
        return out

    expected = [conv(x) for x in maps]
    with ThreadPoolExecutor(8) as pool:
        for out, one in zip(pool.map(conv, maps), expected, strict=True):
            assert torch.equal(out, one)


@every_form
def test_the_scratch_is_what_it_says(form: str) -> None:
    kernels = convolutions(form)
    assert kernels.scratch_bytes(3) == 3 * kernels.scratch_bytes(1) <= 3 * 2 << 20


@every_form
def test_what_it_does_not_take_is_an_error_of_ours(form: str) -> None:
    kernels, x, out = convolutions(form), some(8, 6, 6), empty(4, 6, 6)
    weight = filters(4, 8, 3)
    packed = kernels.pack(weight)
    for unfit, groups in ((weight.double(), 1), (weight[:, :, :2], 1), (weight, 2), (filters(16, 8, 3, 8), 8)):
        with pytest.raises(InternalError, match="filters"):
            kernels.pack(unfit, 1, groups)
    bad: list[tuple[Tensor, Tensor, dict[str, Any]]] = [
        (x.double(), out, {}),
        (x[:7], out, {}),
        (x.contiguous(), out, {}),
        (x, out.bfloat16(), {}),
        (x, empty(5, 6, 6), {}),
        (x, out, {"residual": empty(4, 6, 5)}),
    ]
    for given_x, given_out, rest in bad:
        with pytest.raises(InternalError, match="maps"):
            kernels.conv(given_x, packed, given_out, before=(1, 1), **rest)
    with pytest.raises(InternalError, match="parameters"):
        kernels.conv(x, packed, out, before=(1, 1), bias=torch.zeros(3))
    with pytest.raises(InternalError, match="parameters"):
        kernels.conv(x, packed, out, before=(1, 1), slope=torch.zeros(8)[::2])
    for channels_in, stride in ((2000, 1), (9000, 2)):
        wide = kernels.pack(torch.zeros(4, channels_in, 3, 3), stride)
        with pytest.raises(InternalError, match=f"{channels_in} channels"):
            kernels.conv(some(channels_in, 4, 4), wide, empty(4, 4, 4), before=(1, 1))
