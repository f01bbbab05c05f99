"""Mixed load for half an hour: is every request answered, and do memory, open files and threads stay where they were?

`scripts/benchmark soak [SECONDS]` (1800 by default). What `scripts/serve` starts, with Java's heap fixed (`-Xms` is
`-Xmx`, all of it touched at the start) and no rule that replaces workers. Callers come through the gateway: jobs that
are waited for, watched as event streams, cancelled and deleted, pictures in one request, files that are no picture or
are cut short; another one asks TorchServe itself. Resident memory is read each second. Its slope is that of a line by
least squares through twenty equal parts of what follows the first third, with an interval of 95 of 100 that allows for
autocorrelation (`benchmarks/endurance/trend.py`): where zero lies within, it can't be told from none. Open files and
threads are counted at rest, after a rush and a first burst of the same load, and at the end. The machine need not be
quiet: nothing here is a time.
"""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import requests

from animegan import errors as handler_errors
from animegan_cli.serving.ports import free_port
from benchmarks.common.result import store, table
from benchmarks.endurance.trend import trend
from harness.gateways import END_STATES, Gateway
from harness.pictures import encoded, photo
from harness.servers import Server, command, running_server

SECONDS = 1800.0
CALLERS, DIRECT_CALLERS = 3, 1
BURST_S, BURST_CALLERS = 15.0, 12
RUSH_CALLERS, RUSH = 64, 640  # requests at one time that fill the gateway's pool of threads
REST_S = 12.0  # longer than connections are kept
KEEP_S = 60  # jobs expire in the course of it, and are forgotten as long after that: the store stays as large as it is
WARM_UP = 1 / 3
HEAP_MIB = 512
VMARGS = (
    f"-Xms{HEAP_MIB}m -Xmx{HEAP_MIB}m -XX:+AlwaysPreTouch -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError "
    "-Dio.netty.allocator.type=unpooled -XX:-UsePerfData -XX:-UseDynamicNumberOfCompilerThreads"
)
PARTS = ("worker", "java", "gateway", "agent")
MOST_SAMPLES = 300  # of each series, in the stored result
MIB = 2**20
TIMEOUT_S = 120
PREDICT = "/predictions/animegan"

# Pictures, the options that go with them, and what becomes of them.
GOOD: tuple[tuple[bytes, dict[str, str]], ...] = (
    (encoded(photo(320, 240)), {}),
    (encoded(photo(200, 300), "PNG"), {"style": "gouache", "format": "webp"}),
    (encoded(photo(1500, 1000)), {"max_side": "256"}),
    (encoded(photo(97, 61), "WEBP"), {"format": "png"}),
    (encoded(photo(64, 48)), {"quality": "50"}),
)
NO_PICTURE = b"not a picture"
# Its header is whole: the gateway accepts it, and it fails when it is drawn.
CUT_SHORT = encoded(photo(128, 128))[:1500]
TOO_SMALL = encoded(photo(8, 8))
DIRECT: tuple[tuple[bytes, dict[str, str]], ...] = (*GOOD, (NO_PICTURE, {}), (CUT_SHORT, {}), (TOO_SMALL, {}))

Figures = dict[str, Any]


def main(arguments: Sequence[str]) -> None:
    figures = measure(float(arguments[0]) if arguments else SECONDS)
    for wrong in figures.pop("wrong"):
        print(f"Wrong: {wrong}")
    scalars = {name: value for name, value in figures.items() if name not in ("series", "processes", "answers")}
    table(("figure", "value"), list(scalars.items()))
    for rows in (figures["processes"], figures["answers"]):
        print()
        table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    store("soak", figures)


@dataclass
class Tally:
    """What callers were told: answers by who was asked, method, address and status; and what is wrong with jobs."""

    answers: Counter[tuple[str, str, str, int]] = field(default_factory=Counter)
    jobs: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sample:
    """Resident memory in MiB, open files and threads."""

    mib: float
    files: int
    threads: int


