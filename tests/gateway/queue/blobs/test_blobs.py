"""What each store of pictures promises (`animegan_gateway.queue.blobs`): files, Redis, and S3 as rclone serves it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from animegan_gateway.errors import StoreUnavailable
from animegan_gateway.queue.blobs.blobs import (
    CHUNK_BYTES,
    OBJECT_BYTES,
    SWEEP_KEYS,
    Blobs,
)
from animegan_gateway.queue.jobs import new_id
from harness.blobs import Bucket, Folder, Redis, Storage, nobody, put

pytestmark = pytest.mark.anyio

DATA = bytes(range(251)) * ((3 * CHUNK_BYTES) // 251)  # no chunk is like another


@pytest.fixture(params=["files", "redis", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "files":
        return Folder(tmp_path / "pictures")
    if request.param == "redis":
        return Redis(request.getfixturevalue("redis"))
    bucket: Bucket = request.getfixturevalue("bucket")
    return bucket


@pytest.fixture
async def blobs(storage: Storage) -> AsyncIterator[Blobs]:
    store = storage.blobs()
    await store.open("queue", has_pictures=False)
    yield store
    await store.close()
    storage.clear()


async def test_what_was_put_is_got_and_the_file_is_gone(blobs: Blobs) -> None:
    await put(blobs, "job-1_A.upload", DATA)
    await put(blobs, "job-1_A.1", b"another")
    assert await blobs.get("job-1_A.upload") == DATA
    assert await blobs.get("job-1_A.1") == b"another"
    assert await blobs.get("job-1_A.2") is None


async def test_it_is_there_for_another_gateway_and_another_time(blobs: Blobs, storage: Storage) -> None:
    await put(blobs, "job.upload", DATA)
    other = storage.blobs()
    await other.open("queue", has_pictures=False)
    assert await other.get("job.upload") == DATA
    await other.close()


async def test_put_again_it_is_replaced(blobs: Blobs) -> None:
    await put(blobs, "job.1", DATA)
    await put(blobs, "job.1", b"shorter")
    assert await blobs.get("job.1") == b"shorter"


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (0, 0),
        (0, len(DATA) - 1),
        (len(DATA) - 1, len(DATA) - 1),
        (5, CHUNK_BYTES + 4),
        (CHUNK_BYTES - 1, CHUNK_BYTES),
        (7, 2 * CHUNK_BYTES + 7),
    ],
)
async def test_a_part_is_read_in_chunks(blobs: Blobs, first: int, last: int) -> None:
    await put(blobs, "job.1", DATA)
    chunks = [chunk async for chunk in blobs.read("job.1", first, last)]
    assert b"".join(chunks) == DATA[first : last + 1]
    assert all(isinstance(chunk, bytes) and 0 < len(chunk) <= CHUNK_BYTES for chunk in chunks)


async def test_more_than_one_request_is_read_whole(blobs: Blobs) -> None:
    data = os.urandom(OBJECT_BYTES + 1000)
    await put(blobs, "job.1", data)
    assert b"".join([chunk async for chunk in blobs.read("job.1", 0, len(data) - 1)]) == data


async def test_what_is_not_there_can_t_be_read(blobs: Blobs) -> None:
    with pytest.raises(FileNotFoundError):
        assert not [chunk async for chunk in blobs.read("job.1", 0, 9)]


async def test_deleted_it_is_gone_and_the_others_are_not(blobs: Blobs) -> None:
    for key in ("a.upload", "a.1", "b.upload"):
        await put(blobs, key)
    await blobs.delete("a.upload", "never.there", "a.1")
    await blobs.delete("a.upload")
    await blobs.delete()
    present = {key: await blobs.get(key) is not None for key in ("a.upload", "a.1", "b.upload")}
    assert present == {"a.upload": False, "a.1": False, "b.upload": True}


async def test_sweeping_deletes_what_is_old_and_of_no_job(blobs: Blobs, storage: Storage) -> None:
    queries: list[str] = []

    async def knows(ids: Sequence[str]) -> set[str]:
        queries.extend(ids)
        return {current} & set(ids)

    current, orphan, young = (new_id() for _ in range(3))
    keys = [
        f"{current}.upload",
        f"{current}.1",
        f"{orphan}.upload",
        f"{orphan}.1",
        f"{young}.upload",
        "somebodys.jpg",
        "notes",
    ]
    for key in keys:
        await put(blobs, key)
        if not key.startswith(young):
            storage.age(key, 7200)
    await blobs.sweep(3600, knows)
    assert [key for key in keys if await blobs.get(key) is None] == [f"{orphan}.upload", f"{orphan}.1"]
    assert {*queries} == {current, orphan}


@pytest.mark.slow
async def test_sweeping_asks_in_batches(blobs: Blobs) -> None:
    sizes: list[int] = []

    async def knows(ids: Sequence[str]) -> set[str]:
        sizes.append(len(ids))
        return set()

    keys = [f"{new_id()}.upload" for _ in range(SWEEP_KEYS + 5)]
    await asyncio.gather(*(put(blobs, key) for key in keys))
    await blobs.sweep(-60, knows)
    assert sorted(sizes) == [5, SWEEP_KEYS]
    assert await blobs.get(keys[0]) is None


async def test_without_its_folder_or_bucket_the_store_is_away_and_nothing_fails_for_good(
    blobs: Blobs, storage: Storage, tmp_path: Path
) -> None:
    match storage:
        case Folder(folder):
            pass
        case Bucket(server):
            folder = server.folder / "bucket"
        case _:
            return  # Redis has neither
    away, file = folder.with_name("away"), tmp_path / "a.drawn"
    file.write_bytes(DATA)
    folder.rename(away)
    with pytest.raises(StoreUnavailable):
        await blobs.put("job.1", file)
    for call in (blobs.sweep(-60, nobody), blobs.get("job.2"), blobs.probe()):
        with pytest.raises(StoreUnavailable):
            await call
    away.rename(folder)
    assert await blobs.get("job.2") is None
    await blobs.put("job.1", file)
    assert await blobs.get("job.1") == DATA
