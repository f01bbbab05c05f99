"""In which order each store gives jobs out, and how many it takes: turns, bounds, pauses, places."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from animegan_gateway.queue.jobs import State, new_id
from animegan_gateway.queue.stores.store import Bounds, Full, Store
from harness.stores import AMPLE, Place, ask, later, move, submit_job, take, waiting_ids

pytestmark = pytest.mark.anyio


async def test_callers_alternate_from_their_first_job_on(store: Store) -> None:
    ann = [await submit_job(store, "ann") for _ in range(4)]
    bob = [await submit_job(store, "bob") for _ in range(2)]
    assert await waiting_ids(store) == [ann[0], bob[0], ann[1], bob[1], ann[2], ann[3]]


async def test_a_caller_who_comes_late_is_not_put_before_those_who_wait(store: Store) -> None:
    ann = [await submit_job(store, "ann") for _ in range(4)]
    for _ in range(2):
        await take(store)
    bob = [await submit_job(store, "bob") for _ in range(2)]
    assert await waiting_ids(store) == [ann[2], bob[0], ann[3], bob[1]]


async def test_a_giant_that_waits_takes_as_many_turns_as_it_is_worth(store: Store) -> None:
    running = await submit_job(store, "cid")
    giant = await store.submit(new_id(), ask("ann").model_copy(update={"size": (2048, 1024)}), AMPLE, None)
    bob = [await submit_job(store, "bob") for _ in range(4)]
    assert await waiting_ids(store) == [running, bob[0], giant.id, *bob[1:]]


def test_what_is_drawn_sooner_is_less_work() -> None:
    photo = ask().model_copy(update={"size": (1024, 1024)})
    fast, bold, fine = (
        photo.model_copy(update=each) for each in ({"fast": True}, {"detail": "bold"}, {"detail": "fine"})
    )
    assert fast.work_px < bold.work_px < photo.work_px == 2**20 < fine.work_px
    assert [each.turns for each in (fast, bold, photo, fine)] == [1, 1, 1, 3]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(callers=st.lists(st.sampled_from("abc"), min_size=1, max_size=12))
def test_each_callers_jobs_start_in_order_and_no_caller_twice_while_another_waits(
    place: Place, callers: list[str]
) -> None:
    async def check() -> None:
        async with replace(place, prefix=Place(place.kind, place.folder).prefix).open_store() as store:
            caller_by_id = {await submit_job(store, caller): caller for caller in callers}
            order = [(await take(store)).id for _ in callers]
        starts = [caller_by_id[job_id] for job_id in order]
        for caller in set(callers):
            assert [job_id for job_id in order if caller_by_id[job_id] == caller] == [
                job_id for job_id in caller_by_id if caller_by_id[job_id] == caller
            ]
        for at, caller in enumerate(starts):
            so_far, rest = Counter(starts[:at]), Counter(starts[at:])
            assert all(so_far[caller] <= so_far[other] for other in rest)

    asyncio.run(check())


@pytest.mark.parametrize(
    ("bounds", "bound"),
    [
        (Bounds(jobs=2, bytes=10**6, caller_jobs=9), "jobs"),
        (Bounds(jobs=9, bytes=299, caller_jobs=9), "bytes"),
        (Bounds(jobs=9, bytes=10**6, caller_jobs=2), "caller_jobs"),
    ],
)
async def test_a_bound_holds_for_those_that_wait_and_run_and_no_longer(
    store: Store, bounds: Bounds, bound: str
) -> None:
    for _ in range(2):
        await store.submit(new_id(), ask(size=100), bounds, None)
    job = await take(store)
    with pytest.raises(Full) as full:
        await store.submit(new_id(), ask(size=100), bounds, None)
    assert full.value.bound == bound
    assert (await store.tally()).jobs[State.QUEUED] == 1
    await move(store, job, State.FAILED, error={"status": 500})
    await store.submit(new_id(), ask(size=100), bounds, None)


async def test_a_bound_may_be_reached_exactly(store: Store) -> None:
    await store.submit(new_id(), ask(size=100), Bounds(jobs=1, bytes=100, caller_jobs=1), None)
    assert (await store.tally()).bytes == 100


async def test_one_callers_share_is_not_anothers(store: Store) -> None:
    bounds = Bounds(jobs=9, bytes=10**6, caller_jobs=1)
    await store.submit(new_id(), ask("ann"), bounds, None)
    await store.submit(new_id(), ask("bob"), bounds, None)


async def test_many_takers_never_get_the_same_job(place: Place) -> None:
    async with place.gateways(3) as stores:
        job_ids = {await submit_job(stores[0], "abc"[number % 3]) for number in range(20)}
        jobs = await asyncio.gather(*(stores[number % 3].take(f"owner{number}", idle=True) for number in range(25)))
        assert sorted(job.id for job in jobs if job) == sorted(job_ids)
        assert {job.attempt for job in jobs if job} == {1}


async def test_back_in_the_queue_a_job_has_its_old_place(store: Store) -> None:
    job_ids = [await submit_job(store, "ann") for _ in range(3)]
    first = await take(store)
    assert await waiting_ids(store) == job_ids[1:]
    await move(store, first, State.QUEUED)
    assert await waiting_ids(store) == job_ids
    assert (await take(store)).id == first.id


async def test_a_job_that_is_not_due_is_passed_by_and_keeps_its_place(store: Store) -> None:
    job_ids = [await submit_job(store, "ann") for _ in range(3)]
    await move(store, await take(store), State.QUEUED, not_before=later())
    await move(store, await take(store), State.QUEUED, not_before=time.time() - 1)
    assert await waiting_ids(store) == job_ids
    assert [(await take(store)).id, (await take(store)).id] == [job_ids[1], job_ids[2]]
    assert await store.take("one", idle=True) is None
    assert await waiting_ids(store) == [job_ids[0]]


async def test_a_pause_that_no_attempt_makes_is_over(store: Store) -> None:
    """As when the clock was set back by an hour since."""
    job_id = await submit_job(store)
    await move(store, await take(store), State.QUEUED, not_before=later() + 3600)
    assert (await take(store)).id == job_id


async def test_a_job_to_be_drawn_alone_waits_for_an_idle_owner_and_holds_up_the_others(store: Store) -> None:
    job_ids = [await submit_job(store, "ann") for _ in range(2)]
    await move(store, await take(store), State.QUEUED, alone=True, crashes=1)
    assert await store.take("one", idle=False) is None
    job = await take(store, idle=True)
    assert (job.id, job.alone, job.crashes) == (job_ids[0], True, 1)
    assert (await take(store, idle=False)).id == job_ids[1]
