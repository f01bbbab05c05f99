"""The style registry: what is bundled, what the user installed, and that neither needs torch."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from animegan import styles
from animegan.errors import BadWeights, StyleNotInstalled, UnknownStyle
from animegan.styles import Style

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANIMEGAN_HOME", str(tmp_path))
    return tmp_path


def put(style: Style, weights: bytes = b"weights") -> Style:
    """Install a style as `animegan import` leaves it."""
    folder = styles.installed_dir()
    folder.mkdir(exist_ok=True)
    name, digest = f"{style.id}.safetensors", hashlib.sha256(weights).hexdigest()
    installed = style.model_copy(update={"weights": name, "sha256": digest})
    (folder / name).write_bytes(weights)
    (folder / f"{style.id}.json").write_text(installed.model_dump_json(), encoding="utf-8")
    return installed


def hayao() -> Style:
    return styles.bundled_styles()["hayao"]


def test_the_registry_lists_the_styles_of_the_project() -> None:
    assert list(styles.bundled_styles()) == [
        "cel",
        "ink",
        "gouache",
        "classic",
        "hayao",
        "shinkai",
        "paprika",
        "face_paint_512_v1",
        "face_paint_512_v2",
        "celeba_distill",
    ]
    assert styles.DEFAULT_STYLE == "cel"


@pytest.mark.parametrize("style_id", ["classic"])
def test_bundled_weights_are_free_whole_and_described(style_id: str) -> None:
    style = styles.get_style(style_id)
    assert styles.verify(style) == ROOT / "model_store" / f"{style_id}.safetensors"
    assert style.license == "CC-BY-SA-4.0"
    assert not style.noncommercial
    card = (ROOT / "model_store" / f"{style_id}.md").read_text(encoding="utf-8")
    assert style.sha256
    assert style.sha256 in card
    assert style.license in card


def test_nothing_non_commercial_is_bundled() -> None:
    for style in styles.bundled_styles().values():
        assert (style.weights is None) == style.noncommercial
        assert (style.weights is None) == (style.sha256 is None)
    files = {file.name for file in (ROOT / "model_store").glob("*.safetensors")}
    assert files == {"classic.safetensors", "faces.safetensors", "redraw.safetensors", "redraw_video.safetensors"}


@pytest.mark.parametrize("name", ["redraw", "redraw_video"])
def test_the_networks_that_draw_have_a_card(name: str) -> None:
    card = (ROOT / "model_store" / "redraw.md").read_text(encoding="utf-8")
    assert hashlib.sha256((ROOT / "model_store" / f"{name}.safetensors").read_bytes()).hexdigest() in card
    assert "BSD-3-Clause, Xintao Wang" in card
    assert "Copyright (c) 2021, Xintao Wang" in (ROOT / "model_store" / "LICENSE.md").read_text(encoding="utf-8")


def test_published_checkpoints_are_pinned() -> None:
    checkpoints = {s.id: s.checkpoint for s in styles.bundled_styles().values() if s.checkpoint}
    assert set(checkpoints) == {"paprika", "face_paint_512_v1", "face_paint_512_v2", "celeba_distill"}
    commit = "25d7b017267208dfaf34026aa3425e518372aa2f"
    for style_id, checkpoint in checkpoints.items():
        assert checkpoint.url.startswith("https://")
        assert checkpoint.url.endswith(f"/{commit}/weights/{style_id}.pt")


@pytest.mark.parametrize("style_id", ["hayao", "shinkai"])
def test_a_listed_style_says_how_to_import_it(style_id: str) -> None:
    with pytest.raises(StyleNotInstalled, match=f"animegan import FILE --style {style_id}"):
        styles.weights_file(styles.get_style(style_id))


def test_a_published_style_says_how_to_fetch_it() -> None:
    with pytest.raises(StyleNotInstalled, match="Install it with: animegan fetch paprika"):
        styles.verify(styles.get_style("paprika"))


@pytest.mark.parametrize("style_id", ["", "CEL", "../cel", "画"])
def test_an_unknown_style_is_told_the_known_ones(style_id: str) -> None:
    with pytest.raises(UnknownStyle, match="Use one of: cel, ink, gouache, classic, hayao") as error:
        styles.get_style(style_id)
    assert error.value.problem()["style"] == style_id


def test_an_installed_style_takes_the_place_of_the_listed_one() -> None:
    order = list(styles.styles())
    installed = put(hayao())
    assert styles.get_style("hayao") == installed
    assert list(styles.styles()) == order
    assert styles.verify(installed) == styles.installed_dir() / "hayao.safetensors"


def test_an_installed_style_never_takes_the_place_of_a_bundled_one() -> None:
    put(styles.bundled_styles()["cel"], b"something else")
    assert styles.get_style("cel") == styles.bundled_styles()["cel"]
    styles.verify(styles.get_style("cel"))


def test_a_style_of_ones_own_is_listed_last() -> None:
    own = put(hayao().model_copy(update={"id": "own"}))
    assert list(styles.styles())[-1] == "own"
    assert styles.get_style("own") == own


def test_changed_weights_are_noticed() -> None:
    installed = put(hayao())
    (styles.installed_dir() / "hayao.safetensors").write_bytes(b"other weights")
    with pytest.raises(BadWeights, match="Install the style again"):
        styles.verify(installed)
    (styles.installed_dir() / "hayao.safetensors").unlink()
    with pytest.raises(BadWeights, match="can't be read"):
        styles.verify(installed)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": "hayao"}', '{"id": "hayao", "extra": 1}'])
def test_a_broken_entry_is_named_and_harms_no_other(content: str, caplog: pytest.LogCaptureFixture) -> None:
    other = put(hayao().model_copy(update={"id": "mine", "weights": "mine.safetensors"}))
    put(hayao())
    (styles.installed_dir() / "hayao.json").write_text(content)
    assert styles.installed_styles() == {"mine": other}
    assert "hayao.json is not a style's entry" in caplog.text


@pytest.mark.parametrize("change", [{"id": "shinkai"}, {"weights": "../../secret"}, {"weights": None}])
def test_an_entry_names_its_own_files_only(change: dict[str, str | None], caplog: pytest.LogCaptureFixture) -> None:
    installed = put(hayao())
    (styles.installed_dir() / "hayao.json").write_text(installed.model_copy(update=change).model_dump_json())
    assert styles.installed_styles() == {}
    assert "hayao.json names" in caplog.text


def test_half_written_files_are_not_styles() -> None:
    styles.installed_dir().mkdir()
    for name in (".hayao.json.part", ".hayao.safetensors.part", ".hayao.lock", "hayao.safetensors"):
        (styles.installed_dir() / name).write_text("{")
    assert styles.installed_styles() == {}


@pytest.mark.parametrize(
    "change", [{"id": "Bad Id"}, {"sha256": "0"}, {"suits": ["dogs"]}, {"training_size_px": 8}, {"x": 1}]
)
def test_the_model_of_an_entry_is_strict(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Style.model_validate(hayao().model_dump() | change)


def test_the_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert styles.installed_dir() == tmp_path / "styles"
    monkeypatch.setenv("ANIMEGAN_HOME", "~/elsewhere")
    assert styles.home() == Path.home() / "elsewhere"
    monkeypatch.delenv("ANIMEGAN_HOME")
    assert styles.home().name == "animegan"
    assert styles.home().is_absolute()


def test_titles_are_in_both_languages() -> None:
    for entry in json.loads((ROOT / "model_store" / "styles.json").read_bytes()):
        assert entry["title"]["en"].isascii()
        assert not entry["title"]["zh"].isascii()


def test_a_style_whose_pictures_cannot_be_shown_is_described_in_both_languages() -> None:
    for style in styles.bundled_styles().values():
        assert (style.about is None) == (style.weights is not None), style.id
        if style.about:
            assert style.about.en.isascii()
            assert not style.about.zh.isascii()


@pytest.mark.parametrize("module", ["errors", "styles", "settings", "picture.images", "report", "options"])
def test_light_modules_import_no_torch(module: str) -> None:
    code = f"import sys, animegan.{module}; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "handler")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
