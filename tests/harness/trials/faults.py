"""Faults of the whole house, scripted for the tests and for `scripts/benchmark faults`: what callers see, what is lost.

The house is what `scripts/serve` starts, with Redis. Java's heap is the smallest there may be, so that uploads can
exhaust it, and all of it has a wall clock that can be set. Meanwhile a crowd sends pictures and waits for them.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from animegan_cli.serving.ports import free_port
from harness import MIB
from harness.gateways import Gateway, running_gateway
from harness.pictures import encoded, photo
from harness.servers import QUICK, Server, alive, command, running_server, wait_until
from harness.stores import RedisServer, redis_server
from harness.trials.clocks import WallClock, wall_clock
from harness.trials.crowd import Audit, Crowd, JavaVictim, WorkerVictim, end, held, moment
from harness.trials.faulty_handler import ENDS_ITS_WORKER, HANDLER, no_memory

HEAP_MIB = 128  # Java's, the least there may be
UPLOAD_MIB = 40  # two of them, and the buffers that they arrive in, are more than that
LEASE_S = 2
QUEUE_JOBS = 40
DISK_MIB = 24
HOUR_S = 3600
AWAY_S = 8.0
FLOWS = 5  # pictures that are drawn before a fault, and after it
PATIENCE_S = 120.0
ALL_IS_WELL = frozenset({"200", "202"})

REFUSALS = 3
GIANT_PX = 4096


@dataclass(frozen=True)
class House:
    """What is to fail: `gateway` is the one that callers ask."""

    server: Server
    gateway: Gateway
    redis: RedisServer
    clock: WallClock | None

    def agent(self) -> psutil.Process | None:
        """The agent's process, if it runs."""
        return next((child for child in self.server.descendants() if "animegan_agent" in command(child)), None)

    def drawn(self, picture: bytes) -> str:
        """Send a picture beside the crowd's; what becomes of it: done, or the code of its failure."""
        return self.ended(self.gateway.submit(picture).json()["id"])

    def ended(self, job_id: str) -> str:
        job = self.gateway.ended(job_id)
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
    strike: Callable[[House], Beside]
    answers: frozenset[str] = frozenset()
    place: Callable[[House], AbstractContextManager[House]] = contextlib.nullcontext


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
def running_house(folder: Path) -> Iterator[House]:
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
            yield House(server, Gateway(folder, {}, port, metrics_port), redis, clock)


def suffer(house: House, fault: Fault) -> Outcome:
    """Have the fault while a crowd sends pictures. Skips where it can't be had here."""
    with fault.place(house) as where:
        before = held(where.gateway)
        crowd = Crowd([where.gateway])
        with crowd.sending():
            _flows(crowd)
            began = time.monotonic()
            beside = fault.strike(where)
            _flows(crowd, since=time.monotonic())
            flows_at = time.monotonic()
        audit = crowd.audit(before + beside.jobs)
    drawn = crowd.drawn_at()
    gaps = [later - sooner for sooner, later in itertools.pairwise(drawn) if began < later < flows_at]
    return Outcome(fault, crowd.answers, max(gaps), len(crowd.orders), audit, beside.words)


def _flows(crowd: Crowd, since: float = 0.0) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(crowd.drawn_at(since)) < FLOWS:
        assert time.monotonic() < deadline, "no pictures come"
        time.sleep(0.05)


def _kill_worker(house: House) -> Beside:
    job_id = house.gateway.submit(encoded(photo(768, 768))).json()["id"]
    house.gateway.until(job_id, "running")
    time.sleep(0.2)  # into the midst of it
    worker = WorkerVictim(house.server)
    worker.kill()
    worker.restore()
    assert house.ended(job_id) == "done"
    return Beside("the picture in its hands was drawn by the next worker", 1)


def _cancel_a_giant(house: House) -> Beside:
    giant = house.gateway.submit(encoded(photo(GIANT_PX, GIANT_PX)), style="classic", max_side=GIANT_PX).json()
    house.gateway.until(giant["id"], "running")
    time.sleep(1)  # into the midst of it
    began = time.monotonic()
    assert house.gateway.remove(giant).json()["status"] == "cancelled"
    job = house.gateway.ended(house.gateway.submit(encoded(photo(64, 48))).json()["id"])
    assert job["status"] == "done"
    seconds = time.monotonic() - began
    return Beside(f"the giant: cancelled; the next picture was done {seconds:.1f} s later", 2)


def _kill_java(house: House) -> Beside:
    java = JavaVictim(house.server)
    java.kill()
    java.restore()
    return Beside()


def _exhaust_java(house: House) -> Beside:
    java = house.server.java()
    assert java
    url, picture = f"{house.server.inference}/predictions/animegan", bytes(UPLOAD_MIB * MIB)
    saw: Counter[str] = Counter()
    while alive(java):
        try:
            answer = requests.post(url, data=picture, headers={"Content-Type": "image/jpeg"}, timeout=30)
            saw[str(answer.status_code)] += 1
        except requests.RequestException:
            saw["a connection that broke"] += 1
    wait_until(lambda: house.server.java() not in (None, java) and house.server.ready(), "a new TorchServe")
    assert "java.lang.OutOfMemoryError" in house.server.output.read_text()
    return Beside(f"who sent the uploads straight to TorchServe saw {said(saw)}")


