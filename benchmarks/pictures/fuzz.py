"""Damaged picture files against the decoder: each gives a picture or one of the product's errors, and soon.

`scripts/benchmark fuzz [FILES]` (100,000 by default). Each file is a whole one of a known kind, cut, overwritten, or
with pieces moved; the seed is stored, so that a run can be had again. The memory is the process's, above what it had
when each kind had been decoded once.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections import Counter

from animegan.errors import AnimeganError
from animegan.picture.images import Limits, decode
from benchmarks.common.result import store, table
from harness.files.picture_files import files

SEED = 20261122
LIMITS = Limits(max_bytes=8 << 20, max_pixels=4_000_000)


def main(most: int) -> None:
    chance = random.Random(SEED)  # noqa: S311 - a run that can be had again
    whole = list(files().items())
    for _, data in whole:
        decode(data, max_side=256, limits=LIMITS)
    before = _peak_bytes()
    outcomes: Counter[str] = Counter()
    slowest, slowest_kind = 0.0, ""
    start_s = time.monotonic()
    for _ in range(most):
        kind, data = chance.choice(whole)
        damaged = damage(data, chance)
        start = time.perf_counter()
        try:
            decode(damaged, max_side=256, limits=LIMITS)
            outcome = "picture"
        except AnimeganError as error:
            outcome = error.code
        seconds = time.perf_counter() - start
        outcomes[outcome] += 1
        if seconds > slowest:
            slowest, slowest_kind = seconds, kind
    table(("outcome", "files"), [(outcome, count) for outcome, count in outcomes.most_common()])
    print(f"\n{outcomes.total()} files, the slowest {1000 * slowest:.0f} ms ({slowest_kind})")
    store(
        "fuzz",
        {
            "seed": SEED,
            "seconds": round(time.monotonic() - start_s),
            "files": outcomes.total(),
            "outcomes": dict(outcomes.most_common()),
            "slowest_ms": 1000 * slowest,
            "slowest_kind": slowest_kind,
            "memory_mb": (_peak_bytes() - before) / 2**20,
        },
    )


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def damage(data: bytes, chance: random.Random) -> bytes:
    """Return the data with one to eight cuts, overwritten bytes or moved pieces."""
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(damaged)) if damaged else 0
        match chance.randrange(4):
            case 0:
                del damaged[at:]
            case 1:
                damaged[at : at + 1] = chance.randbytes(1)
            case 2:
                damaged[at : at + 4] = chance.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"])
            case _:
                piece = damaged[at : at + chance.randint(1, 64)]
                damaged[at:at] = piece
    return bytes(damaged)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
