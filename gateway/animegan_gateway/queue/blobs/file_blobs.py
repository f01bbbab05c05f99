"""The store of pictures of one machine: files of a folder that is marked as one queue's."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import structlog

from animegan.errors import BadSetting
from animegan_gateway.errors import StorageFull, StoreUnavailable
from animegan_gateway.queue.blobs.blobs import CHUNK_BYTES, KEY, OURS, PROBE, Knows, delete_orphans, parts

MARK = ".queue"  # the file that holds the id of the queue whose pictures these are
PROBE_BYTES = 64 * 1024  # of a small photo
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

log = structlog.get_logger(__name__)


class FileBlobs:
    """Files of a folder, which is created if it is missing.

    A folder without the queue's `MARK` is not the one that the pictures are in, such as the mount point of a disk that
    is away: what can't be found then is not lost, and nothing is put there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._queue = ""
        self._unmarked = False  # it is this queue's, and there was no room for the mark yet

    async def open(self, queue: str, *, has_pictures: bool) -> None:
        await asyncio.to_thread(self._open, queue, has_pictures)

    async def close(self) -> None:
        pass

    async def probe(self) -> None:
        with translate_disk_errors():
            await asyncio.to_thread(self._write_and_read_back)

    async def put(self, key: str, file: Path) -> None:
        with translate_disk_errors():
            await asyncio.to_thread(self._put, file, self._path(key))

    async def get(self, key: str) -> bytes | None:
        with translate_disk_errors():
            try:
                return await asyncio.to_thread(self._whole, self._path(key))
            except FileNotFoundError:
                return None

    async def read(self, key: str, first: int, last: int) -> AsyncGenerator[bytes, None]:
        (_, count), *further = parts(first, last, CHUNK_BYTES)
        with translate_disk_errors():
            stream, chunk = await asyncio.to_thread(self._open_part, self._path(key), first, count)
            with stream:
                yield chunk
                for _, count in further:
                    yield await asyncio.to_thread(stream.read, count)

    async def delete(self, *keys: str) -> None:
        with translate_disk_errors():
            for key in keys:
                await asyncio.to_thread(self._path(key).unlink, missing_ok=True)

    async def sweep(self, older_than_s: float, knows: Knows) -> None:
        with translate_disk_errors():
            await delete_orphans(self, await asyncio.to_thread(self._older, time.time() - older_than_s), knows)

    async def uploads(self) -> list[str]:
        """Return the ids of the jobs whose photos are here."""
        return await asyncio.to_thread(lambda: [file.stem for file in self._folder.glob("*.upload")])

    def mark(self, queue: str) -> None:
        """Mark the folder as that queue's, even if it was another one's."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = self._folder / f"{MARK}.part"
        part.write_text(queue)
        sync(part)
        part.replace(self._folder / MARK)
        sync(self._folder)

    # The methods below run in a thread.

    def _open(self, queue: str, has_pictures: bool) -> None:
        self._queue = queue
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self._folder / PROBE).touch()
            (self._folder / PROBE).unlink()
            mark, pictures = self._mark(), any(OURS.fullmatch(file.name) for file in self._folder.iterdir())
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise BadSetting(f"{self._folder} can't be written: {error}. Correct ANIMEGAN_GATEWAY_DATA.") from None
            mark, pictures = self._mark(), True
        if mark and mark != queue:
            raise BadSetting(
                f"{self._folder} holds the pictures of another queue: the database of the queue was removed, emptied "
                "or replaced. Put it back, or run `animegan gateway repair`, which keeps the photos that wait there."
            )
        if not mark and has_pictures and not pictures:
            log.error(
                "pictures_away",
                folder=str(self._folder),
                detail="The queue has pictures and the folder is empty. Mount its disk. Where the pictures are lost "
                "for good, stop the gateway and run `animegan gateway repair`; their jobs fail then.",
            )
        elif not mark:
            self._unmarked = True
            with suppress(StoreUnavailable, StorageFull), translate_disk_errors():
                self._check()

    def _mark(self) -> str:
        try:
            return (self._folder / MARK).read_text()
        except FileNotFoundError:
            return ""

    def _check(self) -> None:
        """Raise `OSError` unless the folder is this queue's."""
        if self._unmarked:
            self.mark(self._queue)
            self._unmarked = False
        if self._mark() != self._queue:
            raise NotADirectoryError(errno.ENOTDIR, "Not the folder of this queue's pictures", str(self._folder))

    def _write_and_read_back(self) -> None:
        self._check()
        data, file = os.urandom(PROBE_BYTES), self._folder / PROBE
        try:
            file.write_bytes(data)
            same = file.read_bytes() == data
        except FileNotFoundError:  # the folder went away between two steps
            same = False
        finally:
            file.unlink(missing_ok=True)
        if not same:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))

    def _put(self, file: Path, target: Path) -> None:
        self._check()
        try:
            move(file, target)
        except FileNotFoundError:
            self._check()  # the folder may have gone away since the first look
            raise

    def _whole(self, file: Path) -> bytes:
        """Return the file's bytes. Raise `FileNotFoundError` only where the folder is there and the file is not."""
        with suppress(FileNotFoundError):
            return file.read_bytes()
        self._check()
        return file.read_bytes()  # the folder may have come back between the two looks

    def _open_part(self, file: Path, first: int, count: int) -> tuple[BinaryIO, bytes]:
        """Open the file and read its part from `first` on; most pictures are read whole with that.

        Raise as `_whole`.
        """
        try:
            stream = file.open("rb")
        except FileNotFoundError:
            self._check()
            stream = file.open("rb")
        stream.seek(first)
        return stream, stream.read(count)

    def _older(self, at: float) -> list[str]:
        self._check()
        older: list[str] = []
        try:
            files = [*self._folder.iterdir()]
        except FileNotFoundError:  # the folder went away since the first look
            return older
        for file in files:
            with suppress(FileNotFoundError):  # deleted meanwhile
                if file.stat().st_mtime < at:
                    older.append(file.name)
        return older

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key.")
        return self._folder / key


def move(file: Path, target: Path) -> None:
    """Move the file, from another disk too; it is there after a power cut."""
    if target.exists() and not file.exists():  # an earlier call moved it, and failed to sync the folder
        sync(target.parent)
        return
    try:
        sync(file)
        file.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = target.with_name(f"{target.name}.part")
        try:
            shutil.copyfile(file, part)
            sync(part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        file.unlink()
    sync(target.parent)


def sync(path: Path) -> None:
    """Have the disk keep the file or the folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def translate_disk_errors() -> Iterator[None]:
    """Raise the system's errors as the gateway's own, but for `FileNotFoundError`."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StorageFull("The disk of the pictures is full. Try later; the operator has to make room.") from error
        raise StoreUnavailable("The pictures' folder can't be used. Try again soon.") from error
