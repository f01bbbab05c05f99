"""Faults of all services, for the tests and for `scripts/benchmark faults`: what callers see, what is lost."""

from __future__ import annotations

import time
from collections import Counter

import pytest
import requests

from harness import MIB
from harness.pictures import encoded, photo
from harness.servers import alive, wait_until
from harness.trials.crowd import JavaVictim, WorkerVictim, end, moment
from harness.trials.descriptor_faults import CONNECTIONS, DESCRIPTORS
from harness.trials.faulty_handler import ENDS_ITS_WORKER, no_memory
from harness.trials.services import HEAP_MIB, PATIENCE_S, Beside, Fault, Services, count_text
from harness.trials.storage_faults import AWAY_S, DISK, KILLED_WHILE_FULL, PAGES, database_away, pictures_away

UPLOAD_MIB = 40  # two of them, and the buffers that they arrive in, are more than Java's heap
HOUR_S = 3600
REFUSALS = 3
GIANT_PX = 4096


def _kill_worker(services: Services) -> Beside:
    job_id = services.gateway.submit(encoded(photo(768, 768))).json()["id"]
    services.gateway.until(job_id, "running")
    time.sleep(0.2)  # into the midst of it
    worker = WorkerVictim(services.server)
    worker.kill()
    worker.restore()
    assert services.wait(job_id) == "done"
    return Beside("the picture in its hands was drawn by the next worker", 1)


def _cancel_a_giant(services: Services) -> Beside:
    giant = services.gateway.submit(encoded(photo(GIANT_PX, GIANT_PX)), style="classic", max_side=GIANT_PX).json()
    services.gateway.until(giant["id"], "running")
    time.sleep(1)  # into the midst of it
    start = time.monotonic()
    assert services.gateway.remove(giant).json()["status"] == "cancelled"
    job = services.gateway.wait(services.gateway.submit(encoded(photo(64, 48))).json()["id"])
    assert job["status"] == "done"
    seconds = time.monotonic() - start
    return Beside(f"the giant: cancelled; the next picture was done {seconds:.1f} s later", 2)


def _kill_java(services: Services) -> Beside:
    java = JavaVictim(services.server)
    java.kill()
    java.restore()
    return Beside()


def _exhaust_java(services: Services) -> Beside:
    java = services.server.java()
    assert java
    url, picture = f"{services.server.inference}/predictions/animegan", bytes(UPLOAD_MIB * MIB)
    saw: Counter[str] = Counter()
    while alive(java):
        try:
            answer = requests.post(url, data=picture, headers={"Content-Type": "image/jpeg"}, timeout=30)
            saw[str(answer.status_code)] += 1
        except requests.RequestException:
            saw["a connection that broke"] += 1
    wait_until(lambda: services.server.java() not in (None, java) and services.server.ready(), "a new TorchServe")
    assert "java.lang.OutOfMemoryError" in services.server.output.read_text()
    return Beside(f"who sent the uploads straight to TorchServe saw {count_text(saw)}")


def redis_away(seconds: float) -> Fault:
    def strike(services: Services) -> Beside:
        services.redis.kill()
        time.sleep(seconds)
        services.redis.start()
        return Beside()

    name = f"Redis is away for {seconds:g} s"
    return Fault(name, "SIGKILL, started again after that time", strike, frozenset({"503 store_unavailable"}))


def _set_clock(services: Services, ahead_s: int) -> Beside:
    """While a job pauses that was refused several times, and others wait, run and have just ended."""
    clock = services.clock or pytest.skip("there is no C compiler for a clock that can be set (Debian: gcc)")
    gateway = services.gateway
    refusals = gateway.metric("animegan_gateway_attempts_total", outcome="refused")
    job_id = gateway.submit(encoded(photo(64, 48, seed=ahead_s), comment=no_memory(REFUSALS))).json()["id"]
    wait_until(
        lambda: gateway.metric("animegan_gateway_attempts_total", outcome="refused") == refusals + REFUSALS,
        "a job that pauses",
    )
    clock.set(ahead_s)
    job = gateway.wait(job_id)
    assert job["status"] == "done"
    assert abs(moment(job["finished_at"]) - time.time() - ahead_s) < PATIENCE_S, "the clock was not set"
    return Beside("a job that paused before a further attempt was drawn in time", 1)


def _end_a_worker_by_a_picture(services: Services) -> Beside:
    assert services.draw(encoded(photo(64, 48), comment=ENDS_ITS_WORKER)) == "worker_killed"
    return Beside("the picture itself: failed, 500 worker_killed, after its second attempt", 1)


def _kill_agent(services: Services) -> Beside:
    agent = services.agent()
    assert agent
    end(agent)
    wait_until(lambda: services.agent() not in (None, agent), "a new agent")
    return Beside()


WORKER = Fault(
    "The worker is killed",
    "SIGKILL while it draws a picture of 768×768; TorchServe starts another",
    _kill_worker,
)
GIANT = Fault(
    "A giant is cancelled while it is drawn",
    f"{GIANT_PX}×{GIANT_PX}, by DELETE a second after it was begun",
    _cancel_a_giant,
)
JAVA = Fault("TorchServe is killed", "SIGKILL to its Java; `scripts/serve` starts it again", _kill_java)
HEAP = Fault(
    "TorchServe's heap is exhausted",
    f"{UPLOAD_MIB} MiB sent straight to it, with a heap of {HEAP_MIB} MiB; Java ends, `scripts/serve` starts it again",
    _exhaust_java,
)
FORWARDS = Fault(
    "The clock is set forwards by an hour",
    "for every process of the house, Redis too",
    lambda services: _set_clock(services, HOUR_S),
)
BACK = Fault("The clock is set back by an hour", "the same", lambda services: _set_clock(services, 0))
PICTURE = Fault(
    "A picture ends its worker",
    "a segmentation fault while it is decoded, each time",
    _end_a_worker_by_a_picture,
)
AGENT = Fault("The agent is killed", "SIGKILL; `scripts/serve` starts it again", _kill_agent)


def all_of_them(redis_s: float) -> list[Fault]:
    """In an order in which the clock is put right again, and Java's two ends lie apart."""
    return [
        JAVA,
        WORKER,
        FORWARDS,
        BACK,
        redis_away(redis_s),
        AGENT,
        PICTURE,
        GIANT,
        DISK,
        KILLED_WHILE_FULL,
        pictures_away(AWAY_S),
        database_away(AWAY_S),
        PAGES,
        CONNECTIONS,
        DESCRIPTORS,
        HEAP,
    ]
