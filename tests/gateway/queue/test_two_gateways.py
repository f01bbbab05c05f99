"""Two gateways on one Redis, each before a TorchServe of its own: one queue, and either does what the other began."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests

from animegan_gateway.http.access.keys import Keys
from harness.gateways import Gateway, running_gateway
from harness.pictures import encoded, photo
from harness.servers import QUICK, Server, running_server, wait_until
from harness.stores import RedisServer, redis_server
from harness.trials.crowd import Audit, Crowd, GatewayVictim, RedisVictim, Victim, count_jobs, moment

pytestmark = pytest.mark.server

LEASE_S = 2
# Each gateway notes when it asked Redis for a job; two that ask together may get theirs in the other order.
TAKING_S = 0.1

SMALL, MIDDLE, LARGE = (encoded(photo(side, side)) for side in (64, 128, 512))


@pytest.fixture(scope="module")
def servers(mortal: Server) -> Iterator[list[Server]]:
    with running_server(environment=QUICK) as second:
        yield [mortal, second]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for all; each pair has a database of its own, by its number."""
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@contextmanager
def pair(
    redis: RedisServer, database: int, torchserves: Sequence[Server | None], **settings: object
) -> Iterator[list[Gateway]]:
    """A gateway before each of them, on that database."""
    with ExitStack() as stack:
        gateways = []
        for number, torchserve in enumerate(torchserves):
            folder = redis.folder / f"gateway{database}.{number}"
            folder.mkdir()
            store = redis.url.removesuffix("/0") + f"/{database}"
            shared = {"store": store, "lease_s": LEASE_S, "rate_per_minute": 0, **settings}
            gateways.append(stack.enter_context(running_gateway(folder, torchserve, **shared)))
        yield gateways


@pytest.fixture(scope="module")
def idle(redis: RedisServer) -> Iterator[list[Gateway]]:
    """Two at which pictures wait."""
    with pair(redis, 1, [None, None]) as gateways:
        yield gateways


@pytest.fixture(scope="module")
def one_draws(redis: RedisServer, servers: list[Server]) -> Iterator[list[Gateway]]:
    """Two of which the second draws."""
    with pair(redis, 2, [None, servers[1]]) as gateways:
        yield gateways


@pytest.fixture(scope="module")
def both_draw(redis: RedisServer, servers: list[Server]) -> Iterator[list[Gateway]]:
    """Two that both draw; a test that kills one starts it again."""
    with pair(redis, 3, servers) as gateways:
        yield gateways


def attempts(gateway: Gateway) -> float:
    """Return the number of pictures drawn since its start."""
    return gateway.metric("animegan_gateway_attempts_total", outcome="drawn")


@contextmanager
def caller(gateway: Gateway) -> Iterator[requests.Session]:
    """A browser whose session was opened there; its page may be either's."""
    with gateway.browser() as session:
        del session.headers["Origin"]
        session.headers["Sec-Fetch-Site"] = "same-origin"
        yield session


def submit(gateway: Gateway, session: requests.Session | None = None, picture: bytes = SMALL, **more: Any) -> str:
    answer = gateway.submit(picture, session, **more)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def running(gateway: Gateway, *job_ids: str) -> bool:
    return all(gateway.job(job_id)["status"] == "running" for job_id in job_ids)


def test_two_serve_side_by_side(servers: list[Server]) -> None:
    for server in servers:
        answer = requests.post(f"{server.inference}/predictions/animegan", files={"data": SMALL}, timeout=120)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert len({url for each in servers for url in (each.inference, each.management, each.metrics)}) == 6


def test_both_show_one_line_in_which_callers_alternate(idle: list[Gateway]) -> None:
    one, two = idle
    with caller(one) as ann, caller(two) as bob:
        anns = [submit(gateway, ann) for gateway in (one, two, one)]
        bobs = [submit(gateway, bob) for gateway in (one, two)]
        line = [anns[0], bobs[0], anns[1], bobs[1], anns[2]]
        for gateway in (one, two):
            wait_until(
                lambda gateway=gateway: [gateway.job(job_id)["position"] for job_id in line] == [1, 2, 3, 4, 5],  # type: ignore[misc]
                f"the line at {gateway.url}",
            )
        cancelled = ann.delete(f"{two.url}/v1/jobs/{anns[0]}", timeout=30)
        assert cancelled.json()["status"] == "cancelled"
        assert one.job(anns[0])["status"] == "cancelled"
        wait_until(lambda: one.job(bobs[0])["position"] == 1, "the next one's turn")


