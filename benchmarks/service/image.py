"""The image, built as the Dockerfile says, and the tests that need it: contents, roles, compose's stack, a pod.

`scripts/benchmark image`. It runs the tests that are marked `image`, which `scripts/test` leaves out: it takes minutes.
`made_of` are the files that decide what is built and how it is run; one that changes makes this result an old one, and
`tests/benchmarks/test_promises.py` says so. `build_s` is short where layers of an earlier build are there still.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common.result import store, table
from harness.deployment.containers import built_image, image_bytes

ROOT = Path(__file__).resolve().parents[2]
MADE_OF = (
    *("Dockerfile", ".dockerignore", "scripts/bootstrap.py", "requirements/cpu.txt", "requirements/torch-cpu.txt"),
    *("deploy/compose.yaml", "deploy/kubernetes/**/*.yaml"),
)
FIXTURE = "ContainerImage"  # what a file with such tests names
DIGITS = 16  # of a digest


class Outcomes:
    """A plugin of pytest: how each test ended, and its seconds with those of what was set up for it."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        row = self.rows.setdefault(report.nodeid, {"test": report.nodeid, "outcome": "passed", "seconds": 0.0})
        row["seconds"] += report.duration
        if report.outcome != "passed":
            row["outcome"] = report.outcome


def main() -> None:
    argparse.ArgumentParser(prog="scripts/benchmark image").parse_args()
    start = time.monotonic()
    image = built_image()
    figures: dict[str, Any] = {"build_s": time.monotonic() - start, "image_mib": image_bytes(image) / 2**20}
    outcomes = Outcomes()
    pytest.main([*tests(), "-m", "image", "-q"], plugins=[outcomes])
    figures |= {"made_of": made_of(), "tests": [*outcomes.rows.values()]}
    print()
    table(("test", "outcome", "seconds"), [tuple(row.values()) for row in figures["tests"]])
    store("image", figures)


def tests() -> list[str]:
    """Return the files whose tests may be marked `image`."""
    return [
        str(file.relative_to(ROOT))
        for file in sorted(ROOT.glob("tests/deploy/test_*.py"))
        if FIXTURE in file.read_text()
    ]


def made_of() -> list[dict[str, str]]:
    """Return the digests of the files that decide what is built and how it is run."""
    return [{"file": str(file.relative_to(ROOT)), "sha256": digest(file)} for file in files()]


def files() -> Iterator[Path]:
    for pattern in MADE_OF:
        yield from sorted(ROOT.glob(pattern))


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]


if __name__ == "__main__":
    main()
