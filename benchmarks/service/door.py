"""The gateway under load: a crowd of callers, throughput and latency beside TorchServe alone.

`scripts/benchmark door [--stores sqlite redis]`. The crowd: each caller sends its pictures as fast as they are taken,
bad ones among them, then waits for all; four times, of which three are a warm-up. Memory is the gateway's resident
memory. An answer is documented if the OpenAPI description lists its status there; a job is out of order if it started
before one that its caller sent sooner. Throughput: so many pictures queued at the door, from the start of the first to
the end of the last, in turn with as many sent to TorchServe directly, as many at one time as the door sends. Latency:
one request at a time, in turn; what the door adds is the difference of the medians, once of the whole time and once of
what is neither decoding, drawing nor encoding, as those vary by more than the door takes.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import requests

from animegan.report import Report
from benchmarks.common.result import store, table
from harness.gateways import END_STATES, Gateway, running_gateway
from harness.pictures import encoded, photo
from harness.servers import Server, running_server
from harness.stores import KINDS, redis_server
from harness.trials.crowd import moment

GOOD: tuple[tuple[bytes, dict[str, str]], ...] = (
    (encoded(photo(128, 96)), {}),
    (encoded(photo(64, 64), "PNG"), {"style": "gouache", "format": "webp"}),
    (encoded(photo(97, 61), "WEBP"), {"format": "png"}),
    (encoded(photo(400, 300)), {"max_side": "128"}),
    (encoded(photo(128, 128))[:2000], {}),  # accepted by its header, and cut short: the job fails
)
BAD: tuple[tuple[bytes, dict[str, str]], ...] = (
    (b"not a picture", {}),
    (encoded(photo(8, 8)), {}),
    (encoded(photo(64, 64)), {"style": "nobody's"}),
    (encoded(photo(64, 64)), {"quality": "0"}),
)
BAD_EVERY = 6
WARM_UPS = 3
SIDE_PX = 512
LATENCY_SIDES_PX = (64, 512)
TIMEOUT_S = 600


def main(arguments: Sequence[str], server: Server | None = None) -> None:
    """Measure on that server, or on one of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stores", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--callers", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=500, help="accepted ones, of all callers together")
    parser.add_argument("--queued", type=int, default=40, help="pictures queued at the door, for throughput")
    parser.add_argument("--rounds", type=int, default=2, help="of throughput")
    parser.add_argument("--requests", type=int, default=30, help="of each kind, for latency")
    options = parser.parse_args(arguments)
    crowds, throughputs, latencies = [], [], []
    with contextlib.nullcontext(server) if server else running_server() as running:
        for kind in options.stores:
            with tempfile.TemporaryDirectory() as folder, gateway_with_store(kind, Path(folder), running) as gateway:
                crowds.append({"store": kind, **crowd(gateway, options.callers, options.jobs)})
                throughputs += [
                    {"store": kind, **throughput(gateway, running, options.queued)} for _ in range(options.rounds)
                ]
                latencies += [
                    {"store": kind, **latency(gateway, running, side, options.requests)} for side in LATENCY_SIDES_PX
                ]
    for rows in (crowds, throughputs, latencies):
        for row in rows:
            table(("figure", "value"), list(row.items()))
            print()
    store("door", {"crowd": crowds, "throughput": throughputs, "latency": latencies})


@contextlib.contextmanager
def gateway_with_store(kind: str, folder: Path, server: Server) -> Iterator[Gateway]:
    """Yield a gateway on such a store."""
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis")) if kind == "redis" else None
        settings = {"store": redis.url} if redis else {}
        yield stack.enter_context(running_gateway(folder, server, rate_per_minute=0, **settings))


# ---- A crowd ---------------------------------------------------------------------------------------------------------


@dataclass
class Answers:
    """The answers that callers got, counted."""

    statuses: Counter[str] = field(default_factory=Counter)  # where and status
    ends: Counter[str] = field(default_factory=Counter)  # done, or the code of the failure
    refusals: Counter[str] = field(default_factory=Counter)
    out_of_order: int = 0
    pictures: int = 0


