"""Videos drawn in this process: each to its file by way of segments, from which a run that was ended goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from animegan.clips.video.encoding import CONTENT_TYPES, Kind
from animegan.errors import AnimeganError
from animegan.options import Options, parse
from animegan.picture.formats.films import FORMATS
from animegan.picture.headers import KIND_BYTES, kind
from animegan.report import Report
from animegan_cli.stylize.places import with_local_source, with_local_target
from animegan_cli.stylize.tasks import Task

if TYPE_CHECKING:
    from animegan.pipeline.pipeline import Pipeline


def is_video(source: Path) -> bool:
    """Return whether a file is a video that is read here, by its content."""
    try:
        with source.open("rb") as file:
            return kind(file.read(KIND_BYTES)) in FORMATS
    except (AnimeganError, OSError):
        return False  # whoever reads it says why


def moves(task: Task, options: Mapping[str, str]) -> bool:
    """Return whether a task is to draw a video as one."""
    still = options.get("frames", "") == "first" or task.format not in ("", "auto")
    return not still and is_video(task.source)


def draw(
    pipeline: Pipeline, task: Task, options: Mapping[str, str], progress: Callable[[float], None]
) -> tuple[Path, Report]:
    """Draw a task's video. Raise its `AnimeganError`, or `OSError`."""
    from animegan.pipeline.files import draw_video  # noqa: PLC0415 - it imports torch

    drawing_options: Options = parse({**options, "format": task.format}, pipeline.settings)
    container: Kind = "webm" if task.ending.lower() == ".webm" else "mp4"
    reports: list[Report] = []

    def write(part: Path) -> None:
        def draw_here(source: Path) -> Report:
            return with_local_target(
                part, lambda target: draw_video(pipeline, source, drawing_options, container, target, progress)
            )

        reports.append(with_local_source(task.source, draw_here))

    output = task.put(write, CONTENT_TYPES[container])
    return output, reports[0]
