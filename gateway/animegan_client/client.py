"""The client: jobs, pictures and styles of one gateway."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from io import BytesIO
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import requests
from PIL import Image

from animegan_client import folder
from animegan_client.answers import JOB, STYLES, Job, Picture, Style, read, read_picture
from animegan_client.errors import JobCancelled, JobExpired, JobFailed, Problem, WaitTimeout
from animegan_client.folder import Outcome, Sources
from animegan_client.transport import Transport, checked_key, checked_url

LONG_POLL_S = 20  # below the half minute after which proxies lose patience

Source = str | PathLike[str] | bytes | BinaryIO | Image.Image
S = TypeVar("S", bound=Source)


class Options(TypedDict, total=False):
    """The options of a drawing; the server decides those that are left out or None.

    `style` is a style's id, `max_side` the limit on the longest side in px or "original", `max_pixels` that on the
    pixels in place of it (with both: of a photo more than twice as long as it is wide), `format` one of auto, jpeg, png
    and webp, `quality` of JPEG and WebP from 1 to 100, or "fast" for the small network, "best" for the large one.
    `detail` is auto, bold, medium or fine, `strength` from 0 (the photo) to 1 (the drawing), `color` style or photo,
    `tone` auto, style or photo. `mode` is auto, portrait or scene: whether faces are drawn again from close up.
    `frames` is all of an animation, or first.
    """

    style: str | None
    max_side: int | Literal["original"] | None
    max_pixels: int | None
    format: str | None
    quality: int | Literal["fast", "best"] | None
    detail: str | None
    strength: float | None
    color: str | None
    tone: str | None
    mode: str | None
    frames: str | None


class Client:
    """A gateway of AnimeGAN Serve, by its address, which may have a path: photos in, anime pictures out.

    >>> with Client("http://127.0.0.1:8000") as client:
    ...     client.stylize("photo.jpg", style="cel").save("anime.jpg")

    `key` is the API key, where the server wants one. `language` is that of what the server says to people. While the
    server is busy, restarts or can't be reached, requests are sent again for `patience_s` seconds; a job survives
    that. An address at which nothing has listened yet is given up after 3 s. May be used from several threads.

    Every method raises a `ClientError`; the constructor `ValueError`.
    """

    def __init__(
        self, url: str, *, key: str | None = None, language: Literal["en", "zh"] = "en", patience_s: float = 300
    ) -> None:
        self._url = checked_url(url)
        self._key = checked_key(key)
        self._language = language
        self._patience_s = patience_s
        self._transport = Transport(self._url, key=self._key, language=language, patience_s=patience_s)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r}{', key=…' if self._key else ''})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. What other threads still do with this client has no patience any more."""
        self._transport.close()

    def stylize(self, source: Source, **options: Unpack[Options]) -> Picture:
        """Draw a photo, given as a path, its bytes, a binary file or a PIL image: submit it, wait, fetch the picture.

        Raises `JobFailed` and the other `ServerError`s, `Unreachable`, `OSError` for a file that can't be read, or
        `TypeError` for what is no photo.
        """
        name, photo = _file_of(source)
        return replace(self.result(self._submit(name, photo, options)), photo=photo)

    def stylize_all(
        self, sources: Iterable[S], *, concurrency: int = 4, **options: Unpack[Options]
    ) -> Generator[Outcome[S], None, None]:
        """Draw photos of any kind that `stylize` takes, and yield each one's outcome as it is finished.

        At most `concurrency` are under way, or finished and not taken. As with `stylize_folder`, a photo that can't be
        drawn is an outcome with an error, and breaking off cancels the jobs that are under way.
        """
        own = self._another()
        return folder.draw(own, iter(sources), lambda source: own.submit(source, **options), concurrency)

    def _another(self) -> Client:
        other = Client(self._url, key=self._key, language=self._language, patience_s=self._patience_s)
        other._transport.contact = self._transport.contact
        return other

    def stylize_folder(
        self, sources: Sources, *, concurrency: int = 4, **options: Unpack[Options]
    ) -> Generator[Outcome[Path], None, None]:
        """Draw the photos in and below a folder, or at the paths given, and yield each one's outcome as it is finished.

        At most `concurrency` are in memory at a time, and one more while it is with the caller. A photo that can't be
        drawn is an outcome with an error, and the others go on. Breaking off closes the generator, which cancels the
        jobs that are under way; where that must happen at once, use `contextlib.closing`.

        Raises `NotADirectoryError`.
        """
        own = self._another()
        return folder.draw(own, folder.photos(sources), lambda source: own.submit(source, **options), concurrency)

    def submit(
        self,
        source: Source,
        *,
        style: str | None = None,
        max_side: int | Literal["original"] | None = None,
        max_pixels: int | None = None,
        format: str | None = None,
        quality: int | Literal["fast", "best"] | None = None,
        detail: str | None = None,
        strength: float | None = None,
        color: str | None = None,
        tone: str | None = None,
        mode: str | None = None,
        frames: str | None = None,
    ) -> Job:
        """Hand in a photo, with `Options`. However often it has to be sent, it becomes one job.

        Raises `ServerError`, `Unreachable`, `OSError` for a file that can't be read, or `TypeError` for what is no
        photo.
        """
        options: Options = {
            "style": style,
            "max_side": max_side,
            "max_pixels": max_pixels,
            "format": format,
            "quality": quality,
            "detail": detail,
            "strength": strength,
            "color": color,
            "tone": tone,
            "mode": mode,
            "frames": frames,
        }
        return self._submit(*_file_of(source), options)

    def _submit(self, name: str, photo: bytes, options: Options) -> Job:
        fields = {name: str(value) for name, value in options.items() if value is not None}
        form = requests.Request("POST", self._url, files={"image": (name, photo)}, data=fields).prepare()
        headers = {"Content-Type": form.headers["Content-Type"], "Idempotency-Key": secrets.token_urlsafe(16)}
        assert isinstance(form.body, bytes)
        return read(JOB, self._transport.request("POST", "v1/jobs", headers=headers, body=form.body))

    def job(self, job: Job | str) -> Job:
        """Return the job as it is now, by id or an earlier state. Raises `JobExpired`, `ServerError`, `Unreachable`."""
        return read(JOB, self._transport.request("GET", _path(job)))

    def wait(
        self, job: Job | str, *, timeout: float | None = None, on_change: Callable[[Job], object] | None = None
    ) -> Job:
        """Wait until the picture is there; returns the job that is done.

        `on_change` is called with the first state that is seen, and with each that differs from the one before.
        Raises `WaitTimeout` after `timeout` seconds or when the client is closed, `JobFailed`, `JobCancelled`,
        `JobExpired`, and `Unreachable` where the server is away for longer than the client is patient.
        """
        left_s = math.inf if timeout is None else timeout
        deadline, long_poll_s = time.monotonic() + left_s, 0  # the first answer comes at once
        previous: Job | None = None
        headers: dict[str, str] = {}
        while True:
            params = {"wait": long_poll_s} if long_poll_s else {}
            answer = self._transport.request("GET", _path(job), params=params, headers=headers, patience_s=left_s)
            if answer.status_code != 304:
                state = read(JOB, answer)
                if on_change and state != previous:
                    on_change(state)
                if state.ended:
                    return _check_success(state)
                previous = state
                if on_change and "ETag" in answer.headers:  # without it, only the end is told before its time
                    headers["If-None-Match"] = answer.headers["ETag"]
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self._transport.closed:
                raise WaitTimeout("The job has not ended yet. It goes on.")
            long_poll_s = math.ceil(min(left_s, LONG_POLL_S))

    def result(self, job: Job | str) -> Picture:
        """Wait for the job's picture and return it. Raises what `wait` raises."""
        final = job if isinstance(job, Job) and job.status == "done" else self.wait(job)
        return read_picture(final, self._transport.request("GET", f"{_path(final)}/result"))

    def cancel(self, job: Job | str) -> Job:
        """Cancel a job that has not ended, or remove the picture of one that has; returns its state after that.

        Raises `JobExpired`, `ServerError`, `Unreachable`.
        """
        return read(JOB, self._transport.request("DELETE", _path(job)))

    def styles(self) -> list[Style]:
        """Return the styles that the server knows. Raises `ServerError`, `Unreachable`."""
        return read(STYLES, self._transport.request("GET", "v1/styles")).styles


