"""What becomes of a job after an attempt: whatever happens, it ends, and nobody else is harmed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from animegan.errors import BadImage, OutOfMemory
from animegan_gateway.drawing.torchserve import NoAnswer, NotTaken, Refusal, WorkerCrash
from animegan_gateway.drawing.verdicts import MOST_CRASHES, MOST_LOSSES, Verdict, give_up, verdict
from animegan_gateway.queue.jobs import MOST_PAUSE_S, TRANSITIONS, Job, State
from animegan_service.protocol import Presence
from harness.stores import ask

NOW = 1000.0
Outcome = Refusal | WorkerCrash | NoAnswer | NotTaken

FOR_NOW, FOR_GOOD = Refusal(OutOfMemory("Not now.").problem()), Refusal(BadImage("Never.").problem())
AWAY = st.sampled_from([NotTaken(Presence.AWAY), NotTaken(Presence.LOADING)])
FAILURES = st.sampled_from([FOR_NOW, FOR_GOOD, WorkerCrash(), NoAnswer(), NotTaken(Presence.READY)])
RETRIES = st.integers(0, 5)
RUNNING = st.builds(
    Job,
    id=st.just("j"),
    ask=st.just(ask()),
    state=st.just(State.RUNNING),
    failures=st.integers(0, 6),
    crashes=st.integers(0, MOST_CRASHES - 1),
    alone=st.booleans(),
)


def after(job: Job, next_: Verdict) -> Job:
    """The job once it is taken again."""
    return job.model_copy(update={"state": State.RUNNING, **next_.changes})


def running(**fields: Any) -> Job:
    return Job(id="j", ask=ask(), state=State.RUNNING, **fields)


@given(job=RUNNING, outcome=FAILURES | AWAY, retries=RETRIES)
def test_every_verdict_is_a_transition_that_the_table_allows(job: Job, outcome: Outcome, retries: int) -> None:
    next_ = verdict(job, outcome, now=NOW, retries=retries)
    assert next_.to in TRANSITIONS[State.RUNNING]
    assert next_.changes.keys() <= Job.model_fields.keys()
    assert (next_.to is State.FAILED) == ("error" in next_.changes)
    if next_.to is State.QUEUED:
        assert NOW <= next_.changes.get("not_before", NOW) <= NOW + MOST_PAUSE_S
        assert next_.changes.get("alone", job.alone) >= job.alone  # once alone, always alone


@given(outcomes=st.lists(FAILURES, min_size=20), retries=RETRIES)
def test_a_job_ends_after_its_retries_whatever_goes_wrong(outcomes: list[Outcome], retries: int) -> None:
    job = running()
    for attempts, outcome in enumerate(outcomes, 1):
        next_ = verdict(job, outcome, now=NOW, retries=retries)
        if next_.to is State.FAILED:
            assert attempts <= retries + MOST_CRASHES
            return
        job = after(job, next_)
    raise AssertionError("it never ended")


@given(job=RUNNING, outcome=AWAY, retries=RETRIES)
def test_a_torchserve_that_is_away_counts_against_no_job(job: Job, outcome: Outcome, retries: int) -> None:
    assert verdict(job, outcome, now=NOW, retries=retries) == Verdict(State.QUEUED)


@given(job=RUNNING, retries=RETRIES)
def test_what_a_retry_can_not_help_is_not_tried_again(job: Job, retries: int) -> None:
    assert isinstance(FOR_GOOD, Refusal)
    assert verdict(job, FOR_GOOD, now=NOW, retries=retries) == Verdict(State.FAILED, {"error": FOR_GOOD.problem})


def test_a_picture_that_ends_a_worker_is_tried_again_alone_and_the_second_time_failed() -> None:
    first = verdict(running(), WorkerCrash(), now=NOW, retries=0)
    assert first == Verdict(State.QUEUED, {"crashes": 1, "alone": True})
    second = verdict(after(running(), first), WorkerCrash(), now=NOW, retries=9)
    assert second.to is State.FAILED
    assert second.changes["error"]["code"] == "worker_killed"


@given(job=RUNNING, losses=st.integers(0, 2 * MOST_LOSSES))
def test_a_job_is_given_up_once_so_many_gateways_ended_over_it(job: Job, losses: int) -> None:
    final = give_up(job.model_copy(update={"lost": losses}))
    assert bool(final) == (losses >= MOST_LOSSES)
    if final:
        assert (final.to, final.changes["error"]["code"]) == (State.FAILED, "drawing_failed")


@pytest.mark.parametrize(
    ("outcome", "code", "alone"),
    [
        (FOR_NOW, "out_of_memory", True),
        (NoAnswer(), "drawing_failed", True),
        (NotTaken(Presence.READY), "drawing_failed", False),
    ],
)
def test_what_may_pass_is_tried_again_later_and_later(outcome: Outcome, code: str, alone: bool) -> None:
    retries, job, pauses = 6, running(), []
    for _ in range(retries):
        next_ = verdict(job, outcome, now=NOW, retries=retries)
        assert next_.to is State.QUEUED
        pauses.append(next_.changes["not_before"] - NOW)
        job = after(job, next_)
        assert job.alone is alone
    assert all(0.5 * 2**number <= pause <= 2**number for number, pause in enumerate(pauses) if number < 5)
    assert pauses[-1] >= MOST_PAUSE_S / 2
    last = verdict(job, outcome, now=NOW, retries=retries)
    assert (last.to, last.changes["error"]["code"]) == (State.FAILED, code)
