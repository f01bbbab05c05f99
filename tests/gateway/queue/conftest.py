"""Each kind of store, at a place of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.stores import KINDS, Place, RedisServer, redis_server


@pytest.fixture(scope="module")
def redis_of_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    return Place(kind, tmp_path, request.getfixturevalue("redis_of_stores") if kind == "redis" else None)
