"""What each store of pictures promises (`animegan_gateway.queue.blobs`): files, Redis, and S3 as rclone serves it."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from animegan.errors import BadSetting
from animegan_gateway.errors import StorageFull, StoreUnavailable
from animegan_gateway.queue.blobs import file_blobs
from animegan_gateway.queue.blobs.blobs import (
    CHUNK_BYTES,
    OBJECT_BYTES,
    SWEEP_KEYS,
    Blobs,
    ObjectBlobs,
    RedisBlobs,
)
from animegan_gateway.queue.blobs.file_blobs import MARK, FileBlobs
from animegan_gateway.queue.jobs import new_id
from harness.stores import RedisServer, S3Server, redis_server, s3_server

pytestmark = pytest.mark.anyio

DATA = bytes(range(251)) * ((3 * CHUNK_BYTES) // 251)  # no chunk is like another


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class House(Protocol):
    """Where blobs lie, seen from beside the gateway."""

    def blobs(self) -> Blobs: ...

    def age(self, key: str, seconds: int) -> None:
        """As if it had been put that long ago."""

    def clear(self) -> None:
        """The next test finds nothing."""


@dataclass
class Folder:
    folder: Path

    def blobs(self) -> Blobs:
        return FileBlobs(self.folder)

    def age(self, key: str, seconds: int) -> None:
        at = time.time() - seconds
        os.utime(self.folder / key, (at, at))

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Redis:
    server: RedisServer

    def blobs(self) -> Blobs:
        return RedisBlobs(self.server.url, "{t}:blob:")

    def age(self, key: str, seconds: int) -> None:
        self.server.do("EVAL", _AGE, 1, "{t}:blob:" + key, seconds)

    def clear(self) -> None:
        self.server.do("FLUSHALL")


_AGE = "redis.call('RESTORE', KEYS[1], 0, redis.call('DUMP', KEYS[1]), 'REPLACE', 'IDLETIME', ARGV[1])"


@dataclass
class Bucket:
    server: S3Server

    def blobs(self) -> Blobs:
        return ObjectBlobs("s3://bucket/some/prefix")

    def age(self, key: str, seconds: int) -> None:
        Folder(self.server.folder / "bucket" / "some" / "prefix").age(key, seconds)

    def clear(self) -> None:
        Folder(self.server.folder / "bucket" / "some").clear()


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


@pytest.fixture(params=["files", "redis", "s3"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    if request.param == "files":
        return Folder(tmp_path / "pictures")
    if request.param == "redis":
        return Redis(request.getfixturevalue("redis"))
    bucket: Bucket = request.getfixturevalue("bucket")
    return bucket


@pytest.fixture
async def blobs(house: House) -> AsyncIterator[Blobs]:
    opened = house.blobs()
    await opened.open("queue", has_pictures=False)
    yield opened
    await opened.close()
    house.clear()


async def nobody(ids: Sequence[str]) -> set[str]:
    return set()


async def put(blobs: Blobs, key: str, data: bytes = b"picture") -> None:
    with tempfile.NamedTemporaryFile(delete=False) as spooled:
        spooled.write(data)
    await blobs.put(key, Path(spooled.name))
    assert not Path(spooled.name).exists()


async def test_what_was_put_is_got_and_the_file_is_gone(blobs: Blobs) -> None:
    await put(blobs, "job-1_A.upload", DATA)
    await put(blobs, "job-1_A.1", b"another")
    assert await blobs.get("job-1_A.upload") == DATA
    assert await blobs.get("job-1_A.1") == b"another"
    assert await blobs.get("job-1_A.2") is None


async def test_it_is_there_for_another_gateway_and_another_time(blobs: Blobs, house: House) -> None:
    await put(blobs, "job.upload", DATA)
    other = house.blobs()
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


async def test_sweeping_deletes_what_is_old_and_of_no_job(blobs: Blobs, house: House) -> None:
    queries: list[str] = []

    async def knows(ids: Sequence[str]) -> set[str]:
        queries.extend(ids)
        return {current} & set(ids)

    current, lost, young = (new_id() for _ in range(3))
    keys = [
        f"{current}.upload",
        f"{current}.1",
        f"{lost}.upload",
        f"{lost}.1",
        f"{young}.upload",
        "somebodys.jpg",
        "notes",
    ]
    for key in keys:
        await put(blobs, key)
        if not key.startswith(young):
            house.age(key, 7200)
    await blobs.sweep(3600, knows)
    assert [key for key in keys if await blobs.get(key) is None] == [f"{lost}.upload", f"{lost}.1"]
    assert {*queries} == {current, lost}


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
    blobs: Blobs, house: House, tmp_path: Path
) -> None:
    match house:
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


async def test_an_empty_folder_in_the_place_of_the_pictures_is_not_theirs(tmp_path: Path) -> None:
    folder, away = tmp_path / "pictures", tmp_path / "away"
    blobs, file = FileBlobs(folder), tmp_path / "a.drawn"
    await blobs.open("queue", has_pictures=False)
    await put(blobs, "job.1", DATA)
    file.write_bytes(DATA)
    folder.rename(away)
    folder.mkdir()  # as a mount point is without its disk
    other = FileBlobs(folder)
    await other.open("queue", has_pictures=True)
    for each in (blobs, other):
        for call in (each.get("job.1"), each.put("job.2", file), each.probe(), each.sweep(-60, nobody)):
            with pytest.raises(StoreUnavailable):
                await call
        with pytest.raises(StoreUnavailable):
            assert not [chunk async for chunk in each.read("job.1", 0, 9)]
    assert not [*folder.iterdir()]
    folder.rmdir()
    away.rename(folder)
    for each in (blobs, other):
        assert await each.get("job.1") == DATA
        assert await each.get("job.2") is None


async def test_a_folder_that_goes_away_between_two_steps_counts_as_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, file = tmp_path / "pictures", tmp_path / "a.drawn"
    blobs = FileBlobs(folder)
    await blobs.open("queue", has_pictures=False)
    file.write_bytes(DATA)
    check = blobs._check

    def go_away() -> None:
        check()
        folder.rename(tmp_path / "away")

    for call in (blobs.probe, lambda: blobs.put("job.1", file)):
        with monkeypatch.context() as patch:
            patch.setattr(blobs, "_check", go_away)
            with pytest.raises(StoreUnavailable):
                await call()
        (tmp_path / "away").rename(folder)
    await blobs.put("job.1", file)
    assert await blobs.get("job.1") == DATA


async def test_pictures_of_a_version_without_marks_are_taken_over(tmp_path: Path) -> None:
    (tmp_path / f"{new_id()}.upload").write_bytes(DATA)
    blobs = FileBlobs(tmp_path)
    await blobs.open("queue", has_pictures=True)
    await blobs.probe()
    assert (tmp_path / MARK).read_text() == "queue"


async def test_pictures_of_another_queue_are_left_alone(tmp_path: Path) -> None:
    await FileBlobs(tmp_path).open("queue", has_pictures=False)
    with pytest.raises(BadSetting, match="animegan gateway repair"):
        await FileBlobs(tmp_path).open("another", has_pictures=False)


async def test_a_file_that_was_moved_but_not_yet_for_good_can_be_put_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs, file = FileBlobs(tmp_path / "pictures"), tmp_path / "a.drawn"
    await blobs.open("queue", has_pictures=False)
    file.write_bytes(DATA)

    def refuses_folders(path: Path, sync: Callable[[Path], None] = file_blobs.sync) -> None:
        if path.is_dir():
            raise OSError(errno.EIO, "the disk failed")
        sync(path)

    with monkeypatch.context() as patch:
        patch.setattr(file_blobs, "sync", refuses_folders)
        with pytest.raises(StoreUnavailable):
            await blobs.put("job.1", file)
    await blobs.put("job.1", file)
    assert await blobs.get("job.1") == DATA


@pytest.mark.parametrize("key", ["../job.1", "..", ".", "", "a/b", ".hidden", "a\0", "é"])
async def test_what_is_no_key_leads_out_of_no_folder(tmp_path: Path, key: str) -> None:
    (tmp_path / "job.1").write_bytes(b"private")
    blobs = FileBlobs(tmp_path / "pictures")
    await blobs.open("queue", has_pictures=False)
    with pytest.raises(ValueError, match="no key"):
        await blobs.get(key)
    with pytest.raises(ValueError, match="no key"):
        await blobs.delete(key)


async def test_a_file_comes_from_another_disk_too(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    with tempfile.NamedTemporaryFile(dir="/dev/shm", delete=False) as spooled:
        spooled.write(DATA)
    with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
        Path(spooled.name).replace(tmp_path / "moved")  # or this test says nothing
    await blobs.put("job.1", Path(spooled.name))
    assert await blobs.get("job.1") == DATA
    assert not Path(spooled.name).exists()
    assert [file.name for file in tmp_path.iterdir()] == ["job.1"]


async def test_a_full_disk_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    (tmp_path / "job.1.part").symlink_to("/dev/full")  # what a copy from another disk is written to
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as spooled:
        spooled.write(DATA)
        spooled.flush()
        with pytest.raises(StorageFull):
            await blobs.put("job.1", Path(spooled.name))
        assert Path(spooled.name).exists()
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_can_t_be_made_is_a_bad_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match="ANIMEGAN_GATEWAY_DATA"):
        await FileBlobs(tmp_path / "file" / "pictures").open("queue", has_pictures=False)


async def test_a_full_redis_keeps_nothing_and_says_so(redis: RedisServer, tmp_path: Path) -> None:
    spooled = tmp_path / "spooled"
    spooled.write_bytes(DATA)
    blobs = RedisBlobs(redis.url, "{full}:")
    redis.do("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(StorageFull):
            await blobs.put("job.1", spooled)
    finally:
        redis.do("CONFIG", "SET", "maxmemory", 0)
    assert await blobs.get("job.1") is None
    await blobs.put("job.1", spooled)
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
        spooled = tmp_path / "spooled"
        spooled.write_bytes(DATA)
        for call in (
            blobs.open("queue", has_pictures=False),
            blobs.get("job.1"),
            blobs.put("job.2", spooled),
            blobs.sweep(0, nobody),
        ):
            with pytest.raises(StoreUnavailable) as raised:
                await call
            assert endpoint not in str(raised.value)
        assert spooled.exists()


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
