"""Decoding to the size that is wanted, and encoding without anything else."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from animegan.errors import (
    BadOption,
    OutOfMemory,
    PictureTooSmall,
    TooLarge,
)
from animegan.picture.images import DECODED_BYTES, Limits, decode, encode, fit, inspect, prepare
from animegan.settings import Format
from harness.files.picture_files import (
    HANDLER,
    LIMITS,
    PHOTOS,
    animation,
    difference,
    files,
    load,
    needs_avif,
    orientation_exif,
    pixels,
    psnr,
    swapped_primaries,
)
from harness.pictures import encoded, photo


@given(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), st.integers(1, 10**5))
def test_fit_keeps_the_ratio_and_never_enlarges(size: tuple[int, int], max_side: int) -> None:
    result = fit(size, max_side)
    assert min(result) >= 1
    assert max(result) == min(max(size), max_side)
    assert fit(result, max_side) == result
    assert fit((size[1], size[0]), max_side) == (result[1], result[0])
    if max(size) <= max_side:
        assert result == size
    for side, before in zip(result, size, strict=True):
        assert side == 1 or abs(2 * side * max(size) - 2 * before * max_side) <= max(size) or result == size


def test_fit_rounds_to_nearest() -> None:
    assert fit((4000, 3000), 1024) == (1024, 768)
    assert fit((1000, 667), 100) == (100, 67)
    assert fit((4000, 20), 1024) == (1024, 5)
    assert fit((10_000, 1), 100) == (100, 1)


def test_a_long_picture_is_fitted_by_its_pixels() -> None:
    default = 1024, 1024**2
    assert fit((7928, 700), *default) == (3446, 304)
    assert fit((600, 4250), *default) == (384, 2725)
    assert fit((4000, 3000), *default) == (1024, 768)
    assert fit((4000, 2000), *default) == (1024, 512)  # twice as long is not yet long
    assert fit((4000, 20), *default) == (4000, 20)
    assert fit((4000, 3000), None, 750_000) == (1000, 750)
    assert fit((4000, 3000), None) == (4000, 3000)


@given(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), st.integers(1, 10**9))
def test_fit_keeps_within_the_pixels_and_uses_them(size: tuple[int, int], max_pixels: int) -> None:
    result = fit(size, None, max_pixels)
    assert min(result) >= 1
    assert result[0] * result[1] <= max(max_pixels, *result)
    assert all(side <= before for side, before in zip(result, size, strict=True))
    assert fit((size[1], size[0]), None, max_pixels) == (result[1], result[0])
    if min(result) > 100:
        assert result == size or result[0] * result[1] >= 0.98 * max_pixels
        assert result[0] / result[1] == pytest.approx(size[0] / size[1], rel=0.02)


def test_a_picture_drawn_as_sent_has_a_limit_on_its_pixels() -> None:
    data = encoded(Image.new("RGB", (400, 300)), "PNG")
    limits = replace(LIMITS, max_drawn_pixels=100_000)
    with pytest.raises(TooLarge, match=r"400×300 px, 120,000 pixels, .* at most 100,000 are drawn. Set max_pixels="):
        load(data, max_side=None, limits=limits)
    assert load(data, max_side=None, limits=replace(limits, max_drawn_pixels=120_000)).rgb.size == (400, 300)


@pytest.mark.parametrize("size", [(1, 1), (15, 400), (400, 15)])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_side_under_16_px_is_refused(size: tuple[int, int], form: str) -> None:
    with pytest.raises(PictureTooSmall) as excinfo:
        load(encoded(Image.new("RGB", size), form))
    assert f"{size[0]}×{size[1]} px" in excinfo.value.detail
    assert "16 px" in excinfo.value.detail


def test_a_side_under_16_px_after_fitting_is_refused() -> None:
    data = encoded(Image.new("RGB", (4000, 20)), "PNG")
    with pytest.raises(PictureTooSmall, match=r"4000×20 px, fitted to max_side=1024 it is 1024×5 px.* raise max_side"):
        load(data)
    with pytest.raises(PictureTooSmall):
        prepare(Image.new("RGB", (4000, 20)), max_side=1024)
    with pytest.raises(PictureTooSmall):
        prepare(Image.new("RGB", (0, 20)), max_side=1024)
    assert load(data, max_side=4000).rgb.size == (4000, 20)
    assert load(encoded(Image.new("RGB", (16, 16)), "PNG")).rgb.size == (16, 16)


@pytest.mark.parametrize(
    ("kind", "frames"),
    [("GIF, animated", 3), ("PNG, animated", 3), ("WEBP, animated", 3), ("TIFF, pages", 3), ("MPO", 1), ("GIF", 1)],
)
def test_the_first_frame_is_used_and_all_are_counted(kind: str, frames: int) -> None:
    picture = load(files()[kind])
    assert picture.frames == frames
    assert difference(picture.rgb, photo(72, 48)) < 12
    form = kind.partition(",")[0].replace("MPO", "JPEG")
    header = inspect(files()[kind], LIMITS)
    assert (header.format, header.size, header.frames) == (form, (72, 48), frames)


@needs_avif
def test_an_animated_avif() -> None:
    assert load(animation("AVIF")).frames == 3


def test_a_still_before_an_animated_png_is_used() -> None:
    picture = load(animation("PNG", default_image=True))
    assert picture.frames == 3
    assert difference(picture.rgb, photo(72, 48)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("max_side", [1000, 700, 512, 250])
def test_a_large_jpeg_is_as_if_decoded_whole(max_side: int) -> None:
    whole = Image.fromarray(np.tile(np.asarray(photo(503, 377)), (8, 8, 1)))
    data = encoded(whole, quality=95)
    picture = load(data, max_side)
    assert picture.original_size == whole.size == (4024, 3016)
    with Image.open(io.BytesIO(data)) as full:
        expected = full.resize(picture.rgb.size, Image.Resampling.LANCZOS)
    assert difference(picture.rgb, expected) < 1
    assert np.percentile(np.abs(pixels(picture.rgb) - pixels(expected)), 99.9) <= 8


@pytest.mark.parametrize("name", ["dogs_window", "mountain_path"])
def test_a_photo_decoded_at_half_its_size_looks_the_same(name: str) -> None:
    """Where the decoder's own scaling shows most: down to just twice the size that is wanted."""
    data = (PHOTOS / f"{name}.jpg").read_bytes()
    with Image.open(io.BytesIO(data)) as full:
        picture = load(data, max(full.size) // 4)
        assert psnr(picture.rgb, full.resize(picture.rgb.size, Image.Resampling.LANCZOS)) >= 45


def test_scaling_can_be_done_elsewhere_and_decoding_waits_at_a_gate() -> None:
    calls: list[Any] = []

    def scale(image: Image.Image, size: tuple[int, int], box: tuple[float, ...]) -> Image.Image:
        calls.append((image.size, size, box))
        return Image.new("RGB", size, "red")

    @contextmanager
    def gate(amount: int) -> Iterator[None]:
        calls.append(amount)
        yield
        calls.append("left")

    data = encoded(photo(1600, 1200), exif=orientation_exif(6))
    picture = decode(data, max_side=400, limits=LIMITS, scale=scale, gate=gate)
    assert calls == [800 * 600 * DECODED_BYTES["JPEG"], ((800, 600), (400, 300), (0, 0, 800, 600)), "left"]
    assert (picture.rgb.size, picture.rgb.getpixel((0, 0))) == ((300, 400), (255, 0, 0))


def test_a_large_jpeg_is_limited_by_what_its_decoding_takes() -> None:
    limits = Limits(10**6, 10**6)  # of a million pixels
    large = encoded(Image.new("RGB", (1920, 1600), "navy"))
    assert inspect(large, limits).reducible
    assert load(large, max_side=256, limits=limits).original_size == (1920, 1600)
    with pytest.raises(TooLarge, match="1920×1600 px"):  # not reduced, as it is to stay large
        load(large, max_side=1600, limits=limits)
    for other in (
        encoded(Image.new("RGB", (1920, 1600)), progressive=True),
        encoded(Image.new("RGB", (1920, 1600)), "PNG"),
    ):
        with pytest.raises(TooLarge):
            load(other, max_side=256, limits=limits)
    with pytest.raises(TooLarge):
        inspect(encoded(Image.new("RGB", (2400, 2000))), limits)


MEMORY = """
import io, re, resource, sys
from pathlib import Path
import numpy as np
from PIL import Image
from animegan.picture import images
from animegan.errors import OutOfMemory

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def size():
    return int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

limits = images.Limits(1 << 30, 10**8)
small = io.BytesIO()
Image.new("RGBA", (64, 64)).save(small, "PNG")
images.decode(small.getvalue(), max_side=64, limits=limits)
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
data = Path(sys.argv[-2]).read_bytes()
resource.setrlimit(resource.RLIMIT_AS, (size() + (32 << 20), hard))
try:
    images.decode(data, max_side=1024, limits=limits)
except OutOfMemory as error:
    print(error.detail)
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
for path, max_side in zip(sys.argv[1::2], sys.argv[2::2]):
    data, before = Path(path).read_bytes(), resident()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    picture = images.decode(data, max_side=int(max_side), limits=limits)
    file = images.encode(picture.rgb, picture.alpha, format="jpeg", quality=92)
    print(peak() - before)
    del picture, file
assert "torch" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_near_one_decoded_copy(tmp_path: Path) -> None:
    large = Image.linear_gradient("L").resize((8000, 6000))
    rgb = Image.merge("RGB", (large, large, large))
    files = {  # with a bound on the peak in MiB; Pillow holds 4 bytes a pixel
        "48_megapixels.jpg": (rgb, 1024, 96),  # decoded at a quarter
        "8_megapixels.jpg": (rgb.crop((0, 0, 3840, 2160)), 3840, 1.4 * 32),  # nothing is scaled: 32 MiB
        "12_megapixels.png": (rgb.crop((0, 0, 4000, 3000)), 1024, 1.5 * 46),
        "16_megapixels.png": (Image.merge("RGBA", [large.crop((0, 0, 4000, 4000))] * 4), 1024, 1.7 * 61),
    }
    command = [sys.executable, "-c", MEMORY]
    for name, (image, max_side, _) in files.items():
        image.save(tmp_path / name)
        command += [str(tmp_path / name), str(max_side)]
    process = subprocess.run(command, env={"PYTHONPATH": str(HANDLER)}, check=True, capture_output=True, text=True)
    out_of_memory, *peaks_mb = process.stdout.splitlines()
    for peak_mb, (name, (_, _, most_mb)) in zip(peaks_mb, files.items(), strict=True):
        assert float(peak_mb) < most_mb, name
    assert out_of_memory.startswith("Not enough memory to decode the PNG now.")


def test_out_of_memory_can_be_retried() -> None:
    assert OutOfMemory("").problem()["retryable"] is True


def reopen(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


ALPHA = Image.linear_gradient("L").resize((64, 48))


@pytest.mark.parametrize(
    ("form", "alpha", "content_type", "mode"),
    [
        ("auto", None, "image/jpeg", "RGB"),
        ("auto", ALPHA, "image/png", "RGBA"),
        ("jpeg", None, "image/jpeg", "RGB"),
        ("jpeg", ALPHA, "image/jpeg", "RGB"),
        ("png", None, "image/png", "RGB"),
        ("png", ALPHA, "image/png", "RGBA"),
        ("webp", None, "image/webp", "RGB"),
        ("webp", ALPHA, "image/webp", "RGBA"),
    ],
)
def test_formats_and_alpha(form: Format, alpha: Image.Image | None, content_type: str, mode: str) -> None:
    rgb = photo(64, 48)
    before = rgb.tobytes()
    file = encode(rgb, alpha, format=form, quality=92)
    image = reopen(file.data)
    assert (file.content_type, image.mode, image.size) == (content_type, mode, (64, 48))
    assert image.get_format_mimetype() == content_type  # type: ignore[attr-defined]
    if content_type == "image/png":
        assert image.convert("RGB").tobytes() == before
    else:
        flat = rgb
        if alpha and mode == "RGB":
            flat = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)
        assert np.abs(pixels(image.convert("RGB")) - pixels(flat))[pixels(ALPHA) > 200].mean() < 9
    if mode == "RGBA":
        assert difference(image.getchannel("A"), ALPHA) == 0
    assert (rgb.mode, rgb.tobytes()) == ("RGB", before)


@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_no_metadata_leaks(form: Format, alpha: Image.Image | None) -> None:
    source = encoded(
        photo(64, 48), exif=orientation_exif(1), comment="secret", icc_profile=swapped_primaries(), dpi=(7, 7)
    )
    assert source.count(b"secret") == 2
    picture = load(source)
    leaky = photo(64, 48)
    leaky.info.update(exif=b"Exif\0\0secret", comment=b"secret", icc_profile=b"secret", xmp=b"secret", Author="secret")
    leaky.info.update(dpi=(7, 7), transparency=(0, 0, 0))
    for rgb in (picture.rgb, leaky):
        data = encode(rgb, alpha, format=form, quality=92).data
        for trace in (
            b"secret",
            b"Exif",
            b"ICC_PROFILE",
            b"ICCP",
            b"iCCP",
            b"eXIf",
            b"tEXt",
            b"pHYs",
            b"tRNS",
            b"XMP ",
        ):
            assert trace not in data
        assert not {"exif", "icc_profile", "comment", "xmp", "dpi"} & set(reopen(data).info)
    assert leaky.info["comment"] == b"secret"  # the caller's own is left alone


def test_chroma_is_kept_whole_from_quality_90() -> None:
    def sampling(quality: int) -> tuple[int, int]:
        layer = reopen(encode(photo(64, 48), None, format="jpeg", quality=quality).data).layer[0]  # type: ignore[attr-defined]
        return int(layer[1]), int(layer[2])

    assert (sampling(89), sampling(90)) == ((2, 2), (1, 1))


@pytest.mark.parametrize("quality", [1, 50, 90, 94, 95, 100])
def test_noise_can_be_encoded(quality: int) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8))
    for form in ("jpeg", "webp"):
        assert reopen(encode(noise, None, format=form, quality=quality).data).size == (512, 512)


def test_quality_matters() -> None:
    for form in ("jpeg", "webp"):
        sizes = [len(encode(photo(256, 192), None, format=form, quality=q).data) for q in (20, 60, 95)]
        assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(("form", "side"), [("webp", 16_384), ("jpeg", 65_501)])
def test_a_side_that_the_format_cannot_hold(form: Format, side: int) -> None:
    wide = Image.new("RGB", (side, 16))
    with pytest.raises(BadOption, match=rf"{side}×16 px.*{form.upper()}.*format=png"):
        encode(wide, None, format=form, quality=92)
    assert encode(wide, None, format="png", quality=92).content_type == "image/png"


def test_every_file_here_is_a_whole_picture() -> None:
    """What the tests above damage is sound to begin with."""
    readers: list[Callable[[bytes], Any]] = [load, lambda data: inspect(data, LIMITS)]
    for data in files().values():
        for read in readers:
            read(data)
