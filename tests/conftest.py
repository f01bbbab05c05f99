"""What every test may use: servers that run, and the check on skips."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from animegan_cli.serving.processes import OPENMP
from harness.servers import QUICK, Server, running_server

os.environ.update({**OPENMP, **os.environ})
if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = "1"  # Triton reads it once, whichever test loads it first.

pytest_plugins = ["harness.plugins.expected_skips", "harness.plugins.groups"]


def pytest_runtest_setup() -> None:
    """Seed PyTorch, where it is loaded: a test's numbers depend on no test before it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """TorchServe as `scripts/serve` starts it, on free ports; shared, so leave it as you found it."""
    with running_server() as running:
        yield running


@pytest.fixture(scope="session")
def mortal() -> Iterator[Server]:
    """A server whose parts tests kill, its model API on; who kills one waits until it serves again."""
    with running_server(properties={"enable_model_api": "true"}, environment=QUICK) as running:
        yield running
