"""Callers that send small pictures without end while services are killed, and what became of each job."""

from __future__ import annotations

import hashlib
import io
import math
import random
import select
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import psutil
import requests
from PIL import Image

from animegan_gateway.queue.stores import redis_store
from harness.gateways import END_STATES, Gateway
from harness.pictures import encoded, photo
from harness.servers import Server, alive, wait_until
from harness.stores import RedisServer

SIDES_PX = (64, 128)
OUTSTANDING = 3  # jobs of a caller that have not ended
SENT_AGAIN = 0.3  # of the accepted ones, as by a caller who did not hear the answer
ENDS_WITHIN_S = 150.0
PASSING = {"store_unavailable", "storage_full", "draining"}  # answers of services that are being repaired


@dataclass
class Order:
    """A picture that was accepted; `end` is the job as it was when its end was first seen. Times are monotonic."""

    job_id: str
    caller: int
    size: tuple[int, int]
    accepted_at: float
    end: dict[str, Any] | None = None
    ended_at: float = 0.0


@dataclass
class Audit:
    """`ends`: jobs by `done` or the code of their failure; `losses`: what is wrong with others; `duplicates`: jobs that
    nobody sent, or sent twice."""

    ends: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)
    duplicates: int = 0


class Crowd:
    """Callers with a session each, at any of the gateways. A picture is sent until it is accepted, under one key."""

    def __init__(self, gateways: Sequence[Gateway], callers: int = 4, seed: int = 0) -> None:
        self.orders: list[Order] = []
        self.answers: Counter[str] = Counter()  # by status and, of an error, its code; "none": no answer
        self._gateways = list(gateways)
        self._callers = callers
        self._seed = seed
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @contextmanager
    def sending(self) -> Iterator[None]:
        """They send meanwhile; afterwards they wait until everything has ended."""
        with ThreadPoolExecutor(self._callers) as pool:
            calls = [pool.submit(self._call, caller) for caller in range(self._callers)]
            try:
                yield
            finally:
                self._stop.set()
            for call in calls:
                call.result()

    def drawn_at(self, since: float = -math.inf) -> list[float]:
        """When it was seen that a picture is done, of those that were sent since then; monotonic, in order."""
        with self._lock:
            orders = [order for order in self.orders if order.end and order.end["status"] == "done"]
        return sorted(order.ended_at for order in orders if order.accepted_at >= since)

    def moved_at(self, since: float, within_s: float = 60) -> float:
        """When the first job that was taken after that time had ended; waits for it."""
        deadline = time.monotonic() + within_s
        while True:
            with self._lock:
                jobs = [order.end for order in self.orders if order.end]
            ends = [moment(job["finished_at"]) for job in jobs if moment(job["started_at"]) > since]
            if ends:
                return min(ends)
            assert time.monotonic() < deadline, f"no job ended within {within_s} s"
            time.sleep(0.05)

    def audit(self, others: int = 0) -> Audit:
        """See that every accepted job has ended and still is as it ended; done, with a picture of its size.

        `others`: jobs that the store holds beside the crowd's.
        """
        gateway, audit = self._gateways[0], Audit()
        for order in self.orders:
            try:
                audit.ends[check_end(gateway, order)] += 1
            except (AssertionError, OSError) as error:
                audit.losses.append(f"{order.job_id}: {error}")
        ids = {order.job_id for order in self.orders}
        # The gauges are set one after another: once none waits or runs, they do not move any more.
        wait_until(lambda: not count_jobs(gateway, "queued", "running"), "gauges that have seen every end")
        wait_until(lambda: count_jobs(gateway) >= len(ids) + others, "a store that holds every job")
        audit.duplicates = count_jobs(gateway) - others - len(ids) + len(self.orders) - len(ids)
        return audit

    def _call(self, caller: int) -> None:
        chance = random.Random(f"{self._seed} {caller}")
        with self._session() as session:
            mine: list[Order] = []
            while not self._stop.is_set():
                mine.append(self._send(session, chance, caller))
                while len(mine) >= OUTSTANDING and not self._stop.is_set():
                    mine = [order for order in mine if not self._look(session, chance, order)]
            deadline = time.monotonic() + ENDS_WITHIN_S
            while mine and time.monotonic() < deadline:
                mine = [order for order in mine if not self._look(session, chance, order)]

    def _send(self, session: requests.Session, chance: random.Random, caller: int) -> Order:
        width, height = chance.randint(*SIDES_PX), chance.randint(*SIDES_PX)
        picture = encoded(photo(width, height, seed=chance.randrange(2**32)))
        key = {"Idempotency-Key": str(uuid.uuid4())}
        job = self._submit(session, chance, picture, key)
        if chance.random() < SENT_AGAIN:
            assert self._submit(session, chance, picture, key)["id"] == job["id"]
        order = Order(job["id"], caller, (width, height), time.monotonic())
        with self._lock:
            self.orders.append(order)
        return order

    def _submit(
        self, session: requests.Session, chance: random.Random, picture: bytes, key: dict[str, str]
    ) -> dict[str, Any]:
        while True:
            answer = self._answer(
                lambda url: session.post(f"{url}/v1/jobs", files={"image": picture}, headers=key, timeout=30), chance
            )
            if answer is not None:
                assert answer.status_code == 202, answer.text
                return dict(answer.json())

    def _look(self, session: requests.Session, chance: random.Random, order: Order) -> bool:
        """Return whether the job has ended; waits for it a little."""
        answer = self._answer(lambda url: session.get(f"{url}/v1/jobs/{order.job_id}?wait=1", timeout=30), chance)
        if answer is None:
            return False
        assert answer.status_code == 200, answer.text
        job = answer.json()
        if job["status"] not in END_STATES:
            return False
        with self._lock:
            order.end, order.ended_at = job, time.monotonic()
        return True

    def _answer(self, ask: Callable[[str], requests.Response], chance: random.Random) -> requests.Response | None:
        """The answer of one of the gateways; None where it is away or waits for its store."""
        try:
            answer = ask(chance.choice(self._gateways).url)
        except requests.RequestException:
            answer = None
        code = "" if answer is None or answer.ok else answer.json()["code"]
        with self._lock:
            self.answers["none" if answer is None else f"{answer.status_code} {code}".strip()] += 1
        if answer is None or code in PASSING:
            time.sleep(0.1)
            return None
        return answer

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        with self._gateways[0].browser() as session:
            del session.headers["Origin"]  # which names one gateway
            session.headers["Sec-Fetch-Site"] = "same-origin"
            yield session


