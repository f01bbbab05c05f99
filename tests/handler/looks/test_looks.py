"""Recipes: those that are bundled, and what a wrong one is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from animegan import looks
from animegan.errors import BadLook
from animegan.styles import get_style

RECIPE = """network = "redraw"
weights = "redraw.safetensors"

[detail]
shrink = 0.25

[[finish]]
step = "lines"
amount = 0.6

[[finish]]
step = "grade"
chroma = 1.2
# a comment
[[finish.bend]]
hue_deg = 120
[[finish.bend]]
hue_deg = 250
turn_deg = -5
"""


def test_every_bundled_recipe_can_be_read() -> None:
    recipes = {name: looks.read(file) for name, file in looks.bundled_looks().items()}
    assert {"cel", "ink", "gouache", "classic"} <= recipes.keys()
    assert recipes["classic"].network == "animegan2"
    assert not recipes["classic"].finish


def test_a_network_that_has_no_choice_of_resize_is_given_none() -> None:
    wrong = get_style("cel").model_copy(update={"resize": "asymmetric"})
    with pytest.raises(BadLook, match=r"'cel' has resize='asymmetric'.* network 'redraw'.* Leave resize out"):
        looks.look_of(wrong)


def test_a_recipe_is_read_in_order() -> None:
    look = looks.parse(RECIPE, "a.toml")
    assert [step.step for step in look.finish] == ["lines", "grade"]


@pytest.mark.parametrize(
    ("before", "after", "line", "words"),
    [
        ("amount = 0.6", "amount = 1.6", 9, ["finish[0].amount = 1.6", "less than or equal to 1"]),
        ("turn_deg = -5", "turn_deg = -500", 19, ["bend[1].turn_deg = -500", "greater than or equal to -45"]),
        ("chroma = 1.2", "chrome = 1.2", 13, ["chrome", "no such number"]),
        ('step = "lines"', 'step = "line"', 8, ["line", "grade"]),
        ("shrink = 0.25", 'shrink = "much"', 5, ["detail.shrink = 'much'", "number"]),
        ('network = "redraw"', 'network = "nothing"', 1, ["nothing", "animegan2"]),
        ("chroma = 1.2", "tone = [0.0, 0.6, 0.5]", 13, ["tone", "at least the one before"]),
        ("chroma = 1.2", "chroma = nan", 13, ["chroma", "finite"]),
        ("amount = 0.6", "amount = ", 9, ["not TOML", "line 9"]),
        ("[detail]\nshrink = 0.25\n", "", 1, ["detail"]),
    ],
)
def test_a_wrong_recipe_is_told_by_line_value_and_range(before: str, after: str, line: int, words: list[str]) -> None:
    with pytest.raises(BadLook) as refusal:
        looks.parse(RECIPE.replace(before, after), "mine.toml")
    assert "mine.toml" in refusal.value.detail
    assert f"line {line}" in refusal.value.detail
    for word in words:
        assert word in refusal.value.detail


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadLook, match=r"nothing\.toml"):
        looks.read(tmp_path / "nothing.toml")


def test_recipes_need_no_torch() -> None:
    code = (
        "import sys; from animegan import looks; "
        "[looks.read(file) for file in looks.bundled_looks().values()]; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)})
