"""`animegan styles new|show|check`: a look of one's own, from pictures to a style."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from animegan import looks
from animegan.errors import AnimeganError, BadImage, BadLook, BadOption
from animegan.styles import get_style, installed_dir, recipe_file, verify
from animegan_cli.commands import contact_sheet, recipes
from animegan_cli.main import app


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANIMEGAN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def art(tmp_path: Path) -> Path:
    """Ten warm pictures of different sizes and modes."""
    folder = tmp_path / "art"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(10):
        coarse = rng.uniform(0.2, 1, (5, 7, 3)) * [255, 160, 90]
        picture = Image.fromarray(coarse.astype(np.uint8)).resize((90 + 7 * index, 64), Image.Resampling.BICUBIC)
        picture.convert("RGBA" if index == 3 else "RGB").save(folder / f"{index}.png")
    return folder


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["styles", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_ten_pictures_become_a_style(art: Path) -> None:
    output = run("new", "ember", "--from", *sorted(art.iterdir()), "--title", "Ember")
    style = get_style("ember")
    file = recipe_file(style)
    assert file == installed_dir() / "ember.toml"
    assert str(file) in output
    assert "10 pictures" in output
    assert style.title.en == "Ember"
    assert verify(style).name == "redraw.safetensors"
    assert looks.look_of(style).detail
    assert "right (lines, grade)" in run("check", "ember")
    assert "ember" in run()


def test_a_folder_names_its_pictures(art: Path) -> None:
    (art / "notes.txt").write_text("no picture")
    _, count = recipes.create("ember", [art])
    assert count == 10


def test_what_was_changed_by_hand_is_not_replaced_unasked(art: Path) -> None:
    file, _ = recipes.create("ember", [art])
    text = file.read_text() + "# mine\n"
    file.write_text(text)
    with pytest.raises(BadOption, match="--force"):
        recipes.create("ember", [art])
    assert file.read_text() == text
    recipes.create("ember", [art], force=True)
    assert file.read_text() != text


@pytest.mark.parametrize(
    ("name", "sources", "words"),
    [
        ("cel", ["art"], "product's"),
        ("Ember!", ["art"], "a-z"),
        ("ember", ["art/1.png"], "3 or more"),
        ("ember", ["nowhere"], "not there"),
    ],
)
def test_what_can_not_be_fitted_is_refused(name: str, sources: list[str], words: str, art: Path) -> None:
    with pytest.raises(BadOption, match=words):
        recipes.create(name, [art.parent / source for source in sources])
    assert not list(installed_dir().glob("*.json"))


def test_a_file_that_is_no_picture_is_named(art: Path) -> None:
    (art / "broken.png").write_bytes(b"no picture")
    with pytest.raises(BadImage, match=r"broken\.png"):
        recipes.create("ember", [art])


@pytest.mark.parametrize("name", sorted(looks.bundled_looks()))
def test_show_names_every_number_with_its_range(name: str) -> None:
    rows = {row[0]: row for row in recipes.rows(looks.read(looks.bundled_looks()[name]))}
    text = looks.bundled_looks()[name].read_text()
    keys = {line.split("=")[0].strip() for line in text.splitlines() if "=" in line and not line.startswith("#")}
    assert keys == keys & {path.rpartition(".")[2] for path in rows}
    numbers = [row for row in rows.values() if row[1].replace(".", "").replace("-", "").isdigit()]
    assert all(row[2] and row[3] for row in numbers)


def test_show_reads_a_file(art: Path) -> None:
    file, _ = recipes.create("ember", [art])
    assert "finish[1].chroma" in run("show", file)


def test_check_tells_every_wrong_recipe(art: Path) -> None:
    file, _ = recipes.create("ember", [art])
    text = file.read_text()
    line = next(n for n, row in enumerate(text.splitlines(), 1) if row.startswith("night"))
    file.write_text(text.replace("night = 0.2", "night = 7"))
    other = file.with_name("other.toml")
    other.write_text(text.replace("redraw.safetensors", "absent.safetensors"))
    with pytest.raises(BadLook) as refusal:
        run("check", "cel", "ember", str(other), "nothing")
    detail = refusal.value.detail
    for words in (f"line {line}", "night = 7", "less than or equal to 1", "line 3", "absent.safetensors", "'nothing'"):
        assert words in detail


def test_a_sheet_shows_the_look_beside_cel(art: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns: list[str] = []

    def draw(photos: list[Image.Image], styles: list[str], **_: int) -> Image.Image:
        columns.extend(styles)
        return Image.new("RGB", (90, 30 * len(photos)))

    monkeypatch.setattr(contact_sheet, "draw", draw)
    output = run("new", "ember", "--from", art, "--photo", art / "0.png", "--photo", art / "1.png")
    assert columns == ["cel", "ember"]
    assert str(installed_dir() / "ember.jpg") in output
    with Image.open(installed_dir() / "ember.jpg") as sheet:
        assert sheet.size == (90, 60)
    with pytest.raises(AnimeganError, match="nowhere"):
        recipes.sheet("ember", [tmp_path / "nowhere.png"], tmp_path / "out.jpg")
