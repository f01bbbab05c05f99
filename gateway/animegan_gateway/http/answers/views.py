"""Jobs and styles as the API shows them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from animegan.errors import BadLook
from animegan.looks import look_of
from animegan.picture.sizes import Size
from animegan.report import Report
from animegan.settings import Color, Detail, DetailOption, Format, Mode, Tone
from animegan.styles import Style, Title, install_command
from animegan_gateway.http.answers.messages import Language, message
from animegan_gateway.http.answers.problems import Problem
from animegan_gateway.queue.board import Place
from animegan_gateway.queue.jobs import Job, State
from animegan_service.notes import notes
from animegan_service.protocol import Presence


class SizeView(BaseModel):
    width: int
    height: int


class ResultView(BaseModel):
    url: str
    content_type: str
    bytes: int


class LinksView(BaseModel):
    self: str
    events: str
    result: str


_URL = "/v1/jobs/3q2-7wAAAAAAAAAAAAAAAA"
_JOB: dict[str, JsonValue] = {
    "id": "3q2-7wAAAAAAAAAAAAAAAA",
    "status": "queued",
    "position": 4,
    "ahead": 3,
    "eta_s": 12.5,
    "progress": None,
    "message": "3 ahead of you, about 10 s",
    "notes": ["fitted the size for you: 1024×683"],
    "style": "cel",
    "license": "CC-BY-SA-4.0",
    "noncommercial": False,
    "max_side": 1024,
    "max_pixels": 1048576,
    "format": "auto",
    "quality": 92,
    "fast": False,
    "detail": "bold",
    "strength": 1.0,
    "color": "style",
    "tone": "auto",
    "mode": "auto",
    "faces": 0,
    "original_size": {"width": 4000, "height": 2667},
    "size": {"width": 1024, "height": 683},
    "fitted": True,
    "frames": 1,
    "drawn_frames": 1,
    "accepted_at": "2026-11-24T22:00:00Z",
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
    "result": None,
    "error": None,
    "links": {"self": _URL, "events": f"{_URL}/events", "result": f"{_URL}/result"},
}
_STYLES: dict[str, JsonValue] = {
    "default": "cel",
    "styles": [
        {
            "id": "cel",
            "title": "Cel",
            "about": "",
            "license": "CC-BY-SA-4.0",
            "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
            "noncommercial": False,
            "suits": ["landscape", "portrait"],
            "source": "https://example.org/cel",
            "installed": True,
            "default": True,
            "fast": True,
            "details": ["bold", "medium", "fine"],
            "thumbnail": "/v1/styles/cel/thumbnail",
            "install": "",
        }
    ],
}


class JobView(BaseModel):
    """A job. Times are RFC 3339 in UTC, durations in seconds, sizes in px."""

    model_config = ConfigDict(json_schema_extra={"examples": [_JOB]})
    id: str
    status: State
    position: int | None = Field(description="1: next; null unless it waits.")
    ahead: int | None = Field(description="How many are before it; null unless it waits.")
    eta_s: float | None = Field(description="Seconds until it is done, by the measured rate; null while unknown.")
    progress: float | None = Field(
        description="Of a running job: the part that is drawn, up to 0.99; of the estimated time, where its worker "
        "doesn't say; null while unknown."
    )
    message: str = Field(description="Where it stands, for people, in the language of Accept-Language.")
    notes: list[str] = Field(description="What was done to the picture, in the same language.")
    style: str
    license: str = Field(description="Licence of the style's weights.")
    noncommercial: bool = Field(description="The style is for non-commercial use only.")
    max_side: int | None = Field(description="null: no limit on the longest side.")
    max_pixels: int | None = Field(description="null: no limit on the pixels.")
    format: Format
    quality: int
    fast: bool = Field(description="Drawn by the small network: `quality=fast`.")
    detail: DetailOption = Field(description="As asked; of a finished job what was chosen, where the style has it.")
    strength: float
    color: Color
    tone: Tone
    mode: Mode = Field(description="As asked; of a finished job portrait or scene.")
    faces: int = Field(description="Faces that were found and looked after; 0 until it is done.")
    original_size: SizeView
    size: SizeView
    fitted: bool
    frames: int = Field(description="Frames or pages of the file.")
    drawn_frames: int = Field(description="How many of them are drawn: all of an animation, else the first.")
    accepted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="When its picture is deleted; null until it has ended.")
    result: ResultView | None
    error: Problem | None = Field(description="Of a failed job.")
    links: LinksView


class StyleView(BaseModel):
    id: str
    title: str = Field(description="In the language of Accept-Language.")
    about: str = Field(description="What a style draws that is not installed; empty where a thumbnail shows it.")
    license: str
    license_url: str
    noncommercial: bool
    suits: list[Literal["landscape", "portrait"]]
    source: str
    installed: bool
    default: bool
    fast: bool = Field(description="It has a small network, for `quality=fast`.")
    details: list[Detail] = Field(description="What `detail` may be beside `auto`; empty: it has no such choice.")
    thumbnail: str | None
    install: str = Field(description="The command with which an operator installs it; empty where it is.")


class QueueView(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"waiting": 3, "running": 1}]})
    waiting: int = Field(description="Pictures that wait, of all callers.")
    running: int = Field(description="Pictures that are being drawn.")


class StylesView(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [_STYLES]})
    default: str
    styles: list[StyleView]


def job_view(
    job: Job, place: Place, presence: Presence, *, language: Language, base: str, keep_s: float, style: Style | None
) -> JobView:
    """Return the job in that language; `base` is the path prefix, `style` its registry entry while there is one."""
    report = _report(job)
    url = f"{base}/v1/jobs/{job.id}"
    finished_at = job.finished_at
    return JobView(
        id=job.id,
        status=job.state,
        position=place.position,
        ahead=None if place.position is None else place.position - 1,
        eta_s=None if place.eta_s is None else round(place.eta_s, 1),
        progress=None if place.progress is None else round(place.progress, 3),
        message=message(job, place, presence, language),
        notes=notes(report, language),
        style=job.ask.style,
        license=report.license or (style.license if style else ""),
        noncommercial=style.noncommercial if style else True,  # of a style that is gone nothing better is known
        max_side=job.ask.max_side,
        max_pixels=job.ask.max_pixels,
        format=job.ask.format,
        quality=job.ask.quality,
        fast=job.ask.fast,
        detail=report.detail or job.ask.detail,
        strength=job.ask.strength,
        color=job.ask.color,
        tone=job.ask.tone,
        mode=report.mode if job.result else job.ask.mode,
        faces=report.faces,
        original_size=_size(report.original_size),
        size=_size(report.size),
        fitted=report.fitted,
        frames=report.frames,
        drawn_frames=report.drawn_frames,
        accepted_at=_time(job.ask.accepted_at),
        started_at=_time(job.started_at) if job.started_at else None,
        finished_at=_time(finished_at) if finished_at else None,
        expires_at=_time(finished_at + keep_s) if finished_at else None,
        result=ResultView(url=f"{url}/result", content_type=job.result.content_type, bytes=job.result.bytes)
        if job.result and job.state is State.DONE
        else None,
        error=Problem(**job.error) if job.error else None,
        links=LinksView(self=url, events=f"{url}/events", result=f"{url}/result"),
    )


def etag(job: Job, place: Place, presence: Presence, language: Language) -> str:
    """Return an ETag of all that the view says but for the estimate, so it is a weak one."""
    parts = (job.id, job.state, job.attempt, place.position, presence, language)
    return f'W/"{hashlib.sha256(repr(parts).encode()).hexdigest()[:20]}"'


def styles_view(styles: Mapping[str, Style], default: str, language: Language, base: str) -> StylesView:
    """Return the styles, with their titles in that language."""
    views = [
        StyleView(
            id=style.id,
            title=_in(style.title, language),
            about="" if style.weights or not style.about else _in(style.about, language),
            license=style.license,
            license_url=style.license_url,
            noncommercial=style.noncommercial,
            suits=[*style.suits],
            source=style.source,
            installed=style.weights is not None,
            default=style.id == default,
            fast=style.fast is not None,
            details=_details(style),
            thumbnail=f"{base}/v1/styles/{style.id}/thumbnail" if style.weights else None,
            install="" if style.weights else install_command(style),
        )
        for style in styles.values()
    ]
    return StylesView(default=default, styles=views)


def _in(text: Title, language: Language) -> str:
    return text.zh if language == "zh" else text.en


def _details(style: Style) -> list[Detail]:
    try:
        return [*get_args(Detail)] if look_of(style).detail else []
    except BadLook:
        return []  # nothing can be drawn with it


def _report(job: Job) -> Report:
    """Return what was done to the picture, or before it is drawn, what will be."""
    if job.result:
        try:
            return Report.from_headers({name.title(): value for name, value in job.result.headers.items()})
        except (KeyError, ValueError):
            pass  # another version's handler
    ask = job.ask
    return Report(ask.style, "", "", "", ask.original_size, ask.size, ask.frames, drawn_frames=ask.drawn_frames)


def _size(size: Size) -> SizeView:
    return SizeView(width=size[0], height=size[1])


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
