"""Which files are photos: told by their content, whatever their ending."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from animegan.errors import BadOption, UnsupportedImage
from animegan.picture.headers import KIND_BYTES, kind
from animegan_cli.stylize.journal import NAME as JOURNAL
from animegan_cli.stylize.places import below

# What systems leave in folders, and this command: names of which nothing is said.
QUIET = re.compile(rf"\._.*|\.DS_Store|Thumbs\.db|\..*\.part|{re.escape(JOURNAL)}", re.IGNORECASE)

SEGMENTS = re.compile(r"\..*\.parts")  # a folder with those of a video that is being drawn


@dataclass
class Sources:
    """The photos, each with its path below the output folder, and why other files are none."""

    photos: list[tuple[Path, Path]] = field(default_factory=list)
    left_out: dict[Path, str] = field(default_factory=dict)


def find(inputs: Sequence[Path], out: Path, drawings: Collection[Path], *, may_be_empty: bool = False) -> Sources:
    """Return the photos that were named, and those in and below the folders.

    `drawings` are no photos, and neither is what lies below `out`. Raises `BadOption` for a folder without photos.
    """
    sources = Sources()
    for path in inputs:
        if path.is_file():
            sources.photos.append((path, Path(path.name)))
        else:
            above = path if len(inputs) == 1 else path.parent  # of several folders each keeps its name
            before = len(sources.photos)
            for file in _files(path, out, drawings):
                if reason := _reason(file):
                    sources.left_out[file] = reason
                else:
                    sources.photos.append((file, below(file, above)))
            if len(sources.photos) == before and not may_be_empty:
                raise BadOption(f"{path} holds no picture{_examples(sources.left_out)}. Name another folder.")
    sources.photos = list(dict.fromkeys(sources.photos))
    return sources


def _files(folder: Path, out: Path, drawings: Collection[Path]) -> Iterator[Path]:
    inside = folder.resolve() != out.resolve()
    for file in sorted(folder.rglob("*")):
        if QUIET.fullmatch(file.name) or SEGMENTS.fullmatch(file.parent.name) or not file.is_file():
            continue
        place = file.resolve()
        if place in drawings or (inside and place.is_relative_to(out.resolve())):
            continue
        yield file


def _reason(file: Path) -> str:
    """Return why a file is no photo; empty: it is one."""
    try:
        with file.open("rb") as stream:
            start = stream.read(KIND_BYTES)
        if not start:
            return "The file is empty."
        kind(start)
    except OSError as error:
        return f"{error.strerror}."
    except UnsupportedImage as error:
        return error.detail if "kind" in error.members else "No picture of a kind that is read here."
    return ""


def _examples(left_out: dict[Path, str]) -> str:
    if not left_out:
        return ""
    file, reason = next(iter(left_out.items()))
    return f" among its {len(left_out)} files; {file.name}: {reason.rstrip('.')}"
