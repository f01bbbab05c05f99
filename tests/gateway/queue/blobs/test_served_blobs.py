"""Pictures in Redis and in S3: servers that are full, away, or set up wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest

from animegan.errors import BadSetting
from animegan_gateway.errors import StorageFull, StoreUnavailable
from animegan_gateway.queue.blobs.blobs import (
    CHUNK_BYTES,
    ObjectBlobs,
    RedisBlobs,
)
from harness.blobs import Bucket, nobody, put
from harness.stores import RedisServer, redis_server, s3_server

pytestmark = pytest.mark.anyio


DATA = bytes(range(251)) * ((3 * CHUNK_BYTES) // 251)  # no chunk is like another


async def test_a_full_redis_keeps_nothing_and_says_so(redis: RedisServer, tmp_path: Path) -> None:
    spool = tmp_path / "spooled"
    spool.write_bytes(DATA)
    blobs = RedisBlobs(redis.url, "{full}:")
    redis.do("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(StorageFull):
            await blobs.put("job.1", spool)
    finally:
        redis.do("CONFIG", "SET", "maxmemory", 0)
    assert await blobs.get("job.1") is None
    await blobs.put("job.1", spool)
    assert await blobs.get("job.1") == DATA
    await blobs.close()


async def test_redis_keeps_pictures_through_a_restart(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        blobs = RedisBlobs(server.url)
        await put(blobs, "job.1", DATA)
        server.kill()
        with pytest.raises(StoreUnavailable):
            await blobs.get("job.1")
        server.start()
        assert await blobs.get("job.1") == DATA
        await blobs.close()


@pytest.mark.slow
async def test_without_its_server_s3_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(tmp_path / "s3") as (server, endpoint):
        (server.folder / "bucket").mkdir()
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.SECRET)
        blobs = ObjectBlobs("s3://bucket/prefix")
        await blobs.open("queue", has_pictures=False)
        await put(blobs, "job.1", DATA)
        server.stop()
        spool = tmp_path / "spooled"
        spool.write_bytes(DATA)
        for call in (
            blobs.open("queue", has_pictures=False),
            blobs.get("job.1"),
            blobs.put("job.2", spool),
            blobs.sweep(0, nobody),
        ):
            with pytest.raises(StoreUnavailable) as failure:
                await call
            assert endpoint not in str(failure.value)
        assert spool.exists()


async def test_a_bucket_that_is_not_there_is_a_bad_setting(bucket: Bucket) -> None:
    with pytest.raises(BadSetting, match="ANIMEGAN_GATEWAY_PICTURES"):
        await ObjectBlobs("s3://nowhere/prefix").open("queue", has_pictures=False)


async def test_wrong_credentials_are_a_bad_setting(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(BadSetting, match="AWS_"):
        await ObjectBlobs("s3://bucket/prefix").open("queue", has_pictures=False)


def test_what_is_no_object_store_is_a_bad_setting(bucket: Bucket) -> None:
    with pytest.raises(BadSetting, match="ANIMEGAN_GATEWAY_PICTURES"):
        ObjectBlobs("ftp://bucket/prefix")
