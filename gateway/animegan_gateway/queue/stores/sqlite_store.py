"""The store for one machine: SQLite in write-ahead mode, one gateway at a time; `sqlite_file` opens it.

A commit is on the disk before it is answered (`synchronous=FULL`), so an accepted job survives a power cut too. All
statements run in one thread; each step is one transaction.
"""

from __future__ import annotations

import asyncio
import functools
import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog

from animegan.errors import BadSetting
from animegan_gateway.errors import StoreUnavailable
from animegan_gateway.queue.jobs import ACTIVE_STATES, MOST_PAUSE_S, Ask, Job, Result, State, before
from animegan_gateway.queue.stores import sqlite_file
from animegan_gateway.queue.stores.store import RUNS, Bounds, Full, Line, Mismatch, Run, Tally, Waiting
from animegan_service.bell import Bell

P = ParamSpec("P")
T = TypeVar("T")

# One script for each version of the schema; append, never change. `PRAGMA user_version` counts those that ran.
MIGRATIONS = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE jobs (
        arrival INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        caller TEXT NOT NULL,
        idempotency_key TEXT,
        ask TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        work_px INTEGER NOT NULL,
        accepted_at REAL NOT NULL,
        turn INTEGER NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0,
        crashes INTEGER NOT NULL DEFAULT 0,
        alone INTEGER NOT NULL DEFAULT 0,
        not_before REAL NOT NULL DEFAULT 0,
        started_at REAL,
        finished_at REAL,
        expired_at REAL,
        error TEXT,
        result TEXT,
        result_bytes INTEGER NOT NULL DEFAULT 0,
        run_s REAL
    );
    CREATE INDEX line ON jobs (turn, arrival) WHERE state = 'queued';
    CREATE INDEX callers ON jobs (caller, turn) WHERE state IN ('queued', 'running');
    CREATE INDEX states ON jobs (state, finished_at);
    CREATE INDEX runs ON jobs (finished_at) WHERE run_s IS NOT NULL;
    CREATE UNIQUE INDEX idempotency ON jobs (caller, idempotency_key) WHERE idempotency_key IS NOT NULL;
    """,
    "ALTER TABLE jobs ADD COLUMN lost INTEGER NOT NULL DEFAULT 0",
    "CREATE TABLE ended_sessions (id TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE damaged_jobs AS SELECT * FROM jobs WHERE false",
)

log = structlog.get_logger(__name__)

_ACTIVE = f"({', '.join(repr(state.value) for state in ACTIVE_STATES)})"


def step(
    method: Callable[Concatenate[SqliteStore, P], T],
) -> Callable[Concatenate[SqliteStore, P], Coroutine[Any, Any, T]]:
    """Run the method in the store's thread, in one transaction."""

    @functools.wraps(method)
    async def run(self: SqliteStore, /, *arguments: P.args, **keywords: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: self._run_step(lambda: method(self, *arguments, **keywords))
        )

    return run


