"""The reference says what the settings are, and each has its reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from animegan.settings import Rows, Settings
from animegan_agent.settings import Settings as AgentSettings
from animegan_cli.checkout import ROOT
from animegan_gateway.settings import Settings as GatewaySettings
from tools import settings_reference

CONFIGS: dict[str, type[Rows]] = {
    "animegan.toml": Settings,
    "gateway.toml": GatewaySettings,
    "agent.toml": AgentSettings,
}


def test_the_page_is_generated() -> None:
    assert settings_reference.REFERENCE.read_text() == settings_reference.render()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_configuration_is_generated(name: str) -> None:
    file = ROOT / "config" / name
    assert file.read_text() == settings_reference.render_files()[file]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_defaults_that_are_shown_can_be_set(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CONFIGS[name]
    file = tmp_path / name
    file.write_text(re.sub(r"^# (?=\w+ = )", "", (ROOT / "config" / name).read_text(), flags=re.MULTILINE))
    monkeypatch.setenv(settings.variable("config"), str(file))
    for variable in map(settings.variable, settings.model_fields):
        monkeypatch.delenv(variable, raising=False)
    loaded = settings.load()
    assert loaded.model_fields_set == {*settings.model_fields}
    for field, row in settings.model_fields.items():
        assert getattr(loaded, field) == (Path("PATH") if row.default is None else row.default)


def test_every_row_has_its_help() -> None:
    assert all(row.description for row in Settings.model_fields.values())


@pytest.mark.parametrize(("name", "separator"), [("config.properties", "="), ("model-config.yaml", ":")])
def test_every_line_of_the_configuration_says_why(name: str, separator: str) -> None:
    rows = list(settings_reference._commented_rows(ROOT / "config" / name, separator))
    assert len(rows) > 5
    assert [key for key, _, why in rows if len(why) < 15] == []
