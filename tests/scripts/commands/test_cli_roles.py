"""`animegan serve`, `gateway` and `agent` where something that they need is not there: one sentence says what."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from animegan.errors import BadSetting
from animegan_cli.archive import archiver
from animegan_cli.checkout import ROOT
from animegan_cli.main import app
from animegan_cli.roles import EXTRAS


@pytest.mark.parametrize(
    ("role", "package", "extra"),
    [
        ("serve", "ts", "serve"),
        ("serve", "fastapi", "gateway"),
        ("archive", "model_archiver", "serve"),
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


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_package_of_an_extra_is_looked_for(extra: str) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        requirements = tomllib.load(file)["project"]["optional-dependencies"][extra]
    brought_by = metadata.packages_distributions()
    names = {name.lower().replace("_", "-") for package in EXTRAS[extra] for name in brought_by[package]}
    assert {re.split(r"[\[>=]", requirement)[0] for requirement in requirements} <= names


@dataclass(frozen=True)
class InstalledProject:
    """The project, installed from its wheel's files into a folder, without a checkout around it."""

    packages: Path
    folder: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.packages), "ANIMEGAN_HOME": str(self.folder / "home")}
        return subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> InstalledProject:
    """Lay the files out as pyproject.toml tells hatchling to."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        wheel = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]
    packages, folder = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("empty")
    places = {package: Path(package).name for package in wheel["packages"]} | wheel["force-include"]
    for source, target in places.items():
        (packages / target).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, packages / target, ignore=shutil.ignore_patterns(*wheel["exclude"]))
        else:
            shutil.copy(ROOT / source, packages / target)
    return InstalledProject(packages, folder)


def test_installed_it_builds_the_archive_from_the_same_sources(installed: InstalledProject) -> None:
    code = "from animegan_cli import checkout as c; from animegan_cli.archive import archiver as a; "
    process = installed.run("-c", f"{code}print(c.ARCHIVE, a._digest())")
    assert process.stdout.split() == [
        str(installed.folder / "home" / "model_store" / "animegan.mar"),
        archiver._digest(),
    ]


def test_installed_it_serves_with_the_configuration_that_it_brings(installed: InstalledProject) -> None:
    process = installed.run("-m", "animegan_cli", "serve", "--port", "x")
    assert (process.returncode, process.stderr) == (
        1,
        "serve: --port=x is not a port. Use a number from 0 (a free one) to 65535.\n",
    )
