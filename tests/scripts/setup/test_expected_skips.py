"""In CI a skip that is not on the list is a failure; elsewhere, or on the list, it stays a skip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TESTS = Path(__file__).resolve().parents[2]
PLUGINS = ("-p", "harness.plugins.expected_skips", "-p", "harness.plugins.groups", "-p", "no:cacheprovider")
TWO_PROCESSES = ("-p", "xdist", "-n", "2", "--dist", "loadgroup")
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # hypothesis, schemathesis and the others take their time
CODE = """
import pytest

def test_listed():
    pytest.skip("no photo here")

@pytest.mark.xfail(reason="known")
def test_xfail():
    assert False

def test_passes():
    pass
"""


def outcome(folder: Path, entries: str, *more_words: str, ci: bool, more: str = "") -> tuple[int, str]:
    (folder / "tests").mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "tests" / "test_it.py").write_text(CODE + more)
    (folder / "tests" / "expected_skips.txt").write_text(entries)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    process = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGINS, *more_words, "tests"],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(TESTS), "CI": "true" if ci else "", **ALONE},
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode, process.stdout + process.stderr


SKIP_LIST = "# a comment\ntests/test_it.py::test_listed  where the photos are absent\n"


def test_a_listed_skip_stays_a_skip(tmp_path: Path) -> None:
    status, output = outcome(tmp_path, SKIP_LIST, ci=True)
    assert status == 0
    assert "1 passed, 1 skipped, 1 xfailed" in output


def test_another_skip_fails_in_ci(tmp_path: Path) -> None:
    status, output = outcome(tmp_path, SKIP_LIST, ci=True, more='\ndef test_other():\n    pytest.skip("no reason")\n')
    assert status == 1
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed" in output
    assert "no reason" in output
    assert "not on tests/expected_skips.txt" in output


def test_it_stays_a_skip_elsewhere(tmp_path: Path) -> None:
    status, output = outcome(tmp_path, "", ci=False)
    assert status == 0
    assert "1 passed, 1 skipped, 1 xfailed" in output


@pytest.mark.parametrize(
    "more", ['\npytest.skip("whole", allow_module_level=True)\n', '\npytest.importorskip("nonesuch")\n']
)
def test_a_module_that_skips_fails_in_ci(tmp_path: Path, more: str) -> None:
    status, output = outcome(tmp_path, "", ci=True, more=more)
    assert status != 0
    assert "not on tests/expected_skips.txt" in output


def test_an_entry_without_a_reason_is_refused(tmp_path: Path) -> None:
    status, output = outcome(tmp_path, "tests/test_it.py::test_listed\n", ci=True)
    assert status == 4
    assert "has no reason" in output


def test_two_processes_judge_alike(tmp_path: Path) -> None:
    more = '\ndef test_other():\n    pytest.skip("no reason")\n'
    status, output = outcome(tmp_path, SKIP_LIST, *TWO_PROCESSES, ci=True, more=more)
    assert status == 1
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed" in output
    assert "not on tests/expected_skips.txt" in output


def test_a_module_that_skips_fails_in_two_processes(tmp_path: Path) -> None:
    more = '\npytest.skip("whole", allow_module_level=True)\n'
    status, output = outcome(tmp_path, "", *TWO_PROCESSES, ci=True, more=more)
    assert status != 0
    assert "not on tests/expected_skips.txt" in output
