"""Each kind of store, at a place of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from animegan_gateway.queue.stores.store import Store
from harness.blobs import Bucket
from harness.stores import KINDS, Place, RedisServer, S3Server, redis_server, s3_server


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


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    async with place.open_store() as instance:
        yield instance


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[S3Server, str]]:
    with s3_server(tmp_path_factory.mktemp("s3")) as (server, endpoint):
        (server.folder / "bucket").mkdir()
        yield server, endpoint


@pytest.fixture
def bucket(s3: tuple[S3Server, str], monkeypatch: pytest.MonkeyPatch) -> Bucket:
    server, endpoint = s3
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.SECRET)
    return Bucket(server)
