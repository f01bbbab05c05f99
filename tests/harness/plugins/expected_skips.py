"""With CI=true, a test that skips without being on `tests/expected_skips.txt` fails: a skip is no pass."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Generator
from pathlib import Path

import pytest

LIST = "tests/expected_skips.txt"


def read(file: Path) -> list[str]:
    """The globs of the list. Raises `pytest.UsageError` for an entry without a reason."""
    entries = [line.split(maxsplit=1) for line in file.read_text().splitlines() if line and not line.startswith("#")]
    for entry in entries:
        if len(entry) != 2:
            raise pytest.UsageError(f"{file}: {entry[0]} has no reason beside it.")
    return [entry[0] for entry in entries]


class ExpectedSkips:
    def __init__(self, globs: list[str]) -> None:
        self._globs = globs

    def _judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        test = report.nodeid.rpartition("@")[0] or report.nodeid  # pytest-xdist adds its group
        expected = any(fnmatch.fnmatchcase(name, glob) for name in (report.nodeid, test) for glob in self._globs)
        if report.skipped and not hasattr(report, "wasxfail") and not expected:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            report.outcome = "failed"
            report.longrepr = f"{reason}\nThis skip is not on {LIST}."

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._judge(report)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        self._judge(report)
        return report


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(ExpectedSkips(read(config.rootpath / LIST)))
