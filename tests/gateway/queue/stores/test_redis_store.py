"""What Redis adds to the store: several gateways, leases, and a server that may go away and come back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from animegan.errors import BadSetting
from animegan_gateway.errors import StorageFull, StoreUnavailable
from animegan_gateway.queue.blobs.blobs import UNCLAIMED_S, RedisBlobs
from animegan_gateway.queue.jobs import Result, State
from animegan_gateway.queue.stores import redis_store
from animegan_gateway.queue.stores.redis_store import RedisStore
from animegan_gateway.queue.stores.store import Store
from animegan_service.bell import Bell, wait
from harness.stores import AMPLE, Place, RedisServer, ask, redis_server, submit_job
from harness.trials.clocks import wall_clock

pytestmark = pytest.mark.anyio

PATIENCE_S = 60
RESULT = Result(content_type="image/jpeg", bytes=7, run_s=1.5, headers={})


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def place(server: RedisServer, tmp_path: Path) -> Place:
    return Place("redis", tmp_path, server)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    async with place.open_store() as instance:
        yield instance


def age_leases(place: Place, owner: str) -> None:
    """As if the owner had not renewed its leases for an hour."""
    assert place.server
    stream = f"{place.prefix}leases"
    with place.server.client() as client:
        for entry in client.xpending_range(stream, "gateways", "-", "+", 100, owner):
            client.xclaim(stream, "gateways", owner, 0, [entry["message_id"]], idle=3_600_000, justid=True)


def consumers(place: Place) -> set[str]:
    assert place.server
    with place.server.client() as client:
        return {consumer["name"] for consumer in client.xinfo_consumers(f"{place.prefix}leases", "gateways")}


async def test_what_is_not_renewed_is_put_back_and_what_is_stays(place: Place, store: Store) -> None:
    async with place.open_store() as other:
        job_ids = [await submit_job(store) for _ in range(2)]
        assert await store.take("lives", idle=True)
        assert await other.take("dies", idle=True)
        assert await store.recover() == []
        age_leases(place, "lives")
        age_leases(place, "dies")
        await store.renew("lives")
        assert [job.id for job in await store.recover()] == [job_ids[1]]
        assert [waiting.id for waiting in (await store.line()).running] == [job_ids[0]]


async def test_a_job_whose_taker_never_got_the_answer_is_put_back_though_the_owner_lives(
    place: Place, store: Store
) -> None:
    async with place.open_store() as unheard:  # its answers are the ones that "lives" does not get
        job_ids = [await submit_job(store) for _ in range(2)]
        assert await store.take("lives", idle=True)
        assert await unheard.take("lives", idle=True)
        age_leases(place, "lives")
        await store.renew("lives")
        assert [job.id for job in await store.recover()] == [job_ids[1]]


async def test_leases_end_though_redis_had_its_clock_set_back(tmp_path: Path) -> None:
    clock = wall_clock(tmp_path / "clock") or pytest.skip("there is no C compiler (Debian: gcc)")
    with redis_server(tmp_path / "redis", environment=clock.environment) as server:
        async with Place("redis", tmp_path, server).open_store(lease_s=0.1) as store:
            job_id = await submit_job(store)
            assert await store.take("dies", idle=True)
            clock.set(-3600)
            job_ids: list[str] = []
            deadline = time.monotonic() + PATIENCE_S
            while not job_ids:
                assert time.monotonic() < deadline, "the job is not put back"
                job_ids += [job.id for job in await store.recover()]
            assert job_ids == [job_id]


async def test_a_lease_that_was_lost_is_not_renewed(place: Place, store: Store) -> None:
    async with place.open_store() as other:
        job_id = await submit_job(store)
        assert await store.take("slow", idle=True)
        age_leases(place, "slow")
        assert [job.id for job in await other.recover()] == [job_id]
        again = await other.take("quick", idle=True)
        age_leases(place, "quick")
        await store.renew("slow")
        assert again
        assert [job.id for job in await other.recover()] == [job_id]


async def test_a_moved_job_has_no_lease(place: Place, store: Store) -> None:
    for to in (State.QUEUED, State.FAILED):
        await submit_job(store)
        job = await store.take("one", idle=True)
        assert job
        age_leases(place, "one")
        assert await store.move(job.id, to, attempt=job.attempt)
        await store.renew("one")
        assert await store.recover() == []


async def test_gateways_that_are_gone_are_forgotten(place: Place) -> None:
    async with place.open_store(lease_s=0.001) as store:
        await submit_job(store)
        assert await store.take("gone", idle=True)
        assert consumers(place) == {"gone"}
        async with asyncio.timeout(PATIENCE_S):
            while consumers(place):
                await store.recover()
        assert (await store.tally()).jobs[State.QUEUED] == 1


async def test_only_take_makes_a_job_run(store: Store) -> None:
    job_id = await submit_job(store)
    with pytest.raises(ValueError, match="take"):
        await store.move(job_id, State.RUNNING)


async def test_killed_and_started_again_redis_has_lost_nothing(server: RedisServer, store: Store) -> None:
    for number in range(4):
        await store.submit(f"id{number}", ask("ab"[number % 2]), AMPLE, f"key{number}")
    job = await store.take("one", idle=True)
    assert job
    assert await store.move(job.id, State.DONE, attempt=1, changes={"result": RESULT})
    running = await store.take("one", idle=True)
    assert running

    async def everything() -> object:
        jobs = [await store.get(f"id{number}") for number in range(4)]
        return jobs, await store.line(), await store.tally(), await store.runs(), await store.secret()

    before = await everything()
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    assert await everything() == before  # the first call, too: no connection of before is used
    await store.renew("one")
    assert await store.recover() == []
    assert await store.submit("id9", ask("b"), AMPLE, "key1") == running
    assert await store.move(running.id, State.DONE, attempt=1, changes={"result": RESULT})
    assert await store.take("one", idle=True)


async def test_without_redis_each_step_says_so_soon_and_names_no_address(server: RedisServer, store: Store) -> None:
    job_id = await submit_job(store)
    assert await store.take("one", idle=True)
    await asyncio.to_thread(server.kill)
    steps = {
        "probe": store.probe(),
        "secret": store.secret(),
        "submit": store.submit("id2", ask(), AMPLE, None),
        "get": store.get(job_id),
        "take": store.take("one", idle=True),
        "move": store.move(job_id, State.CANCELLED),
        "renew": store.renew("one"),
        "recover": store.recover(),
        "ended_before": store.ended_before(0.0, 1),
        "forget": store.forget(0.0),
        "knows": store.knows([job_id]),
        "line": store.line(),
        "tally": store.tally(),
        "runs": store.runs(),
    }
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(*steps.values(), return_exceptions=True)
    assert {name: type(answer) for name, answer in zip(steps, answers, strict=True)} == dict.fromkeys(
        steps, StoreUnavailable
    )
    assert not any(part in str(answer) for answer in answers for part in ("127.0.0.1", str(server.port)))
    await asyncio.to_thread(server.start)
    assert [waiting.id for waiting in (await store.line()).running] == [job_id]


async def test_a_call_waits_for_a_redis_that_starts(
    server: RedisServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "PAUSES_S", (0.05,) * 20 * PATIENCE_S)
    server.stop()
    call = asyncio.create_task(submit_job(store))
    await asyncio.to_thread(server.start)
    assert await store.get(await call)


async def test_a_redis_that_kept_nothing_is_used_like_a_new_one(server: RedisServer, store: Store) -> None:
    await submit_job(store)
    assert await store.take("one", idle=True)
    server.do("FLUSHALL")
    await store.renew("one")
    assert await store.recover() == []
    job_id = await submit_job(store)
    job = await store.take("one", idle=True)
    assert job
    assert job.id == job_id


async def test_the_bell_rings_for_another_gateways_changes_and_for_no_other_job(place: Place) -> None:
    bell = Bell()
    with bell.listening("id1") as mine, bell.listening("id2") as yours:
        async with place.open_store(bell), place.open_store() as other:
            assert await wait(mine, PATIENCE_S)  # everybody: the bell is connected
            mine.clear()
            yours.clear()
            await other.submit("id1", ask(), AMPLE, None)
            assert await wait(mine, PATIENCE_S)
            mine.clear()
            assert await other.take("one", idle=True)
            assert await wait(mine, PATIENCE_S)
            mine.clear()
            assert await other.move("id1", State.QUEUED, attempt=1)
            assert await wait(mine, PATIENCE_S)
            assert not yours.is_set()


async def test_after_a_restart_of_redis_the_bell_rings_for_all_and_goes_on(server: RedisServer, place: Place) -> None:
    bell = Bell()
    with bell.listening("id1") as event:
        async with place.open_store(bell), place.open_store() as other:
            assert await wait(event, PATIENCE_S)
            event.clear()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            assert await wait(event, PATIENCE_S)
            event.clear()
            await other.submit("id1", ask(), AMPLE, None)
            assert await wait(event, PATIENCE_S)


async def test_with_its_memory_full_redis_takes_no_job_and_lets_those_it_has_end(
    server: RedisServer, store: Store
) -> None:
    await submit_job(store)
    job_id = await submit_job(store)
    running = await store.take("one", idle=True)
    assert running
    server.do("CONFIG", "SET", "maxmemory", "1")
    before = await store.line(), await store.tally()
    with pytest.raises(StorageFull):
        await store.submit("id3", ask(), AMPLE, "key")
    assert (await store.line(), await store.tally()) == before
    assert await store.get("id3") is None
    await store.renew("one")
    assert await store.move(running.id, State.DONE, attempt=1, changes={"result": RESULT})
    job = await store.take("one", idle=True)
    assert job
    assert job.id == job_id
    assert await store.move(job.id, State.CANCELLED)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_redis_that_may_drop_jobs_is_refused(server: RedisServer, place: Place, policy: str) -> None:
    server.do("CONFIG", "SET", "maxmemory-policy", policy)
    with pytest.raises(BadSetting, match=policy):
        async with place.open_store():
            pass


async def test_a_redis_that_may_lose_jobs_in_a_crash_is_warned_of(
    server: RedisServer, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with place.open_store():
            pass
        assert not caplog.messages
        server.do("CONFIG", "SET", "appendfsync", "everysec")
        async with place.open_store():
            pass
        assert [message.partition(":")[0] for message in caplog.messages] == ["Redis has appendfsync=everysec"]
        caplog.clear()
        server.do("CONFIG", "SET", "appendonly", "no")
        async with place.open_store():
            pass
        assert "Redis has appendonly=no" in {message.partition(":")[0] for message in caplog.messages}


async def test_a_user_that_may_not_see_the_settings_is_enough(server: RedisServer, place: Place) -> None:
    server.do("ACL", "SETUSER", "gate", "on", ">word", f"~{place.prefix}*", "&*", "+@all", "-config")
    url = server.url.replace("//", "//gate:word@")
    store = RedisStore(url, Bell(), lease_s=60, prefix=place.prefix)
    await store.open()
    job_id = await submit_job(store)
    job = await store.take("one", idle=True)
    await store.close()
    assert job
    assert job.id == job_id


async def test_a_wrong_password_is_a_bad_setting_and_is_not_repeated(server: RedisServer) -> None:
    server.do("ACL", "SETUSER", "gate", "on", ">word", "~*", "&*", "+@all")
    with pytest.raises(BadSetting) as refusal:
        await RedisStore(server.url.replace("//", "//gate:secretly@"), Bell(), lease_s=60).open()
    assert "secretly" not in str(refusal.value)


async def test_opening_without_redis_says_so(server: RedisServer, place: Place) -> None:
    server.stop()
    with pytest.raises(StoreUnavailable):
        await place.store().open()


def test_what_is_no_redis_url_is_a_bad_setting() -> None:
    with pytest.raises(BadSetting, match="ANIMEGAN_GATEWAY_STORE"):
        RedisStore("http://127.0.0.1/", Bell(), lease_s=60)


async def test_pictures_that_no_job_needs_have_a_lifetime(place: Place, server: RedisServer, tmp_path: Path) -> None:
    blobs = RedisBlobs(server.url, f"{place.prefix}blob:")

    async def put(key: str) -> None:
        (tmp_path / "picture").write_bytes(b"picture")
        await blobs.put(key, tmp_path / "picture")

    def lifetime(key: str) -> object:
        return server.do("TTL", f"{place.prefix}blob:{key}")

    async with place.open_store() as store:
        await put("id1.upload")
        await put("id2.upload")
        assert lifetime("id1.upload") in range(UNCLAIMED_S - 60, UNCLAIMED_S + 1)
        await store.submit("id1", ask(), AMPLE, None)
        assert lifetime("id1.upload") == -1
        assert lifetime("id2.upload") != -1, "its gateway died before its job was there"
        job = await store.take("one", idle=True)
        assert job
        await put(job.result_key)
        assert lifetime(job.result_key) != -1
        await store.move(job.id, State.DONE, attempt=job.attempt, changes={"result": RESULT})
        assert lifetime(job.result_key) == -1
    await blobs.close()
