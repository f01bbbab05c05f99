"""Each step of a finish against a plain NumPy form of its formula, written here on its own."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from animegan import looks
from animegan.finish import filters, flow, oklab
from animegan.finish.frame import Frame
from animegan.finish.steps import dabs, paper
from animegan.finish.steps.grade import Grade, apply_grade, curve
from animegan.finish.steps.levels import Levels
from animegan.finish.steps.lines import Lines
from animegan.finish.steps.paper import Paper
from animegan.finish.table import Table
from animegan.looks import Bend, GradeStep, LevelsStep, LinesStep, PaperStep

Array = NDArray[Any]


def photo(height: int = 46, width: int = 61, seed: int = 0) -> torch.Tensor:
    """Flat patches with edges at all angles and a slight grain, (3, H, W)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    out = np.full((3, height, width), 0.8)
    for _ in range(9):
        cy, cx, r = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(4, 16)
        out = np.where((y - cy) ** 2 + 0.5 * (x - cx) ** 2 < r * r, rng.uniform(0, 1, (3, 1, 1)), out)
    return torch.tensor(np.clip(out + rng.normal(0, 0.01, out.shape), 0, 1), dtype=torch.float32)


def array(planes: torch.Tensor) -> Array:
    return planes.double().numpy()


def blur(plane: Array, sigma: float) -> Array:
    r = int(np.ceil(2.5 * sigma))
    k = np.exp(-(np.arange(-r, r + 1) ** 2) / (2 * sigma**2))
    k /= k.sum()
    for axis in (0, 1):
        wide = np.pad(plane, [(r, r) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        plane = np.apply_along_axis(lambda line: np.convolve(line, k, "valid"), axis, wide)
    return plane


def at(plane: Array, x: Array, y: Array) -> Array:
    """Bilinear, with edges that repeat."""
    x, y = np.clip(x, 0, plane.shape[1] - 1), np.clip(y, 0, plane.shape[0] - 1)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    x1, y1 = np.minimum(x0 + 1, plane.shape[1] - 1), np.minimum(y0 + 1, plane.shape[0] - 1)
    fx, fy = x - x0, y - y0
    top = plane[y0, x0] * (1 - fx) + plane[y0, x1] * fx
    out: Array = top * (1 - fy) + (plane[y1, x0] * (1 - fx) + plane[y1, x1] * fx) * fy
    return out


def oklab_of(rgb: Array) -> Array:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab: Array = np.einsum("ij,jhw->ihw", oklab.LAB, np.cbrt(np.einsum("ij,jhw->ihw", oklab.CONES, linear)))
    return lab


def rgb_of(lab: Array) -> Array:
    cones = np.einsum("ij,jhw->ihw", np.linalg.inv(oklab.LAB), lab) ** 3
    linear = np.clip(np.einsum("ij,jhw->ihw", np.linalg.inv(oklab.CONES), cones), 0, 1)
    out: Array = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return out


def grey(rgb: Array) -> Array:
    out: Array = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    return out


def halve(plane: Array) -> Array:
    wide = np.pad(plane, ((0, plane.shape[0] % 2), (0, plane.shape[1] % 2)), mode="edge")
    out: Array = (wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]) / 4
    return out


def double(plane: Array, height: int, width: int) -> Array:
    y, x = np.mgrid[:height, :width]
    return at(plane, x / 2 - 0.25, y / 2 - 0.25)


def entries_of(plane: Array, sigma: float) -> list[Array]:
    p = np.pad(plane, 1, mode="edge")
    gx = (p[:-2, 2:] - p[:-2, :-2] + 2 * (p[1:-1, 2:] - p[1:-1, :-2]) + p[2:, 2:] - p[2:, :-2]) / 8
    gy = (p[2:, :-2] - p[:-2, :-2] + 2 * (p[2:, 1:-1] - p[:-2, 1:-1]) + p[2:, 2:] - p[:-2, 2:]) / 8
    return [blur(gx * gx, sigma), blur(gx * gy, sigma), blur(gy * gy, sigma)]


def tangent_of(entries: list[Array]) -> tuple[Array, Array, Array]:
    """By eigenvectors."""
    xx, xy, yy = entries
    values, vectors = np.linalg.eigh(np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2))
    along = vectors[..., :, 0]
    return along[..., 0], along[..., 1], (values[..., 1] - values[..., 0]) / (xx + yy + 1e-7)


