"""The folder for pictures in transit: each gateway has its own, and locks it as long as it lives."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "spool-"


@contextmanager
def open_spool(parent: Path) -> Iterator[Path]:
    """Yield a new folder beside the pictures, so that a file moves among them in one step; it is deleted afterwards.

    Folders of gateways that were killed are removed first, whatever host or container they ran in. Where there is no
    room for the new one it is in the system's folder of temporary files.
    """
    for left in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            lock = _lock(left)
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)
    folder, lock = _new(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _new(parent: Path) -> tuple[Path, int]:
    while True:
        try:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        with suppress(BlockingIOError, FileNotFoundError):  # a gateway that starts now took it for an abandoned one
            return folder, _lock(folder)


def _lock(folder: Path) -> int:
    """Return a descriptor that holds the lock until it is closed. Raise `BlockingIOError` where another holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder.stat()  # raises if the previous holder of the lock has removed it
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
