"""Which photo is drawn to which file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from animegan.errors import AnimeganError, BadOption, InternalError
from animegan.picture.formats.films import FORMATS
from animegan.picture.headers import KIND_BYTES, kind
from animegan.picture.images import Encoded
from animegan_cli.stylize.journal import Journal
from animegan_cli.stylize.places import move
from animegan_cli.stylize.sources import find

SUFFIXES = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp"}  # of an output, with its format
MOVING = {  # what a clip becomes, and nothing else
    ".gif": "image/gif",
    ".avif": "image/avif",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}
SOURCES = {"image/gif": ("GIF",), "image/avif": ("AVIF",), "video/mp4": FORMATS, "video/webm": FORMATS}  # kinds of file
ENDINGS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/avif": ".avif",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
}


@dataclass(frozen=True)
class Task:
    """One picture to draw, to `base` and its ending; an empty `ending` is left to the format that comes back."""

    source: Path
    base: Path
    ending: str
    format: str

    def outputs(self) -> list[Path]:
        """Return where the output may lie."""
        return [self._output(ending) for ending in ([self.ending] if self.ending else ENDINGS.values())]

    def write(self, encoded: Encoded) -> Path:
        """Write the output in one step, so that a broken-off run leaves nothing that looks done.

        Raises as `put`.
        """

        def write(part: Path) -> None:
            part.write_bytes(encoded.data)

        return self.put(write, encoded.content_type)

    def put(self, write: Callable[[Path], None], content_type: str) -> Path:
        """Have the output written to a path beside its own, and put it in place; return that.

        Raises `InternalError`, which names the output, or `BadOption` where its ending is another kind's.
        """
        output = self._output(self.ending or ENDINGS[content_type])
        if MOVING.get(self.ending.lower(), content_type) != content_type:
            raise _other_kind(output.name, ENDINGS[content_type])
        part = output.with_name(f".{output.name}.part")
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            try:
                write(part)
                move(part, output)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise InternalError(f"{output} can't be written: {error.strerror}. Name another place with -o.") from None
        return output

    def _output(self, ending: str) -> Path:
        return self.base.with_name(self.base.name + ending)


@dataclass(frozen=True)
class Plan:
    """The pictures to draw; `journal` is that of the output folder, None where one photo goes to one file.

    `left_out`: files that are no photos, with the reason.
    """

    tasks: list[Task]
    journal: Journal | None = None
    left_out: dict[Path, str] = field(default_factory=dict)

    def due(self, options: Mapping[str, Any]) -> list[Task]:
        """Return the tasks whose picture is missing, or was drawn from another photo or with other options."""
        return [task for task in self.tasks if not (self.journal and self.journal.holds(task.source, options))]


def plan(inputs: Sequence[Path], out: Path, format: str = "", *, may_be_empty: bool = False) -> Plan:
    """Return which picture goes where. `out` is a file for one photo, whose ending is the format, else a folder.

    Raises `BadOption` for an input that is not there, a folder without pictures, an ending that is no format, and
    where an output would take the photo's place.
    """
    for path in inputs:
        if not path.exists():
            raise BadOption(f"{path} is not there.")
    if len(inputs) == 1 and inputs[0].is_file() and not out.is_dir() and (out.suffix or out.is_file()):
        result = Plan([single(inputs[0], out, format)])
    elif not out.is_dir() and (out.exists() or out.suffix.lower() in SUFFIXES):
        what = "a file" if out.exists() else "the name of one picture"
        raise BadOption(f"{out} is {what}. Name a folder for several pictures.")
    else:
        journal = Journal(out)
        sources = find(inputs, out, set(journal.outputs()), may_be_empty=may_be_empty)
        ending = ENDINGS.get(f"image/{format.replace('jpg', 'jpeg')}", "")
        bases = _bases(sources.photos, journal)
        tasks = [Task(source, base, ending, format) for source, base in bases]
        result = Plan(tasks, journal, sources.left_out)
    for task in result.tasks:
        if any(output.resolve() == task.source.resolve() for output in task.outputs()):
            raise BadOption(f"{task.source} would be replaced by its drawing. Name another place with -o.")
    return result


def single(source: Path, out: Path, format: str = "") -> Task:
    """Return the task of one photo that is drawn to that file. Raises `BadOption` for an ending that is no format."""
    ending = SUFFIXES.get(out.suffix.lower())
    if moving := MOVING.get(out.suffix.lower()):
        if source.is_file() and _kind(source) not in SOURCES[moving]:
            raise _other_kind(out.name, ".jpg, .png or .webp")
        return Task(source, out.with_suffix(""), out.suffix, "auto")
    if not ending:
        raise BadOption(f"{out.name!r}: end it with one of {', '.join(SUFFIXES)}, or name a folder.")
    if format not in ("", "auto", {"jpeg": "jpg"}.get(ending, ending), ending):
        raise BadOption(f"--format {format} and the ending of {out.name!r} differ. Leave the format out.")
    return Task(source, out.with_suffix(""), out.suffix, ending)


def _other_kind(name: str, endings: str) -> BadOption:
    return BadOption(
        f"{name!r}: only an animation or a video of that kind becomes one. End it with {endings}, or name a folder."
    )


def _kind(source: Path) -> str:
    with suppress(AnimeganError), source.open("rb") as file:
        return kind(file.read(KIND_BYTES))
    return ""


def _bases(photos: Sequence[tuple[Path, Path]], journal: Journal) -> list[tuple[Path, Path]]:
    """Return each photo with its output but for the ending: where it was before, else by its own name.

    Of photos that differ in nothing but the ending or the folder, the second is `name-2`.
    """
    earlier: dict[Path, Path] = {}
    used_names: set[str] = set()
    for source, _ in photos:
        output = journal.output_of(source)
        if output and _fold(base := output.with_suffix("")) not in used_names:
            earlier[source] = base
            used_names.add(_fold(base))
    bases = []
    for source, name in photos:
        default = journal.folder / name.with_suffix("")
        place = earlier.get(source, default)
        if source not in earlier:
            names = (default.with_name(f"{default.name}-{number}") for number in count(2))
            while _fold(place) in used_names:
                place = next(names)
            used_names.add(_fold(place))
        bases.append((source, place))
    return bases


def _fold(base: Path) -> str:
    """Return the name as a file system sees it that does not tell small letters from capitals."""
    return str(base).casefold()
