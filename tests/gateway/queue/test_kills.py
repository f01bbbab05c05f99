"""Services are killed under load: what was accepted ends once, with one result, and the queue moves again.

Each part is killed once here; `scripts/benchmark kills` kills every part on both stores, twenty times each.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from animegan_gateway.drawing.verdicts import MOST_LOSSES
from animegan_gateway.queue.jobs import State
from animegan_gateway.queue.stores.redis_store import RedisStore
from animegan_gateway.queue.stores.sqlite_store import SqliteStore
from animegan_service.bell import Bell
from harness.gateways import Gateway, code, running_gateway
from harness.pictures import encoded, photo
from harness.servers import QUICK, Server, running_server, wait_until
from harness.stores import KINDS, RedisServer, redis_server
from harness.trials.crowd import (
    Audit,
    Crowd,
    GatewayVictim,
    JavaVictim,
    Mute,
    RedisVictim,
    Victim,
    WorkerVictim,
    count_jobs,
)
from harness.trials.faulty_handler import ALWAYS, ENDS_ITS_WORKER, HANDLER, no_memory

pytestmark = pytest.mark.server

RETRIES = 2
LEASE_S = 2


@dataclass
class Services:
    """A gateway with its store, before the server."""

    gateway: Gateway
    server: Server
    redis: RedisServer | None

    def victim(self, name: str) -> Victim:
        match name:
            case "gateway":
                return GatewayVictim(self.gateway)
            case "worker":
                return WorkerVictim(self.server)
            case "java":
                return JavaVictim(self.server)
            case _:
                assert self.redis
                return RedisVictim(self.redis)


@contextmanager
def running_services(kind: str, folder: Path, server: Server, **settings: object) -> Iterator[Services]:
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis")) if kind == "redis" else None
        store = {"store": redis.url, "lease_s": LEASE_S} if redis else {}
        gateway = stack.enter_context(running_gateway(folder, server, rate_per_minute=0, **store, **settings))
        yield Services(gateway, server, redis)


@pytest.fixture(scope="module")
def faulty() -> Iterator[Server]:
    """A server that draws four pictures together, and that some pictures harm."""
    with running_server(model={"batchSize": 4, "maxBatchDelay": 500}, handler=HANDLER, environment=QUICK) as running:
        yield running


async def running(alive: Services) -> int:
    """Return the number of running jobs by the store's count."""
    place = RedisStore(alive.redis.url, Bell(), lease_s=LEASE_S) if alive.redis else None
    store = place or SqliteStore(alive.gateway.folder / "queue.sqlite", Bell())
    await store.open()
    try:
        return (await store.tally()).jobs[State.RUNNING]
    finally:
        await store.close()


def mark(comment: bytes) -> bytes:
    return encoded(photo(64, 48), comment=comment)


@pytest.mark.parametrize(
    ("kind", "name"), [("sqlite", "java"), ("sqlite", "gateway"), ("redis", "worker"), ("redis", "redis")]
)
def test_nothing_is_lost_in_a_kill(kind: str, name: str, mortal: Server, tmp_path: Path) -> None:
    chance = random.Random(f"{kind} {name}")
    with running_services(kind, tmp_path, mortal) as alive:
        victim, crowd = alive.victim(name), Crowd([alive.gateway])
        with crowd.sending():
            time.sleep(chance.uniform(0.5, 1.5))  # into the midst of it
            victim.kill()
            killed_at = time.time()
            victim.restore()
            crowd.moved_at(since=killed_at)
        audit = crowd.audit()
    assert not audit.losses
    assert not audit.duplicates
    assert audit.ends["done"] > 0
    assert audit.ends.keys() <= {"done", "worker_killed"}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_in_a_stop(kind: str, mortal: Server, tmp_path: Path) -> None:
    with running_services(kind, tmp_path, mortal) as alive:
        crowd = Crowd([alive.gateway])
        with crowd.sending():
            crowd.moved_at(since=time.time())
            assert alive.gateway.stop() == 0
            stopped_at = time.time()
            assert not asyncio.run(running(alive)), "what ran was neither finished nor put back"
            alive.gateway.start()
            crowd.moved_at(since=stopped_at)
        assert crowd.audit() == Audit(Counter(done=len(crowd.orders)))


