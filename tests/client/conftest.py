"""What the client's tests share: a gateway that keeps the contract, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from animegan_client import Client
from client.fake_gateway import FakeGateway


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway() as running:
        yield running


@pytest.fixture
def client(gateway: FakeGateway) -> Iterator[Client]:
    with Client(gateway.url, patience_s=30) as instance:
        yield instance