def measure(seconds: float) -> Figures:
    metrics_port = free_port()
    environment = {
        "ANIMEGAN_GATEWAY_METRICS_PORT": str(metrics_port),
        "ANIMEGAN_GATEWAY_RATE_PER_MINUTE": "0",
        "ANIMEGAN_GATEWAY_KEEP_S": str(KEEP_S),
        "ANIMEGAN_GATEWAY_EXPIRED_FOR_S": str(KEEP_S),
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(properties={"vmargs": VMARGS}, environment=environment) as server,
    ):
        port = urlsplit(server.page).port
        assert port
        gateway = Gateway(Path(folder), {}, port, metrics_port)
        processes = parts(server)
        rush(gateway)
        load(server, gateway, BURST_S, BURST_CALLERS, BURST_CALLERS)
        idle = at_rest(processes)
        minutes: list[float] = []
        samples: dict[str, list[Sample]] = {name: [] for name in PARTS}
        with watch_processes(processes, minutes, samples):
            tally = load(server, gateway, seconds, CALLERS, DIRECT_CALLERS)
        rest = at_rest(processes)
        same_processes = {name: process.pid for name, process in processes.items()} == {
            name: process.pid for name, process in parts(server).items()
        }
        allowed = read_statuses(gateway)
    at = np.array(minutes)
    warm = at >= at[-1] * WARM_UP
    rows = []
    for name in PARTS:
        mib = np.array([sample.mib for sample in samples[name]])
        slope = trend(at[warm], mib[warm])
        rows.append(
            {
                "process": name,
                "mib_per_hour": round(slope.per_hour, 3),
                "at_least": round(slope.low, 3),
                "at_most": round(slope.high, 3),
                "told_from_none": not slope.none,
                "mib_after_warm_up": float(np.median(mib[warm][:60])),
                "mib_at_the_end": float(np.median(mib[-60:])),
                "files_idle": idle[name].files,
                "files_at_the_end": rest[name].files,
                "threads_idle": idle[name].threads,
                "threads_at_the_end": rest[name].threads,
            }
        )
    every = max(1, len(minutes) // MOST_SAMPLES)
    series = {name: [round(sample.mib, 1) for sample in samples[name][::every]] for name in PARTS}
    return {
        "seconds": seconds,
        "callers": CALLERS,
        "direct_callers": DIRECT_CALLERS,
        "java_heap_mib": HEAP_MIB,
        "warm_up_s": seconds * WARM_UP,
        "every_process_lived": same_processes,
        "jobs": dict(sorted(tally.jobs.items())),
        "jobs_that_ended_otherwise": len(tally.wrong),
        "answers_undocumented": sum(
            count
            for (whom, method, route, status), count in tally.answers.items()
            if str(status) not in allowed[whom, method, route]
        ),
        "processes": rows,
        "answers": [
            {"asked": whom, "request": f"{method} {route}", "status": status, "answers": count}
            for (whom, method, route, status), count in sorted(tally.answers.items())
        ],
        "wrong": tally.wrong,
        "series": {"minutes": [round(minute, 2) for minute in minutes[::every]], **series},
    }


def parts(server: Server) -> dict[str, psutil.Process]:
    """The processes that are watched, by name."""
    java, gateway = server.java(), server.gateway()
    agent = next(child for child in server.descendants() if "animegan_agent" in command(child))
    [worker] = server.worker_pids()
    assert java
    assert gateway
    return {"worker": psutil.Process(worker), "java": java, "gateway": gateway, "agent": agent}


def look(process: psutil.Process) -> Sample:
    with process.oneshot():
        return Sample(process.memory_info().rss / MIB, process.num_fds(), process.num_threads())


def at_rest(processes: Mapping[str, psutil.Process]) -> dict[str, Sample]:
    """The fewest files and threads that are seen in a while without a caller."""
    samples: dict[str, list[Sample]] = {name: [] for name in processes}
    end = time.monotonic() + REST_S
    while time.monotonic() < end:
        for name, process in processes.items():
            samples[name].append(look(process))
        time.sleep(0.5)
    return {
        name: Sample(each[-1].mib, min(one.files for one in each), min(one.threads for one in each))
        for name, each in samples.items()
    }


@contextmanager
def watch_processes(
    processes: Mapping[str, psutil.Process], minutes: list[float], samples: Mapping[str, list[Sample]]
) -> Iterator[None]:
    """Look at each process each second, meanwhile."""
    stop, start = threading.Event(), time.monotonic()

    def watch() -> None:
        while not stop.wait(1.0):
            minutes.append((time.monotonic() - start) / 60)
            for name, process in processes.items():
                samples[name].append(look(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def rush(gateway: Gateway) -> None:
    """Many callers at one moment, whose pictures are refused."""
    with ThreadPoolExecutor(RUSH_CALLERS) as pool:
        answers = pool.map(lambda _: gateway.submit(TOO_SMALL).status_code, range(RUSH))
    assert {*answers} == {HTTPStatus.UNPROCESSABLE_ENTITY}


def load(server: Server, gateway: Gateway, seconds: float, callers: int, direct: int) -> Tally:
    """So many callers at the gateway and at TorchServe itself, for so long."""
    end = time.monotonic() + seconds
    tally = Tally()
    with ThreadPoolExecutor(callers + direct) as pool:
        calls = [pool.submit(call, gateway, number, end) for number in range(callers)]
        calls += [pool.submit(call_directly, server, number, end) for number in range(direct)]
        for each in calls:
            theirs = each.result()
            tally.answers += theirs.answers
            tally.jobs += theirs.jobs
            tally.wrong += theirs.wrong
    return tally


def call(gateway: Gateway, number: int, end: float) -> Tally:
    """One caller of the gateway: something else each time."""
    chance = random.Random(number)  # noqa: S311 - a run that can be had again
    caller = Caller(gateway)
    ways: tuple[Callable[[bytes, dict[str, str]], None], ...] = (
        caller.waits,
        caller.watches,
        caller.asks_in_one,
        caller.cancels,
        caller.sends_what_fails,
        caller.sends_what_is_refused,
        caller.looks_around,
    )
    with gateway.browser() as session:
        caller.session = session
        while time.monotonic() < end:
            chance.choice(ways)(*chance.choice(GOOD))
    return caller.tally


@dataclass
class Caller:
    """What callers do with a picture."""

    gateway: Gateway
    session: requests.Session = field(default_factory=requests.Session)
    tally: Tally = field(default_factory=Tally)

    def waits(self, picture: bytes, options: dict[str, str]) -> None:
        job = self._submit(picture, options)
        while job["status"] not in END_STATES:
            job = self._ask("GET", f"/v1/jobs/{job['id']}?wait=30", "/v1/jobs/{job_id}").json()
        self._is(job, "done")
        self._fetch(job)

    def watches(self, picture: bytes, options: dict[str, str]) -> None:
        job = self._submit(picture, options)
        for _, change in self.gateway.events(job["id"]):
            job = change
        self.tally.answers["gateway", "GET", "/v1/jobs/{job_id}/events", 200] += 1
        self._is(job, "done")
        self._fetch(job)
        self._ask("DELETE", f"/v1/jobs/{job['id']}", "/v1/jobs/{job_id}")
        self._ask("GET", f"/v1/jobs/{job['id']}", "/v1/jobs/{job_id}")

    def asks_in_one(self, picture: bytes, options: dict[str, str]) -> None:
        answer = self._ask("POST", "/v1/stylize", "/v1/stylize", files={"image": picture}, data=options)
        self.tally.jobs["done" if answer.status_code == HTTPStatus.OK else "failed"] += 1

    def cancels(self, picture: bytes, options: dict[str, str]) -> None:
        job = self._submit(picture, options)
        job = self._ask("DELETE", f"/v1/jobs/{job['id']}", "/v1/jobs/{job_id}").json()
        self._is(job, "cancelled", "expired", "done")  # it may be done before it is cancelled: then it is deleted

    def sends_what_fails(self, *_: object) -> None:
        job = self._submit(CUT_SHORT, {})
        while job["status"] not in END_STATES:
            job = self._ask("GET", f"/v1/jobs/{job['id']}?wait=30", "/v1/jobs/{job_id}").json()
        self._is(job, "failed")
        self._ask("GET", f"/v1/jobs/{job['id']}/result", "/v1/jobs/{job_id}/result")

    def sends_what_is_refused(self, picture: bytes, _: dict[str, str]) -> None:
        for body, options in ((NO_PICTURE, {}), (TOO_SMALL, {}), (picture, {"style": "nobody's"})):
            self._ask("POST", "/v1/jobs", "/v1/jobs", files={"image": body}, data=options)

    def looks_around(self, *_: object) -> None:
        self._ask("GET", "/v1/styles", "/v1/styles")
        self._ask("GET", "/v1/jobs/AAAAAAAAAAAAAAAAAAAAAA", "/v1/jobs/{job_id}")

    def _submit(self, picture: bytes, options: dict[str, str]) -> dict[str, Any]:
        answer = self._ask("POST", "/v1/jobs", "/v1/jobs", files={"image": picture}, data=options)
        assert answer.status_code == HTTPStatus.ACCEPTED, answer.text
        return dict(answer.json())

    def _fetch(self, job: dict[str, Any]) -> None:
        picture = self._ask("GET", f"/v1/jobs/{job['id']}/result", "/v1/jobs/{job_id}/result")
        if len(picture.content) != job["result"]["bytes"]:
            self.tally.wrong.append(f"{job['id']}: not the picture that was drawn")

    def _is(self, job: dict[str, Any], *expected: str) -> None:
        self.tally.jobs[job["status"]] += 1
        if job["status"] not in expected:
            self.tally.wrong.append(f"{job['id']}: {job['status']}, {job['error']}")

    def _ask(self, method: str, path: str, route: str, **more: Any) -> requests.Response:
        answer = self.session.request(method, f"{self.gateway.url}{path}", timeout=TIMEOUT_S, **more)
        self.tally.answers["gateway", method, route, answer.status_code] += 1
        return answer


def call_directly(server: Server, number: int, end: float) -> Tally:
    """One caller of TorchServe's own API."""
    tally = Tally()
    with requests.Session() as session:
        for picture, options in itertools.islice(itertools.cycle(DIRECT), number, None):
            if time.monotonic() > end:
                break
            answer = session.post(
                f"{server.inference}{PREDICT}", files={"data": picture}, data=options, timeout=TIMEOUT_S
            )
            tally.answers["TorchServe", "POST", PREDICT, answer.status_code] += 1
    return tally


def read_statuses(gateway: Gateway) -> dict[tuple[str, str, str], set[str]]:
    """Which statuses there may be: the gateway's by its OpenAPI description, TorchServe's by the handler's errors."""
    paths = requests.get(f"{gateway.url}/openapi.json", timeout=30).json()["paths"]
    gateway_statuses = {
        ("gateway", method.upper(), path): set(operation["responses"])
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    errors = vars(handler_errors).values()
    statuses = {
        error.status for error in errors if isinstance(error, type) and issubclass(error, handler_errors.AnimeganError)
    }
    return {**gateway_statuses, ("TorchServe", "POST", PREDICT): {"200", *(str(int(status)) for status in statuses)}}


if __name__ == "__main__":
    main(sys.argv[1:])
