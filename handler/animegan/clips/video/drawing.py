"""A video drawn: at once, or in segments that are files, so that a run that was ended goes on where it was."""

from __future__ import annotations

import json
import shutil
from io import BytesIO
from itertools import count, islice, takewhile
from pathlib import Path
from typing import Any

import torch

from animegan.clips.drawing import ClipDrawing
from animegan.clips.video.encoding import CONTENT_TYPES, KEY_FRAME_S, Coding, Kind, encode
from animegan.clips.video.joining import join
from animegan.clips.video.memory import video_bytes
from animegan.clips.video.reading import Video
from animegan.picture.images import Encoded

PLAN = "plan.json"  # in a folder of segments: what they are segments of


def draw(video: Video, drawing: ClipDrawing, kind: Kind, quality: int) -> Encoded:
    """Return the file of the drawn video. Raise as `ClipDrawing.draw`."""
    drawing.beside_bytes = video_bytes(video, kind)
    segment, target = BytesIO(), BytesIO()
    encode(drawing.draw(video.read()), coding_of(video, kind, quality), segment)
    join([segment], video, kind, target)
    return Encoded(target.getvalue(), CONTENT_TYPES[kind])


def coding_of(video: Video, kind: Kind, quality: int) -> Coding:
    """Return how the video's drawn frames are encoded."""
    return Coding(kind, video.size, video.unit, video.rate, quality)


def draw_in_segments(
    video: Video, drawing: ClipDrawing, coding: Coding, folder: Path, plan: dict[str, Any], target: Path
) -> None:
    """Draw the video to a file, by way of segments in a folder, which are kept where the drawing is ended early.

    `plan`: what the segments depend on, as JSON has it; those of another plan are deleted. Raise as
    `ClipDrawing.draw`, or `OSError`.
    """
    drawing.beside_bytes = video_bytes(video, coding.kind)
    segments = _Segments(folder, plan)
    if state := segments.state():
        drawing.restore(state)
    frames = drawing.draw(video.read(drawing.position))
    each = max(1, round(KEY_FRAME_S * video.rate))
    count = each
    while count == each:
        with segments.part.open("w+b") as file:
            count = encode(islice(frames, each), coding, file)
        if count:
            segments.keep(drawing.state())
    try:
        with target.open("w+b") as file:
            join(segments.files(), video, coding.kind, file)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    shutil.rmtree(folder)


class _Segments:
    """A folder with segments, each with the state of the drawing after it."""

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        self._folder = folder
        self.part = folder / "next.part"  # where the next segment is written
        note = folder / PLAN
        text = json.dumps(plan, sort_keys=True)
        if not (note.is_file() and note.read_text("utf-8", "replace") == text):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            note.write_text(text, "utf-8")

    def files(self) -> list[Path]:
        """Return the segments in their order."""
        return [*takewhile(Path.is_file, (self._file(number) for number in count()))]

    def state(self) -> dict[str, Any] | None:
        """Return the state after the last segment; None where there is none."""
        files = self.files()
        if not files:
            return None
        state: dict[str, Any] = torch.load(self._state(len(files) - 1), weights_only=True)
        return state

    def keep(self, state: dict[str, Any]) -> None:
        """Take in the part, which is a whole segment by now, and the state after it."""
        number = len(self.files())
        torch.save(state, self._state(number))
        self.part.replace(self._file(number))  # last, since a segment without a state is of no use
        self._state(number - 1).unlink(missing_ok=True)

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:06}.nut"

    def _state(self, number: int) -> Path:
        return self._folder / f"{number:06}.state"
