"""Stores of pictures: files of one machine, the Redis of the queue, or an S3-compatible object store.

A key is `Job.upload_key` or `Job.result_key`: the job's id, a dot, and `upload` or the number of the attempt.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from animegan.errors import BadSetting
from animegan_gateway.errors import StorageFull, StoreUnavailable
from animegan_gateway.queue.redis_store import connect, translate_errors

Knows = Callable[[Sequence[str]], Awaitable[set[str]]]

PROBE = "probe"  # key of what is written to see whether a store can be used
KEPT_PROBE = "probe-kept"  # in a bucket, where gateways write the same one at the same time
PROBE_BYTES = 64 * 1024  # of a small photo
CHUNK_BYTES = 256 * 1024
SWEEP_KEYS = 256  # at one time
REDIS_S = 30.0  # for a whole picture
OBJECT_BYTES = 8 * 1024 * 1024  # in one request, which has 30 s whatever the reader's pace

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")  # neither a path nor `..`
_OURS = re.compile(r"[A-Za-z0-9_-]{22}\.(upload|[0-9]+)(\.part)?")  # an id of `jobs.new_id`


class Blobs(Protocol):
    """All raise `StoreUnavailable` where the store is away, and `put` raises `StorageFull` where it has no room."""

    async def open(self) -> None:
        """Make sure that the store can be used. Raise `BadSetting` where it can't."""

    async def close(self) -> None: ...

    async def probe(self) -> None:
        """Write and read back. Raise `StorageFull` where there is no room."""

    async def put(self, key: str, file: Path) -> None:
        """Keep the file's bytes, for good once this returns; the file is gone then. Nothing is kept where it raises."""

    async def get(self, key: str) -> bytes | None: ...

    def read(self, key: str, first: int, last: int) -> AsyncGenerator[bytes, None]:
        """Return the bytes from `first` to `last`, both included. Raise `FileNotFoundError`, if need be midway."""

    async def delete(self, *keys: str) -> None:
        """Delete those that are there."""

    async def sweep(self, older_than_s: float, knows: Knows) -> None:
        """Delete what is older than that and of no job in `knows(ids)`; younger ones may be of a job yet to come."""


class FileBlobs:
    """Files of a folder, which is created if it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def open(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self._folder / PROBE).touch()
            (self._folder / PROBE).unlink()
        except OSError as error:
            raise BadSetting(f"{self._folder} can't be written: {error}. Correct ANIMEGAN_GATEWAY_DATA.") from None

    async def close(self) -> None:
        pass

    async def probe(self) -> None:
        with _translate_disk_errors():
            await asyncio.to_thread(_write_and_read_back, self._folder)

    async def put(self, key: str, file: Path) -> None:
        with _translate_disk_errors():
            await asyncio.to_thread(_move, file, self._path(key))

    async def get(self, key: str) -> bytes | None:
        with _translate_disk_errors():
            try:
                return await asyncio.to_thread(self._path(key).read_bytes)
            except FileNotFoundError:
                return None

    async def read(self, key: str, first: int, last: int) -> AsyncGenerator[bytes, None]:
        (_, count), *parts = _parts(first, last, CHUNK_BYTES)
        with _translate_disk_errors():
            stream, chunk = await asyncio.to_thread(_open_part, self._path(key), first, count)
            with stream:
                yield chunk
                for _, count in parts:
                    yield await asyncio.to_thread(stream.read, count)

    async def delete(self, *keys: str) -> None:
        with _translate_disk_errors():
            for key in keys:
                await asyncio.to_thread(self._path(key).unlink, missing_ok=True)

    async def sweep(self, older_than_s: float, knows: Knows) -> None:
        with _translate_disk_errors():
            await _sweep(self, await asyncio.to_thread(self._older, time.time() - older_than_s), knows)

    def _older(self, at: float) -> list[str]:
        if not self._folder.is_dir():
            raise NotADirectoryError(self._folder)
        older = []
        for file in self._folder.iterdir():
            with suppress(FileNotFoundError):  # deleted meanwhile
                if file.stat().st_mtime < at:
                    older.append(file.name)
        return older

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key.")
        return self._folder / key


class RedisBlobs:
    """Strings of the queue's Redis, whose persistence `RedisStore` checks."""

    def __init__(self, url: str, prefix: str = "{animegan}:blob:") -> None:
        self._redis = connect(url, answer_s=REDIS_S, decode=False)
        self._prefix = prefix

    async def open(self) -> None:
        with translate_errors():
            await self._redis.ping()

    async def close(self) -> None:
        await self._redis.aclose()

    async def probe(self) -> None:
        """Return at once: the store's probe is of the same Redis."""

    async def put(self, key: str, file: Path) -> None:
        with translate_errors():
            await self._redis.set(self._prefix + key, await asyncio.to_thread(file.read_bytes))
        await asyncio.to_thread(file.unlink)

    async def get(self, key: str) -> bytes | None:
        with translate_errors():
            value: Any = await self._redis.get(self._prefix + key)
            return value if value is None else bytes(value)

    async def read(self, key: str, first: int, last: int) -> AsyncGenerator[bytes, None]:
        for start, count in _parts(first, last, CHUNK_BYTES):
            with translate_errors():
                chunk: Any = await self._redis.getrange(self._prefix + key, start, start + count - 1)
            if not chunk:
                raise FileNotFoundError(key)
            yield chunk

    async def delete(self, *keys: str) -> None:
        if keys:
            with translate_errors():
                await self._redis.unlink(*(self._prefix + key for key in keys))

    async def sweep(self, older_than_s: float, knows: Knows) -> None:
        """Delete as `Blobs` says; the age is the time since a key was last read or written, or Redis started."""
        with translate_errors():
            keys = [key async for key in self._redis.scan_iter(match=f"{self._prefix}*", count=SWEEP_KEYS)]
            older = []
            for key in keys:
                idle_s: Any = await self._redis.object("IDLETIME", key)
                if idle_s is not None and idle_s >= older_than_s:
                    older.append(key.decode().removeprefix(self._prefix))
        await _sweep(self, older, knows)


