"""What only a GPU can show: parity in every plan, its predicted peaks, graphs, batches, the cleanup."""

from __future__ import annotations

import functools
import io
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image, JpegImagePlugin

from animegan.networks import graphs
from animegan.networks.animegan2.layout import Shape
from animegan.networks.animegan2.network import Network, traced
from animegan.networks.animegan2.plan import banded, plans, whole
from animegan.networks.plan import Mode
from animegan.networks.weights import load_weights
from animegan.picture import transfer
from animegan.picture.jpeg import device_encoder
from animegan.picture.lanczos import Lanczos
from animegan.pipeline.pipeline import Pipeline
from animegan.resources.memory import Cleaner, usage
from animegan.settings import Settings
from animegan.styles import Resize, get_style, verify
from animegan.stylizer import Stylizer
from benchmarks.common.reference import generate, psnr
from harness.pictures import encoded, photo

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU is here")


LEAST_DB = {"fp32": 60, "fp16": 65, "bf16": 50}  # fp32: TF32 is allowed in convolutions


def network(precision: str, device: str = "cuda", resize: Resize = "align_corners") -> Network:
    return Network(traced(load_weights(verify(get_style("classic"))), resize), torch.device(device), precision)


def parity_pixels() -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(photo(341, 256, seed)) for seed in range(2)]))


@functools.cache
def expected(resize: Resize) -> torch.Tensor:
    """Return the network's drawing of `parity_pixels` in fp64, which takes a CPU seconds."""
    weights, x = load_weights(verify(get_style("classic"))), parity_pixels().permute(0, 3, 1, 2).double() / 127.5 - 1
    return generate(weights, x, asymmetric=resize == "asymmetric").permute(0, 2, 3, 1)


@pytest.mark.parametrize("resize", get_args(Resize))
@pytest.mark.parametrize("precision", LEAST_DB)
@pytest.mark.parametrize("mode", ["whole", "bands", "recompute"])
def test_parity(precision: str, mode: Mode, resize: Resize) -> None:
    drawing = network(precision, resize=resize)
    pixels = parity_pixels()
    shape = Shape(256, 341, 2, drawing.itemsize, resize)
    plan = whole(shape, cuda=True) if mode == "whole" else banded(shape, mode, 2**20, cuda=True)
    output = drawing.draw(pixels.cuda(), plan).cpu().float() / 127.5 - 1
    assert psnr(output, expected(resize)) >= min(LEAST_DB[precision], 58)  # 59 dB is what rounding to 8 bits leaves


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("side", [512, 1024, 2048])
def test_the_plan_foretells_the_peak(precision: str, side: int) -> None:
    drawing = network(precision)
    pixels = torch.zeros(1, side, side, 3, dtype=torch.uint8, device="cuda")
    for plan in plans(Shape(side, side, 1, drawing.itemsize), cuda=True):
        graphs.release()
        drawing.draw(pixels, plan)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() - pixels.nbytes
        drawing.draw(pixels, plan)
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() - before
        assert peak <= plan.peak_bytes <= 1.15 * peak, plan


def test_a_captured_graph_draws_as_its_kernels_do() -> None:
    drawing = network("fp16")
    plan = whole(Shape(128, 160, 1, drawing.itemsize), cuda=True)
    for seed in range(graphs.OFTEN + 3):
        pixels = torch.from_numpy(np.asarray(photo(160, 128, seed)).copy())[None].cuda()
        output = drawing.draw(pixels, plan)
        assert (output.int() - drawing._whole(pixels).int()).abs().max() <= 1
    assert graphs.held_bytes() == plan.peak_bytes
    graphs.release()
    assert graphs.held_bytes() == 0


def test_a_batch_is_its_pictures_and_the_cache_goes_back() -> None:
    stylizer = Stylizer(device="cuda")
    assert stylizer.precision == "fp16"
    pictures = [photo(160, 120, seed) for seed in range(3)]
    together = stylizer.draw(pictures)
    for picture, anime in zip(pictures, together, strict=True):
        [alone] = stylizer.draw([picture])
        assert np.abs(np.asarray(alone, dtype=int) - np.asarray(anime, dtype=int)).max() <= 2
    cleaner = Cleaner("watermark", 0, stylizer.device)
    torch.empty(64 * 2**20, dtype=torch.uint8, device="cuda")
    assert cleaner.clean_up()
    assert torch.cuda.memory_reserved() - torch.cuda.memory_allocated() < 32 * 2**20


@pytest.mark.parametrize("tf32", [False, True])
def test_pictures_are_scaled_as_pillow_scales_them(tf32: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", tf32)
    lanczos = Lanczos(torch.device("cuda"))
    pictures = [photo(1632, 1224, seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        scaled = threads.map(lambda picture: lanczos(picture, (1024, 768), (0, 0, 1632, 1224)), pictures)
    for picture, small in zip(pictures, scaled, strict=True):
        expected = np.asarray(picture.resize((1024, 768), Image.Resampling.LANCZOS), dtype=int)
        assert np.abs(np.asarray(small, dtype=int) - expected).max() <= 1


def test_pictures_arrive_whole_on_any_stream() -> None:
    pictures = [photo(1500, 1600, seed) for seed in range(2)]
    with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
        assert transfer.download(transfer.upload(pictures, torch.device("cuda"))) == pictures


def test_a_batch_is_decoded_and_encoded_in_threads() -> None:
    requests = [encoded(photo(2048, 1536, seed), quality=95) for seed in range(6)]
    outcomes = []
    for threads in (None, 0):
        with closing(Pipeline(Settings(device="cuda", warmup_px=0), threads=threads)) as pipeline:
            items = [pipeline.decode(data, {"max_side": "512", "format": "png"}) for data in [*requests, b"text"]]
            pipeline.draw(items)
            pipeline.encode(items)
        assert [item.error.code if item.error else None for item in items] == [None] * 6 + ["unsupported_image"]
        files = [Image.open(io.BytesIO(item.result().encoded.data)) for item in items[:6]]
        outcomes.append([np.asarray(file, dtype=int) for file in files])
    for parallel, alone in zip(*outcomes, strict=True):
        assert np.abs(parallel - alone).max() <= 2


def test_usage_tells_what_is_reserved_and_the_most_that_was() -> None:
    device = torch.device("cuda")
    block = torch.empty(256 * 2**20, dtype=torch.uint8, device=device)
    during = usage(device)["device"]
    assert during.current >= block.nbytes
    del block
    Cleaner("always", 0, device).clean_up()
    after = usage(device)["device"]
    assert after.current <= during.current - 256 * 2**20
    assert after.peak >= during.current


@pytest.mark.parametrize("size", [(512, 384), (333, 217)])
def test_the_device_writes_the_jpeg_that_pillow_would(size: tuple[int, int]) -> None:
    encode = device_encoder(torch.device("cuda", 0))
    if not encode:
        pytest.skip("torchvision with nvJPEG is not here")
    picture = photo(*size)
    batch = transfer.upload([picture], torch.device("cuda", 0))
    with ThreadPoolExecutor(4) as threads:
        files = set(threads.map(lambda _: encode(batch[0], 92), range(8)))
    [file] = files
    with (
        Image.open(io.BytesIO(file)) as ours,
        Image.open(io.BytesIO(encoded(picture, quality=92, subsampling=0))) as its,
    ):
        assert (ours.format, ours.size, ours.mode) == ("JPEG", size, "RGB")
        assert JpegImagePlugin.get_sampling(ours) == 0  # 4:4:4
        difference = np.abs(np.asarray(ours, dtype=int) - np.asarray(its, dtype=int))
    assert difference.mean() < 1
