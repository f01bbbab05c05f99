"""What the bundled looks promise of a drawing, by the networks that come with them: tone, colour, and letters."""

from __future__ import annotations

import functools
import string

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from animegan.settings import Detail
from animegan.stylizer import Stylizer
from harness.pictures import photo

LETTERS = "STATION"
LETTER_PX = 24  # the height of a capital
ADVANCE_PX = 34  # from one letter to the next
ABOVE_PX, LEFT_PX = 40, 30  # of the first letter on the sign

Grey = NDArray[np.float64]


@functools.cache
def stylizer(style: str, detail: Detail = "bold") -> Stylizer:
    return Stylizer(style, device="cpu", precision="fp32", warmup_px=0, detail=detail)


def stylize(style: str, picture: Image.Image) -> NDArray[np.float64]:
    return np.asarray(stylizer(style).stylize(picture), np.float64)


@pytest.mark.parametrize("style", ["cel", "ink"])
def test_white_paper_stays_white(style: str) -> None:
    assert stylize(style, Image.new("RGB", (96, 96), "white")).mean() >= 250


def test_a_night_stays_dark_in_cel() -> None:
    noise = np.random.default_rng(0).normal(18, 5, (96, 96, 1)).clip(0, 255)
    night = Image.fromarray(np.broadcast_to(noise, (96, 96, 3)).astype(np.uint8))
    assert np.asarray(night).mean() == pytest.approx(18, abs=1)
    assert stylize("cel", night).mean() <= 30


def test_ink_has_no_colour() -> None:
    picture = photo(128, 96)
    assert np.ptp(np.asarray(picture), axis=2).max() > 50
    assert np.ptp(stylize("ink", picture), axis=2).max() == 0


# ---- Letters ---------------------------------------------------------------------------------------------------------


@functools.cache
def font() -> ImageFont.FreeTypeFont:
    """The font whose capitals are `LETTER_PX` high."""
    sizes = (ImageFont.load_default(size) for size in range(LETTER_PX, 3 * LETTER_PX))
    fitting = (face for face in sizes if face.getbbox("H")[3] - face.getbbox("H")[1] >= LETTER_PX)
    return next(fitting)  # type: ignore[return-value]


def sign(text: str) -> Image.Image:
    """White letters on a blue sign, each in a cell of its own."""
    picture = Image.new("RGB", (2 * LEFT_PX + ADVANCE_PX * len(text), 2 * ABOVE_PX + LETTER_PX), (30, 70, 150))
    draw = ImageDraw.Draw(picture)
    for index, letter in enumerate(text):
        draw.text((LEFT_PX + index * ADVANCE_PX, ABOVE_PX), letter, "white", font(), anchor="lt")
    return picture


def cells(picture: Image.Image, count: int) -> list[Grey]:
    """Each letter's surroundings, of mean 0 and norm 1."""
    grey = np.asarray(picture.convert("L"), np.float64)
    sheets = []
    for index in range(count):
        left = LEFT_PX + index * ADVANCE_PX - 4
        cell = grey[ABOVE_PX - 4 : ABOVE_PX + LETTER_PX + 4, left : left + ADVANCE_PX]
        centred = cell - cell.mean()
        sheets.append(centred / max(1e-9, float(np.linalg.norm(centred))))
    return sheets


def read(picture: Image.Image) -> str:
    """The capital that each cell is most like."""
    alphabet = dict(zip(string.ascii_uppercase, cells(sign(string.ascii_uppercase), 26), strict=True))
    return "".join(
        max(alphabet, key=lambda letter: float((cell * alphabet[letter]).sum()))
        for cell in cells(picture, len(LETTERS))
    )


def test_letters_of_24_px_are_readable_at_medium() -> None:
    picture = sign(LETTERS)
    blur = picture.resize((picture.width // 12, picture.height // 12)).resize(picture.size)
    assert read(picture) == LETTERS
    assert read(blur) != LETTERS  # what reads can tell
    drawing = stylizer("cel", "medium").stylize(picture)
    assert read(drawing) == LETTERS