def moment(text: str) -> float:
    """Seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def check_end(gateway: Gateway, order: Order) -> str:
    """Return its end state. Raises `AssertionError` or `OSError` where it has not ended, or has no such picture."""
    assert order.end, "has not ended"
    job = gateway.job(order.job_id)
    assert (job["status"], job["finished_at"]) == (order.end["status"], order.end["finished_at"]), "ended twice"
    if job["status"] != "done":
        return str(job["error"]["code"])
    picture = requests.get(f"{gateway.url}{job['links']['result']}", timeout=60)
    assert picture.ok, picture.text
    assert len(picture.content) == job["result"]["bytes"], "is not the picture that was drawn"
    with Image.open(io.BytesIO(picture.content)) as image:
        image.load()
        assert image.size == order.size, "has another size"
    return "done"


def count_jobs(gateway: Gateway, *states: str) -> int:
    """Jobs in the store in these states, or in any; looked at each second, for the first time soon after the start."""
    states = states or ("queued", "running", *END_STATES, "expired")

    def has_looked() -> bool:
        text = requests.get(gateway.metrics_url, timeout=10).text
        return all(f'animegan_gateway_jobs{{state="{state}"}}' in text for state in states)

    wait_until(has_looked, "a first look")
    return int(sum(gateway.metric("animegan_gateway_jobs", state=state) for state in states))


class Victim(Protocol):
    """What can be killed; `restore` returns once it is there again."""

    def kill(self) -> None: ...

    def restore(self) -> None: ...


@dataclass
class GatewayVictim:
    """The gateway, started again at once on its folder and its port."""

    gateway: Gateway

    def kill(self) -> None:
        self.gateway.kill()

    def restore(self) -> None:
        self.gateway.start()


@dataclass
class RedisVictim:
    """Redis, started again at once on its append-only file."""

    redis: RedisServer

    def kill(self) -> None:
        self.redis.kill()

    def restore(self) -> None:
        self.redis.start()


@dataclass
class WorkerVictim:
    """TorchServe's worker, which TorchServe starts again; it is there when another one is ready."""

    server: Server
    _pids: list[int] = field(default_factory=list)

    def kill(self) -> None:
        wait_until(self.server.ready, "a worker to kill")
        self._pids = self.server.worker_pids()
        end(*map(psutil.Process, self._pids))

    def restore(self) -> None:
        wait_until(lambda: self.server.ready() and not {*self.server.worker_pids()} & {*self._pids}, "a new worker")


@dataclass
class JavaVictim:
    """TorchServe's Java, which `scripts/serve` starts again; it is there when its worker is ready."""

    server: Server
    _java: psutil.Process | None = None

    def kill(self) -> None:
        wait_until(self.server.ready, "a TorchServe to kill")
        self._java = self.server.java()
        assert self._java
        end(self._java)

    def restore(self) -> None:
        wait_until(lambda: self.server.java() not in (None, self._java) and self.server.ready(), "a new TorchServe")


def end(*processes: psutil.Process) -> None:
    """`kill -9`, and wait until they are gone."""
    for process in processes:
        process.kill()
    wait_until(lambda: not any(map(alive, processes)), "the end of what was killed")


class Mute:
    """A way to Redis on which the answer to one script is lost: Redis has run it when the connection breaks."""

    def __init__(self, redis: RedisServer, script: str) -> None:
        lua = Path(redis_store.__file__).with_name("lua")
        text = "\n".join((lua / f"{name}.lua").read_text() for name in ("common", script))
        self._sha = hashlib.sha1(text.encode()).hexdigest().encode()
        self._redis = redis
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.loss = threading.Event()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Commands and answers go through meanwhile, but for that one answer."""
        thread = threading.Thread(target=self._accept)
        thread.start()
        try:
            yield
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            self._listener.close()

    def _accept(self) -> None:
        with ThreadPoolExecutor(64) as pool:
            while True:
                try:
                    caller, _ = self._listener.accept()
                except OSError:  # shut down
                    return
                pool.submit(self._pass_on, caller)

    def _pass_on(self, caller: socket.socket) -> None:
        pending = False
        with caller, socket.create_connection(("127.0.0.1", self._redis.port)) as redis:
            while True:
                for ready in select.select([caller, redis], [], [])[0]:
                    data = ready.recv(2**16)
                    if not data:
                        return
                    if ready is caller:
                        pending = pending or self._sha in data
                        redis.sendall(data)
                        continue
                    if pending and not data.startswith((b"-", b"$-1", b"*-1")) and not self.loss.is_set():
                        self.loss.set()
                        return
                    pending = False
                    caller.sendall(data)
