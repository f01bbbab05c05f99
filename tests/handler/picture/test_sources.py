"""Pictures of every kind that a stylizer takes, one and many; what is none is told at once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import animegan
from animegan.errors import AnimeganError, BadImage, BadOption, UnsupportedImage
from animegan.stylizer import Stylizer
from harness.pictures import encoded, photo

PHOTO = photo(48, 32)
FILE = encoded(PHOTO, "PNG")
PIXELS = np.asarray(PHOTO)


@cache
def stylizer() -> Stylizer:
    return Stylizer("classic", device="cpu", precision="fp32", warmup_px=0, max_side=64)


@cache
def draw() -> np.ndarray[Any, Any]:
    return np.asarray(stylizer().stylize(PHOTO))


@pytest.mark.slow
def test_files_give_images(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(FILE)
    for source in (path, str(path), FILE, bytearray(FILE), memoryview(FILE), io.BytesIO(FILE)):
        assert np.array_equal(np.asarray(stylizer().stylize(source)), draw())
    turned = encoded(PHOTO.transpose(Image.Transpose.ROTATE_90), "PNG", exif=_turned_exif())
    assert stylizer().stylize(turned).size == (48, 32)


def _turned_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_arrays_give_arrays() -> None:
    answer = stylizer().stylize(PIXELS)
    assert isinstance(answer, np.ndarray)
    assert np.array_equal(answer, draw())
    answer[0, 0] = 0  # it is the caller's own
    opaque = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    assert np.array_equal(stylizer().stylize(opaque)[..., :3], draw())
    assert stylizer().stylize(opaque[::-1]).shape == (32, 48, 4)


def test_tensors_give_tensors() -> None:
    planes = torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)
    whole = stylizer().stylize(planes)
    assert (whole.dtype, whole.shape) == (torch.uint8, (3, 32, 48))
    assert np.array_equal(whole.permute(1, 2, 0).numpy(), draw())
    floats = stylizer().stylize(planes.double() / 255)
    assert floats.dtype == torch.float64
    assert torch.allclose(floats * 255, whole.double(), atol=1e-4)


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        (None, TypeError, "NoneType"),
        (7, TypeError, "int"),
        ([PHOTO], TypeError, r"not list\. Several pictures are for stylize_all"),
        (io.StringIO("x"), TypeError, "rb"),
        (io.TextIOWrapper(io.BytesIO(b"\xff\xd8\xff"), encoding="utf-8"), TypeError, "rb"),
        (PIXELS.astype(np.float32), ValueError, r"float32 \(32, 48, 3\)"),
        (PIXELS[..., 0], ValueError, r"uint8 \(32, 48\)"),
        (torch.zeros(2, 3, 32, 32), ValueError, r"float32 \(2, 3, 32, 32\)"),
        (b"", BadImage, "empty"),
        (b"a letter", UnsupportedImage, "picture"),
        ("no such.jpg", FileNotFoundError, "no such"),
        ("https://example.org/photo.jpg", ValueError, "address"),
        (f"data:image/jpeg;base64,{'A' * 5000}", ValueError, "address"),
    ],
)
def test_what_is_no_picture_is_told_by_its_type(source: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        stylizer().stylize(source)


@pytest.mark.parametrize(
    "options",
    [{"max_side": 8}, {"max_side": 64.0}, {"detail": "huge"}, {"strength": 2}, {"strength": "1"}, {"color": "red"}],
)
def test_options_are_checked_before_anything_is_loaded(options: dict[str, Any]) -> None:
    with pytest.raises(BadOption, match=next(iter(options))):
        Stylizer("no such style", **options)


def test_many_are_drawn_in_order_as_they_are_taken() -> None:
    seeds: list[int] = []

    def photos() -> Iterator[Image.Image]:
        for seed in range(4):
            seeds.append(seed)
            yield photo(32, 32, seed)

    drawings = stylizer().stylize_all(photos())
    first = next(drawings)
    assert seeds == [0, 1]  # one is read ahead
    for seed, drawing in enumerate([first, *drawings]):
        assert np.array_equal(np.asarray(drawing), np.asarray(stylizer().stylize(photo(32, 32, seed))))


def test_one_that_fails_raises_or_is_told_and_left_out() -> None:
    failed: list[tuple[object, Exception]] = []
    sources = [FILE, b"a letter", FILE]
    drawings = [*stylizer().stylize_all(sources, on_error=lambda source, error: failed.append((source, error)))]
    assert len(drawings) == 2
    [(source, error)] = failed
    assert source == b"a letter"
    assert isinstance(error, UnsupportedImage)
    with pytest.raises(AnimeganError):
        [*stylizer().stylize_all(sources)]
    for one in (FILE, "photo.jpg", PIXELS):
        with pytest.raises(TypeError, match="Use stylize"):
            stylizer().stylize_all(one)  # type: ignore[arg-type]


def test_it_tells_what_it_is() -> None:
    assert repr(stylizer()) == "Stylizer('classic', device='cpu', precision='fp32', max_side=64)"
    assert {"Stylizer", "errors", "styles", "__version__"} <= {*dir(animegan)}