def step_of(x: Array) -> Array:
    x = np.clip(x, 0, 1)
    out: Array = 3 * x**2 - 2 * x**3
    return out


def test_oklab_is_ottossons_and_comes_back() -> None:
    picture = photo()
    np.testing.assert_allclose(array(oklab.to_oklab(picture)), oklab_of(array(picture)), atol=2e-6)
    np.testing.assert_allclose(array(oklab.from_oklab(oklab.to_oklab(picture))), array(picture), atol=2e-5)


@pytest.mark.parametrize(("red", "green", "blue", "lab"), [(1, 1, 1, (1, 0, 0)), (1, 0, 0, (0.628, 0.225, 0.126))])
def test_oklab_of_published_colours(red: float, green: float, blue: float, lab: tuple[float, ...]) -> None:
    actual = oklab.to_oklab(torch.tensor([red, green, blue], dtype=torch.float32).view(3, 1, 1)).flatten()
    np.testing.assert_allclose(actual.numpy(), lab, atol=1e-3)


def test_blur_and_tensor_are_the_formulas() -> None:
    plane = filters.luma(photo())
    np.testing.assert_allclose(array(filters.blur(plane, 1.7))[0], blur(array(plane)[0], 1.7), atol=1e-6)
    x, y, coherence = flow.tangent(flow.tensor(plane, 1.5))
    tx, ty, c = tangent_of(entries_of(array(plane)[0], 1.5))
    np.testing.assert_allclose(array(coherence), c, atol=1e-3)
    clear = c > 0.3
    assert (np.abs(array(x) * tx + array(y) * ty)[clear] > 0.9999).all()


def test_grade_is_the_formula() -> None:
    numbers = GradeStep(
        step="grade", tone=(0, 0.3, 0.7, 1), chroma=1.3, chroma_limit=0.5, shadow_tint=(0.01, -0.02),
        light_tint=(0, 0.01), bend=(Bend(hue_deg=120, width_deg=20, turn_deg=10, chroma=0.3, light=0.1),),
    )  # fmt: skip
    picture = photo()
    lightness, a, b = oklab_of(array(picture))
    weight = 0.6
    tone = lightness + weight * (np.vectorize(lambda v: curve(numbers.tone, v))(np.clip(lightness, 0, 1)) - lightness)
    chroma, hue = np.hypot(a, b), np.arctan2(b, a)
    near = np.exp((np.cos(hue - np.radians(120)) - 1) / np.radians(20) ** 2) * np.clip(chroma / 0.02, 0, 1)
    tone = np.clip(tone + 0.1 * near * np.clip(lightness, 0, 1), 0, 1)
    radius = chroma * (1.3 + 0.3 * near) / (1 + 0.5 * chroma)
    hue = hue + np.radians(10) * near
    dark, light = (1 - tone) ** 2 * np.clip(5 * tone, 0, 1), 4 * tone**2 * (1 - tone)
    expected = rgb_of(
        np.stack([tone, radius * np.cos(hue) + 0.01 * dark, radius * np.sin(hue) - 0.02 * dark + 0.01 * light])
    )
    np.testing.assert_allclose(array(apply_grade(numbers, picture, weight)), expected, atol=2e-3)


def test_a_straight_tone_curve_changes_nothing() -> None:
    actual = Grade(GradeStep(step="grade")).apply(photo(), Frame(46, 61, measures=(1.0,)))
    np.testing.assert_allclose(array(actual), array(photo()), atol=1e-4)


@pytest.mark.parametrize("name", ["cel", "gouache"])
def test_a_grades_table_is_the_grade(name: str) -> None:
    """Over the whole cube of colours, in levels of 255."""
    look = looks.read(looks.bundled_looks()[name])
    [numbers] = [step for step in look.finish if isinstance(step, GradeStep)]
    colors = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(0))
    for weight in (0.0, 1.0):
        actual = Grade(numbers).apply(colors, Frame(128, 128, measures=(weight,)))
        error = (actual - apply_grade(numbers, colors, weight)).abs() * 255
        assert float(error.mean()) < 0.3
        assert float(error.quantile(0.99)) < 4


