"""What every test may use: a running server, and the check on skips."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from servers import Server, running_server

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the server does; read when torch is imported

pytest_plugins = ["plugins.expected_skips"]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """TorchServe as `scripts/serve` starts it, on free ports; shared, so leave it as you found it."""
    with running_server() as running:
        yield running
