"""A gateway with keys, and one on loopback without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.access import LockedGateway, locked_gateway
from harness.gateways import Gateway, running_gateway


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockedGateway]:
    with locked_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One on loopback, without keys."""
    with running_gateway(tmp_path_factory.mktemp("open"), None) as running:
        yield running
