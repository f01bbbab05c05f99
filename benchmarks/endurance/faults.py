"""Services fail while callers send pictures: what do they see, for how long, and what is lost?

`scripts/benchmark faults [--redis 30] [--overload 300]` (both in seconds) writes `docs/operations/faults.md` too. The
services are what `scripts/serve` starts, with Redis (`appendfsync always`); `tests/harness/trials/faults.py` scripts
the faults, and the tests go through some of them in the same way. Callers send small pictures, each until it is
accepted, and 3 in 10 once more under the same Idempotency-Key. A pause is the longest time in which no picture came,
the fault's mending included. Lost is a job that has not ended, ended twice, or is done without its picture; a
duplicate is one that nobody asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common import result
from benchmarks.common.result import store, table
from harness.trials.faults import all_of_them
from harness.trials.overload import Overload, overload
from harness.trials.services import QUEUE_JOBS, Outcome, count_text, running_services, suffer

REDIS_S, OVERLOAD_S = 30.0, 300.0
TIMES = 2.0
SIDE_PX = 512
PAGE = result.FOLDER.parents[1] / "docs" / "operations" / "faults.md"

Row = dict[str, Any]

_PAGE = """\
# Faults

Written by `scripts/benchmark faults` from what it saw; a test fails when this page differs from the stored run. What
`scripts/serve` starts, with Redis, is broken in each of these ways while four callers send small pictures without end:
each until it is accepted, as the client library does, too. The tests break it in some of these ways.

{table}
A pause is the longest time in which no picture came, the time that the mending takes included. Lost would be a job that
was accepted and has not ended, ended twice, or is done without its picture. Measured {measured} on {cpu}, {cpus} CPUs.

## What mends what

| What ended | What starts it again |
| --- | --- |
| a worker | TorchServe |
| TorchServe, the agent, the gateway | `scripts/serve`; in containers, what runs these |
| Redis | what runs it: nothing of this house |

`scripts/serve` starts a part that died again at once, but no sooner than 1, 2, 4, 8 and then each time 10 s after its
last start, for as long as it takes, while the others go on; from the sixth death in a row on it says so once a minute.

What was being drawn is drawn again: alone, and later, so that a picture that ends its worker harms no other. The second
time it fails as `worker_killed`. The gateway tells by the monotonic clock that the wall clock was set: nothing expires
too early, and no pause lasts until the old time comes again. While it does not run nobody tells; an hour forwards then
makes everything an hour older.
"""


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark faults")
    parser.add_argument("--redis", type=float, default=REDIS_S, metavar="SECONDS", help="that Redis is away")
    parser.add_argument("--overload", type=float, default=OVERLOAD_S, metavar="SECONDS", help="of too many pictures")
    options = parser.parse_args(arguments)
    rows, skips = [], []
    with tempfile.TemporaryDirectory() as folder, running_services(Path(folder)) as services:
        for fault in all_of_them(options.redis):
            print(f"{fault.name} ...", flush=True)
            try:
                rows.append(row_of(suffer(services, fault)))
            except pytest.skip.Exception as reason:
                skips.append({"fault": fault.name, "not_tried": str(reason)})
        print("Too many pictures ...", flush=True)
        gateway = services.server.gateway()
        assert gateway
        outcome = overload(
            services.gateway, gateway, seconds=options.overload, times=TIMES, side=SIDE_PX, queue_jobs=QUEUE_JOBS
        )
        rows.append(row_of_overload(outcome, options.overload))
    table(
        ("fault", "pause s", "accepted", "lost"),
        [(row["fault"], row["pause_s"], row["accepted"], row["lost"]) for row in rows],
    )
    store("faults", {"queue_jobs": QUEUE_JOBS, "faults": rows, **({"not_tried": skips} if skips else {})})
    PAGE.write_text(render())
    print(f"Written: {PAGE}")


def row_of(outcome: Outcome) -> Row:
    for loss in outcome.audit.losses:
        print(f"Lost: {loss}")
    ends = dict(outcome.audit.ends)
    return {
        "fault": outcome.fault.name,
        "how": outcome.fault.what,
        "callers_saw": count_text(outcome.errors),
        "pause_s": outcome.pause_s,
        "accepted": outcome.accepted,
        "done": ends.pop("done", 0),
        "failed": ", ".join(f"{code} ×{count}" for code, count in sorted(ends.items())) or "none",
        "lost": len(outcome.audit.losses),
        "duplicates": outcome.audit.duplicates,
        "beside": outcome.beside,
    }


def row_of_overload(outcome: Overload, seconds: float) -> Row:
    ends = dict(outcome.audit.ends)
    refusals = Counter({name: count for name, count in outcome.answers.items() if name != "202"})
    retry_after = (
        f", with Retry-After {min(outcome.retry_after_s)} to {max(outcome.retry_after_s)} s" if refusals else ""
    )
    return {
        "fault": f"{outcome.rate / outcome.capacity:g} times as many pictures as can be drawn, for {seconds:g} s",
        "how": f"{outcome.rate:.1f} a second of {outcome.side_px}×{outcome.side_px}, with a queue of {QUEUE_JOBS}",
        "callers_saw": f"{count_text(refusals)}{retry_after}",
        "pause_s": outcome.pause_s,
        "accepted": len(outcome.orders),
        "done": ends.pop("done", 0),
        "failed": ", ".join(f"{code} ×{count}" for code, count in sorted(ends.items())) or "none",
        "lost": len(outcome.audit.losses),
        "duplicates": 0,
        "beside": f"waits: {outcome.wait_s(50):.1f} s in the middle, {outcome.wait_s(100):.1f} s at most, and a full "
        f"queue takes {QUEUE_JOBS / outcome.capacity:.1f} s; the gateway's memory changed by "
        f"{outcome.growth_mib():+.1f} MiB",
    }


def render() -> str:
    """The page of the stored run, as Markdown."""
    figures = json.loads((result.FOLDER / "faults.json").read_text())
    lines = ["| Fault | What callers saw | Pause, s | Accepted | Done | Failed | Lost | Beside |", "| --- " * 8 + "|"]
    for row in figures["faults"]:
        saw = "nothing but the pause" if row["callers_saw"] == "nothing" else row["callers_saw"]
        cells = [f"**{row['fault']}**: {row['how']}", saw, f"{row['pause_s']:.1f}"]
        cells += [str(row[name]) for name in ("accepted", "done", "failed", "lost", "beside")]
        lines.append(f"| {' | '.join(cells)} |")
    for row in figures.get("not_tried", ()):
        lines.append(f"| **{row['fault']}** | not tried: {row['not_tried']} | | | | | | |")
    machine = figures["machine"]
    return _PAGE.format(
        table="".join(f"{line}\n" for line in lines),
        measured=figures["measured"],
        cpu=machine["cpu"],
        cpus=machine["cpus"],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