def crowd(gateway: Gateway, callers: int, jobs: int) -> dict[str, Any]:
    paths = requests.get(f"{gateway.url}/openapi.json", timeout=30).json()["paths"]
    samples: list[tuple[float, float]] = []
    rounds, seconds, resident = [], [], [gateway.resident_mib()]
    for _ in range(WARM_UPS + 1):
        with sampling(gateway, samples):
            start = time.monotonic()
            with ThreadPoolExecutor(callers) as pool:
                parts = list(pool.map(lambda caller: call(gateway, caller, jobs // callers), range(callers)))
            seconds.append(time.monotonic() - start)
        resident.append(gateway.resident_mib())
        rounds.append(merged(parts))
    last = rounds[-1]
    accepted = last.ends.total()
    undocumented = sum(
        number
        for each in rounds
        for name, number in each.statuses.items()
        if name.split()[2] not in paths[name.split()[1]][name.split()[0].lower()]["responses"]
    )
    at, mib = np.array(samples).T
    in_last_round = at >= at[-1] - seconds[-1]
    return {
        "callers": callers,
        "accepted": accepted,
        "ended": ", ".join(f"{name} {number}" for name, number in last.ends.most_common()),
        "pictures_fetched": last.pictures,
        "refused": ", ".join(f"{name} {number}" for name, number in last.refusals.most_common()),
        "answers": sum(each.statuses.total() for each in rounds),
        "answers_undocumented": undocumented,
        "jobs_out_of_order": sum(each.out_of_order for each in rounds),
        "jobs_per_s": accepted / seconds[-1],
        "resident_mib_idle": resident[0],
        "resident_mib_after_warm_up": resident[-2],
        "resident_mib_at_the_end": resident[-1],
        # A line through fewer points is none: a small crowd is gone before the third.
        "resident_mib_slope_per_1000_jobs": float(np.polyfit(at[in_last_round], mib[in_last_round], 1)[0])
        * (1000 * seconds[-1] / accepted)
        if np.unique(at[in_last_round]).size > 2
        else None,
    }


def call(gateway: Gateway, caller: int, jobs: int) -> Answers:
    """Make one caller's requests: send all its pictures, then wait for and fetch each drawing."""
    answers = Answers()
    with gateway.browser() as session:

        def ask(method: str, path: str, route: str, **more: Any) -> requests.Response:
            answer = session.request(method, f"{gateway.url}{path}", timeout=TIMEOUT_S, **more)
            answers.statuses[f"{method} {route} {answer.status_code}"] += 1
            return answer

        job_ids: list[str] = []
        good, bad = (itertools.islice(itertools.cycle(kinds), caller, None) for kinds in (GOOD, BAD))
        for number in itertools.count(caller):
            if len(job_ids) == jobs:
                break
            picture, options = next(bad if number % BAD_EVERY == 0 else good)
            answer = ask("POST", "/v1/jobs", "/v1/jobs", files={"image": picture}, data=options)
            if answer.status_code == 202:
                job_ids.append(answer.json()["id"])
            else:
                answers.refusals[answer.json()["code"]] += 1
        starts = []
        for job_id in job_ids:
            job: dict[str, Any] = {"status": ""}
            while job["status"] not in END_STATES:
                job = ask("GET", f"/v1/jobs/{job_id}?wait=60", "/v1/jobs/{job_id}").json()
            answers.ends["done" if job["status"] == "done" else job["error"]["code"]] += 1
            starts.append(moment(job["started_at"]))
            result = ask("GET", f"/v1/jobs/{job_id}/result", "/v1/jobs/{job_id}/result")
            answers.pictures += result.ok and len(result.content) == job["result"]["bytes"]
        answers.out_of_order = sum(later < sooner for sooner, later in itertools.pairwise(starts))
    return answers


def merged(parts: Sequence[Answers]) -> Answers:
    whole = Answers()
    for part in parts:
        whole.statuses += part.statuses
        whole.ends += part.ends
        whole.refusals += part.refusals
        whole.out_of_order += part.out_of_order
        whole.pictures += part.pictures
    return whole


@contextlib.contextmanager
def sampling(gateway: Gateway, samples: list[tuple[float, float]]) -> Iterator[None]:
    """Add the time in s and the gateway's resident MiB to `samples`, each half second."""
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(0.5):
            samples.append((time.monotonic(), gateway.resident_mib()))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


# ---- Throughput ------------------------------------------------------------------------------------------------------


def throughput(gateway: Gateway, server: Server, count: int) -> dict[str, Any]:
    picture = encoded(photo(SIDE_PX, SIDE_PX), quality=90)
    width = int(gateway.metric("animegan_gateway_torchserve_width"))
    direct = count / directly(server, picture, count, width)
    door = count / queued(gateway, picture, count)
    return {
        "side_px": SIDE_PX,
        "at_one_time": width,
        "direct_per_s": direct,
        "door_per_s": door,
        "ratio": door / direct,
    }


def directly(server: Server, picture: bytes, count: int, width: int) -> float:
    """Return the seconds for `count` pictures, `width` at one time."""
    remaining = iter(range(count))

    def draw(_: int) -> None:
        with requests.Session() as session:
            for _ in remaining:
                predict(server, session, picture)

    start = time.monotonic()
    with ThreadPoolExecutor(width) as pool:
        list(pool.map(draw, range(width)))
    return time.monotonic() - start


def queued(gateway: Gateway, picture: bytes, count: int) -> float:
    """Return the seconds from the start of the first picture to the end of the last."""
    with gateway.browser() as session:
        job_ids = []
        for _ in range(count):
            answer = gateway.submit(picture, session)
            assert answer.status_code == 202, answer.text
            job_ids.append(answer.json()["id"])
        jobs = [gateway.wait(job_id, within_s=TIMEOUT_S) for job_id in reversed(job_ids)]
    assert all(job["status"] == "done" for job in jobs)
    return max(moment(job["finished_at"]) for job in jobs) - min(moment(job["started_at"]) for job in jobs)


# ---- Latency ---------------------------------------------------------------------------------------------------------


def latency(gateway: Gateway, server: Server, side: int, count: int) -> dict[str, Any]:
    picture = encoded(photo(side, side), quality=90)
    whole: tuple[list[float], list[float]] = ([], [])
    beside: tuple[list[float], list[float]] = ([], [])
    with requests.Session() as direct, gateway.browser() as caller:
        ways = (partial(predict, server, direct, picture), partial(stylize, gateway, caller, picture))
        for number in range(-2, count):  # the first two are warm-up
            for at, ask in enumerate(ways):
                start = time.perf_counter()
                answer = ask()
                seconds = time.perf_counter() - start
                if number >= 0:
                    whole[at].append(1000 * seconds)
                    beside[at].append(1000 * (seconds - sum(Report.from_headers(answer.headers).seconds.values())))
    direct_ms, door_ms = map(statistics.median, whole)
    return {
        "side_px": side,
        "direct_ms": direct_ms,
        "door_ms": door_ms,
        "adds_ms": door_ms - direct_ms,
        "adds_beside_drawing_ms": statistics.median(beside[1]) - statistics.median(beside[0]),
    }


def predict(server: Server, session: requests.Session, picture: bytes) -> requests.Response:
    answer = session.post(f"{server.inference}/predictions/animegan", files={"data": picture}, timeout=TIMEOUT_S)
    answer.raise_for_status()
    return answer


def stylize(gateway: Gateway, session: requests.Session, picture: bytes) -> requests.Response:
    answer = session.post(f"{gateway.url}/v1/stylize", files={"image": picture}, timeout=TIMEOUT_S)
    answer.raise_for_status()
    return answer


if __name__ == "__main__":
    main(sys.argv[1:])
