"""Options: what is asked for is checked, what is not asked for comes from the settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from animegan.errors import BadOption
from animegan.options import Options, parse
from animegan.settings import Settings

SETTINGS = Settings(max_side_ceiling_px=2048)


def test_nothing_asked_for_is_the_settings() -> None:
    assert parse({}, SETTINGS) == Options("cel", 1024, 1024**2, "auto", 92)
    assert parse({"style": " ", "max_side": "", "format": "", "quality": ""}, SETTINGS) == parse({}, SETTINGS)


def test_all_can_be_asked_for() -> None:
    raw = {"style": "gouache", "max_side": " 2048 ", "format": "JPG", "quality": "100"}
    assert parse(raw, SETTINGS) == Options("gouache", 2048, None, "jpeg", 100)


@pytest.mark.parametrize("value", ["-1", "0", "15", "2049", "1e3", "12.5", "many", "9" * 5000, "1_000", "٣٢٠", "0x40"])
def test_a_bad_max_side_names_the_value_and_the_limits(value: str) -> None:
    with pytest.raises(BadOption) as excinfo:
        parse({"max_side": value}, SETTINGS)
    assert "max_side" in excinfo.value.detail
    assert "from 16 to 2048" in excinfo.value.detail or len(value) > 100
    assert excinfo.value.problem()["status"] == 422
    assert len(excinfo.value.detail) < 200


@pytest.mark.parametrize(
    ("raw", "limits"),
    [
        ({"max_pixels": "500000"}, (None, 500_000)),
        ({"max_side": "640", "max_pixels": "500000"}, (640, 500_000)),
        ({"max_side": "Original"}, (None, None)),
        ({"max_side": "original", "max_pixels": "256"}, (None, 256)),
    ],
)
def test_limits_that_are_named_replace_the_settings(raw: dict[str, str], limits: tuple[int | None, int | None]) -> None:
    options = parse(raw, SETTINGS)
    assert (options.max_side, options.max_pixels) == limits


@pytest.mark.parametrize("value", ["255", "4194305", "1e6", "original"])
def test_a_bad_max_pixels_names_the_value_and_the_limits(value: str) -> None:
    with pytest.raises(BadOption, match=f"max_pixels='{value}': use a whole number from 256 to 4194304"):
        parse({"max_pixels": value}, SETTINGS)


@pytest.mark.parametrize("raw", [{"style": "x" * 10**6}, {"y" * 10**6: "1"}, {"max_side": "9" * 10**6}])
def test_a_long_text_is_not_quoted_whole(raw: dict[str, str]) -> None:
    with pytest.raises(BadOption) as excinfo:
        parse(raw, SETTINGS)
    assert len(excinfo.value.json()) < 1000


@pytest.mark.parametrize(("name", "value"), [("format", "bmp"), ("quality", "0"), ("quality", "101"), ("maxside", "9")])
def test_other_bad_options(name: str, value: str) -> None:
    with pytest.raises(BadOption) as excinfo:
        parse({name: value}, SETTINGS)
    assert excinfo.value.problem()["option"] == name


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(["style", "max_side", "max_pixels", "format", "quality"]), st.text()))
def test_any_text_is_options_or_a_bad_option(raw: dict[str, str]) -> None:
    try:
        options = parse(raw, SETTINGS)
    except BadOption:
        return
    assert options.max_side is None or 16 <= options.max_side <= 2048
    assert options.max_pixels is None or 256 <= options.max_pixels <= 2048**2
    assert 1 <= options.quality <= 100
