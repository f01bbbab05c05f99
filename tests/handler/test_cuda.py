"""What only a GPU can show: fp16 parity, the reduction's form of the norm, packed generators, batches, the cleanup."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from animegan.generator import build, layer_norm
from animegan.memory import Cleaner
from animegan.styles import get_style, verify
from animegan.stylizer import Stylizer
from animegan.tracing import load_weights, trace
from benchmarks.reference import generate, psnr
from pictures import photo, photo_tensor

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU is here")


@pytest.mark.parametrize(("dtype", "least_db"), [(torch.float32, 60), (torch.float16, 65), (torch.bfloat16, 50)])
def test_parity(dtype: torch.dtype, least_db: float) -> None:
    weights = load_weights(verify(get_style("cel")))
    x = photo_tensor(256, 341)
    with torch.inference_mode():
        drawn = trace(build(weights).to("cuda", dtype))(x.to("cuda", dtype)).float().cpu()
    assert psnr(drawn, generate(weights, x.double())) >= least_db


def test_the_norm_is_group_norm() -> None:
    x, weight, bias = torch.randn(2, 6, 9, 7), torch.randn(6), torch.randn(6)
    expected = torch.nn.functional.group_norm(x, 1, weight, bias, 1e-5)
    assert torch.allclose(layer_norm(x.cuda(), weight.cuda(), bias.cuda(), 1e-5).cpu(), expected, atol=1e-4)


def test_a_generator_packed_on_the_cpu_runs_on_the_gpu(tmp_path: Path) -> None:
    traced = trace(build(load_weights(verify(get_style("cel")))).half())
    torch.jit.save(traced, tmp_path / "cel.pt")
    loaded = torch.jit.load(tmp_path / "cel.pt", map_location="cuda")  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        assert loaded(photo_tensor(48, 64).cuda().half()).is_cuda


def test_a_batch_is_its_pictures_and_the_cache_goes_back() -> None:
    stylizer = Stylizer(device="cuda")
    assert stylizer.precision == "fp16"
    pictures = [photo(160, 120, seed) for seed in range(3)]
    together = stylizer.draw(pictures)
    for picture, drawn in zip(pictures, together, strict=True):
        [alone] = stylizer.draw([picture])
        assert np.abs(np.asarray(alone, dtype=int) - np.asarray(drawn, dtype=int)).max() <= 2
    cleaner = Cleaner("watermark", 0, stylizer.device)
    torch.empty(64 * 2**20, dtype=torch.uint8, device="cuda")
    assert cleaner.clean_up()
    assert torch.cuda.memory_reserved() - torch.cuda.memory_allocated() < 32 * 2**20
