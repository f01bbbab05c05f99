"""A file of weights imported as a style into the user's home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

from animegan.errors import BadOption, BadSetting, BadWeights
from animegan.styles import Style, bundled_styles, get_style, installed_dir, installed_styles, verify
from animegan_cli.weights import install
from harness.files import weight_files as files
from harness.files.published import check_absent

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def cel_file(tmp_path: Path) -> Path:
    file = tmp_path / "weights.any"
    save_file(files.bundled_tensors(), file)
    return file


def test_no_room_left_keeps_the_older_style(tmp_path: Path, cel_file: Path) -> None:
    older = install.import_file(cel_file, "shinkai")
    before = {file.name: file.read_bytes() for file in installed_dir().iterdir()}
    # The weights' temporary name is taken by a folder: writing fails as it does on a full disk.
    (installed_dir() / ".shinkai.safetensors.part").mkdir()
    with pytest.raises(BadSetting, match="can't be written"):
        install.import_file(cel_file, "shinkai")
    (installed_dir() / ".shinkai.safetensors.part").rmdir()
    assert {file.name: file.read_bytes() for file in installed_dir().iterdir()} == before
    verify(older)


def test_ended_between_its_two_files_the_style_is_absent(cel_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install.import_file(cel_file, "shinkai")
    cel_file.write_bytes(files.checkpoint(files.other()))
    move = Path.replace

    def end_at_the_entry(part: Path, target: Path) -> Path:
        if target.suffix == ".json":
            raise KeyboardInterrupt
        return move(part, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", end_at_the_entry)
        with pytest.raises(KeyboardInterrupt):
            install.import_file(cel_file, "shinkai")
    assert installed_styles() == {}
    verify(install.import_file(cel_file, "shinkai"))


def test_import_takes_the_registrys_words(cel_file: Path) -> None:
    style = install.import_file(cel_file, "hayao")
    entry = bundled_styles()["hayao"]
    assert style == entry.model_copy(update={"weights": "hayao.safetensors", "sha256": style.sha256})
    assert get_style("hayao") == style
    verify(style)
    assert install.state(style) == "installed"
    assert install.state(entry) == "import"


def test_import_takes_the_users_words_first(cel_file: Path) -> None:
    style = install.import_file(
        cel_file, "hayao", license="CC0-1.0", title="My Hayao", source="https://example.org", noncommercial=False
    )
    assert style.title.model_dump() == {"en": "My Hayao", "zh": "宫崎骏"}
    assert (style.license, style.license_url) == ("CC0-1.0", "https://spdx.org/licenses/CC0-1.0.html")
    assert style.source == "https://example.org"
    assert not style.noncommercial
    assert style.suits == ("landscape",)


def test_import_of_a_new_style(cel_file: Path) -> None:
    style = install.import_file(cel_file, "my_style", license="with the artist's permission", title_zh="我的风格")
    assert installed_styles() == {"my_style": style}
    assert style.title.model_dump() == {"en": "我的风格", "zh": "我的风格"}
    assert style.license == "with the artist's permission"
    assert style.license_url == ""
    assert style.noncommercial
    entry = json.loads((installed_dir() / "my_style.json").read_bytes())
    assert Style.model_validate(entry) == style


def test_import_replaces_an_installed_style(cel_file: Path, tmp_path: Path) -> None:
    first = install.import_file(cel_file, "mine", license="MIT")
    other = tmp_path / "other"
    other.write_bytes(files.checkpoint(files.other()))
    second = install.import_file(other, "mine", license="MIT")
    assert first.sha256 != second.sha256
    verify(second)
    assert installed_styles() == {"mine": second}


@pytest.mark.parametrize("style_id", ["cel", "gouache"])
def test_a_bundled_style_is_not_replaced(cel_file: Path, style_id: str) -> None:
    with pytest.raises(BadOption, match="bundled and can't be replaced"):
        install.import_file(cel_file, style_id, license="MIT")
    check_absent()


def test_a_new_style_needs_a_licence(cel_file: Path) -> None:
    with pytest.raises(BadOption, match=r"'mine' is a new style.*--license"):
        install.import_file(cel_file, "mine")


@pytest.mark.parametrize("style_id", ["", "../evil", "Mine", "a b", "1st", "a" * 65, "画"])
def test_an_id_that_is_no_id(cel_file: Path, home: Path, style_id: str) -> None:
    with pytest.raises(BadOption, match="can't be an id"):
        install.import_file(cel_file, style_id, license="MIT")
    assert not home.exists()


@pytest.mark.parametrize("words", ["", " ", "two\nlines", "bell\a", "x" * 201])
@pytest.mark.parametrize("option", ["license", "title", "title_zh", "source"])
def test_words_are_one_printable_line(cel_file: Path, option: str, words: str) -> None:
    with pytest.raises(BadOption, match=f"--{option.replace('_', '-')} "):
        install.import_file(cel_file, "mine", **({"license": "MIT"} | {option: words}))  # type: ignore[arg-type]
    check_absent()


def test_a_wrong_file_installs_nothing(tmp_path: Path) -> None:
    file = tmp_path / "wrong.pt"
    tensors = files.bundled_tensors()
    del tensors["out_layer.0.weight"]
    file.write_bytes(files.checkpoint(tensors))
    with pytest.raises(BadWeights, match=r"out_layer\.0\.weight is missing"):
        install.import_file(file, "hayao")
    check_absent()
