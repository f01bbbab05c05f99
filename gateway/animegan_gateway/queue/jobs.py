"""A job: its request, its state, and the one table of transitions."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from animegan.picture.sizes import Size
from animegan.settings import Color, DetailOption, Format, Mode, Tone


class State(StrEnum):
    """The states of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    # Back into the queue: to be tried again, or left behind by a gateway that ended.
    State.RUNNING: frozenset({State.QUEUED, State.DONE, State.FAILED, State.CANCELLED}),
    State.DONE: frozenset({State.EXPIRED}),
    State.FAILED: frozenset({State.EXPIRED}),
    State.CANCELLED: frozenset({State.EXPIRED}),
    State.EXPIRED: frozenset(),
}
FINAL_STATES = frozenset(state for state, after in TRANSITIONS.items() if after <= {State.EXPIRED})
ACTIVE_STATES = frozenset({State.QUEUED, State.RUNNING})  # what counts against the queue's bounds
TURN_PX = 2**20  # of work that is one turn in the queue; a picture of more takes as many as it is worth
# The cost of a pixel relative to `bold`, for which the photo is shrunk the most. `auto` decides by the photo, mostly
# for one of the first two.
DETAIL_WORK: Mapping[DetailOption, float] = {"bold": 1.0, "auto": 1.5, "medium": 2.25, "fine": 4.0}
FAST_WORK = 1 / 8  # of the small network, its share of the finish included
# Of a clip, of decoding a pixel as sent, and of encoding one as drawn: 0.03 µs of a CPU each (`scripts/benchmark
# video_memory`), where the small network takes 2 µs for a pixel (`scripts/benchmark video`).
FRAME_WORK = FAST_WORK * 0.03 / 2
MOST_PAUSE_S = 30.0  # before a further attempt, see `Job.not_before`


def before(state: State) -> frozenset[State]:
    """Return the states from which a job may come into this one."""
    return frozenset(source for source, targets in TRANSITIONS.items() if state in targets)


class Ask(BaseModel):
    """The request, which never changes. Times are seconds since 1970, sizes width and height in px."""

    model_config = ConfigDict(frozen=True, cache_strings="keys")  # caching values would keep those of past jobs
    caller: str
    style: str
    max_side: int | None
    max_pixels: int | None = None
    format: Format
    quality: int
    fast: bool = False
    best: bool = False
    drawn_frames: int = 1
    detail: DetailOption = "auto"
    strength: float = 1.0
    color: Color = "style"
    tone: Tone = "auto"
    mode: Mode = "auto"
    content_type: str
    name: str = ""  # of the photo's file, without its ending
    bytes: int
    original_size: Size
    size: Size  # as fitted
    frames: int  # of the file, of which `drawn_frames` are drawn
    fingerprint: str  # SHA-256 of the picture and its options
    request_id: str
    accepted_at: float
    trace: dict[str, str] = {}  # the context of its request, as W3C's headers; see `tracing`

    @property
    def work_px(self) -> int:
        """Return the work, to which drawing time is proportional: the pixels, weighted by the cost of one."""
        share = DETAIL_WORK[self.detail] / DETAIL_WORK["auto"]
        if self.fast or (self.drawn_frames > 1 and not self.best):
            share *= FAST_WORK
        each = share * math.prod(self.size)
        if self.drawn_frames > 1:
            each += FRAME_WORK * (math.prod(self.original_size) + math.prod(self.size))
        return max(1, round(each * self.drawn_frames))

    @property
    def turns(self) -> int:
        """Return how many turns of its caller's share of the queue the picture takes."""
        return math.ceil(self.work_px / TURN_PX)


class Result(BaseModel):
    """A drawn picture; its bytes lie under `Job.result_key`. `headers` are those of the handler's report."""

    model_config = ConfigDict(frozen=True, cache_strings="keys")
    content_type: str
    bytes: int
    run_s: float  # from the request to the answer
    headers: dict[str, str]


class Job(BaseModel):
    """A job as the store has it."""

    model_config = ConfigDict(frozen=True)
    id: str
    ask: Ask
    state: State = State.QUEUED
    attempt: int = 0  # how often it was taken; whoever reports names the attempt, so a late report changes nothing
    failures: int = 0  # attempts that failed and may be repeated
    crashes: int = 0  # attempts that ended a worker
    lost: int = 0  # attempts whose gateway was gone before it reported them
    alone: bool = False  # to be drawn while nothing else is
    not_before: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    error: Annotated[dict[str, Any] | None, Field(description="problem details of a failed job")] = None
    result: Result | None = None

    @property
    def upload_key(self) -> str:
        return upload_key(self.id)

    @property
    def result_key(self) -> str:
        """Return the key of this attempt's picture; each attempt has its own, so that a late one overwrites nothing."""
        return f"{self.id}.{self.attempt}"

    @property
    def ended(self) -> bool:
        return self.state in FINAL_STATES


def upload_key(job_id: str) -> str:
    return f"{job_id}.upload"


def new_id() -> str:
    """Return an id that can't be guessed: 128 bits, 22 characters."""
    return secrets.token_urlsafe(16)
