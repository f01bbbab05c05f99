"""Every kind of picture becomes upright sRGB: orientation, modes, floats."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from animegan.errors import BadImage, UnsupportedImage
from animegan.picture.images import Picture, fit, prepare
from harness.files.picture_files import (
    PHOTOS,
    STORED_AS,
    difference,
    files,
    float_tiff,
    heic,
    load,
    needs_avif,
    orientation_exif,
    pixels,
    png,
    psnr,
)
from harness.pictures import encoded, photo


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", pytest.param("AVIF", marks=needs_avif)])
@pytest.mark.parametrize("max_side", [1024, 48])
def test_pictures_are_upright(orientation: int, form: str, max_side: int) -> None:
    upright, turn = photo(96, 64), STORED_AS[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    picture = load(encoded(stored, form, exif=orientation_exif(orientation), quality=95), max_side)
    assert picture.original_size == (96, 64)
    assert picture.rgb.size == fit((96, 64), max_side)
    assert difference(picture.rgb, upright.resize(picture.rgb.size, Image.Resampling.LANCZOS)) < 9


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"])
def test_orientation_in_xmp_or_in_text_turns_nothing(form: str) -> None:
    """As in browsers: only EXIF turns a picture, and in HEIC only its own boxes."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    image, options = photo(96, 64), {"quality": 95}
    if form == "HEIF":
        data = heic(image, xmp=xmp.replace(b"6", b"1")).replace(xmp.replace(b"6", b"1"), xmp)
    elif form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        info.add_text("Raw profile type exif", "\nexif\n      34\n" + orientation_exif(6).hex(), zip=True)
        data = encoded(image, form, pnginfo=info)
    else:
        data = encoded(image, form, **({"tiffinfo": {700: xmp}} if form == "TIFF" else {"xmp": xmp, **options}))
    assert xmp[:20] in data
    assert load(data).rgb.size == (96, 64)


@pytest.mark.parametrize("orientation", STORED_AS)
def test_a_large_jpeg_and_its_size_are_upright(orientation: int) -> None:
    upright, turn = photo(128, 96).resize((1024, 768)), STORED_AS[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    picture = load(encoded(stored, exif=orientation_exif(orientation), quality=95), max_side=128)
    assert picture.original_size == (1024, 768)
    assert difference(picture.rgb, upright.resize((128, 96), Image.Resampling.LANCZOS)) < 3


def test_alpha_turns_with_the_picture() -> None:
    image = photo(64, 32).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((64, 32)))
    picture = load(encoded(image, "PNG", exif=orientation_exif(6)))
    assert picture.original_size == picture.rgb.size == (32, 64)
    assert np.array_equal(pixels(picture.alpha), pixels(image.getchannel("A").transpose(Image.Transpose.ROTATE_270)))


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xff" * 60_000])
def test_broken_exif_is_ignored(exif: bytes) -> None:
    for form in ("JPEG", "WEBP"):
        assert load(encoded(photo(64, 48), form, exif=exif)).rgb.size == (64, 48)
    image = photo(64, 48)
    image.info["exif"] = exif
    assert prepare(image, max_side=1024).rgb.size == (64, 48)


def test_an_rgb_picture_that_fits_is_unchanged() -> None:
    image = photo(300, 200)
    picture = load(encoded(image, "PNG"))
    assert difference(picture.rgb, image) == 0
    assert picture == Picture(picture.rgb, None, (300, 200), 1)
    assert picture.rgb.size == picture.original_size


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "CMYK"])
def test_bands_are_the_whole(mode: str) -> None:
    """More than three bands of rows give the very pixels of Pillow's own Lanczos."""
    image = photo(256, 192).resize((2048, 1536)).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.radial_gradient("L").resize(image.size))
    whole = image.resize((520, 390), Image.Resampling.LANCZOS)  # from 4 times on it would be averaged first
    picture = prepare(image, max_side=520)
    if mode.endswith("A"):
        assert difference(whole.getchannel("A"), picture.alpha or whole) == 0
        opaque = pixels(picture.alpha) >= 64
        assert np.array_equal(pixels(picture.rgb)[opaque], pixels(whole.convert("RGB"))[opaque])
    else:
        assert difference(picture.rgb, whole.convert("RGB")) == 0


