"""Each store beside a model of it: whatever the steps, both agree."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from animegan_gateway.queue.jobs import ACTIVE_STATES, FINAL_STATES, TRANSITIONS, Job, State, new_id
from animegan_gateway.queue.stores.store import Bounds, Full
from harness.stores import Place, ask, later, result

FUTURE = time.time() + 10**6


class Model(RuleBasedStateMachine):
    """A store beside a model of it that fits in a few lines; each step is done to both."""

    jobs = Bundle("jobs")

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = place.store()
        self.runner.run(self.store.open())
        self.model: dict[str, Job] = {}
        self.turns: dict[str, int] = {}
        self.turn = 0

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()

    def waiting(self) -> list[str]:
        """By turn, then by arrival: a dict keeps the order of arrival, and sorting keeps that of equals."""
        queued = [job_id for job_id, job in self.model.items() if job.state is State.QUEUED]
        return sorted(queued, key=lambda job_id: self.turns[job_id])

    @rule(target=jobs, caller=st.sampled_from("abc"), size=st.integers(0, 9), bound=st.integers(1, 6))
    def submit(self, caller: str, size: int, bound: int) -> Any:
        resident = {job_id: job for job_id, job in self.model.items() if job.state in ACTIVE_STATES}
        own = [job_id for job_id, job in resident.items() if job.ask.caller == caller]
        job_id, request = new_id(), ask(caller, size=size, accepted_at=float(len(self.turns)))
        submission = self.store.submit(job_id, request, Bounds(jobs=bound, bytes=10**6, caller_jobs=99), None)
        if len(resident) >= bound:
            with pytest.raises(Full):
                self.runner.run(submission)
            return multiple()
        self.runner.run(submission)
        self.model[job_id] = Job(id=job_id, ask=request)
        self.turns[job_id] = max([self.turn, *(self.turns[other] for other in own)]) + 1
        return job_id

    @rule(idle=st.booleans())
    def take(self, idle: bool) -> None:
        due = [job_id for job_id in self.waiting() if not self.model[job_id].not_before]
        job = self.runner.run(self.store.take("one", idle=idle))
        if not due or (self.model[due[0]].alone and not idle):
            assert job is None
            return
        assert job
        expected = self.model[due[0]]
        assert job == expected.model_copy(
            update={"state": State.RUNNING, "attempt": expected.attempt + 1, "started_at": job.started_at}
        )
        self.model[job.id] = job
        self.turn = max(self.turn, self.turns[job.id])

    @rule(
        job_id=jobs,
        to=st.sampled_from(sorted(set(State) - {State.RUNNING})),
        behind=st.sampled_from([None, 0, 0, 1]),
        alone=st.booleans(),
        paused=st.booleans(),
    )
    def move(self, job_id: str, to: State, behind: int | None, alone: bool, paused: bool) -> None:
        if job_id not in self.model:  # forgotten
            assert self.runner.run(self.store.get(job_id)) is None
            assert self.runner.run(self.store.move(job_id, to)) is None
            return
        before = self.model[job_id]
        changes: dict[str, Any] = {}
        if to is State.QUEUED:
            changes = {"alone": alone, "not_before": later() if paused else 0.0}
        if to is State.DONE:
            changes = {"result": result()}
        attempt = None if behind is None else before.attempt - behind
        after = self.runner.run(self.store.move(job_id, to, attempt=attempt, changes=changes))
        if to not in TRANSITIONS[before.state] or behind == 1:
            assert after is None
        else:
            assert after
            finished_at = after.finished_at if to in FINAL_STATES - {State.EXPIRED} else before.finished_at
            assert after == before.model_copy(update={**changes, "state": to, "finished_at": finished_at})
            self.model[job_id] = after
        assert self.runner.run(self.store.get(job_id)) == self.model[job_id]

    @rule()
    def forget(self) -> None:
        self.runner.run(self.store.forget(FUTURE))
        self.model = {job_id: job for job_id, job in self.model.items() if job.state is not State.EXPIRED}

    @invariant()
    def line_and_tally_agree(self) -> None:
        jobs = self.model.values()
        line, tally = self.runner.run(self.store.line()), self.runner.run(self.store.tally())
        assert [waiting.id for waiting in line.waiting] == self.waiting()
        running = {job.id for job in jobs if job.state is State.RUNNING}
        assert {waiting.id for waiting in line.running} == running
        assert len(line.running) == len(running)
        assert tally.jobs == {state: sum(job.state is state for job in jobs) for state in State}
        uploads = sum(job.ask.bytes for job in jobs if job.state in ACTIVE_STATES)
        results = sum(job.result.bytes for job in jobs if job.state is State.DONE and job.result)
        assert tally.bytes == uploads + results
        times = [job.ask.accepted_at for job in jobs if job.state is State.QUEUED]
        assert tally.oldest_accepted_at == min(times, default=None)


@pytest.mark.slow
def test_any_sequence_of_steps_does_what_the_model_does(place: Place) -> None:
    class Here(Model):
        def __init__(self) -> None:
            super().__init__(replace(place, prefix=Place(place.kind, place.folder).prefix))

    run_state_machine_as_test(Here, settings=settings(max_examples=25, stateful_step_count=30, deadline=None))
