"""Where each store of pictures keeps them, seen from beside the gateway."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from animegan_gateway.queue.blobs.blobs import (
    Blobs,
    ObjectBlobs,
    RedisBlobs,
)
from animegan_gateway.queue.blobs.file_blobs import FileBlobs
from harness.stores import RedisServer, S3Server


class Storage(Protocol):
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


async def nobody(ids: Sequence[str]) -> set[str]:
    return set()


async def put(blobs: Blobs, key: str, data: bytes = b"picture") -> None:
    with tempfile.NamedTemporaryFile(delete=False) as spool:
        spool.write(data)
    await blobs.put(key, Path(spool.name))
    assert not Path(spool.name).exists()
