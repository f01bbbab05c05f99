"""The contract of a store of jobs: ordered, fair between callers, durable. SQLite and Redis implement it.

**Order.** Each job has a turn, and jobs are taken by turn, then by arrival: with the turn of the job taken last as `t`,
a caller's next job gets the turn `max(t, the caller's last) + w`, where `w` is its work, 1 for a picture of up to a
megapixel (`Ask.turns`). So callers alternate however many jobs each has, small pictures need not wait behind another
caller's giant, one caller's jobs start in the order they came, and the place of a job is known when it arrives
(fair queueing by finish times with equal shares: Demers, Keshav and Shenker, SIGCOMM 1989).

**Once.** A job is taken under an attempt number; what the taker reports counts only while that attempt is the job's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from animegan_gateway.queue.jobs import Ask, Job, State


@dataclass(frozen=True)
class Bounds:
    """Limits of the queue, and of one caller in it: jobs that wait or run, and the bytes of their uploads."""

    jobs: int
    bytes: int
    caller_jobs: int


@dataclass(frozen=True)
class Waiting:
    """A job that waits or runs, and its pixels."""

    id: str
    work_px: int


@dataclass(frozen=True)
class Line:
    """The queue at one moment: the waiting jobs, the next one first, and the running ones."""

    waiting: Sequence[Waiting] = ()
    running: Sequence[Waiting] = ()


@dataclass(frozen=True)
class Tally:
    """Totals of the store: jobs by state, bytes of uploads and results, and the time of the oldest waiting job."""

    jobs: Mapping[State, int]
    bytes: int
    oldest_accepted_at: float | None


@dataclass(frozen=True)
class Run:
    """A picture that was drawn: its pixels, and the seconds it took."""

    work_px: int
    seconds: float


class Full(Exception):
    """A bound of the queue is reached: `jobs`, `bytes` or `caller_jobs`."""

    def __init__(self, bound: str) -> None:
        super().__init__(bound)
        self.bound = bound


class Mismatch(Exception):
    """The idempotency key belongs to a job with another request."""


class Store(Protocol):
    """Each call is one step that happens whole or not at all. All raise `StoreUnavailable` where the store is away."""

    async def open(self) -> None:
        """Connect, and bring the schema up to date. Raise `BadSetting` for a store that can't be used."""

    async def close(self) -> None: ...

    async def probe(self) -> None:
        """Write and read back. Raise `StorageFull` where there is no room."""

    async def secret(self) -> bytes:
        """Return the 32 bytes that sign sessions; made once, the same for every gateway on this store."""

    async def end_session(self, session: str, lifetime_s: int) -> None:
        """End the session, and remember that for `lifetime_s`."""

    async def is_session_over(self, session: str) -> bool: ...

    async def submit(self, job_id: str, ask: Ask, bounds: Bounds, idempotency_key: str | None) -> Job:
        """Put a job in the queue; with a key that this caller used before, return that job instead.

        Raise `Full` or `Mismatch`.
        """

    async def get(self, job_id: str) -> Job | None: ...

    async def take(self, owner: str, *, idle: bool) -> Job | None:
        """Take the next job that is due and return it, now running; None where there is none.

        One that is to be drawn alone goes only to an owner that is `idle`, and those behind it wait for it. A job is
        also due if its pause would be longer than `MOST_PAUSE_S`: the clock was set back since.
        """

    async def move(
        self, job_id: str, to: State, *, attempt: int | None = None, changes: Mapping[str, Any] | None = None
    ) -> Job | None:
        """Change the state as `jobs.TRANSITIONS` allows, and with it the fields of `Job` in `changes`.

        The job as it is now; None, and nothing is changed, where the table does not allow it or the attempt is not the
        job's any more. Back in the queue it has the place it had.
        """

    async def renew(self, owner: str) -> None:
        """Renew the owner's leases on its running jobs."""

    async def recover(self) -> Sequence[Job]:
        """Put back the running jobs whose owners are gone: those of an earlier process, or without a lease.

        Each counts as `lost` once more and is to be drawn alone, as it may be what ended its owner.
        """

    async def ended_before(self, time: float, limit: int) -> Sequence[Job]:
        """Return jobs that ended before then and have not expired, the oldest first."""

    async def forget(self, time: float) -> None:
        """Drop jobs that expired before then, with their idempotency keys."""

    async def knows(self, job_ids: Sequence[str]) -> set[str]:
        """Return those of the ids that are jobs and have not expired: their files are needed."""

    async def line(self) -> Line: ...

    async def tally(self) -> Tally: ...

    async def runs(self) -> Sequence[Run]:
        """Return the pictures that were drawn last, the newest first; no more than `RUNS`."""


RUNS = 32
