"""Settings: environment before file before row; a bad value is named with where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from animegan import settings
from animegan.errors import BadSetting


def test_defaults_are_the_rows() -> None:
    loaded = settings.load()
    assert (loaded.style, loaded.max_side_px, loaded.cleanup) == ("cel", 1024, "watermark")


def test_the_environment_beats_the_file_beats_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "animegan.toml"
    file.write_text('max_side_px = 512\nquality = 80\nstyle = "gouache"\n')
    monkeypatch.setenv("ANIMEGAN_CONFIG", str(file))
    monkeypatch.setenv("ANIMEGAN_MAX_SIDE_PX", "768")
    loaded = settings.load()
    assert (loaded.max_side_px, loaded.quality, loaded.style, loaded.format) == (768, 80, "gouache", "auto")


@pytest.mark.parametrize(
    ("name", "value"),
    [("PRECISION", "int4"), ("MAX_SIDE_PX", "-1"), ("QUALITY", "best"), ("CLEANUP", "sometimes"), ("WARMUP_PX", "7")],
)
def test_a_bad_variable_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"ANIMEGAN_{name}", value)
    with pytest.raises(BadSetting) as excinfo:
        settings.load()
    assert f"ANIMEGAN_{name}={value!r}" in excinfo.value.detail


@pytest.mark.parametrize("text", ["quality = 0", "qualty = 90", "quality = ", "max_side_px = 9000"])
def test_a_bad_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = tmp_path / "animegan.toml"
    file.write_text(text)
    monkeypatch.setenv("ANIMEGAN_CONFIG", str(file))
    with pytest.raises(BadSetting, match=r"quality|qualty|can't be read|max_side_px=9000 is over"):
        settings.load()


def test_a_misspelt_variable_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("ANIMEGAN_MAX_SIDE", "512")
    monkeypatch.setenv("ANIMEGAN_HOME", "/somewhere")
    assert settings.load().max_side_px == 1024
    assert caplog.messages == ["ANIMEGAN_MAX_SIDE is no setting, and ignored. Is ANIMEGAN_MAX_SIDE_PX meant?"]


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMEGAN_CONFIG", "/nowhere/animegan.toml")
    with pytest.raises(BadSetting, match="/nowhere/animegan"):
        settings.load()