def test_a_table_is_exact_where_its_function_is_linear() -> None:
    colors = torch.rand(3, 9, 11, generator=torch.Generator().manual_seed(0))

    def mix(picture: torch.Tensor) -> torch.Tensor:
        red, green, blue = picture
        return torch.stack([red - 2 * green, 0.5 + blue * 3])

    torch.testing.assert_close(Table(mix, colors.device).read(colors), mix(colors), atol=1e-5, rtol=0)
    torch.testing.assert_close(Table(mix, colors.device).read(colors + 9), mix(torch.ones(3, 9, 11)))


def test_lines_are_the_formula() -> None:
    numbers = LinesStep(step="lines", width_px=1.0, amount=0.7, threshold=0.01, softness=0.05, shadows=0.4, crowd=0.1)
    picture = photo()
    height, width = 46, 61
    sigma = max(0.6, 1.0 * np.sqrt(61 / 1024))
    plane = grey(array(picture))
    tx, ty, c = tangent_of(entries_of(halve(plane), 1.2))
    cosine, sine = (double(e, height, width) for e in (c * (tx**2 - ty**2), c * 2 * tx * ty))
    wide = blur(plane, 1.6 * sigma)
    sharp = wide - blur(plane, sigma)
    rows, columns = np.mgrid[:height, :width]
    dark = sharp * (1 - cosine**2 - sine**2)
    for down, right, share, reach in ((0, 1, cosine, 4), (1, 1, sine, 2), (1, 0, -cosine, 4), (1, -1, -sine, 2)):
        total, weights = sharp.copy(), 1.0
        for i in (*range(-reach, 0), *range(1, reach + 1)):
            w = np.exp(-(i**2) * (down**2 + right**2) / (2 * 1.8**2))
            total += w * at(sharp, columns + i * right, rows + i * down)
            weights += w
        dark += np.maximum(share, 0) ** 2 * total / weights
    trace = step_of((dark / (0.4 + 0.6 * wide) - 0.01) / 0.05)
    crowd = double(blur(halve(trace), 5.0), height, width)
    expected = array(picture) * (1 - 0.7 * trace / np.maximum(1, crowd / 0.1))
    actual = Lines(numbers).apply(picture, Frame(height, width))
    np.testing.assert_allclose(array(actual), expected, atol=3e-3)


def test_levels_are_the_formula() -> None:
    numbers = LevelsStep(step="levels", edges=(0.2, 0.6), tones=(0, 0.5, 1), softness=0.1, blue=1.2, skin=0.1)
    picture = photo()
    lightness, a, b = oklab_of(array(picture))
    chroma, hue = np.hypot(a, b), np.arctan2(b, a)
    skin = np.exp((np.cos(hue - np.radians(55)) - 1) / np.radians(18) ** 2) * np.clip(chroma / 0.04, 0, 1)
    tone = (
        lightness
        + 1.2 * np.maximum(-b, 0) * step_of((lightness - 0.25) / 0.25)
        + 0.1 * skin * step_of((lightness - 0.3) / 0.25)
    )
    stretched = (tone - 0.1) / 0.8
    expected = 0.5 * step_of((stretched - 0.15) / 0.1 + 0.5) + 0.5 * step_of((stretched - 0.6) / 0.1 + 0.5)
    actual = Levels(numbers).apply(picture, Frame(46, 61, measures=(0.1, 0.9, 0.15)))
    error = np.abs(array(actual) - np.stack([expected] * 3))
    assert np.quantile(error, 0.99) < 0.02
    assert error.mean() < 2e-3


