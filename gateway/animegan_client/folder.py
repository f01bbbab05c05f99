"""Many photos through one server, some at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from animegan_client.answers import Job, Picture
from animegan_client.errors import ClientError

if TYPE_CHECKING:
    from animegan_client.client import Client

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}
    | {".mpo", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
S = TypeVar("S")
Sources = str | PathLike[str] | Iterable[str | PathLike[str]]


@dataclass(frozen=True)
class Outcome(Generic[S]):
    """The outcome of one photo: its drawing, or the error. One of the two is None."""

    source: S
    picture: Picture | None = None
    error: ClientError | OSError | None = None


def photos(sources: Sources) -> Iterator[Path]:
    """Yield the pictures below a folder, by the endings of their names and in order; or the paths, as they come.

    Raises `NotADirectoryError` for one path that is no folder.
    """
    if not isinstance(sources, str | PathLike):
        return map(Path, sources)
    folder = Path(sources)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder. Give one, or a list of files.")
    return iter(sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()))


def draw(
    client: Client, sources: Iterator[S], submit: Callable[[S], Job], concurrency: int
) -> Generator[Outcome[S], None, None]:
    """Draw the photos and yield each as it is finished, at most `concurrency` under way or finished and not taken.

    `client` serves this alone, and is closed here. Where the caller breaks off, the jobs that are under way
    are cancelled.
    """
    jobs: set[str] = set()  # under way on the server
    over = threading.Event()
    lock = threading.Lock()  # so that a job is cancelled here or there, and not twice

    def draw_one(source: S) -> Outcome[S]:
        job = None
        try:
            job = submit(source)
            with lock:
                jobs.add(job.id)
                late = over.is_set()
            if late:
                client.cancel(job)
            return Outcome(source, picture=client.result(job))
        except (ClientError, OSError) as error:
            return Outcome(source, error=error)
        finally:
            if job:
                jobs.discard(job.id)

    with ThreadPoolExecutor(concurrency, "animegan-client") as pool:
        try:
            running = {pool.submit(draw_one, source) for source in islice(sources, concurrency)}
            while running:
                ready, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ready:
                    running |= {pool.submit(draw_one, source) for source in islice(sources, 1)}
                    yield future.result()
        finally:
            with lock:
                over.set()
                under_way = jobs.copy()
            client.close()  # which ends the pauses; it can still cancel
            for job_id in under_way:
                with suppress(ClientError):
                    client.cancel(job_id)
