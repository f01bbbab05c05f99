"""The one table of retries: the next state of a job after each outcome of an attempt.

| outcome | next |
| --- | --- |
| drawn | done |
| refused, and a retry can't help | failed, with the handler's problem |
| refused for now (out of memory) | tried again later, alone; failed with that problem after `retries` |
| the connection was lost | the same, failed as `drawing_failed` |
| its worker ended | tried again alone; the second time failed as `worker_killed` |
| not taken, a worker being ready | tried again later; failed as `drawing_failed` after `retries` |
| no room to receive it (disk, descriptors, folder away) | tried again in a while, as often as it takes |
| not taken, no worker being ready | back to its place, as if it had not been tried |
| no outcome: its gateway died | tried again alone; after the third time failed as `drawing_failed` |
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from animegan_gateway.drawing.torchserve import FailedAttempt, NoAnswer, NoRoom, NotTaken, Refusal, WorkerCrash
from animegan_gateway.errors import DrawingFailed, WorkerKilled
from animegan_gateway.queue.jobs import MOST_PAUSE_S, Job, State
from animegan_service.protocol import Presence

MOST_CRASHES = 2
MOST_LOSSES = 3
BACKOFF_S = 1.0


@dataclass(frozen=True)
class Verdict:
    """The job's next state, and the fields that change with it."""

    to: State
    changes: dict[str, Any] = field(default_factory=dict)


def verdict(job: Job, outcome: FailedAttempt, *, now: float, retries: int) -> Verdict:
    """Return what follows from an attempt without a picture; `now` is in seconds since 1970."""
    match outcome:
        case Refusal(problem) if problem.get("retryable"):
            return _again(job, problem, now, retries, alone=True)
        case Refusal(problem):
            return Verdict(State.FAILED, {"error": problem})
        case WorkerCrash():
            return _crash_verdict(job)
        case NoRoom():
            return Verdict(State.QUEUED, {"not_before": now + MOST_PAUSE_S})
        case NotTaken(presence) if presence is not Presence.READY:
            return Verdict(State.QUEUED)
        case NoAnswer() | NotTaken():
            error = DrawingFailed(
                f"The drawing server gave no answer for this picture {job.failures + 1} times. Send it again later."
            )
            return _again(job, error.problem(), now, retries, alone=isinstance(outcome, NoAnswer))


def give_up(job: Job) -> Verdict | None:
    """Return the end of a job whose gateways died again and again; None for one that is to be tried."""
    if job.lost < MOST_LOSSES:
        return None
    error = DrawingFailed(
        f"This picture was lost {job.lost} times with the gateway that had it, so it is not tried again. Send it with "
        "a smaller max_side, or later."
    )
    return Verdict(State.FAILED, {"error": error.problem()})


def _crash_verdict(job: Job) -> Verdict:
    crashes = job.crashes + 1
    if crashes < MOST_CRASHES:
        return Verdict(State.QUEUED, {"crashes": crashes, "alone": True})
    error = WorkerKilled(
        f"Drawing this picture ended its worker {crashes} times, so it is not tried again. Save it anew in another "
        "format, or send it with a smaller max_side."
    )
    return Verdict(State.FAILED, {"crashes": crashes, "error": error.problem()})


def _again(job: Job, problem: dict[str, Any], now: float, retries: int, *, alone: bool) -> Verdict:
    failures = job.failures + 1
    if failures > retries:
        return Verdict(State.FAILED, {"failures": failures, "error": problem})
    pause_s = min(BACKOFF_S * 2 ** (failures - 1), MOST_PAUSE_S) * random.uniform(0.5, 1)  # noqa: S311 - spreads load
    return Verdict(State.QUEUED, {"failures": failures, "not_before": now + pause_s, "alone": alone or job.alone})
