"""The page about looks: its recipe is one, its commands parse, its table has every step."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, get_args

import typer.main

from animegan import looks
from animegan_cli.main import app

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "looks.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_recipe_is_one() -> None:
    [recipe] = blocks("toml")
    look = looks.parse(recipe, "docs/looks.md")
    assert [step.step for step in look.finish] == ["lines", "grade"]


def test_the_commands_parse() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 3
    for line in lines:
        command: Any = typer.main.get_command(app)
        _, *arguments = shlex.split(line)
        while hasattr(command, "commands"):
            command = command.commands[arguments.pop(0)]
        command.make_parser(command.make_context("looks", [], resilient_parsing=True)).parse_args(list(arguments))


def test_the_table_has_every_step() -> None:
    names = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    steps = [get_args(kind.model_fields["step"].annotation)[0] for kind in get_args(looks.Finish)]
    assert sorted(names) == sorted(steps)
