"""The photos drawn and written: in this process decoded, drawn and encoded side by side; through a server."""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from animegan.errors import AnimeganError, BadOption, InternalError
from animegan.options import BEST, FAST, ORIGINAL
from animegan.picture.images import Encoded
from animegan.report import Report
from animegan_cli.stylize import cluster, videos
from animegan_cli.stylize.cluster import Cluster
from animegan_cli.stylize.engines import Server
from animegan_cli.stylize.tasks import Task
from animegan_client import Client, ServerError
from animegan_client.folder import Outcome as Answer

if TYPE_CHECKING:
    from animegan.pipeline.items import Item
    from animegan.pipeline.pipeline import Pipeline

    Engine: TypeAlias = Pipeline | Server | Client | Cluster

AHEAD = 2  # batches that are decoded before it is their turn
BATCH = 8  # photos on a GPU, where those of one size are drawn together


@dataclass(frozen=True)
class Outcome:
    """Of one task: where the drawing lies and what was done, or why there is none. `stat` is the photo's as read."""

    task: Task
    drawing: tuple[Path, Report] | None = None
    error: AnimeganError | None = None
    stat: os.stat_result | None = None


def draw(
    tasks: Sequence[Task],
    engine: Engine,
    options: Mapping[str, str],
    progress: Callable[[float], None] = lambda _: None,
) -> Generator[Outcome, None, None]:
    """Draw and write the pictures, and yield each as it is finished.

    `progress` is told how much of the one that is being drawn here is done, from 0 to 1; on a GPU it is not.

    Raises `BadOption` for a number that is none, `InternalError` where a gateway wants another key.
    """
    if isinstance(engine, Client):
        yield from _draw_through(engine, tasks, options)
    elif isinstance(engine, Cluster):
        yield from cluster.draw(engine, tasks, options)
    elif isinstance(engine, Server):
        for task in tasks:
            yield _outcome(task, _stat(task), partial(_draw_with, engine, task, options))
    else:
        yield from _draw_here(engine, tasks, options, progress)


def draw_bytes(
    data: bytes, engine: Pipeline | Server | Client, options: Mapping[str, str], format: str
) -> tuple[Encoded, Report]:
    """Draw one picture. Raises its `AnimeganError`."""
    if not isinstance(engine, Client):
        return engine.stylize(data, {**options, "format": format})
    try:
        with engine:
            picture = engine.stylize(data, **client_options(options, format))
    except ServerError as error:
        raise InternalError(error.detail) from None
    return Encoded(picture.data, picture.content_type), picture.report


def _draw_with(engine: Server, task: Task, options: Mapping[str, str]) -> tuple[Encoded, Report]:
    return engine.stylize(task.source.read_bytes(), {**options, "format": task.format})


# ---- In this process -------------------------------------------------------------------------------------------------


def _draw_here(
    pipeline: Pipeline, tasks: Sequence[Task], options: Mapping[str, str], progress: Callable[[float], None]
) -> Generator[Outcome, None, None]:
    """Draw the photos, then the videos."""
    films = [task for task in tasks if videos.moves(task, options)]
    yield from _draw_photos(pipeline, [task for task in tasks if task not in films], options, progress)
    for task in films:
        yield _attempt(task, _stat(task), partial(videos.draw, pipeline, task, options, progress))


def _draw_photos(
    pipeline: Pipeline, tasks: Sequence[Task], options: Mapping[str, str], progress: Callable[[float], None]
) -> Generator[Outcome, None, None]:
    """Draw a batch while the next ones are decoded and the last one is encoded; no more than these are in memory."""
    size = 1 if pipeline.device.type == "cpu" else BATCH
    remaining = iter(tasks)
    decoded: deque[list[_Work]] = deque()
    drawings: deque[list[_Work]] = deque()
    while True:
        while len(decoded) <= AHEAD and (some := [*islice(remaining, size)]):
            decoded.append([_begin(pipeline, task, options) for task in some])
        if not decoded:
            break
        batch = decoded.popleft()
        if size == 1:
            batch[0].item.progress = progress
        pipeline.draw([work.item for work in batch])
        drawings.append(batch)
        if len(drawings) > 1:
            yield from _finish(pipeline, drawings.popleft())
    for batch in drawings:
        yield from _finish(pipeline, batch)