def test_one_idempotency_key_is_one_job_at_both(idle: list[Gateway]) -> None:
    one, two = idle
    with caller(one) as ann, ThreadPoolExecutor(8) as pool:
        headers = {"Idempotency-Key": "the same"}
        jobs = pool.map(lambda gateway: submit(gateway, ann, headers=headers), [one, two] * 8)
        assert len({*jobs}) == 1
        other = two.submit(MIDDLE, ann, headers=headers)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_a_key_and_its_session_are_valid_at_both(redis: RedisServer, tmp_path: Path) -> None:
    keys = Keys(tmp_path / "shared")
    anns, bobs = ({"Authorization": f"Bearer {keys.add(name)}"} for name in ("ann", "bob"))
    with pair(redis, 4, [None, None], keys="required", data=tmp_path / "shared") as (one, two):
        job_id = submit(one, headers=anns)

        def status(gateway: Gateway, headers: dict[str, str]) -> int:
            return requests.get(f"{gateway.url}/v1/jobs/{job_id}", headers=headers, timeout=30).status_code

        assert [status(gateway, anns) for gateway in (one, two)] == [200, 200]
        assert [status(gateway, bobs) for gateway in (one, two)] == [404, 404], "a job is its owner's"
        assert [status(gateway, {}) for gateway in (one, two)] == [401, 401]
        with requests.Session() as session:
            key = {"key": anns["Authorization"].removeprefix("Bearer ")}
            assert session.post(f"{two.url}/v1/session", json=key, timeout=30).ok
            for gateway in (one, two):
                assert session.get(f"{gateway.url}/v1/jobs/{job_id}", timeout=30).ok
        keys.revoke("ann")
        assert [status(gateway, anns) for gateway in (one, two)] == [401, 401]


def test_the_events_of_a_job_that_the_other_draws_arrive(one_draws: list[Gateway]) -> None:
    one, two = one_draws
    attempts_before = attempts(two)
    before = submit(one, picture=LARGE)
    job_id = submit(one)
    names, jobs = [], []
    with requests.get(f"{one.url}/v1/jobs/{job_id}/events", stream=True, timeout=60) as stream:
        for line in stream.iter_lines(decode_unicode=True):
            if line.startswith("event: "):
                names.append(line.removeprefix("event: "))
            elif line.startswith("data: "):
                jobs.append(json.loads(line.removeprefix("data: ")))
    assert list(dict.fromkeys(names)) == ["position", "running", "done"]
    assert jobs[-1]["id"] == job_id
    results = [requests.get(f"{gateway.url}{jobs[-1]['links']['result']}", timeout=30) for gateway in (one, two)]
    assert results[0].ok
    assert results[0].content == results[1].content
    assert attempts(two) == attempts_before + 2
    assert one.job(before)["status"] == "done"


def test_a_wait_at_one_ends_when_the_other_has_drawn(one_draws: list[Gateway]) -> None:
    answer = requests.post(f"{one_draws[0].url}/v1/stylize", files={"image": SMALL}, timeout=60)
    assert answer.ok, answer.text
    assert answer.headers["content-type"] == "image/jpeg"


def test_they_are_fair_between_callers_together(both_draw: list[Gateway]) -> None:
    one, two = both_draw
    with caller(one) as ann, caller(two) as bob:
        # Pictures that take longer to draw than to send, on any machine: else nobody waits.
        anns = [submit(gateway, ann, LARGE) for gateway in [one, two] * 6]
        bobs = [submit(gateway, bob, LARGE) for gateway in [two, one] * 2]
        starts = {job_id: moment(one.wait(job_id)["started_at"]) for job_id in [*anns, *bobs]}
        for mine in (anns, bobs):
            times = [starts[job_id] for job_id in mine]
            assert all(later > sooner - TAKING_S for sooner, later in pairwise(times))
        order = sorted(starts, key=lambda job_id: starts[job_id])
        assert order.index(bobs[-1]) < order.index(anns[-3]), "who came later with few waits for who has many"
        counts = [attempts(gateway) for gateway in (one, two)]
        assert min(counts) > 0, "one of them did not draw"
        assert sum(counts) == 16


def test_a_job_of_one_that_is_killed_is_drawn_by_the_other(both_draw: list[Gateway]) -> None:
    one, two = both_draw
    attempts_before = attempts(one)
    job_ids = [submit(two, picture=LARGE) for _ in range(2)]
    wait_until(lambda: running(one, *job_ids), "a picture at each")
    two.kill()
    try:
        for job_id in job_ids:
            job = one.wait(job_id)
            assert job["status"] == "done"
            result = requests.get(f"{one.url}{job['links']['result']}", timeout=30)
            assert len(result.content) == job["result"]["bytes"]
        assert attempts(one) == attempts_before + 2
    finally:
        two.start()


@pytest.mark.parametrize("name", ["gateway", "redis"])
def test_nothing_is_lost_under_load(name: str, redis: RedisServer, both_draw: list[Gateway]) -> None:
    one, two = both_draw
    victim: Victim = GatewayVictim(two) if name == "gateway" else RedisVictim(redis)
    jobs_before, crowd = count_jobs(one), Crowd(both_draw)
    with crowd.sending():
        time.sleep(1)
        victim.kill()
        killed_at = time.time()
        if name == "gateway":
            crowd.moved_at(since=killed_at)  # without it
        victim.restore()
        crowd.moved_at(since=killed_at)
    assert crowd.audit(jobs_before) == Audit(Counter(done=len(crowd.orders)))