def test_dabs_are_the_formula() -> None:
    picture, radius, noise = photo(), 3.0, 0.01
    source = array(picture)
    x, y, coherence = tangent_of(entries_of(grey(source), 2.0))
    rows, columns = np.mgrid[:46, :61]
    planes = [*source, grey(source) ** 2]
    sums, weights = np.zeros((8, 4, 46, 61)), np.zeros(8)
    for ring, count in ((0.0, 1), (0.5, 4), (1.0, 8)):
        for i in range(count):
            angle = 2 * np.pi * i / count
            u, v = ring * np.cos(angle) * radius * (1 + coherence), ring * np.sin(angle) * radius / (1 + coherence)
            values = np.stack([at(p, columns + x * u - y * v, rows + y * u + x * v) for p in planes])
            for k in range(8):
                cosine = np.cos(angle - np.pi * k / 4)
                w = 1.0 if ring == 0 else np.exp(-2 * ring**2) * cosine**3 if cosine > 0.1 else 0.0
                sums[k] += w * values
                weights[k] += w
    out, norm = 0, 0
    for mean in sums / weights[:, None, None, None]:
        w = (1 + np.maximum(mean[3] - grey(mean[:3]) ** 2, 0) / noise**2) ** -2
        out, norm = out + w * mean[:3], norm + w
    actual = array(dabs.paint(picture, dabs.axes(picture, radius), noise))
    # Where no direction is clear, the eigenvectors of the two may differ.
    assert np.quantile(np.abs(actual - out / norm), 0.99) < 2e-3
    assert np.abs(actual - out / norm).mean() < 2e-4


def test_paint_is_spread_with_the_pictures_edges() -> None:
    picture = photo(45, 60)
    source, paint = array(picture), array(filters.halve(photo(45, 60, 1)))
    expected, norm = 0, 0
    y, x = np.mgrid[:45, :60]
    for down in (0, 1):
        for right in (0, 1):
            top, left = np.floor(y / 2 - 0.25).astype(int) + down, np.floor(x / 2 - 0.25).astype(int) + right
            near = (1 - np.abs(y / 2 - 0.25 - top)) * (1 - np.abs(x / 2 - 0.25 - left))
            values = paint[:, np.clip(top, 0, 22), np.clip(left, 0, 29)]
            w = near / (1 + ((grey(values) - grey(source)) / 0.06) ** 2) ** 2
            expected, norm = expected + w * values, norm + w
    actual = dabs.spread(torch.tensor(paint, dtype=torch.float32), picture)
    np.testing.assert_allclose(array(actual), expected / norm, atol=1e-4)


def test_paper_lies_where_the_page_says() -> None:
    n = np.arange(512, dtype=np.uint64)
    state = n[:, None] * np.uint64(512) + n
    for prime, shift in ((0x9E3779B1, 15), (0x85EBCA77, 13), (0xC2B2AE3D, 16)):
        state = (state * np.uint64(prime)) & np.uint64(0xFFFFFFFF)
        state ^= state >> np.uint64(shift)
    noise = state / 2**32 - 0.5
    grain = np.zeros((512, 512))
    for radius, share in ((1, 0.55), (3, 0.45)):
        soft = noise
        for axis in (0, 0, 1, 1):
            soft = np.mean([np.roll(soft, i, axis) for i in range(-radius, radius + 1)], 0)
        grain += share * soft / soft.std()
    np.testing.assert_allclose(array(paper.tile()), (grain - grain.mean()) / grain.std(), atol=1e-3)
    page = Paper(PaperStep(step="paper", amount=0.05))
    flat = torch.full((3, 700, 40), 0.5)
    whole = page.apply(flat, Frame(700, 40))
    part = page.apply(flat[:, :90], Frame(700, 40, top=600))
    assert torch.equal(part, whole[:, 600:690])
    assert abs(float(whole.mean()) - 0.5) < 3e-3


def test_a_screentone_stays_put_when_the_picture_shifts() -> None:
    screen = Levels(LevelsStep(step="levels", screen=1.0))
    frame = Frame(1024, 1024, measures=(0.0, 1.0, 0.1))
    picture = torch.full((3, 64, 64), 0.45)
    picture[:, :, 32:] = 0.9
    other = torch.roll(picture, 1, 2)
    first, second = screen.apply(picture, frame), screen.apply(other, frame)
    away = (picture[0] == other[0]).expand(3, -1, -1)
    assert torch.equal(first[away], second[away])
    assert float(first.std()) > 0.2


def test_lines_and_levels_move_with_the_picture() -> None:
    picture, frame = photo(80, 80), Frame(1024, 1024, measures=(0.1, 0.9, 0.15))
    other = torch.roll(picture, (2, 1), (1, 2))
    for step in (Lines(LinesStep(step="lines")), Levels(LevelsStep(step="levels"))):
        first = torch.roll(step.apply(picture, frame), (2, 1), (1, 2))[:, 36:-36, 36:-36]
        second = step.apply(other, frame)[:, 36:-36, 36:-36]
        assert float((first - second).abs().mean()) < 2 / 255