def test_what_is_much_larger_is_averaged_first_and_nobody_sees_it() -> None:
    """From 4 times on, where it differs most, in the sharpest photo here."""
    with Image.open(PHOTOS / "mountain_path.jpg") as image:
        image.load()
    for mode in ("RGB", "RGBA"):  # as a whole, and in bands of rows
        for side in (image.height // 4, image.height // 7):
            picture = prepare(image.convert(mode), max_side=side)
            whole = image.resize(picture.rgb.size, Image.Resampling.LANCZOS)
            assert psnr(picture.rgb, whole) >= 45
            assert difference(picture.rgb, whole) > 0


def ramp16() -> NDArray[np.uint16]:
    return np.linspace(0, 65535, 64 * 32).round().astype(np.uint16).reshape(32, 64)


def rounded(values: NDArray[np.uint16]) -> NDArray[np.int64]:
    return (values.astype(np.int64) * 255 + 32767) // 65535


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(form: str) -> None:
    picture = load(encoded(Image.fromarray(ramp16()), form))
    assert np.array_equal(pixels(picture.rgb), np.repeat(rounded(ramp16())[..., None], 3, axis=-1))


@pytest.mark.parametrize(("mode", "kind"), [("I;16", "<u2"), ("I;16L", "<u2"), ("I;16B", ">u2"), ("I;16N", "=u2")])
def test_16_bit_grey_of_either_byte_order(mode: str, kind: str) -> None:
    image = Image.frombytes(mode, (64, 32), ramp16().astype(kind).tobytes())
    assert np.array_equal(pixels(prepare(image, max_side=1024).rgb)[..., 0], rounded(ramp16()))


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_16_bit_colour_and_alpha(colour: int) -> None:
    channels = {2: 3, 4: 2, 6: 4}[colour]
    ramp = np.stack([np.roll(ramp16(), k, axis=0) for k in range(channels)], axis=-1)
    picture = load(png((64, 32), 16, colour, ramp.astype(">u2").tobytes()))
    eight = rounded(ramp)
    if colour == 2:
        assert picture.alpha is None
        assert np.abs(pixels(picture.rgb) - eight).max() <= 1
    else:
        alpha = eight[..., -1:]
        assert np.abs(pixels(picture.alpha) - alpha[..., 0]).max() <= 1
        opaque = alpha[..., 0] >= 64
        assert np.abs(pixels(picture.rgb) - eight[..., :-1])[opaque].max() <= 4  # premultiplied on the way


def test_32_bit_grey() -> None:
    ramp = ramp16().astype(np.float32)
    stretched = np.linspace(0, 255, 64 * 32).reshape(32, 64)
    for image in (
        Image.fromarray(ramp / 65535),
        Image.fromarray(ramp * 7 - 1000),
        Image.fromarray(ramp.astype(np.int32) * 30_000 - 10**9),
    ):
        picture = load(encoded(image, "TIFF"))
        assert np.abs(pixels(picture.rgb)[..., 0] - stretched).max() <= 1
    half = Image.fromarray(np.full((16, 16), 0.5, np.float32))  # floats within 0 to 1 are not stretched
    assert np.all(pixels(prepare(half, max_side=1024).rgb) == 128)
    odd = np.full((16, 16), np.nan, np.float32)
    assert np.all(pixels(prepare(Image.fromarray(odd), max_side=1024).rgb) == 0)
    odd[0, :3] = 5, np.inf, -np.inf
    assert prepare(Image.fromarray(odd), max_side=1024).rgb.size == (16, 16)


def test_grey_one_bit_and_palette() -> None:
    image = photo(64, 48)
    for other in (image.convert("L"), image.convert("1"), image.quantize(), image.convert("L").quantize(16)):
        for form in ("PNG", "GIF", "BMP", "TIFF"):
            picture = load(encoded(other, form))
            assert picture.alpha is None
            assert difference(picture.rgb, other.convert("RGB")) == 0, (other.mode, form)


def test_cmyk_jpeg() -> None:
    image = photo(64, 48)
    picture = load(encoded(image.convert("CMYK"), quality=95))  # inverted, with Adobe's marker
    assert difference(picture.rgb, image) < 8
    assert load(encoded(image.convert("CMYK"), "TIFF")).rgb.tobytes() == image.convert("CMYK").convert("RGB").tobytes()


def test_ycbcr_and_lab_tiff() -> None:
    image = photo(64, 48)
    assert difference(load(encoded(image.convert("YCbCr"), "TIFF")).rgb, image) < 2
    assert difference(load(encoded(image.convert("LAB"), "TIFF")).rgb, image) < 4


@pytest.mark.parametrize(
    "mode",
    "1 L LA La P PA RGB RGBX RGBA RGBa CMYK YCbCr LAB HSV I F I;16 I;16L I;16B I;16N".split(),  # noqa: SIM905
)
def test_any_mode_can_be_prepared(mode: str) -> None:
    picture = prepare(Image.new(mode, (64, 48)), max_side=32)
    assert (picture.rgb.mode, picture.rgb.size, picture.original_size) == ("RGB", (32, 24), (64, 48))


def test_prepare_leaves_the_image_alone() -> None:
    for image in (photo(64, 48).quantize(), photo(64, 48).convert("RGBA"), photo(64, 48)):
        image.info["exif"] = orientation_exif(6)
        before = image.tobytes(), image.mode, image.size, dict(image.info)
        picture = prepare(image, max_side=32)
        assert picture.original_size == (48, 64)
        assert (image.tobytes(), image.mode, image.size, dict(image.info)) == before
        assert picture.rgb.info == {}
    with Image.open(io.BytesIO(files()["JPEG"][:-200])) as cut, pytest.raises(BadImage):
        prepare(cut, max_side=32)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_of_floats(mode: str, order: str) -> None:
    image = photo(64, 48).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    floats = np.asarray(image, np.float32) / 255
    picture = load(float_tiff(floats, order=order))
    turned = image.transpose(Image.Transpose.ROTATE_270)  # by its tag
    assert picture.rgb.size == turned.size == (48, 64)
    if mode == "RGB":
        assert np.array_equal(np.asarray(picture.rgb), np.asarray(turned))
    else:
        assert np.array_equal(pixels(picture.alpha), pixels(turned.getchannel("A")))
    stretched = load(float_tiff(4 * floats[..., :3], order=order)).rgb  # brighter than white: to its brightest
    assert (
        np.abs(pixels(stretched) - pixels(turned.convert("RGB")) * 255 / pixels(image.convert("RGB")).max()).max() <= 1
    )


def test_floats_that_are_coded_by_differences_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedImage, match="floating-point colours is read without a predictor"):
        load(float_tiff(np.zeros((32, 32, 3), np.float32), predictor=3))
