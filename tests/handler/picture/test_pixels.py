"""Every kind of picture becomes upright sRGB: orientation, modes, transparency, colour profiles."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw, ImageFilter, PngImagePlugin

from animegan.errors import BadImage, UnsupportedImage
from animegan.picture.images import Picture, fit, prepare
from harness.files.picture_files import (
    PHOTOS,
    PRIMARIES,
    STORED_AS,
    chunk,
    difference,
    files,
    float_tiff,
    gamma,
    heic,
    icc,
    load,
    needs_avif,
    oriented,
    pixels,
    png,
    psnr,
    srgb_profile,
    swapped_primaries,
)
from harness.pictures import encoded, photo


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", pytest.param("AVIF", marks=needs_avif)])
@pytest.mark.parametrize("max_side", [1024, 48])
def test_pictures_are_upright(orientation: int, form: str, max_side: int) -> None:
    upright, turn = photo(96, 64), STORED_AS[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    picture = load(encoded(stored, form, exif=oriented(orientation), quality=95), max_side)
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
        info.add_text("Raw profile type exif", "\nexif\n      34\n" + oriented(6).hex(), zip=True)
        data = encoded(image, form, pnginfo=info)
    else:
        data = encoded(image, form, **({"tiffinfo": {700: xmp}} if form == "TIFF" else {"xmp": xmp, **options}))
    assert xmp[:20] in data
    assert load(data).rgb.size == (96, 64)


@pytest.mark.parametrize("orientation", STORED_AS)
def test_a_large_jpeg_and_its_size_are_upright(orientation: int) -> None:
    upright, turn = photo(128, 96).resize((1024, 768)), STORED_AS[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    picture = load(encoded(stored, exif=oriented(orientation), quality=95), max_side=128)
    assert picture.original_size == (1024, 768)
    assert difference(picture.rgb, upright.resize((128, 96), Image.Resampling.LANCZOS)) < 3


def test_alpha_turns_with_the_picture() -> None:
    image = photo(64, 32).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((64, 32)))
    picture = load(encoded(image, "PNG", exif=oriented(6)))
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
        seen = pixels(picture.alpha) >= 64
        assert np.array_equal(pixels(picture.rgb)[seen], pixels(whole.convert("RGB"))[seen])
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


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "CMYK"])
def test_a_profile_is_applied_to_every_band(mode: str) -> None:
    colour = Image.new("RGB", (1300, 1700), (200, 150, 100)).convert(mode)
    colour.info["icc_profile"] = {
        "L": icc(b"GRAY", b"XYZ ", kTRC=gamma(1)),
        "CMYK": cmyk_profile(),
    }.get(mode, swapped_primaries())
    whole = prepare(colour, max_side=1700).rgb
    assert whole.getcolors(1) == prepare(colour.crop((0, 0, 16, 16)), max_side=16).rgb.resize(whole.size).getcolors(1)
    assert whole.getpixel((0, 0)) != colour.convert("RGB").getpixel((0, 0))


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
        seen = alpha[..., 0] >= 64
        assert np.abs(pixels(picture.rgb) - eight[..., :-1])[seen].max() <= 4  # premultiplied on the way


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
        image.info["exif"] = oriented(6)
        before = image.tobytes(), image.mode, image.size, dict(image.info)
        picture = prepare(image, max_side=32)
        assert picture.original_size == (48, 64)
        assert (image.tobytes(), image.mode, image.size, dict(image.info)) == before
        assert picture.rgb.info == {}
    with Image.open(io.BytesIO(files()["JPEG"][:-200])) as cut, pytest.raises(BadImage):
        prepare(cut, max_side=32)


def test_alpha_is_kept_and_so_are_the_colours_under_it() -> None:
    image = photo(64, 48).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((64, 48)))
    for form in ("PNG", "WEBP", "TIFF"):
        picture = load(encoded(image, form, **({"lossless": True} if form == "WEBP" else {})))
        assert difference(picture.alpha or picture.rgb, image.getchannel("A")) == 0
        seen = pixels(picture.alpha) >= 64
        assert np.abs(pixels(picture.rgb) - pixels(image.convert("RGB")))[seen].max() <= 4  # premultiplied on the way


def test_an_alpha_of_255_throughout_is_opaque() -> None:
    image = photo(64, 48)
    for opaque in (image.convert("RGBA"), image.convert("LA")):
        for max_side in (1024, 40):
            picture = load(encoded(opaque, "PNG"), max_side)
            assert picture.alpha is None
            whole = opaque.convert("RGB").resize(picture.rgb.size, Image.Resampling.LANCZOS)
            assert difference(picture.rgb, whole) == 0


def test_the_hidden_colour_of_transparent_pixels_does_not_bleed() -> None:
    image = Image.new("RGBA", (256, 256), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 101, 256))
    picture = load(encoded(image, "PNG"), max_side=100)
    assert np.abs(pixels(picture.rgb) - (0, 0, 255)).max() <= 2


@pytest.mark.parametrize("colour", [(20, 30, 60), (250, 240, 200)])
@pytest.mark.parametrize("size", [160, 163, 1000])
def test_soft_edges_carry_no_ground_of_their_own(colour: tuple[int, int, int], size: int) -> None:
    """A disk whose alpha is blurred by 5 px: whatever it is laid on, there is no ring."""
    alpha = Image.new("L", (size, size))
    ImageDraw.Draw(alpha).ellipse((size // 4, size // 4, size - size // 4, size - size // 4), fill=255)
    alpha = alpha.filter(ImageFilter.GaussianBlur(5))
    image = Image.merge("RGBA", (*Image.new("RGB", (size, size), colour).split(), alpha))
    for max_side in (size, size // 2):
        picture = load(encoded(image, "PNG"), max_side)
        assert picture.alpha
        off = np.abs(pixels(picture.rgb) - colour)
        assert (off.mean() < 2, off.max() <= 12) == (True, True)  # the most where hardly anything is seen
        for under in ("black", "white"):
            laid = Image.composite(picture.rgb, Image.new("RGB", picture.rgb.size, under), picture.alpha)
            most = np.maximum(colour, 255 if under == "white" else 0)
            least = np.minimum(colour, 255 if under == "white" else 0)
            assert np.all((pixels(laid) >= least - 3) & (pixels(laid) <= most + 3))


def test_the_nearest_colours_are_spread_under_what_is_transparent() -> None:
    image = Image.new("RGBA", (256, 64))
    image.paste((200, 0, 0, 255), (0, 0, 40, 64))
    image.paste((0, 0, 200, 255), (216, 0, 256, 64))
    rgb = pixels(load(encoded(image, "PNG")).rgb)[32]
    assert np.all(rgb[48] > (150, -1, -1))
    assert np.all(rgb[208] > (-1, -1, 150))
    assert np.abs(np.diff(rgb[44:212], axis=0)).max() <= 12


def test_a_picture_that_is_all_transparent_is_white() -> None:
    picture = load(encoded(Image.new("RGBA", (64, 48), (9, 9, 9, 0)), "PNG"))
    assert picture.rgb.getcolors() == [(64 * 48, (255, 255, 255))]


def test_palettes_with_transparency() -> None:
    image = photo(64, 48).quantize(64)
    index, alphas = np.asarray(image), np.arange(64, dtype=np.uint8) * 4
    for transparency, expected in ((bytes(alphas), alphas[index]), (7, np.where(index == 7, 0, 255))):
        picture = load(encoded(image, "PNG", transparency=transparency))
        assert np.array_equal(pixels(picture.alpha), expected)
    picture = load(encoded(image, "GIF", transparency=7))
    assert np.array_equal(pixels(picture.alpha), np.where(index == 7, 0, 255))


@pytest.mark.parametrize(
    ("depth", "colour", "rows", "key"),
    [
        (1, 0, b"\x0f" * 2, (0,)),
        (8, 0, bytes([9] * 8 + [200] * 8), (9,)),
        (16, 0, bytes([9, 1] * 8 + [9, 2] * 8), (0x0901,)),
        (8, 2, bytes([1, 2, 3] * 8 + [4, 5, 6] * 8), (1, 2, 3)),
    ],
)
def test_a_transparent_colour(depth: int, colour: int, rows: bytes, key: tuple[int, ...]) -> None:
    data = png((16, 16), depth, colour, rows * 16, chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)))
    alpha = pixels(load(data).alpha)
    assert set(np.unique(alpha)) == {0, 255}
    if depth > 1:
        assert np.all(alpha[:, :8] == 0)
        assert np.all(alpha[:, 8:] == 255)


def cmyk_profile() -> bytes:
    """All ink is lightness: L* = 100 - 100 K, a* = b* = 0, whatever C, M and Y are."""
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    curve = bytes(range(256))
    grid = b"".join(bytes([255 * (1 - k), 128, 128]) for _ in range(8) for k in (0, 1))  # K runs fastest
    lut = b"mft1" + struct.pack(">4x4B", 4, 3, 2, 0) + identity + curve * 4 + grid + curve * 3
    return icc(b"CMYK", b"Lab ", A2B0=lut)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", pytest.param("AVIF", marks=needs_avif)])
def test_profiles_are_converted_to_srgb(form: str) -> None:
    image = photo(64, 48)
    options = {"quality": 95} if form != "PNG" else {}
    plain = load(encoded(image, form, **options)).rgb
    picture = load(encoded(image, form, icc_profile=swapped_primaries(), **options))
    red, green, blue = plain.split()
    assert difference(picture.rgb, Image.merge("RGB", (blue, green, red))) < 1.5
    assert picture.rgb.info == {}


def test_an_srgb_profile_changes_nothing() -> None:
    image = photo(64, 48)
    code = (np.arange(256) + 0.7).clip(0, 255) / 255
    table = np.where(code > 0.04045, ((code + 0.055) / 1.055) ** 2.4, code / 12.92) * 65535
    curve = b"curv" + struct.pack(">4xI256H", 256, *table.round().astype(int))
    step = icc(b"RGB ", b"XYZ ", rTRC=curve, gTRC=curve, bTRC=curve, **PRIMARIES)  # rounds to the next value
    for profile in (srgb_profile(), step):
        assert load(encoded(image, "PNG", icc_profile=profile)).rgb.tobytes() == image.tobytes()


def test_a_grey_profile() -> None:
    image = photo(64, 48).convert("L")
    plain = load(encoded(image, "PNG")).rgb
    linear = load(encoded(image, "PNG", icc_profile=icc(b"GRAY", b"XYZ ", kTRC=gamma(1)))).rgb
    assert np.all(pixels(linear) >= pixels(plain))
    assert pixels(linear).mean() > pixels(plain).mean() + 20
    assert load(encoded(photo(64, 48), "PNG", icc_profile=icc(b"GRAY", b"XYZ ", kTRC=gamma(1)))).rgb.tobytes() == (
        photo(64, 48).tobytes()  # of no use for colours
    )


def test_an_rgb_profile_on_grey_and_with_alpha() -> None:
    image = photo(64, 48)
    curves = {name: gamma(1) for name in ("rTRC", "gTRC", "bTRC")}
    linear = icc(b"RGB ", b"XYZ ", **curves, **PRIMARIES)
    grey = load(encoded(image.convert("L"), "PNG", icc_profile=linear)).rgb
    assert pixels(grey).mean() > pixels(image.convert("L")).mean() + 20
    clear = image.convert("RGBA")
    clear.putalpha(128)
    picture = load(encoded(clear, "PNG", icc_profile=swapped_primaries()))
    red, green, blue = load(encoded(clear, "PNG")).rgb.split()
    assert difference(picture.rgb, Image.merge("RGB", (blue, green, red))) < 2
    assert set(np.unique(pixels(picture.alpha))) == {128}


def test_a_cmyk_profile() -> None:
    ink = Image.merge("CMYK", [*[Image.new("L", (64, 48), 255)] * 3, Image.linear_gradient("L").resize((64, 48))])
    for form in ("JPEG", "TIFF"):
        assert np.all(pixels(load(encoded(ink, form)).rgb) == 0)
        rgb = pixels(load(encoded(ink, form, icc_profile=cmyk_profile())).rgb)
        assert rgb[0].mean() > 240
        assert rgb[-1].mean() < 20
        assert np.ptp(rgb, axis=-1).max() <= 3


def test_a_lab_profile() -> None:
    lab = photo(64, 48).convert("LAB")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert difference(load(encoded(lab, "TIFF", icc_profile=profile)).rgb, photo(64, 48)) < 4


@pytest.mark.parametrize(
    "profile",
    [b"x", b"\0" * 128, srgb_profile()[:300], srgb_profile()[:128] + b"\0" * 400, b"\xff" * 3000, cmyk_profile()],
    ids=["short", "zeros", "cut", "no-tags", "ones", "cmyk"],
)
def test_a_profile_that_cannot_be_used_is_ignored(profile: bytes) -> None:
    image = photo(64, 48)
    for form in ("PNG", "JPEG"):
        plain = load(encoded(image, form)).rgb
        assert load(encoded(image, form, icc_profile=profile)).rgb.tobytes() == plain.tobytes()
    image.info["icc_profile"] = profile
    assert prepare(image, max_side=1024).rgb.tobytes() == image.tobytes()
    image.info["icc_profile"] = "not bytes"
    assert prepare(image, max_side=1024).rgb.tobytes() == image.tobytes()


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
