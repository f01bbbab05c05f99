"""A video's file drawn to another one, however long it is, and gone on with where an earlier run was ended."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from animegan import __version__
from animegan.clips.drawing import ClipDrawing
from animegan.clips.limits import NO_LIMITS
from animegan.clips.video.drawing import coding_of, draw_in_segments
from animegan.clips.video.encoding import Kind
from animegan.clips.video.reading import Video, open_video
from animegan.options import Wish
from animegan.picture.headers import Header, inspect
from animegan.picture.sizes import Limits
from animegan.resources.progress import observer

if TYPE_CHECKING:
    from animegan.stylizer import Stylizer


def draw_file(
    stylizer: Stylizer,
    wish: Wish,
    source: Path,
    sides: tuple[int | None, int | None],
    quality: int,
    kind: Kind,
    target: Path,
    limits: Limits,
    progress: Callable[[float], None] | None = None,
) -> tuple[Video, ClipDrawing]:
    """Draw a video to `target`, and tell how much of it is drawn, from 0 to 1. Its length has no limit.

    `sides`: the limits on the longest side and on the pixels, as `sizes.fit` takes them. Until it is whole, segments
    are in the folder beside the target that ends with .parts, from which a later run goes on.

    Raise the video's `AnimeganError`, or `OSError`.
    """
    limits = replace(limits, max_bytes=2**62)
    video = open_video(source, _header(source, limits), *sides, limits, NO_LIMITS)
    drawing = ClipDrawing(stylizer, wish, video.frames, video.name)
    stat = source.stat()
    plan = {
        "version": __version__,
        "style": stylizer.style.id,
        "fast": stylizer.fast,
        "precision": stylizer.precision,
        "wish": asdict(wish),
        "size": video.size,
        "kind": kind,
        "quality": quality,
        "bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
    }
    with observer(progress):
        folder = target.with_suffix(".parts")
        draw_in_segments(video, drawing, coding_of(video, kind, quality), folder, plan, target)
    return video, drawing


def _header(source: Path, limits: Limits) -> Header:
    if not source.stat().st_size:
        return inspect(b"", limits)
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return inspect(data, limits)