def test_a_picture_that_kills_its_worker_twice_is_failed_and_harms_no_other(faulty: Server, tmp_path: Path) -> None:
    with running_services("sqlite", tmp_path, faulty) as alive:
        gateway = alive.gateway
        before = [gateway.submit(encoded(photo(64, 64, seed))).json()["id"] for seed in range(3)]
        poison = gateway.submit(mark(ENDS_ITS_WORKER)).json()["id"]
        after = [gateway.submit(encoded(photo(64, 64, seed))).json()["id"] for seed in range(3, 6)]
        for job_id in [*before, *after]:
            assert gateway.wait(job_id)["status"] == "done"
        failed = gateway.wait(poison)
        assert (failed["status"], failed["error"]["code"]) == ("failed", "worker_killed")
        answer = requests.get(f"{gateway.url}/v1/jobs/{poison}/result", timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (500, "worker_killed")
        # Four together, then the one alone.
        assert gateway.metric("animegan_gateway_attempts_total", outcome="worker_ended") == 5
        assert gateway.metric("animegan_gateway_attempts_total", outcome="drawn") == 6
        assert gateway.metric("animegan_gateway_jobs_failed_total", reason="worker_killed", status="500") == 1


def test_the_changed_model_configuration_is_served(faulty: Server) -> None:
    model = faulty.describe()
    assert (model["batchSize"], model["maxBatchDelay"]) == (4, 500)


def test_a_picture_over_which_gateways_end_is_given_up_and_harms_no_other(mortal: Server, tmp_path: Path) -> None:
    with running_services("sqlite", tmp_path, mortal) as alive:
        gateway = alive.gateway
        ends_gateways = gateway.submit(encoded(photo(640, 640))).json()["id"]
        other = gateway.submit(encoded(photo(64, 48))).json()["id"]
        for _ in range(MOST_LOSSES):
            gateway.until(ends_gateways, "running")
            gateway.kill()
            gateway.start()
        failed = gateway.wait(ends_gateways)
        assert (failed["status"], failed["error"]["code"]) == ("failed", "drawing_failed")
        assert f"lost {MOST_LOSSES} times" in failed["error"]["detail"]
        assert gateway.wait(other)["status"] == "done"
        assert gateway.metric("animegan_gateway_attempts_total", outcome="drawn") == 1


def test_what_finds_no_memory_is_tried_again(faulty: Server, tmp_path: Path) -> None:
    with running_services("sqlite", tmp_path, faulty, retries=RETRIES) as alive:
        gateway = alive.gateway
        later, never = (gateway.submit(mark(comment)).json()["id"] for comment in (no_memory(1), no_memory(ALWAYS)))
        assert gateway.wait(later)["status"] == "done"
        failed = gateway.wait(never)
        assert (failed["status"], failed["error"]["code"]) == ("failed", "out_of_memory")
        assert failed["error"]["retryable"]
        assert gateway.metric("animegan_gateway_attempts_total", outcome="refused") == 1 + RETRIES + 1
        assert gateway.metric("animegan_gateway_jobs_failed_total", reason="out_of_memory", status="503") == 1


@pytest.mark.parametrize("script", ["submit", "take", "move"])
def test_a_step_whose_answer_is_lost_loses_no_job(script: str, mortal: Server, tmp_path: Path) -> None:
    """As when Redis is killed between what it did and what it was about to say."""
    with redis_server(tmp_path / "redis") as redis:
        mute = Mute(redis, script)
        with mute.passing(), running_gateway(tmp_path, mortal, store=mute.url, lease_s=LEASE_S) as gateway:
            picture, key = encoded(photo(64, 48)), {"Idempotency-Key": "one"}
            answers = [gateway.submit(picture, headers=key)]
            while not answers[-1].ok:
                assert answers[-1].json()["code"] == "store_unavailable"
                answers.append(gateway.submit(picture, headers=key))
            job = gateway.wait(answers[-1].json()["id"])
            assert mute.loss.is_set()
            assert job["status"] == "done", job
            assert gateway.stop() == 0  # with all that it does after a job
            gateway.start()
            result = requests.get(f"{gateway.url}{job['links']['result']}", timeout=30)
            assert len(result.content) == job["result"]["bytes"]
            wait_until(lambda: count_jobs(gateway), "a look at the store")
            assert count_jobs(gateway) == 1


def test_a_picture_that_can_not_be_kept_is_kept_once_its_folder_is_back(mortal: Server, tmp_path: Path) -> None:
    with running_services("sqlite", tmp_path, mortal) as alive:
        gateway, pictures, away = alive.gateway, tmp_path / "pictures", tmp_path / "away"
        job_id = gateway.submit(encoded(photo(768, 768))).json()["id"]
        gateway.until(job_id, "running")
        time.sleep(0.2)  # its picture is on its way
        pictures.rename(away)
        wait_until(lambda: "store_waited_for" in gateway.log, "a picture that can't be kept")
        assert code(gateway.submit(encoded(photo(64, 64)))) == (503, "store_unavailable")
        assert gateway.job(job_id)["status"] == "running"
        away.rename(pictures)
        job = gateway.wait(job_id)
        assert job["status"] == "done"
        result = requests.get(f"{gateway.url}{job['links']['result']}", timeout=30)
        assert len(result.content) == job["result"]["bytes"]
        assert gateway.wait(gateway.submit(encoded(photo(64, 64))).json()["id"])["status"] == "done"
