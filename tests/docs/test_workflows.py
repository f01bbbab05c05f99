"""The workflows of the forge: valid, least rights, pinned, and every command in them is there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

import animegan

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.iterdir())
TOOLS = Path(sys.executable).parent
OURS = re.compile(r"(?:scripts|\.ci|requirements|model_store|\.venv/bin)/[\w./-]+")
WORKFLOWS: dict[str, dict[str, Any]] = {file.name: yaml.safe_load(file.read_text()) for file in FILES}
BUILD_OUTPUTS = {"model_store/animegan.mar"}


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, workflow in WORKFLOWS.items():
        for job, body in workflow["jobs"].items():
            yield f"{name}: {job}", body


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for job, body in jobs():
        for number, step in enumerate(body["steps"], 1):
            yield f"{job}: {step.get('name', number)}", step


RUNS = [pytest.param(step["run"], id=where) for where, step in steps() if "run" in step]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *FILES), id="schema"),
        pytest.param(("zizmor", "--offline", "--persona", "auditor", FOLDER), id="security"),
        pytest.param(("yamllint", "--strict", FOLDER), id="yamllint"),
    ],
)
def test_linters_find_nothing(command: tuple[str | Path, ...]) -> None:
    process = subprocess.run([TOOLS / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_job_has_the_rights_it_names_and_no_other(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"]
        assert job["timeout-minutes"] <= 90
        writes = {right for right, kind in job["permissions"].items() if kind != "read"}
        assert not writes or "environment" in job, "what may write is a part of the release"


def test_actions_are_pinned_by_commit_and_named_by_version() -> None:
    pins: dict[str, set[tuple[str, str]]] = {}
    for file in FILES:
        uses = re.findall(r"uses: (.+)", file.read_text())
        for use in uses:
            match = re.fullmatch(r"([\w-]+/[\w-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", use)
            assert match, use
            pins.setdefault(match[1], set()).add((match[2], match[3]))
    assert {action for action, versions in pins.items() if len(versions) > 1} == set()
    assert {action.partition("/")[0] for action in pins} == {"actions"}, "only the forge's own"


@pytest.mark.parametrize("script", RUNS)
def test_what_is_run_is_there(script: str) -> None:
    for path in OURS.findall(script):
        assert path in BUILD_OUTPUTS or (ROOT / path).exists(), path
    for first in re.findall(r"(?:^|&& |\benv .* )((?:scripts|\.ci|\.venv/bin)/\S+)", script, re.MULTILINE):
        assert os.access(ROOT / first, os.X_OK), first
    for module in re.findall(r"python -m (\S+)", script):
        assert find_spec(module), module


@pytest.mark.parametrize("script", RUNS)
def test_the_shell_is_sound(script: str) -> None:
    assert "${{" not in script, "what comes from outside comes by the environment"
    process = subprocess.run(
        [TOOLS / "shellcheck", "--shell", "bash", "-"], input=script, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout


def test_every_python_that_is_promised_is_tested() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        classifiers = tomllib.load(file)["project"]["classifiers"]
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(classifiers))
    assert WORKFLOWS["ci.yml"]["jobs"]["tests"]["strategy"]["matrix"]["python"] == versions


def test_the_image_is_built_with_arguments_that_it_has() -> None:
    script = (ROOT / ".ci" / "image").read_text()
    names = set(re.findall(r'--build-arg "(\w+)=', script))
    arguments = set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert names == arguments


def test_a_release_tells_what_the_changelog_says_of_it() -> None:
    [publish] = [step["run"] for where, step in steps() if where == "release.yml: release: Publish"]
    command = shlex.split(publish.splitlines()[0].split(" >")[0])
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^## .*", output, re.MULTILINE) == [output.splitlines()[0]]
    assert f"[{animegan.__version__}]" in output.splitlines()[0]
