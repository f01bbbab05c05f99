"""The reference says what the settings are, and each has its reason."""

from __future__ import annotations

import pytest

from animegan.settings import Settings
from animegan_cli.checkout import ROOT
from tools import settings_reference


def test_the_page_is_generated() -> None:
    assert settings_reference.REFERENCE.read_text() == settings_reference.render()


def test_every_row_has_its_help() -> None:
    assert all(row.description for row in Settings.model_fields.values())


@pytest.mark.parametrize(("name", "separator"), [("config.properties", "="), ("model-config.yaml", ":")])
def test_every_line_of_the_configuration_says_why(name: str, separator: str) -> None:
    rows = list(settings_reference._commented_rows(ROOT / "config" / name, separator))
    assert len(rows) > 5
    assert [key for key, _, why in rows if len(why) < 15] == []
