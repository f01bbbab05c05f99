"""In which order rows are drawn, and how many rows of each map are kept for it. Imports no torch.

The photo goes in a few rows at a time. Each convolution then makes the rows that it can: one fewer than those below it,
until the last. Every row of every map is made once, and let go when its last reader has passed: what is kept grows with
the width of the picture, not with its height.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from animegan.networks.redraw.steps import DRAWING, PHOTO, Program, Step

ENLARGED_ROWS = 4  # of the photo, that a step makes at a time once its maps are larger than the photo
STEADY_ROWS = 512  # of a photo: from there on more rows change nothing but how often the same is done
PERIOD_ROWS = 64  # after which the order repeats


@dataclass(frozen=True, slots=True)
class Work:
    """Rows [first, last), in the source's scale, that a step makes.

    `keep`: the first row of the target that is still read. `finished`: maps that nobody reads after it.
    """

    step: Step
    first: int
    last: int
    keep: int
    finished: tuple[str, ...]


@dataclass(frozen=True)
class Needs:
    """The memory that a schedule takes.

    `capacity`: rows of each map that are kept at most. `peak_values`: of all maps at one time, for each column of the
    photo. `most_rows`: of the target, that each step makes at one time.
    """

    capacity: dict[str, int]
    peak_values: int
    most_rows: dict[Step, int]


def schedule(program: Program, height: int, rows: int, alignment: int) -> Iterator[Work]:
    """Yield the work on a photo of that height, in order; `rows` of it go in at a time."""
    steps, last_readers = program.steps, _last_readers(program)
    ends = [tuple(name for name, reader in last_readers.items() if reader == index) for index in range(len(steps))]
    totals = [height * program.maps[step.source].scale for step in steps]
    progress = [0] * len(steps)

    def advance(part: range, ready: int, most: int) -> Iterator[Work]:
        for index in part:
            step, total = steps[index], totals[index]
            last = (ready - step.halo) // alignment * alignment if step.halo and ready < total else ready
            last = min(last, progress[index] + most * program.maps[step.source].scale)
            if last > progress[index]:
                first, reader = progress[index], last_readers.get(step.target)
                progress[index] = last
                keep = first if reader is None else max(0, progress[reader] - steps[reader].halo)
                keep *= 2 if step.up and reader is None else 1
                yield Work(step, first, last, keep, ends[index] if last >= total else ())
            ready = 2 * progress[index] if step.up else progress[index]

    enlarged = next((index for index, step in enumerate(steps) if step.up), len(steps))
    while progress[-1] < totals[-1]:
        yield from advance(range(enlarged), min(progress[0] + rows, height), rows)
        before = -1
        while sum(progress[enlarged:]) != before:
            before = sum(progress[enlarged:])
            yield from advance(range(enlarged, len(steps)), progress[enlarged - 1], ENLARGED_ROWS)


def needs(program: Program, height: int, rows: int, alignment: int) -> Needs:
    """Return what the schedule takes; `height` in px of the photo."""
    if rows < height:
        height = min(height, STEADY_ROWS + (height - STEADY_ROWS) % PERIOD_ROWS)
        return _needs(program, height, rows, alignment)
    return _needs(program, height, height, alignment)


@functools.lru_cache(maxsize=256)
def _needs(program: Program, height: int, rows: int, alignment: int) -> Needs:
    capacity: dict[str, int] = {}
    most_rows: dict[Step, int] = {}
    stop: dict[str, int] = {}
    order: list[tuple[str, tuple[str, ...]]] = []
    for work in schedule(program, height, rows, alignment):
        name, scale = work.step.target, 2 if work.step.up else 1
        stop[name] = max(stop.get(name, 0), scale * work.last)
        capacity[name] = max(capacity.get(name, 0), stop[name] - work.keep)
        most_rows[work.step] = max(most_rows.get(work.step, 0), scale * (work.last - work.first))
        order.append((name, work.finished))
    alive: dict[str, int] = {}
    values = peak = 0
    for name, ends in order:
        if name not in alive:
            map = program.maps[name]
            alive[name] = map.channels * map.scale * capacity[name]
            values += alive[name]
            peak = max(peak, values)
        for other in ends:
            values -= alive.pop(other, 0)
    return Needs(capacity, peak, most_rows)


@functools.lru_cache(maxsize=8)
def _last_readers(program: Program) -> dict[str, int]:
    """The index of the last step that reads each map, which is behind all others that read it."""
    last: dict[str, int] = {}
    for index, step in enumerate(program.steps):
        last |= {name: index for name in (step.source, step.residual, step.residual2) if name not in ("", PHOTO)}
    assert DRAWING not in last
    return last
