"""The contact sheet: one row a photo, one column a style, each drawn by the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animegan import Stylizer
from animegan_cli.commands.contact_sheet import CAPTION_PX, GAP_PX, bundled, draw, main
from harness.pictures import encoded, photo


def cell(sheet: Image.Image, column: int, top: int, width: int, height: int) -> np.ndarray:
    left = column * (width + GAP_PX)
    return np.asarray(sheet.crop((left, top, left + width, top + height)), dtype=int)


def test_rows_are_photos_and_columns_are_styles() -> None:
    wide, tall = photo(64, 32), photo(32, 64, seed=1)
    sheet = draw([wide, tall], ["gouache"], max_side=64, width=32)
    assert sheet.size == (2 * 32 + GAP_PX, CAPTION_PX + 16 + GAP_PX + 64)
    second = CAPTION_PX + 16 + GAP_PX
    assert (cell(sheet, 0, CAPTION_PX, 32, 16) == np.asarray(wide.resize((32, 16), Image.Resampling.LANCZOS))).all()
    assert (cell(sheet, 0, second, 32, 64) == np.asarray(tall)).all()
    anime = np.asarray(Stylizer("gouache", max_side=64, warmup_px=0).stylize(tall), dtype=int)
    assert np.abs(cell(sheet, 1, second, 32, 64) - anime).mean() < 1
    assert np.abs(cell(sheet, 1, second, 32, 64) - np.asarray(tall)).mean() > 2


def test_every_column_has_its_caption() -> None:
    sheet = draw([photo(32, 32)], ["cel"], max_side=32, width=64)
    for column in range(2):
        caption = cell(sheet, column, 0, 64, CAPTION_PX)
        assert caption.min() < 64
        assert caption.max() == 255


@pytest.mark.slow
def test_the_command_draws_all_bundled_styles_of_an_upright_photo(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "photo.jpg").write_bytes(encoded(photo(64, 32), exif=exif))
    out = tmp_path / "sheet.jpg"
    assert main([str(out), str(tmp_path / "photo.jpg"), "--width", "40", "--max-side", "48"]) == 0
    with Image.open(out) as sheet:
        assert sheet.format == "JPEG"
        assert sheet.size == ((1 + len(bundled())) * (40 + GAP_PX) - GAP_PX, CAPTION_PX + 80)
        assert not sheet.getexif()


@pytest.mark.parametrize(
    ("arguments", "message"), [(["absent.jpg"], "absent.jpg"), (["photo.jpg", "--style", "monet"], "monet")]
)
def test_what_is_not_there_is_named(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(encoded(photo(32, 32)))
    assert main(["sheet.jpg", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "sheet.jpg").exists()
