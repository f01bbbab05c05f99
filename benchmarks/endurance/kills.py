"""Services are killed under load, at random moments: is a job lost, and when does the queue move again?

`scripts/benchmark kills [--kills 20] [--stores sqlite redis]`. The gateway, TorchServe's worker, its Java and Redis
(`appendfsync always`) are ended by SIGKILL, in an order and at moments that the stored seed gives; the gateway and
Redis are started again at once, TorchServe's parts by TorchServe and by `scripts/serve`. Meanwhile callers send small
pictures, each until it is accepted, and 3 in 10 once more under the same Idempotency-Key. A part is back once it
answers, TorchServe's parts once a worker is READY. Lost is a job that has not ended, ended twice, or is done without
its picture; a duplicate is one that nobody asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.result import store, table
from harness.gateways import running_gateway
from harness.servers import Server, running_server
from harness.stores import KINDS, redis_server
from harness.trials.crowd import Crowd, GatewayVictim, JavaVictim, RedisVictim, Victim, WorkerVictim

SEED = 20261124
PAUSES_S = (0.5, 4.0)  # from one recovery to the next kill
MOVES_WITHIN_S = 120.0


def main(arguments: Sequence[str], server: Server | None = None) -> None:
    """Measure on that server, or on one of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20, help="on each store")
    parser.add_argument("--stores", nargs="+", choices=KINDS, default=KINDS)
    options = parser.parse_args(arguments)
    jobs, kills = [], []
    for kind in options.stores:
        with (
            contextlib.nullcontext(server) if server else running_server() as running,
            tempfile.TemporaryDirectory() as folder,
        ):
            job_figures, rows = measure(kind, running, Path(folder), options.kills)
        jobs.append(job_figures)
        kills += rows
    table(("store", "victim", "back s", "moves s", "moves once back s"), [tuple(row.values()) for row in kills])
    print()
    table(tuple(jobs[0]), [tuple(row.values()) for row in jobs])
    slowest = max(row["moves_after_it_was_back_s"] for row in kills)
    print(f"\nThe queue moved again within {slowest:.1f} s of a restart.")
    store("kills", {"seed": SEED, "slowest_after_a_restart_s": slowest, "jobs": jobs, "kills": kills})


def measure(kind: str, server: Server, folder: Path, count: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what became of the jobs, and a row for each kill."""
    chance = random.Random(f"{SEED} {kind}")  # noqa: S311 - a run that can be had again
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis")) if kind == "redis" else None
        settings = {"store": redis.url} if redis else {}
        gateway = stack.enter_context(running_gateway(folder, server, rate_per_minute=0, **settings))
        victims: dict[str, Victim] = {
            "gateway": GatewayVictim(gateway),
            "worker": WorkerVictim(server),
            "TorchServe": JavaVictim(server),
        }
        if redis:
            victims["Redis"] = RedisVictim(redis)
        names = list(itertools.islice(itertools.cycle(victims), count))
        chance.shuffle(names)
        crowd, rows = Crowd([gateway], seed=SEED), []
        with crowd.sending():
            for name in names:
                time.sleep(chance.uniform(*PAUSES_S))
                victims[name].kill()
                killed_at = time.time()
                victims[name].restore()
                back_at = time.time()
                moved_at = crowd.moved_at(since=killed_at, within_s=MOVES_WITHIN_S)
                rows.append(
                    {
                        "store": kind,
                        "victim": name,
                        "back_s": back_at - killed_at,
                        "moves_s": moved_at - killed_at,
                        "moves_after_it_was_back_s": max(0.0, moved_at - back_at),
                    }
                )
        audit = crowd.audit()
    ends = dict(audit.ends)
    job_figures = {
        "store": kind,
        "kills": len(rows),
        "accepted": len(crowd.orders),
        "done": ends.pop("done", 0),
        "failed": ", ".join(f"{code} {number}" for code, number in sorted(ends.items())) or "none",
        "lost": len(audit.losses),
        "duplicates": audit.duplicates,
    }
    for reason in audit.losses:
        print(f"Lost: {reason}")
    return job_figures, rows


if __name__ == "__main__":
    main(sys.argv[1:])
