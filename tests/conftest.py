"""What every test may use: a running server, and the check on skips."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from animegan_cli.serving.processes import OPENMP
from harness.servers import Server, running_server

os.environ.update({**OPENMP, **os.environ})

pytest_plugins = ["harness.expected_skips", "harness.groups"]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """TorchServe as `scripts/serve` starts it, on free ports; shared, so leave it as you found it."""
    with running_server() as running:
        yield running
