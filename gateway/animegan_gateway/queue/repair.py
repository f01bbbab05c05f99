"""A queue of SQLite and files, looked over and repaired while no gateway uses it."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from animegan.errors import AnimeganError, BadSetting
from animegan.picture.headers import inspect
from animegan.picture.sizes import Limits
from animegan_gateway.queue.backend import queue_id
from animegan_gateway.queue.blobs.blobs import OURS
from animegan_gateway.queue.blobs.file_blobs import MARK, FileBlobs
from animegan_gateway.queue.jobs import ACTIVE_STATES
from animegan_gateway.queue.stores import sqlite_file
from animegan_gateway.queue.stores.sqlite_store import migrate, read_job
from animegan_gateway.settings import Settings

UNREADABLE_IN_A_ROW = 10_000  # rows, after which there are no further ones
ANY_SIZE = Limits(max_bytes=2**40, max_pixels=2**40)


@dataclass(frozen=True)
class Health:
    """The findings of a look at the queue: the damage of its database, in words, and what can be read of it.

    `orphans` are the files of photos and drawn pictures of which no job is known; `ours` says whether the pictures are
    this queue's.
    """

    damage: str
    jobs: int
    waiting: int
    ours: bool
    orphans: Sequence[Path]

    @property
    def sound(self) -> bool:
        return not self.damage and self.ours and not self.orphans


@dataclass(frozen=True)
class Repair:
    """The result of a repair: the jobs kept, and where the damaged database and the pictures without a job are now."""

    jobs: int
    damaged: Path | None
    pictures: Sequence[Path]


class Patient:
    """The queue and the pictures of these settings. Raise `BadSetting` where they are not files."""

    def __init__(self, settings: Settings) -> None:
        if settings.store:
            raise BadSetting("The queue is in Redis, which has tools of its own (redis-check-aof).")
        self.file = settings.folder.resolve() / "queue.sqlite"
        self.pictures = settings.folder / "pictures"
        self.unclaimed = settings.folder / "unclaimed"
        if not settings.folder.is_dir():
            raise BadSetting(f"{settings.folder} is not there, so there is no queue. Correct ANIMEGAN_GATEWAY_DATA.")

    def check(self) -> Health:
        """Look everything over and change nothing. Raise `BadSetting` while a gateway uses it."""
        with sqlite_file.lock(self.file), closing(_open(self.file)) as database:
            damage = self._damage(database)
            rows = [*_rows(database)]
            secret = _meta(database, "secret")
        waiting = sum(row["state"] in ACTIVE_STATES for row in rows)
        ours = not self.pictures.is_dir() or (isinstance(secret, bytes) and self._mark() == queue_id(secret))
        return Health(damage, len(rows), waiting, ours, self._orphans(rows))

    def repair(self) -> Repair:
        """Rebuild the queue from the jobs that can be read. Raise `BadSetting` while a gateway uses it."""
        with sqlite_file.lock(self.file):
            with closing(_open(self.file)) as database:
                damaged = self._rebuild(database) if self._damage(database) else None
            with sqlite_file.connection(self.file) as database:
                migrate(database, self.file)
                database.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_bytes(32),))
                rows, secret = [*_rows(database)], _meta(database, "secret")
            assert isinstance(secret, bytes)
            FileBlobs(self.pictures).mark(queue_id(secret))
            return Repair(len(rows), damaged, [self._set_aside(file) for file in self._orphans(rows)])

    def _damage(self, database: sqlite3.Connection) -> str:
        if not self.file.exists() or not self.file.stat().st_size:
            return "there is nothing in it"
        try:
            return sqlite_file.damage(database)
        except sqlite3.Error as error:
            return str(error)

    def _rebuild(self, damaged: sqlite3.Connection) -> Path:
        """Write a new database of what can be read of the damaged one, which is kept beside it; return its name."""
        part = self.file.with_suffix(".repaired")
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(part, isolation_level=None)) as database:
            migrate(database, part)
            database.execute("BEGIN")
            for row in _rows(damaged):
                names, places = ", ".join(row.keys()), ", ".join("?" * len(row))
                database.execute(f"INSERT OR IGNORE INTO jobs ({names}) VALUES ({places})", tuple(row))  # noqa: S608 - columns
            for name in ("secret", "turn"):
                if (value := _meta(damaged, name)) is not None:
                    database.execute("INSERT INTO meta VALUES (?, ?)", (name, value))
            with suppress(sqlite3.Error):  # who had signed out stays so, as far as it can be read
                for row in damaged.execute("SELECT * FROM ended_sessions"):
                    database.execute("INSERT INTO ended_sessions VALUES (?, ?)", tuple(row))
            database.execute("COMMIT")
        backup = self.file.with_name(f"{self.file.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
        for suffix in ("", "-wal"):
            file = self.file.with_name(self.file.name + suffix)
            if file.exists():
                file.rename(backup.with_name(backup.name + suffix))
        part.chmod(0o600)
        part.rename(self.file)
        return backup

    def _mark(self) -> str:
        file = self.pictures / MARK
        return file.read_text() if file.exists() else ""

    def _orphans(self, rows: Sequence[sqlite3.Row]) -> list[Path]:
        ids = {row["id"] for row in rows}
        files = self.pictures.glob("*") if self.pictures.is_dir() else ()
        return sorted(
            file for file in files if OURS.fullmatch(file.name) and file.suffix != ".part" and file.stem not in ids
        )

    def _set_aside(self, picture: Path) -> Path:
        """Move a picture to where no gateway deletes it, under the job's id and with the ending of its format."""
        suffix = "" if picture.suffix == ".upload" else "-drawn"
        try:
            ending = inspect(picture.read_bytes(), ANY_SIZE).format.lower()
        except AnimeganError:
            ending = "unreadable"
        self.unclaimed.mkdir(mode=0o700, exist_ok=True)
        return Path(shutil.move(picture, self.unclaimed / f"{picture.stem}{suffix}.{ending}"))


def _open(file: Path) -> sqlite3.Connection:
    """Return a connection that changes nothing: a usual one merges the write-ahead log, or deletes it."""
    database = sqlite3.connect(f"{file.as_uri()}?mode=ro" if file.exists() else ":memory:", uri=True)
    database.row_factory = sqlite3.Row
    return database


def _rows(database: sqlite3.Connection) -> Iterator[sqlite3.Row]:
    """Yield the jobs that can be read, in the order of their arrival; damaged ones are left out."""
    at, unreadable = 0, 0
    while unreadable < UNREADABLE_IN_A_ROW:
        try:
            for row in database.execute("SELECT * FROM jobs NOT INDEXED WHERE arrival > ? ORDER BY arrival", (at,)):
                at, unreadable = row["arrival"], 0
                if _is_job(row):
                    yield row
        except sqlite3.Error:  # a page, or a table that is not there
            at, unreadable = at + 1, unreadable + 1
        else:
            return


def _is_job(row: sqlite3.Row) -> bool:
    try:
        read_job(row)
    except (ValueError, TypeError):
        return False
    return True


def _meta(database: sqlite3.Connection, name: str) -> object:
    try:
        row = database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    except sqlite3.Error:
        return None
    return row["value"] if row else None
