"""In which order rows are drawn, and how many rows of each map are kept for it. Imports no torch.

The photo goes in a few rows at a time. Each convolution then makes the rows that it can: one fewer than those below it,
until the last. Every row of every map is made once, and let go when its last reader has passed: what is kept grows with
the width of the picture, not with its height.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from animegan.networks.redraw.steps import DRAWING, PHOTO, Map, Program, Step

ENLARGED_ROWS = 4  # of the photo


@dataclass(frozen=True)
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
class Schedule:
    """All work in order. `capacity`: rows of each map that are kept at most. `peak_bytes`: of all maps at one time."""

    work: tuple[Work, ...]
    capacity: dict[str, int]
    peak_bytes: int


def _order(program: Program, height: int, rows: int, alignment: int) -> Iterator[tuple[int, int, int]]:
    """Yield the index of each step and its rows, in the source's scale.

    The steps at the photo's scale go on by `rows` a time, those at a larger one, whose maps are larger, by
    `ENLARGED_ROWS`.
    """
    steps = program.steps
    split = next((index for index, step in enumerate(steps) if step.up), len(steps))
    done = [0] * len(steps)

    def advance(part: range, ready: int, most: int) -> Iterator[tuple[int, int, int]]:
        for index in part:
            step = steps[index]
            scale = program.maps[step.source].scale
            last = (ready - step.halo) // alignment * alignment if step.halo else ready
            last = min(height * scale if ready == height * scale else last, done[index] + most * scale)
            if last > done[index]:
                yield index, done[index], last
                done[index] = last
            ready = 2 * done[index] if step.up else done[index]

    while done[-1] < height * program.maps[steps[-1].source].scale:
        yield from advance(range(split), min(done[0] + rows, height), rows)
        before = -1
        while sum(done[split:]) != before:
            before = sum(done[split:])
            yield from advance(range(split, len(steps)), done[split - 1], ENLARGED_ROWS)


@functools.lru_cache(maxsize=64)
def schedule(program: Program, height: int, width: int, rows: int, alignment: int, itemsize: int) -> Schedule:
    """Return how a photo of that size is drawn, in px, going in `rows` at a time."""
    readers: dict[str, list[tuple[int, int]]] = {name: [] for name in program.maps}
    for index, step in enumerate(program.steps):
        readers[step.source].append((index, step.halo))
        for name in (step.residual, step.residual2):
            if name:
                readers[name].append((index, 0))
    done = [0] * len(program.steps)
    stop = dict.fromkeys(program.maps, 0)
    capacity, alive, work, peak = dict.fromkeys(program.maps, 0), {}, [], 0

    for index, first, last in _order(program, height, rows, alignment):
        step = program.steps[index]
        scale = 2 if step.up else 1
        keep = (
            scale * first if step.target == DRAWING else max(0, min(done[i] - halo for i, halo in readers[step.target]))
        )
        stop[step.target] = max(stop[step.target], scale * last)
        capacity[step.target] = max(capacity[step.target], stop[step.target] - keep)
        done[index] = last
        finished = tuple(
            name
            for name in {step.source, step.residual, step.residual2} - {"", PHOTO}
            if all(done[reader] >= height * program.maps[name].scale for reader, _ in readers[name])
        )
        work.append(Work(step, first, last, keep, finished))
    for item in work:
        name = item.step.target
        alive[name] = map_bytes(program.maps[name], capacity[name], width, itemsize)
        peak = max(peak, sum(alive.values()))
        for name in item.finished:
            alive.pop(name, None)
    return Schedule(tuple(work), capacity, peak)


def map_bytes(map: Map, rows: int, width: int, itemsize: int) -> int:
    """Return the bytes of rows of a map; `width` in px of the photo."""
    return map.channels * rows * map.scale * width * itemsize