@contextmanager
def _on_a_small_disk(house: House) -> Iterator[House]:
    """The house with a gateway whose queue and pictures lie on a disk of `DISK_MIB`."""
    with ExitStack() as stack:
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="animegan-disk-")))
        size = f"size={DISK_MIB}m"
        try:
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "animegan-test", disk], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no disk of a given size can be mounted here: that takes root, and no container")
        stack.callback(lambda: subprocess.run(["umount", disk], check=True))
        gateway = stack.enter_context(running_gateway(disk, house.server, rate_per_minute=0))
        yield replace(house, gateway=gateway)


def _fill_disk(house: House) -> Beside:
    filler = house.gateway.folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    wait_until(lambda: _rejected(house, "storage_full"), "a caller who is told that the disk is full")
    time.sleep(2)
    filler.unlink()
    return Beside()


@contextmanager
def _on_files(house: House) -> Iterator[House]:
    """The house with a gateway whose queue and pictures lie in a folder of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="animegan-files-") as folder,
        running_gateway(Path(folder), house.server, rate_per_minute=0) as gateway,
    ):
        yield replace(house, gateway=gateway)


def pictures_away(seconds: float) -> Fault:
    def strike(house: House) -> Beside:
        pictures, away = house.gateway.folder / "pictures", house.gateway.folder / "away"
        pictures.rename(away)
        pictures.mkdir()
        time.sleep(seconds)
        pictures.rmdir()
        away.rename(pictures)
        return Beside()

    what = "another one, empty, in its place: what a mount point is without its disk; put back after that time"
    name = f"The folder of pictures is away for {seconds:g} s"
    return Fault(name, what, strike, frozenset({"503 store_unavailable"}), _on_files)


def _kill_gateway_on_a_full_disk(house: House) -> Beside:
    filler = house.gateway.folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    house.gateway.kill()
    house.gateway.start()
    wait_until(lambda: _rejected(house, "storage_full"), "a caller who is told that the disk is full")
    time.sleep(2)
    filler.unlink()
    return Beside()


def _rejected(house: House, reason: str) -> float:
    return house.gateway.metric("animegan_gateway_jobs_rejected_total", reason=reason)


def redis_away(seconds: float) -> Fault:
    def strike(house: House) -> Beside:
        house.redis.kill()
        time.sleep(seconds)
        house.redis.start()
        return Beside()

    name = f"Redis is away for {seconds:g} s"
    return Fault(name, "SIGKILL, started again after that time", strike, frozenset({"503 store_unavailable"}))


def _set_clock(house: House, ahead_s: int) -> Beside:
    """While a job pauses that was refused several times, and others wait, run and have just ended."""
    clock = house.clock or pytest.skip("there is no C compiler for a clock that can be set (Debian: gcc)")
    gateway = house.gateway
    refused = gateway.metric("animegan_gateway_attempts_total", outcome="refused")
    job_id = gateway.submit(encoded(photo(64, 48, seed=ahead_s), comment=no_memory(REFUSALS))).json()["id"]
    wait_until(
        lambda: gateway.metric("animegan_gateway_attempts_total", outcome="refused") == refused + REFUSALS,
        "a job that pauses",
    )
    clock.set(ahead_s)
    job = gateway.ended(job_id)
    assert job["status"] == "done"
    assert abs(moment(job["finished_at"]) - time.time() - ahead_s) < PATIENCE_S, "the clock was not set"
    return Beside("a job that paused before a further attempt was drawn in time", 1)


def _end_a_worker_by_a_picture(house: House) -> Beside:
    assert house.drawn(encoded(photo(64, 48), comment=ENDS_ITS_WORKER)) == "worker_killed"
    return Beside("the picture itself: failed, 500 worker_killed, after its second attempt", 1)


def _kill_agent(house: House) -> Beside:
    agent = house.agent()
    assert agent
    end(agent)
    wait_until(lambda: house.agent() not in (None, agent), "a new agent")
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
DISK = Fault(
    "The disk of queue and pictures is full",
    f"SQLite and files on {DISK_MIB} MiB, filled to the last byte, and cleared after some seconds",
    _fill_disk,
    frozenset({"503 storage_full"}),
    _on_a_small_disk,
)
KILLED_WHILE_FULL = Fault(
    "The disk is full and the gateway is killed",
    f"the same {DISK_MIB} MiB, SIGKILL to the gateway on them, started again before there is room",
    _kill_gateway_on_a_full_disk,
    frozenset({"503 storage_full", "none"}),
    _on_a_small_disk,
)
FORWARDS = Fault(
    "The clock is set forwards by an hour",
    "for every process of the house, Redis too",
    lambda house: _set_clock(house, HOUR_S),
)
BACK = Fault("The clock is set back by an hour", "the same", lambda house: _set_clock(house, 0))
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
        HEAP,
    ]


def said(counted: Counter[str]) -> str:
    return ", ".join(f"{name} ×{count}" for name, count in sorted(counted.items())) or "nothing"