class ObjectBlobs:
    """Objects under `s3://BUCKET/PREFIX`; endpoint, region and credentials come from the usual AWS_… variables."""

    def __init__(self, url: str) -> None:
        try:
            # Client options would override variables such as AWS_ALLOW_HTTP.
            self._store = S3Store.from_url(url, retry_config={"max_retries": 2})
        except (BaseError, ValueError) as error:
            raise BadSetting(f"The object store can't be used: {error}. {_CORRECT}") from None

    async def open(self) -> None:
        with _translate_object_errors():
            try:
                await obstore.put_async(self._store, PROBE, b"")
                await obstore.delete_async(self._store, PROBE)
            except (FileNotFoundError, PermissionDeniedError, UnauthenticatedError):
                raise BadSetting(f"The bucket is not there, or not for these credentials. {_CORRECT}") from None

    async def close(self) -> None:
        pass

    async def probe(self) -> None:
        with _translate_object_errors(), _translate_bucket_errors():
            await obstore.put_async(self._store, KEPT_PROBE, b"1")
            await (await obstore.get_async(self._store, KEPT_PROBE)).bytes_async()

    async def put(self, key: str, file: Path) -> None:
        with _translate_object_errors(), _translate_bucket_errors():
            # In one request: an upload in parts that breaks off leaves those parts behind.
            await obstore.put_async(self._store, key, file, use_multipart=False)
        await asyncio.to_thread(file.unlink)

    async def get(self, key: str) -> bytes | None:
        with _translate_object_errors():
            try:
                return bytes(await (await obstore.get_async(self._store, key)).bytes_async())
            except FileNotFoundError:
                return None

    async def read(self, key: str, first: int, last: int) -> AsyncGenerator[bytes, None]:
        for start, count in _parts(first, last, OBJECT_BYTES):
            with _translate_object_errors():
                part = bytes(await obstore.get_range_async(self._store, key, start=start, length=count))
            for at in range(0, len(part), CHUNK_BYTES):
                yield part[at : at + CHUNK_BYTES]

    async def delete(self, *keys: str) -> None:
        if keys:
            with _translate_object_errors():
                await obstore.delete_async(self._store, keys)

    async def sweep(self, older_than_s: float, knows: Knows) -> None:
        at = time.time() - older_than_s
        with _translate_object_errors(), _translate_bucket_errors():
            metas = [meta async for metas in obstore.list(self._store) for meta in metas]
        await _sweep(self, [meta["path"] for meta in metas if meta["last_modified"].timestamp() < at], knows)


_CORRECT = "Correct ANIMEGAN_GATEWAY_PICTURES and the AWS_… variables."
_AWAY = "The pictures' store does not answer. Try again soon."


async def _sweep(blobs: Blobs, keys: Sequence[str], knows: Knows) -> None:
    """Delete those of the keys that are of no known job, and nothing that is not ours by its name."""
    ours = [key for key in keys if _OURS.fullmatch(key)]
    for at in range(0, len(ours), SWEEP_KEYS):
        jobs = {key: key.partition(".")[0] for key in ours[at : at + SWEEP_KEYS]}
        existing = await knows([*set(jobs.values())])
        await blobs.delete(*(key for key, job_id in jobs.items() if job_id not in existing))


def _parts(first: int, last: int, most: int) -> Iterator[tuple[int, int]]:
    """Start and length of each part of the range, both ends included."""
    for start in range(first, last + 1, most):
        yield start, min(most, last + 1 - start)


def _open_part(file: Path, first: int, count: int) -> tuple[BinaryIO, bytes]:
    """Open the file and read its part from `first` on; most pictures are read whole with that."""
    stream = file.open("rb")
    stream.seek(first)
    return stream, stream.read(count)


def _move(file: Path, target: Path) -> None:
    """Move the file, from another disk too; it is there after a power cut."""
    if not target.parent.is_dir():
        raise NotADirectoryError(target.parent)
    if target.exists() and not file.exists():  # an earlier call moved it, and failed to sync the folder
        _sync(target.parent)
        return
    try:
        _sync(file)
        file.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = target.with_name(f"{target.name}.part")
        try:
            shutil.copyfile(file, part)
            _sync(part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        file.unlink()
    _sync(target.parent)


def _write_and_read_back(folder: Path) -> None:
    if not folder.is_dir():
        raise NotADirectoryError(folder)
    data, file = os.urandom(PROBE_BYTES), folder / PROBE
    try:
        file.write_bytes(data)
        if file.read_bytes() != data:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
    finally:
        file.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translate_disk_errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("The disk of the pictures is full. Try later; the operator has to make room.") from error
        raise StoreUnavailable("The pictures' folder can't be used. Try again soon.") from error


@contextmanager
def _translate_object_errors() -> Iterator[None]:
    try:
        yield
    except BaseError as error:
        raise StoreUnavailable(_AWAY) from error


@contextmanager
def _translate_bucket_errors() -> Iterator[None]:
    """Raise `StoreUnavailable` for what is not found where no object is asked for: then the bucket is gone."""
    try:
        yield
    except FileNotFoundError as error:
        raise StoreUnavailable(_AWAY) from error
