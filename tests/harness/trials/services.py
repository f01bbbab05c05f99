"""All services for trials: `scripts/serve` with Redis, a crowd that asks it, a fault, and what came of it.

Java's heap is the smallest there may be, so that uploads can exhaust it. All of it has a wall clock that can be set.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from animegan_cli.serving.ports import free_port
from harness.gateways import Gateway, running_gateway
from harness.servers import QUICK, Server, command, running_server
from harness.stores import RedisServer, redis_server
from harness.trials.clocks import WallClock, wall_clock
from harness.trials.crowd import Audit, Crowd, count_jobs
from harness.trials.faulty_handler import HANDLER

HEAP_MIB = 128  # Java's, the least there may be
LEASE_S = 2
QUEUE_JOBS = 40
FLOWS = 5  # pictures that are drawn before a fault, and after it
PATIENCE_S = 120.0
ALL_IS_WELL = frozenset({"200", "202"})


@dataclass(frozen=True)
class Services:
    """What is to fail: `gateway` is the one that callers ask."""

    server: Server
    gateway: Gateway
    redis: RedisServer
    clock: WallClock | None

    def agent(self) -> psutil.Process | None:
        """The agent's process, if it runs."""
        return next((child for child in self.server.descendants() if "animegan_agent" in command(child)), None)

    def draw(self, picture: bytes) -> str:
        """Send a picture beside the crowd's; what becomes of it: done, or the code of its failure."""
        return self.wait(self.gateway.submit(picture).json()["id"])

    def wait(self, job_id: str) -> str:
        job = self.gateway.wait(job_id)
        return str(job["status"] if job["status"] == "done" else job["error"]["code"])


@dataclass(frozen=True)
class Beside:
    """What happened beside the crowd: in words, and how many jobs it were."""

    words: str = ""
    jobs: int = 0


@dataclass(frozen=True)
class Fault:
    """`strike` returns once the fault is mended, if somebody has to mend it; `place` is where it happens.

    `answers`: what callers are told meanwhile, beside that all is well.
    """

    name: str
    what: str
    strike: Callable[[Services], Beside]
    answers: frozenset[str] = frozenset()
    place: Callable[[Services], AbstractContextManager[Services]] = contextlib.nullcontext


@dataclass
class Outcome:
    """What callers saw and what became of their jobs. `pause_s`: the longest time in which no picture came."""

    fault: Fault
    answers: Counter[str]
    pause_s: float
    accepted: int
    audit: Audit
    beside: str = ""

    @property
    def errors(self) -> Counter[str]:
        """The answers that are not what a caller hopes for."""
        return Counter({name: count for name, count in self.answers.items() if name not in ALL_IS_WELL})


@contextmanager
def running_services(folder: Path) -> Iterator[Services]:
    clock = wall_clock(folder / "clock")
    set_by = clock.environment if clock else {}
    metrics_port = free_port()
    with redis_server(folder / "redis", environment=set_by) as redis:
        settings = {
            **QUICK,
            "ANIMEGAN_JAVA_HEAP_MB": str(HEAP_MIB),
            "ANIMEGAN_GATEWAY_STORE": redis.url,
            "ANIMEGAN_GATEWAY_LEASE_S": str(LEASE_S),
            "ANIMEGAN_GATEWAY_QUEUE_JOBS": str(QUEUE_JOBS),
            "ANIMEGAN_GATEWAY_RATE_PER_MINUTE": "0",
            "ANIMEGAN_GATEWAY_METRICS_PORT": str(metrics_port),
        }
        with running_server(handler=HANDLER, environment={**settings, **set_by}) as server:
            port = urlsplit(server.page).port
            assert port
            yield Services(server, Gateway(folder, {}, port, metrics_port), redis, clock)


def suffer(services: Services, fault: Fault) -> Outcome:
    """Have the fault while a crowd sends pictures. Skips where it can't be had here."""
    with fault.place(services) as where:
        before = count_jobs(where.gateway)
        crowd = Crowd([where.gateway])
        with crowd.sending():
            _flows(crowd)
            start = time.monotonic()
            beside = fault.strike(where)
            _flows(crowd, since=time.monotonic())
            flows_at = time.monotonic()
        audit = crowd.audit(before + beside.jobs)
    times = crowd.drawn_at()
    gaps = [later - sooner for sooner, later in itertools.pairwise(times) if start < later < flows_at]
    return Outcome(fault, crowd.answers, max(gaps), len(crowd.orders), audit, beside.words)


def _flows(crowd: Crowd, since: float = 0.0) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(crowd.drawn_at(since)) < FLOWS:
        assert time.monotonic() < deadline, "no pictures come"
        time.sleep(0.05)


@contextmanager
def on_files(services: Services, open_files: int = 0) -> Iterator[Services]:
    """The services with a gateway whose queue and pictures lie in a folder of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="animegan-files-") as folder,
        running_gateway(Path(folder), services.server, open_files, rate_per_minute=0) as gateway,
    ):
        yield replace(services, gateway=gateway)


def count_text(counter: Counter[str]) -> str:
    return ", ".join(f"{name} ×{count}" for name, count in sorted(counter.items())) or "nothing"
