"""What is reported of a drawing, whichever way it was made."""

from __future__ import annotations

from collections.abc import Mapping

from animegan.clips.clip import ClipFile
from animegan.drawing import LookPlan
from animegan.options import Options
from animegan.picture.images import Picture
from animegan.report import Report
from animegan.stylizer import Stylizer


def report_of(
    options: Options,
    stylizer: Stylizer,
    source: Picture | ClipFile,
    plan: LookPlan | None,
    faces: int,
    seconds: Mapping[str, float],
) -> Report:
    """Return the report of a drawing of `source`. `plan`: None where an earlier run had drawn all of it.

    It shares `seconds`: a phase that is still under way adds its own.
    """
    return Report(
        style=options.style,
        license=stylizer.style.license,
        precision=stylizer.precision,
        plan=plan.mode if plan else "whole",
        detail=plan.detail if plan else None,
        original_size=source.original_size,
        size=source.size,
        frames=source.frames,
        drawn_frames=source.frames if isinstance(source, ClipFile) else 1,
        flaws=source.flaws,
        mode="portrait" if faces or options.wish.mode == "portrait" else "scene",
        faces=faces,
        seconds=seconds,
    )
