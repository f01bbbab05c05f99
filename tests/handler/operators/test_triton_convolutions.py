"""The GPU's own convolutions against stock PyTorch: on a GPU where there is one, else in Triton's interpreter."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from animegan.networks.animegan2.bands import Weights
from animegan.networks.animegan2.whole import Whole
from animegan.networks.redraw import steps, stream
from animegan.operators import Convolutions
from animegan.styles import get_style, verify
from benchmarks.common.reference import generate, psnr, redraw, redraw_video
from harness.pictures import photo

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("triton"), reason="Triton is not installed"),
]

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="module")
def triton() -> ModuleType:
    return importlib.import_module("animegan.operators.triton_convolutions")


def channels_last(*shape: int) -> Tensor:
    channels, height, width = shape
    return torch.randn(height, width, channels).permute(2, 0, 1).to(DEVICE)


@pytest.mark.parametrize(
    ("channels_in", "channels", "side"), [(64, 32, 7), (64, 32, 3), (96, 32, 3), (64, 3, 3), (32, 48, 3)]
)
@pytest.mark.parametrize("mirror", [False, True])
def test_a_convolution_is_pytorchs(
    triton: ModuleType, channels_in: int, channels: int, side: int, mirror: bool
) -> None:
    torch.manual_seed(0)
    x, weight, bias = (
        channels_last(channels_in, 9, 37),
        torch.randn(channels, channels_in, side, side, device=DEVICE),
        torch.randn(channels, device=DEVICE),
    )
    pad = (side // 2,) * 4
    padded = F.pad(x[None], pad, mode="reflect" if mirror else "constant")
    residual, residual2 = channels_last(channels, 9, 37), channels_last(channels, 9, 37)
    expected = 0.5 * F.leaky_relu(F.conv2d(padded, weight, bias), 0.2)[0] + 2 * residual - residual2
    out = channels_last(channels, 9, 37)
    moments = triton.conv(
        x, triton.pack(weight), out, before=(side // 2, side // 2), mirror=mirror, bias=bias, slope=0.2, alpha=0.5,
        residual=residual, beta=2.0, residual2=residual2, gamma=-1.0, moments=True,
    )  # fmt: skip
    tolerance = 1e-4 if DEVICE.type == "cpu" else 3e-2  # TF32 on a GPU
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=20 * tolerance)
    mean, variance = moments[0].tolist()
    assert mean == pytest.approx(out.double().mean().item(), abs=1e-4)
    assert variance == pytest.approx(out.double().var(unbiased=False).item(), rel=1e-4)


def test_a_convolution_writes_its_own_place_alone(triton: ModuleType) -> None:
    x, weight = channels_last(96, 8, 20), torch.randn(32, 64, 3, 3, device=DEVICE)
    before = x.clone()
    triton.conv(x[:64], triton.pack(weight), x[64:], before=(1, 1), slope=torch.full((32,), 0.5, device=DEVICE))
    assert torch.equal(x[:64], before[:64])
    expected = F.conv2d(before[None, :64], weight, padding=1)
    tolerance = 1e-3 if DEVICE.type == "cpu" else 0.5
    torch.testing.assert_close(
        x[None, 64:], torch.where(expected >= 0, expected, 0.5 * expected), rtol=0.01, atol=tolerance
    )


@pytest.mark.parametrize("size", [(17, 20), (16, 23)])
def test_the_generator_in_whole_maps(triton: ModuleType, size: tuple[int, int]) -> None:
    tensors = load_file(verify(get_style("classic")))
    picture = torch.from_numpy(np.asarray(photo(*size)).copy())
    weights = Weights({name: tensor.to(DEVICE) for name, tensor in tensors.items()}, torch.float16)
    out = torch.empty_like(picture, device=DEVICE)
    tensors = {name: tensor.to(DEVICE) for name, tensor in tensors.items()}
    Whole(tensors, weights).draw(picture.to(DEVICE), out)
    expected = generate(
        {name: tensor.cpu() for name, tensor in tensors.items()}, picture.permute(2, 0, 1)[None].double() / 127.5 - 1
    )[0].permute(1, 2, 0)
    assert psnr(out.cpu().float() / 127.5 - 1, expected) >= 57


@pytest.mark.parametrize("name", ["redraw", "redraw_video"])
def test_the_networks_that_draw(triton: ModuleType, name: str) -> None:
    # The interpreter is slow: fewer blocks, and fp32, which it multiplies a hundred times as fast.
    cuda = DEVICE.type == "cuda"
    dtype = torch.float16 if cuda else torch.float32
    absent = [f"body.{block}." for block in range(1, 6)] if not cuda else []
    loaded = load_file(weights_file(name)).items()
    tensors = {key: tensor.float().to(DEVICE) for key, tensor in loaded if not key.startswith(tuple(absent))}
    program = steps.redraw(6 if cuda else 1) if name == "redraw" else steps.REDRAW_VIDEO
    form = Convolutions(lambda: triton.pack, triton.conv, triton.scratch_bytes, triton.ALIGNMENT, triton.LEAST_CHANNELS)
    weights = stream.Weights(tensors, program, form, dtype)
    small = torch.from_numpy(np.asarray(photo(9, 8)).copy()).float() / 255
    inputs = F.pad(small, (0, triton.LEAST_CHANNELS - 3)).to(DEVICE, dtype).permute(2, 0, 1)
    out = torch.empty(32, 36, 3, dtype=torch.uint8, device=DEVICE)
    stream.draw(weights, inputs, program, 4, out)
    network = redraw if name == "redraw" else redraw_video
    expected = network({key: tensor.cpu() for key, tensor in tensors.items()}, small.permute(2, 0, 1)[None].double())
    pixels = expected[0].permute(1, 2, 0).mul(255).round().clamp(0, 255)
    assert (out.cpu() - pixels).abs().max() <= (4 if cuda else 1)


def weights_file(name: str) -> Path:
    return Path(__file__).resolve().parents[3] / "model_store" / f"{name}.safetensors"
