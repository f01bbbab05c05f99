"""The database file of the queue: its lock, its opening, its checks, and its identity."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from animegan.errors import BadSetting
from animegan_gateway.errors import StorageFull, StoreUnavailable

DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
PRIMARY_CODE = 0xFF  # of an extended error code


@contextmanager
def lock(file: Path) -> Iterator[None]:
    """Hold the lock beside the file, whose folder is created. Raise `BadSetting` where a gateway has it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadSetting(f"{file} can't be opened: {error}. Correct ANIMEGAN_GATEWAY_DATA.") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadSetting(
                f"Another gateway uses {file.parent}. Stop that one, give this one a folder of its own "
                "(ANIMEGAN_GATEWAY_DATA), or have both use one Redis (ANIMEGAN_GATEWAY_STORE)."
            ) from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def connection(file: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to the database, created if it is missing, which nobody else opens meanwhile.

    Its index of the write-ahead log is in memory, so it opens on a full disk too. Raise `BadSetting` for a file that
    can't be opened or is damaged, and `StorageFull`.
    """
    with _translate_opening(file):
        if _is_emptied(file):
            raise damaged(file, "it is empty, and its write-ahead log is not")
        database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    with closing(database):
        with _translate_opening(file):
            file.chmod(0o600)
            database.row_factory = sqlite3.Row
            database.text_factory = lambda text: text.decode(errors="replace")  # one row's damage is its own
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA journal_size_limit = 16777216")
            if problem := damage(database):
                raise damaged(file, problem)
        yield database


def damage(database: sqlite3.Connection) -> str:
    """Return the first damage of the database in one line; empty for none."""
    try:
        (problem,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        problem = str(error)
    return "" if problem == "ok" else " ".join(problem.replace("*** in database main ***", "").split())


def damaged(file: Path, problem: str) -> BadSetting:
    """Return the error of a database that can't be used as it is."""
    return BadSetting(
        f"{file} is damaged: {problem}. `animegan gateway check` lists what can be read, and `animegan gateway repair` "
        "keeps it; or put a copy back."
    )


def is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE in DAMAGE


def is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL


def identity(file: Path) -> tuple[int, int] | None:
    """Return the device and inode of the file, which a new name does not change; None where there is no file."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise SQLite's errors as the gateway's own."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if is_full(error):
            raise StorageFull("The disk of the queue is full. Try later; the operator has to make room.") from error
        if is_damage(error):
            raise unreadable() from error
        if not isinstance(error, sqlite3.OperationalError):
            raise
        raise StoreUnavailable("The queue's database does not answer. Try again soon.") from error


def unreadable() -> StoreUnavailable:
    """Return the error of a database that turns out to be damaged while it is used."""
    return StoreUnavailable(
        "The queue's database is damaged. Try later; the operator has to stop the gateway and run "
        "`animegan gateway repair`."
    )


def _is_emptied(file: Path) -> bool:
    """Return whether the file is empty beside a log that has its data, which opening the file would delete."""
    log = file.with_name(f"{file.name}-wal")
    return file.exists() and not file.stat().st_size and log.exists() and log.stat().st_size > 0


@contextmanager
def _translate_opening(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if is_full(error):
            raise StorageFull("The disk of the queue is full. Make room.") from None
        if is_damage(error):
            raise damaged(file, str(error)) from None
        raise BadSetting(f"{file} can't be opened: {error}. Correct ANIMEGAN_GATEWAY_DATA.") from None
    except OSError as error:
        raise BadSetting(f"{file} can't be opened: {error}. Correct ANIMEGAN_GATEWAY_DATA.") from None