def _path(job: Job | str) -> str:
    return f"v1/jobs/{quote(job.id if isinstance(job, Job) else job, safe='')}"


def _file_of(source: Source) -> tuple[str, bytes]:
    """Return the name and the bytes of a photo's file. Raises `OSError`, or `TypeError` for what is no photo."""
    if isinstance(source, str | PathLike):
        return Path(source).name, Path(source).read_bytes()
    if isinstance(source, Image.Image):
        file = BytesIO()
        source.save(file, "PNG", compress_level=1)
        return "image", file.getvalue()
    data = source.read() if hasattr(source, "read") else source
    if not isinstance(data, bytes):
        several = " Several photos are for stylize_all." if isinstance(source, list | tuple) else ""
        kind = type(source).__name__
        raise TypeError(f"A photo is a path, bytes, a binary file or a PIL image, not {kind}.{several}")
    return "image", data


def _check_success(job: Job) -> Job:
    """Return the job if it ended well. Raises `JobFailed`, `JobCancelled` or `JobExpired`."""
    if job.status == "failed":
        raise JobFailed(job.error or Problem("internal_error", 500, job.message))
    if job.status == "cancelled":
        raise JobCancelled(Problem("job_cancelled", 409, job.message))
    if job.status == "expired":
        raise JobExpired(Problem("job_expired", 410, job.message))
    return job