@dataclass(frozen=True)
class _Work:
    task: Task
    stat: os.stat_result | None
    item: Item


def _begin(pipeline: Pipeline, task: Task, options: Mapping[str, str]) -> _Work:
    stat = _stat(task)
    try:
        return _Work(task, stat, pipeline.decode(task.source.read_bytes(), {**options, "format": task.format}))
    except OSError as error:
        from animegan.pipeline.items import Failed, Item  # noqa: PLC0415 - it is imported by now

        return _Work(task, stat, Item(Failed(_unreadable(error))))


def _finish(pipeline: Pipeline, batch: Sequence[_Work]) -> Iterator[Outcome]:
    pipeline.encode([work.item for work in batch])
    for work in batch:
        yield _outcome(work.task, work.stat, partial(_encode, work.item))


def _encode(item: Item) -> tuple[Encoded, Report]:
    result = item.result()
    return result.encoded, result.report


# ---- Through a gateway -----------------------------------------------------------------------------------------------


def _draw_through(client: Client, tasks: Sequence[Task], options: Mapping[str, str]) -> Generator[Outcome, None, None]:
    tasks_of: dict[Path, list[Task]] = defaultdict(list)  # a photo that was given twice may have two places
    for task in tasks:
        tasks_of[task.source].append(task)
    stats = {task.source: _stat(task) for task in tasks}
    answers = client.stylize_folder(tasks_of, **client_options(options, tasks[0].format))  # a plan has one format
    with closing(answers):
        for answer in answers:
            if isinstance(answer.error, ServerError) and answer.error.code in ("unauthorized", "forbidden"):
                raise InternalError(answer.error.detail)  # it would be said of each picture
            for task in tasks_of[answer.source]:
                yield _outcome(task, stats[task.source], partial(_receive, answer))


def client_options(options: Mapping[str, str], format: str) -> dict[str, Any]:
    """Return the options as the client takes them. Raises `BadOption` for a number that is none."""
    return {
        "style": options["style"] or None,
        "max_side": ORIGINAL if options["max_side"] == ORIGINAL else _number(options, "max_side"),
        "max_pixels": _number(options, "max_pixels"),
        "format": format.replace("jpg", "jpeg") or None,
        "quality": options["quality"] if options["quality"] in (FAST, BEST) else _number(options, "quality"),
        "detail": options["detail"] or None,
        "strength": _share(options, "strength"),
        "color": options["color"] or None,
        "tone": options["tone"] or None,
        "mode": options["mode"] or None,
        "frames": options["frames"] or None,
    }


def _receive(answer: Answer[Path]) -> tuple[Encoded, Report]:
    if isinstance(answer.error, OSError):
        raise answer.error
    if not answer.picture:
        raise InternalError(str(answer.error))
    return Encoded(answer.picture.data, answer.picture.content_type), answer.picture.report


def _number(options: Mapping[str, str], name: str) -> int | None:
    try:
        return int(options[name]) if options[name] else None
    except ValueError:
        raise BadOption(f"{name}={options[name]!r}: use a whole number.") from None


def _share(options: Mapping[str, str], name: str) -> float | None:
    try:
        return float(options[name]) if options[name] else None
    except ValueError:
        raise BadOption(f"{name}={options[name]!r}: use a number from 0 to 1.") from None


def _stat(task: Task) -> os.stat_result | None:
    try:
        return task.source.stat()
    except OSError:
        return None  # reading it says why


def _outcome(task: Task, stat: os.stat_result | None, encode: Callable[[], tuple[Encoded, Report]]) -> Outcome:
    """Write what is drawn."""

    def write() -> tuple[Path, Report]:
        encoded, report = encode()
        return task.write(encoded), report

    return _attempt(task, stat, write)


def _attempt(task: Task, stat: os.stat_result | None, write: Callable[[], tuple[Path, Report]]) -> Outcome:
    """Return what became of a task; also where a file can't be read or written, the error is the picture's own."""
    try:
        return Outcome(task, write(), stat=stat)
    except AnimeganError as error:
        return Outcome(task, error=error, stat=stat)
    except OSError as error:
        return Outcome(task, error=_unreadable(error), stat=stat)


def _unreadable(error: OSError) -> InternalError:
    return InternalError(f"{error.strerror}: {error.filename}")
