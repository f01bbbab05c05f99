"""A video's file drawn to another one by a pipeline, with a report of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from animegan.clips.video.encoding import Kind
from animegan.clips.video.files import draw_file
from animegan.options import Options
from animegan.pipeline.pipeline import Pipeline
from animegan.pipeline.reports import report_of
from animegan.report import Report


def draw_video(
    pipeline: Pipeline, source: Path, options: Options, kind: Kind, target: Path, progress: Callable[[float], None]
) -> Report:
    """Draw a video to `target`: see `draw_file`."""
    stylizer, sides = pipeline.stylizer_of_clips(options), (options.max_side, options.max_pixels)
    video, drawing = draw_file(
        stylizer, options.wish, source, sides, options.quality, kind, target, pipeline.limits, progress
    )
    return report_of(options, stylizer, video, drawing.plan, drawing.faces, {"run": drawing.run_seconds})
