"""Every benchmark can be started: what the tests do not run would else break unseen."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

from harness.servers import ROOT

FILES = sorted((ROOT / "benchmarks").glob("*/[a-z]*.py"))


def module(file: Path) -> ModuleType:
    return importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_module_is_imported(file: Path) -> None:
    module(file)


@pytest.mark.parametrize(
    "file", [file for file in FILES if "parse_args(arguments)" in file.read_text()], ids=lambda file: file.stem
)
def test_its_options_are_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        module(file).main(["--help"])
    output = capsys.readouterr().out
    options = inspect.getsource(module(file)).count(".add_argument(")
    assert output.count("\n  --") == options
