"""Lanczos on a device is Pillow's, pixel by pixel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from animegan.picture import transfer
from animegan.picture.lanczos import MOST_CACHED, Lanczos
from animegan.picture.pixels import pillow_lanczos
from animegan.picture.sizes import Size, fit
from harness.files.picture_files import pixels
from harness.pictures import photo

CPU = torch.device("cpu")
LANCZOS = Image.Resampling.LANCZOS
SIDES = st.integers(16, 500)


def rows_first(image: Image.Image, size: Size, width: float, height: float) -> Image.Image:
    """Pillow's Lanczos in the order that it takes for all but tall pictures."""
    narrow = image.resize((size[0], image.height), LANCZOS, (0, 0, width, image.height))
    return narrow.resize(size, LANCZOS, (0, 0, size[0], height))


def hard(kind: str, width: int, height: int) -> NDArray[np.uint8]:
    """RGBA pixels where Lanczos overshoots, or ends on the half between two steps."""
    random = np.random.default_rng(width * height)
    if kind == "noise":
        return random.integers(0, 256, (height, width, 4), dtype=np.uint8)
    if kind == "black and white":
        return random.integers(0, 2, (height, width, 4), dtype=np.uint8) * np.uint8(255)
    stripes = np.indices((height, width)).sum(axis=0) // 3 % 2 * 255
    return np.repeat(stripes[..., None], 4, axis=-1).astype(np.uint8)


@settings(deadline=None)
@given(
    st.tuples(SIDES, SIDES),
    st.floats(0, 1),
    st.sampled_from(["noise", "black and white", "stripes"]),
    st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)),
    st.sampled_from(["RGB", "RGBa", "L"]),
)
def test_it_is_pillows(size: Size, share: float, kind: str, cut: tuple[float, float], mode: str) -> None:
    to = fit(size, max(1, round(share * max(size))))
    width, height = (side - off if short < side - off else side for side, off, short in zip(size, cut, to, strict=True))
    image = Image.fromarray(hard(kind, *size)).convert("RGBA" if mode == "RGBa" else "RGB").convert(mode)
    expected = np.asarray(rows_first(image, to, width, height)).reshape(1, to[1], to[0], -1)
    source = torch.from_numpy(np.array(image).reshape(1, size[1], size[0], -1))
    scaled = Lanczos(CPU).scale(source, to, (0, 0, width, height)).numpy()
    difference = np.abs(scaled.astype(int) - expected)
    assert difference.max() <= 1
    assert difference.mean() <= 1e-3


def test_a_batch_is_its_pictures() -> None:
    lanczos = Lanczos(CPU)
    batch = transfer.upload([photo(300, 200, seed) for seed in range(3)], CPU)
    together = lanczos.scale(batch, (140, 93), (0, 0, 300, 200))
    for one, scaled in zip(batch, together, strict=True):
        assert torch.equal(lanczos.scale(one[None], (140, 93), (0, 0, 300, 200))[0], scaled)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (300, 900), (333, 200), (200, 200)])
def test_images(size: Size) -> None:
    image, lanczos = photo(*size), Lanczos(CPU)
    for max_side in (max(size), max(size) // 2, 100):
        to = fit(size, max_side)
        scaled = lanczos(image, to, (0, 0, *size))
        assert (scaled.mode, scaled.size) == ("RGB", to)
        expected = pillow_lanczos(image, to, (0, 0, *size))  # from 4 times on it averages first
        assert np.abs(pixels(scaled) - pixels(expected)).max() <= (1 if max(size) < 4 * max_side else 12)


def test_several_threads() -> None:
    lanczos, image = Lanczos(CPU), photo(400, 300)
    sides = [100 + step for step in range(2 * MOST_CACHED)] * 2
    with ThreadPoolExecutor(4) as threads:
        scaled = list(threads.map(lambda side: lanczos(image, fit(image.size, side), (0, 0, 400, 300)), sides))
    for side, picture in zip(sides, scaled, strict=True):
        expected = image.resize(fit(image.size, side), LANCZOS)
        assert np.abs(pixels(picture) - pixels(expected)).max() <= 1
    assert lanczos._blocks.cache_info().currsize == MOST_CACHED


def test_no_matrix_is_larger_than_it_must_be() -> None:
    weights = [block.weights for block in Lanczos(CPU)._blocks(9248, 0, 9248, 3840)]
    assert sum(matrix.nbytes for matrix in weights) <= 10 * 2**20  # dense it would be 135 MiB
    assert sum(len(matrix) for matrix in weights) == 2 * 3840


def test_a_device_that_fails_leaves_it_to_pillow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(transfer, "upload", fail)
    image = photo(300, 200)
    assert Lanczos(CPU)(image, (150, 100), (0, 0, 300, 200)) == image.resize((150, 100), LANCZOS)
    assert "the device failed: out of memory" in caplog.text
