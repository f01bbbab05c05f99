"""`animegan serve`, `gateway` and `agent` where something that they need is not there: one sentence says what."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from animegan.errors import BadSetting
from animegan_cli.checkout import ROOT
from animegan_cli.main import app


@pytest.mark.parametrize(
    ("role", "package", "extra"),
    [
        ("serve", "ts", "serve"),
        ("serve", "fastapi", "gateway"),
        ("gateway", "fastapi", "gateway"),
        ("agent", "structlog", "gateway"),
    ],
)
def test_an_extra_that_is_missing_is_named(
    role: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    error = CliRunner().invoke(app, [role]).exception
    assert isinstance(error, BadSetting)
    assert error.detail == (
        f"{package} is not installed. Install animegan-serve with its extra: animegan-serve[{extra}]."
    )


def test_serve_needs_a_checkout_or_a_configuration(tmp_path: Path) -> None:
    for package in ("handler/animegan", "gateway/animegan_gateway", "gateway/animegan_agent", "scripts/animegan_cli"):
        shutil.copytree(ROOT / package, tmp_path / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "model_store", tmp_path / "animegan/model_store", ignore=shutil.ignore_patterns("*.mar"))
    done = subprocess.run(
        [sys.executable, "-m", "animegan_cli", "serve"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "serve: Serving without --config needs a checkout of the project, and this is an installed package. Clone it.\n"
    )
