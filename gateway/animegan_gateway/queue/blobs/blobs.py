"""Stores of pictures: files of one machine (`file_blobs`), the Redis of the queue, or an S3-compatible object store.

A key is `Job.upload_key` or `Job.result_key`: the job's id, a dot, and `upload` or the number of the attempt.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from animegan.errors import BadSetting
from animegan_gateway.errors import StoreUnavailable
from animegan_gateway.queue.stores.redis_connection import connect, translate_errors

Knows = Callable[[Sequence[str]], Awaitable[set[str]]]

PROBE = "probe"  # key of what is written to see whether a store can be used
KEPT_PROBE = "probe-kept"  # in a bucket, where gateways write the same one at the same time
CHUNK_BYTES = 256 * 1024
SWEEP_KEYS = 256  # at one time
REDIS_S = 30.0  # for a whole picture
UNCLAIMED_S = 86400  # far longer than the queue may be away between a picture and its job
OBJECT_BYTES = 8 * 1024 * 1024  # in one request, which has 30 s whatever the reader's pace

KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")  # neither a path nor `..`
OURS = re.compile(r"[A-Za-z0-9_-]{22}\.(upload|[0-9]+)(\.part)?")  # an id of `jobs.new_id`


class Blobs(Protocol):
    """All raise `StoreUnavailable` where the store is away, and `put` raises `StorageFull` where it has no room."""

    async def open(self, queue: str, *, has_pictures: bool) -> None:
        """Make sure that the store can be used. Raise `BadSetting` where it can't.

        `queue` is the id of the queue that the pictures are of; `has_pictures` says whether its jobs have any.
        """

    async def close(self) -> None: ...

    async def probe(self) -> None:
        """Write and read back. Raise `StorageFull` where there is no room."""

    async def put(self, key: str, file: Path) -> None:
        """Keep the file's bytes, for good once this returns; the file is gone then. Nothing is kept where it raises."""

    async def get(self, key: str) -> bytes | None:
        """Return the bytes; None only where the store is there, and they are not."""

    def read(self, key: str, first: int, last: int) -> AsyncGenerator[bytes, None]:
        """Return the bytes from `first` to `last`, both included. Raise `FileNotFoundError`, if need be midway."""

    async def delete(self, *keys: str) -> None:
        """Delete the keys that exist."""

    async def sweep(self, older_than_s: float, knows: Knows) -> None:
        """Delete keys older than that whose job `knows(ids)` lacks; the job of a younger one may be still to come."""


class RedisBlobs:
    """Strings of the queue's Redis, whose persistence `RedisStore` checks.

    Each has a lifetime until a job needs it, which the store's scripts take away: nothing stays of a gateway that dies
    in between.
    """

    def __init__(self, url: str, prefix: str = "{animegan}:blob:") -> None:
        self._redis = connect(url, answer_s=REDIS_S, decode=False)
        self._prefix = prefix

    async def open(self, queue: str, *, has_pictures: bool) -> None:  # noqa: ARG002 - for folders
        with translate_errors():
            await self._redis.ping()

    async def close(self) -> None:
        await self._redis.aclose()

    async def probe(self) -> None:
        """Return at once: the store's probe is of the same Redis."""

    async def put(self, key: str, file: Path) -> None:
        with translate_errors():
            await self._redis.set(self._prefix + key, await asyncio.to_thread(file.read_bytes), ex=UNCLAIMED_S)
        await asyncio.to_thread(file.unlink)

    async def get(self, key: str) -> bytes | None:
        with translate_errors():
            value: Any = await self._redis.get(self._prefix + key)
            return value if value is None else bytes(value)

    async def read(self, key: str, first: int, last: int) -> AsyncGenerator[bytes, None]:
        for start, count in parts(first, last, CHUNK_BYTES):
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
        await delete_orphans(self, older, knows)


class ObjectBlobs:
    """Objects under `s3://BUCKET/PREFIX`; endpoint, region and credentials come from the usual AWS_… variables."""

    def __init__(self, url: str) -> None:
        try:
            # Client options would override variables such as AWS_ALLOW_HTTP.
            self._store = S3Store.from_url(url, retry_config={"max_retries": 2})
        except (BaseError, ValueError) as error:
            raise BadSetting(f"The object store can't be used: {error}. {_CORRECT}") from None

    async def open(self, queue: str, *, has_pictures: bool) -> None:  # noqa: ARG002 - for folders
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
            for again in (False, True):
                with suppress(FileNotFoundError):
                    return bytes(await (await obstore.get_async(self._store, key)).bytes_async())
                if not again:
                    await self.probe()  # raises where the bucket is gone, and not the object alone
        return None

    async def read(self, key: str, first: int, last: int) -> AsyncGenerator[bytes, None]:
        for start, count in parts(first, last, OBJECT_BYTES):
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
        await delete_orphans(self, [meta["path"] for meta in metas if meta["last_modified"].timestamp() < at], knows)


_CORRECT = "Correct ANIMEGAN_GATEWAY_PICTURES and the AWS_… variables."
_AWAY = "The pictures' store does not answer. Try again soon."


async def delete_orphans(blobs: Blobs, keys: Sequence[str], knows: Knows) -> None:
    """Delete those of the keys that are of no known job, and nothing that is not ours by its name."""
    ours = [key for key in keys if OURS.fullmatch(key)]
    for at in range(0, len(ours), SWEEP_KEYS):
        jobs = {key: key.partition(".")[0] for key in ours[at : at + SWEEP_KEYS]}
        existing = await knows([*set(jobs.values())])
        await blobs.delete(*(key for key, job_id in jobs.items() if job_id not in existing))


def parts(first: int, last: int, most: int) -> Iterator[tuple[int, int]]:
    """Start and length of each part of the range, both ends included."""
    for start in range(first, last + 1, most):
        yield start, min(most, last + 1 - start)


@contextmanager
def _translate_object_errors() -> Iterator[None]:
    try:
        yield
    except BaseError as error:
        raise StoreUnavailable(_AWAY) from error


@contextmanager
def _translate_bucket_errors() -> Iterator[None]:
    """Raise `StoreUnavailable` for "not found" in a request for the bucket itself: then the bucket is gone."""
    try:
        yield
    except FileNotFoundError as error:
        raise StoreUnavailable(_AWAY) from error
