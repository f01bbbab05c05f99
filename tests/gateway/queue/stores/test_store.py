"""What each store promises (`animegan_gateway.queue.stores.store`), SQLite and Redis alike."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from animegan.errors import BadSetting
from animegan_gateway.queue.jobs import Job, State
from animegan_gateway.queue.stores import redis_store, sqlite_store
from animegan_gateway.queue.stores.store import RUNS, Bounds, Line, Mismatch, Run, Store, Waiting
from animegan_service.bell import Bell, wait
from harness.stores import AMPLE, Place, ask, move, result, submit_job, take, waiting_ids

pytestmark = pytest.mark.anyio

FUTURE = time.time() + 10**6
WORK_PX = 64 * 32


async def test_a_new_job_waits_as_it_was_asked_for(store: Store) -> None:
    request = ask("ann", size=123)
    job = await store.submit("id1", request, AMPLE, None)
    assert job == Job(id="id1", ask=request)
    assert await store.get("id1") == job
    assert await store.line() == Line([Waiting("id1", WORK_PX)], [])
    assert (await store.tally()).oldest_accepted_at == request.accepted_at


async def test_an_unknown_job_is_none(store: Store) -> None:
    assert await store.get("nobody") is None
    assert await store.move("nobody", State.CANCELLED) is None
    assert await store.take("one", idle=True) is None


async def test_an_idempotency_key_finds_its_job_for_its_caller_only(store: Store) -> None:
    first = await store.submit("id1", ask("ann"), AMPLE, "key")
    again = await store.submit("id2", ask("ann"), Bounds(0, 0, 0), "key")  # it needs no room
    other = await store.submit("id3", ask("bob"), AMPLE, "key")
    assert (first.id, again, other.id) == ("id1", first, "id3")
    assert await store.get("id2") is None
    with pytest.raises(Mismatch):
        await store.submit("id4", ask("ann", fingerprint="another"), AMPLE, "key")


async def test_an_idempotency_key_finds_the_job_as_it_is_now(store: Store) -> None:
    await store.submit("id1", ask(), AMPLE, "key")
    job = await move(store, await take(store), State.DONE, result=result())
    assert await store.submit("id2", ask(), AMPLE, "key") == job


async def test_one_key_sent_many_times_at_once_makes_one_job(place: Place) -> None:
    async with place.gateways(3) as stores:
        jobs = await asyncio.gather(
            *(stores[number % 3].submit(f"id{number}", ask(), AMPLE, "key") for number in range(12))
        )
        assert len({job.id for job in jobs}) == 1
        assert (await stores[0].tally()).jobs[State.QUEUED] == 1


async def test_a_taken_job_runs_and_is_counted_so(store: Store) -> None:
    job_id = await submit_job(store, size=50)
    job = await take(store)
    assert (job.id, job.state, job.attempt) == (job_id, State.RUNNING, 1)
    assert job.started_at
    assert await store.get(job_id) == job
    assert await store.line() == Line([], [Waiting(job_id, WORK_PX)])
    tally = await store.tally()
    assert (tally.jobs[State.QUEUED], tally.jobs[State.RUNNING], tally.bytes) == (0, 1, 50)
    assert tally.oldest_accepted_at is None


async def test_a_done_job_has_its_result_and_gives_its_upload_back(store: Store) -> None:
    await submit_job(store, size=50)
    job = await move(store, await take(store), State.DONE, result=result(size=7, run_s=2.25))
    assert (job.state, job.result, job.error) == (State.DONE, result(size=7, run_s=2.25), None)
    assert job.finished_at
    assert await store.get(job.id) == job
    assert (await store.tally()).bytes == 7
    assert await store.runs() == [Run(WORK_PX, 2.25)]


async def test_a_failed_job_tells_why(store: Store) -> None:
    await submit_job(store)
    failed = await move(store, await take(store), State.FAILED, error={"status": 500, "detail": "so “it” was"})
    assert failed.error == {"status": 500, "detail": "so “it” was"}
    assert await store.get(failed.id) == failed
    assert await store.runs() == []


async def test_the_last_runs_are_kept_the_newest_first(store: Store) -> None:
    for number in range(RUNS + 3):
        await submit_job(store)
        await move(
            store, await take(store), State.DONE, result=result(run_s=float(number)), finished_at=1000.0 + number
        )
    assert [run.seconds for run in await store.runs()] == [float(RUNS + 2 - number) for number in range(RUNS)]


async def test_a_late_report_changes_nothing(store: Store) -> None:
    await submit_job(store)
    late = await take(store)
    await move(store, late, State.QUEUED, failures=1)
    now = await take(store)
    assert (now.id, now.attempt, now.failures) == (late.id, 2, 1)
    for to in (State.DONE, State.FAILED, State.QUEUED, State.CANCELLED):
        assert await store.move(late.id, to, attempt=late.attempt, changes={"failures": 9}) is None
    assert await store.get(now.id) == now
    assert (await move(store, now, State.DONE, result=result())).result_key != late.result_key


async def test_cancelled_in_the_queue_a_job_is_never_taken(store: Store) -> None:
    job_ids = [await submit_job(store, "ann", size=10) for _ in range(2)]
    cancelled = await store.move(job_ids[0], State.CANCELLED)
    assert cancelled
    assert cancelled.finished_at
    assert (await store.tally()).bytes == 10
    assert (await take(store)).id == job_ids[1]
    assert await store.take("one", idle=True) is None


async def test_cancelled_while_it_runs_a_job_takes_no_result(store: Store) -> None:
    job = await take(store) if await submit_job(store) else None
    assert job
    assert await store.move(job.id, State.CANCELLED)
    assert await store.move(job.id, State.DONE, attempt=job.attempt, changes={"result": result()}) is None
    assert (await store.line()).running == []
    assert (await store.tally()).bytes == 0


async def test_ended_jobs_come_the_oldest_first_and_no_more_than_asked_for(store: Store) -> None:
    for number in (3, 1, 2):
        await submit_job(store, f"caller{number}")
        await move(store, await take(store), State.DONE, result=result(), finished_at=float(number))
    await submit_job(store)
    assert [job.finished_at for job in await store.ended_before(3.0, 10)] == [1.0, 2.0]
    assert [job.finished_at for job in await store.ended_before(9.0, 2)] == [1.0, 2.0]


async def test_an_expired_job_is_told_of_until_it_is_forgotten(store: Store) -> None:
    await store.submit("id1", ask(), AMPLE, "key")
    await move(store, await take(store), State.DONE, result=result(), finished_at=1.0)
    expired = await store.move("id1", State.EXPIRED)
    assert expired
    assert (expired.state, expired.finished_at) == (State.EXPIRED, 1.0)
    tally = await store.tally()
    assert (tally.jobs[State.DONE], tally.jobs[State.EXPIRED], tally.bytes) == (0, 1, 0)
    assert await store.ended_before(FUTURE, 10) == []
    await store.forget(2.0)  # it ended before then, and expired just now
    assert await store.get("id1") == expired
    await store.forget(FUTURE)
    assert await store.get("id1") is None
    assert (await store.tally()).jobs[State.EXPIRED] == 0
    assert (await store.submit("id2", ask(fingerprint="another"), AMPLE, "key")).id == "id2"


async def test_forgetting_leaves_what_has_not_expired(store: Store) -> None:
    job_ids = [await submit_job(store) for _ in range(3)]
    await take(store)
    await move(store, await take(store), State.FAILED, error={"status": 500}, finished_at=1.0)
    await store.forget(FUTURE)
    assert all([await store.get(job_id) for job_id in job_ids])


async def test_known_are_jobs_that_have_not_expired(store: Store) -> None:
    job_ids = [await submit_job(store, "ann") for _ in range(4)]
    await take(store)
    await move(store, await take(store), State.DONE, result=result())
    assert await store.move(job_ids[2], State.CANCELLED)
    assert await store.move(job_ids[2], State.EXPIRED)
    assert await store.knows([*job_ids, "nobody"]) == {job_ids[0], job_ids[1], job_ids[3]}
    assert await store.knows([]) == set()


async def test_jobs_of_a_gateway_that_is_gone_are_put_back_at_their_places(place: Place) -> None:
    async with place.open_store() as other:
        job_ids = [await submit_job(other, "ann") for _ in range(3)]
        await move(other, await take(other, owner="gone"), State.QUEUED, failures=2)
        orphan = await take(other, owner="gone")
    async with place.open_store(lease_s=0.001) as store:
        jobs: list[Job] = []
        async with asyncio.timeout(60):
            while not jobs:
                jobs += await store.recover()
        assert jobs == [orphan.model_copy(update={"state": State.QUEUED, "lost": 1, "alone": True})]
        assert await waiting_ids(store) == job_ids
        assert (await store.line()).running == []
        assert await store.move(orphan.id, State.DONE, attempt=orphan.attempt, changes={"result": result()}) is None
        again = await take(store)
        assert (again.id, again.attempt, again.failures, again.lost, again.alone) == (orphan.id, 3, 2, 1, True)


async def test_nothing_is_lost_between_two_openings(place: Place) -> None:
    async with place.open_store() as store:
        for number in range(4):
            await store.submit(f"id{number}", ask("ab"[number % 2]), AMPLE, f"key{number}")
        await move(store, await take(store), State.DONE, result=result())
        await move(store, await take(store), State.FAILED, error={"status": 500})
        jobs = [await store.get(f"id{number}") for number in range(4)]
        before = (jobs, await store.line(), await store.tally(), await store.runs(), await store.secret())
    async with place.open_store() as store:
        jobs = [await store.get(f"id{number}") for number in range(4)]
        assert (jobs, await store.line(), await store.tally(), await store.runs(), await store.secret()) == before


async def test_the_secret_is_one_for_all_gateways(place: Place) -> None:
    async with place.gateways(3) as stores:
        secrets = await asyncio.gather(*(store.secret() for store in stores))
    assert len(set(secrets)) == 1
    assert len(secrets[0]) == 32


async def test_an_ended_session_is_ended_for_all_gateways_and_for_as_long_as_was_asked(place: Place) -> None:
    async with place.gateways(2) as (one, two):
        await one.end_session("s1", 1000)
        await one.end_session("s2", 1000)
        assert [await two.is_session_over(name) for name in ("s1", "s2", "s3")] == [True, True, False]
        await one.end_session("s1", 1)
        await asyncio.sleep(1.1)
        await one.end_session("s4", 1000)
        assert [await two.is_session_over(name) for name in ("s1", "s2")] == [False, True]


async def test_each_change_rings_the_bell(place: Place) -> None:
    bell = Bell()
    async with place.open_store(bell) as store:
        with bell.listening("id1") as event:

            async def hear_bell() -> bool:
                outcome = await wait(event, 60)
                event.clear()
                return outcome

            await store.submit("id1", ask(), AMPLE, None)
            assert await hear_bell()
            job = await take(store)
            assert await hear_bell()
            await move(store, job, State.DONE, result=result())
            assert await hear_bell()


async def test_a_schema_is_migrated_and_a_newer_one_refused(
    kind: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place.open_store() as store:
        job_id = await submit_job(store)
        await store.probe()

    async def add_a_mark(redis: Any, prefix: str) -> None:
        assert await redis.hset(f"{prefix}job:{job_id}", "failures", 3)

    further = {"sqlite": (sqlite_store, "UPDATE jobs SET failures = 3"), "redis": (redis_store, add_a_mark)}
    module, migration = further[kind]
    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, migration))
        async with place.open_store() as store:
            job = await take(store)
            assert (job.id, job.failures) == (job_id, 3)
            await move(store, job, State.QUEUED, failures=0)
        async with place.open_store() as store:  # once only
            assert (await take(store)).failures == 0
    with pytest.raises(BadSetting, match="schema"):
        async with place.open_store():
            pass
