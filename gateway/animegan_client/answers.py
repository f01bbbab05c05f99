"""The gateway's answers as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import requests
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from animegan.report import Report
from animegan_client import notebook
from animegan_client.errors import ProblemJSON, UnexpectedAnswer

Status = Literal["queued", "running", "done", "failed", "cancelled", "expired"]
T = TypeVar("T")


class Size(NamedTuple):
    """In px."""

    width: int
    height: int


@dataclass(frozen=True)
class Job:
    """One picture's way through the server, as it was when the server said so.

    `position` (1: next) and `ahead` are None unless it is queued, `eta_s` is the seconds until it is done or None.
    `message` and `notes` are for people, in the client's language. `error` is there if it failed.
    """

    id: str
    status: Status
    position: int | None
    ahead: int | None
    eta_s: float | None
    message: str
    notes: tuple[str, ...]
    style: str
    license: str
    noncommercial: bool
    max_side: int | None
    max_pixels: int | None
    format: str
    quality: int
    fast: bool
    detail: str
    strength: float
    color: str
    mode: str
    faces: int
    original_size: Size
    size: Size
    fitted: bool
    frames: int
    drawn_frames: int
    accepted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    error: ProblemJSON | None

    @property
    def ended(self) -> bool:
        """Return whether it will not change any more, except that a picture expires."""
        return self.status not in ("queued", "running")


@dataclass(frozen=True)
class Style:
    """A style that the server knows. Only an `installed` one can be asked for; `thumbnail` is a path on the server.

    `fast`: it has a small network. `details`: what `detail` may be beside auto.
    """

    id: str
    title: str
    license: str
    license_url: str | None
    noncommercial: bool
    suits: tuple[str, ...]
    installed: bool
    default: bool
    source: str | None
    fast: bool
    details: tuple[str, ...]
    thumbnail: str | None


@dataclass(frozen=True)
class StyleList:
    styles: list[Style]


@dataclass(frozen=True, repr=False)
class Picture:
    """A drawn picture: the bytes of its file, what was done to it, and the job that it came from.

    `photo` is the file that it was drawn from, where `stylize` has it. In a notebook the two show themselves.
    """

    data: bytes
    content_type: str
    report: Report
    job: Job
    photo: bytes | None = None

    def __repr__(self) -> str:
        width, height = self.report.size
        kind = self.content_type.removeprefix("image/")
        return f"<Picture {self.report.style} {width}×{height} {kind}, {len(self.data):,} bytes>"

    def _repr_html_(self) -> str:
        return notebook.side_by_side(self.photo, self.data, repr(self))

    @property
    def image(self) -> Image.Image:
        """Return the picture, decoded anew each time."""
        with Image.open(BytesIO(self.data)) as image:
            image.load()
            return image

    def save(self, path: str | PathLike[str]) -> None:
        """Write the file. Its format is the one that was asked for, whatever the ending says. Raises `OSError`."""
        Path(path).write_bytes(self.data)


JOB = TypeAdapter(Job)
STYLES = TypeAdapter(StyleList)


def read(kind: TypeAdapter[T], answer: requests.Response) -> T:
    """Return the answer's JSON as a value. Raises `UnexpectedAnswer`."""
    try:
        return kind.validate_json(answer.content)
    except ValidationError:
        raise unexpected_answer(answer) from None


def read_picture(job: Job, answer: requests.Response) -> Picture:
    """Return the answer's body as a picture. Raises `UnexpectedAnswer`."""
    try:
        return Picture(answer.content, answer.headers["Content-Type"], Report.from_headers(answer.headers), job)
    except (KeyError, ValueError):
        raise unexpected_answer(answer) from None


def unexpected_answer(answer: requests.Response) -> UnexpectedAnswer:
    """Return the error of an answer that can't be read."""
    return UnexpectedAnswer(f"{answer.url} answered, but not as this project's gateway does.")
