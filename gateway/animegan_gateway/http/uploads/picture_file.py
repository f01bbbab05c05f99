"""The file that a picture is received into, and what is known of it afterwards."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import mmap
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from animegan.errors import TooLarge
from animegan.picture.headers import Header, inspect
from animegan.picture.sizes import Limits
from animegan_gateway.errors import StorageFull, StoreUnavailable


@dataclass(frozen=True)
class Upload:
    """A picture in `file`, of that many bytes and with that SHA-256, and the options that came with it.

    `name` is that of the caller's file, or empty. `ignored` are the names of fields that are nobody's option.
    """

    file: Path
    bytes: int
    sha256: str
    options: Mapping[str, str]
    ignored: tuple[str, ...] = ()
    name: str = ""


@dataclass
class PictureFile:
    """Takes a picture's bytes as they come, no more of them than there may be."""

    target: BinaryIO
    limits: Limits
    size: int = 0
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def write(self, data: bytes | memoryview) -> None:
        """Raise `TooLarge` for a byte too many."""
        self.size += len(data)
        if self.size > self.limits.max_bytes:
            raise too_large(self.size, self.limits)
        self._digest.update(data)
        self.target.write(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


@contextmanager
def temporary_file(folder: Path) -> Iterator[Path]:
    """Yield the path of a file to receive into, which is deleted afterwards unless it was moved."""
    file = folder / f"{secrets.token_hex(16)}.upload"
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raise what the disk raises as `StorageFull` or `StoreUnavailable`."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("There is no room for the picture now. Try again later.") from error
        raise StoreUnavailable("The folder for uploads can't be used. Try again soon.") from error


async def judge(upload: Upload, limits: Limits) -> Header:
    """Return what the picture's header says; no pixel is decoded, and the file is not read into memory.

    Raise as `animegan.picture.headers.inspect`, or `StoreUnavailable`.
    """

    def look() -> Header:
        if not upload.bytes:
            return inspect(b"", limits)
        with ExitStack() as stack:
            with disk_errors():
                file = stack.enter_context(upload.file.open("rb"))
                data = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            return inspect(data, limits)

    return await asyncio.to_thread(look)


def too_large(size: int, limits: Limits) -> TooLarge:
    return TooLarge(
        f"The upload has {size:,} bytes or more, and a picture file may have {limits.max_bytes:,}. "
        "Send a smaller or more strongly compressed one.",
        limit_bytes=limits.max_bytes,
    )