class SqliteStore:
    """See `store.Store`. `file` is created if it is missing; a lock beside it keeps a second gateway out."""

    def __init__(self, file: Path, bell: Bell) -> None:
        self._file = file
        self._bell = bell
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")

    async def open(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._open)
        except BaseException:
            self._thread.shutdown()
            raise

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._resources.close)
        self._thread.shutdown()

    async def submit(self, job_id: str, ask: Ask, bounds: Bounds, idempotency_key: str | None) -> Job:
        job = await self._submit(job_id, ask, bounds, idempotency_key)
        self._bell.ring(job.id)
        return job

    async def take(self, owner: str, *, idle: bool) -> Job | None:  # noqa: ARG002 - there is one owner
        job = await self._take(idle)
        if job:
            self._bell.ring(job.id)
        return job

    async def move(
        self, job_id: str, to: State, *, attempt: int | None = None, changes: Mapping[str, Any] | None = None
    ) -> Job | None:
        job = await self._move(job_id, to, attempt, changes or {})
        if job:
            self._bell.ring(job.id)
        return job

    async def renew(self, owner: str) -> None:
        """Return at once: the lock beside the file shows that the owner lives."""

    async def recover(self) -> Sequence[Job]:
        """Put back every running job; to be called before the first `take`, while all of them are lost."""
        return await self._recover()

    @step
    def probe(self) -> None:
        self._db.execute("REPLACE INTO meta VALUES ('probe', ?)", (time.time(),))

    @step
    def secret(self) -> bytes:
        self._db.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_bytes(32),))
        (value,) = self._db.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()
        return bytes(value)

    @step
    def end_session(self, session: str, lifetime_s: int) -> None:
        now = time.time()
        self._db.execute("DELETE FROM ended_sessions WHERE until < ?", (now,))
        self._db.execute("REPLACE INTO ended_sessions VALUES (?, ?)", (session, now + lifetime_s))

    @step
    def is_session_over(self, session: str) -> bool:
        return self._db.execute("SELECT 1 FROM ended_sessions WHERE id = ?", (session,)).fetchone() is not None

    @step
    def get(self, job_id: str) -> Job | None:
        return self._one("SELECT * FROM jobs WHERE id = ?", job_id)

    @step
    def ended_before(self, time: float, limit: int) -> Sequence[Job]:
        states = ", ".join(repr(state.value) for state in sorted(before(State.EXPIRED)))
        return self._all(
            f"SELECT * FROM jobs WHERE state IN ({states}) AND finished_at < ? ORDER BY finished_at LIMIT ?",
            time,
            limit,
        )

    @step
    def forget(self, time: float) -> None:
        self._db.execute("DELETE FROM jobs WHERE state = 'expired' AND expired_at < ?", (time,))

    @step
    def knows(self, job_ids: Sequence[str]) -> set[str]:
        rows = self._db.execute(
            "SELECT id FROM (SELECT id FROM jobs WHERE state <> 'expired' UNION SELECT id FROM damaged_jobs) "
            "WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps([*job_ids]),),
        )
        return {row["id"] for row in rows}

    @step
    def line(self) -> Line:
        def jobs_in(state: State) -> list[Waiting]:
            rows = self._db.execute("SELECT id, work_px FROM jobs WHERE state = ? ORDER BY turn, arrival", (state,))
            return [Waiting(*row) for row in rows]

        return Line(jobs_in(State.QUEUED), jobs_in(State.RUNNING))

    @step
    def tally(self) -> Tally:
        counts = dict(self._db.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
        (uploads,) = self._db.execute(f"SELECT total(bytes) FROM jobs WHERE state IN {_ACTIVE}").fetchone()
        (results,) = self._db.execute("SELECT total(result_bytes) FROM jobs WHERE state = 'done'").fetchone()
        (oldest,) = self._db.execute("SELECT min(accepted_at) FROM jobs WHERE state = 'queued'").fetchone()
        return Tally({state: counts.get(state, 0) for state in State}, int(uploads + results), oldest)

    @step
    def runs(self) -> Sequence[Run]:
        rows = self._db.execute(
            "SELECT work_px, run_s FROM jobs WHERE run_s IS NOT NULL ORDER BY finished_at DESC LIMIT ?", (RUNS,)
        )
        return [Run(*row) for row in rows]

    # The methods below run in the store's thread.

    @step
    def _submit(self, job_id: str, ask: Ask, bounds: Bounds, idempotency_key: str | None) -> Job:
        if idempotency_key is not None:
            earlier = self._one(
                "SELECT * FROM jobs WHERE caller = ? AND idempotency_key = ?", ask.caller, idempotency_key
            )
            if earlier and earlier.ask.fingerprint != ask.fingerprint:
                raise Mismatch
            if earlier:
                return earlier
        jobs, size, own, last = self._db.execute(
            f"SELECT count(*), total(bytes), total(caller = :caller), max(iif(caller = :caller, turn, 0)) "
            f"FROM jobs WHERE state IN {_ACTIVE}",
            {"caller": ask.caller},
        ).fetchone()
        for bound, is_full in (
            ("jobs", jobs >= bounds.jobs),
            ("bytes", size + ask.bytes > bounds.bytes),
            ("caller_jobs", own >= bounds.caller_jobs),
        ):
            if is_full:
                raise Full(bound)
        self._db.execute(
            "INSERT INTO jobs (id, caller, idempotency_key, ask, bytes, work_px, accepted_at, turn, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                job_id, ask.caller, idempotency_key, ask.model_dump_json(), ask.bytes, ask.work_px, ask.accepted_at,
                max(self._turn(), last or 0) + ask.turns, State.QUEUED,
            ),
        )  # fmt: skip
        return Job(id=job_id, ask=ask)

    @step
    def _take(self, idle: bool) -> Job | None:
        now = time.time()
        row = self._db.execute(
            "SELECT id, turn, alone FROM jobs WHERE state = 'queued' AND (not_before <= ? OR not_before > ?) "
            "ORDER BY turn, arrival LIMIT 1",
            (now, now + MOST_PAUSE_S),
        ).fetchone()
        if row is None or (row["alone"] and not idle):
            return None
        self._db.execute(
            "INSERT INTO meta VALUES ('turn', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (max(self._turn(), row["turn"]),),
        )
        self._db.execute(
            "UPDATE jobs SET state = ?, attempt = attempt + 1, started_at = ? WHERE id = ?",
            (State.RUNNING, now, row["id"]),
        )
        return self._one("SELECT * FROM jobs WHERE id = ?", row["id"])

    @step
    def _move(self, job_id: str, to: State, attempt: int | None, changes: Mapping[str, Any]) -> Job | None:
        if to is State.RUNNING:
            raise ValueError("A job runs once it is taken.")
        job = self._one("SELECT * FROM jobs WHERE id = ?", job_id)
        if job is None or job.state not in before(to) or attempt not in (None, job.attempt):
            return None
        now = time.time()
        timing: dict[str, Any] = {}
        if to is State.EXPIRED:
            timing["expired_at"] = now
        elif to is not State.QUEUED:
            timing["finished_at"] = now
        values = {"state": to, **timing, **changes}
        if result := changes.get("result"):
            values |= {"result": result.model_dump_json(), "result_bytes": result.bytes, "run_s": result.run_s}
        if "error" in changes:
            values["error"] = json.dumps(changes["error"])
        assignments = ", ".join(f"{name} = :{name}" for name in values)
        self._db.execute(f"UPDATE jobs SET {assignments} WHERE id = :id", {**values, "id": job_id})
        return self._one("SELECT * FROM jobs WHERE id = ?", job_id)

    @step
    def _recover(self) -> Sequence[Job]:
        orphans = self._all("SELECT * FROM jobs WHERE state = 'running'")
        self._db.execute("UPDATE jobs SET state = 'queued', lost = lost + 1, alone = 1 WHERE state = 'running'")
        return [job.model_copy(update={"state": State.QUEUED, "lost": job.lost + 1, "alone": True}) for job in orphans]

    def _turn(self) -> int:
        """Return the turn of the job that was taken last."""
        row = self._db.execute("SELECT value FROM meta WHERE name = 'turn'").fetchone()
        return row["value"] if row else 0

    def _one(self, query: str, *values: object) -> Job | None:
        return next(iter(self._all(query, *values)), None)

    def _all(self, query: str, *values: object) -> list[Job]:
        """Return the jobs of a query. A damaged row is set aside, so that it does not stop the other jobs."""
        jobs = []
        for row in self._db.execute(query, values).fetchall():
            try:
                jobs.append(read_job(row))
            except ValueError:  # SQLite itself does not look into the text of a row
                self._set_aside(row)
        return jobs

    def _set_aside(self, row: sqlite3.Row) -> None:
        self._db.execute("INSERT INTO damaged_jobs SELECT * FROM jobs WHERE arrival = ?", (row["arrival"],))
        self._db.execute("DELETE FROM jobs WHERE arrival = ?", (row["arrival"],))
        log.error(
            "job_set_aside",
            job=str(row["id"])[:8],
            detail="Its row in the queue's database is damaged. Stop the gateway and run `animegan gateway repair`, "
            "which finds its picture.",
        )

    def _run_step(self, work: Callable[[], T]) -> T:
        if sqlite_file.identity(self._file) != self._identity:
            raise StoreUnavailable(
                "The queue's database was removed or replaced while it was in use. Try later; the operator has to put "
                "it back, or start the gateway anew with the one that is there."
            )
        with sqlite_file.translate_errors(), self._transaction():
            return work()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # SQLite itself rolls back for some errors
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _open(self) -> None:
        with ExitStack() as stack:
            stack.enter_context(sqlite_file.lock(self._file))
            self._db = stack.enter_context(sqlite_file.connection(self._file))
            self._identity = sqlite_file.identity(self._file)
            with sqlite_file.translate_errors():
                migrate(self._db, self._file)
            self._resources = stack.pop_all()


def migrate(database: sqlite3.Connection, file: Path) -> None:
    """Bring the schema up to date. Raise `BadSetting` for one that is newer."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise BadSetting(
            f"{file} has schema {version}, and this gateway knows up to {len(MIGRATIONS)}. "
            "Use the version that wrote it or a newer one, or another ANIMEGAN_GATEWAY_DATA."
        )
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        database.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")


def read_job(row: sqlite3.Row) -> Job:
    """Return the job of a row of `jobs`. Raise `ValueError` for a row that is damaged."""
    fields = {name: row[name] for name in Job.model_fields if name in row.keys()}  # noqa: SIM118 - a Row yields values
    fields["ask"] = Ask.model_validate_json(row["ask"])
    fields["result"] = Result.model_validate_json(row["result"]) if row["result"] else None
    fields["error"] = json.loads(row["error"]) if row["error"] else None
    return Job(**fields)
