"""`animegan stylize`: files and folders of photos to anime pictures, in this process or through a server."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import requests

from animegan.errors import AnimeganError, BadOption, InternalError
from animegan.picture.images import Encoded
from animegan.report import Report
from animegan_cli.language import language
from animegan_cli.serving.processes import OPENMP
from animegan_client import Client, ServerError
from animegan_client.folder import SUFFIXES as INPUT_SUFFIXES
from animegan_client.folder import Outcome as Answer

SUFFIXES = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp"}  # of an output, with its format
_ENDINGS = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
_TIMEOUT_S = (5, 600)  # to connect, and between two bytes of an answer
_ASK_TIMEOUT_S = (5, 30)  # of a question that waits for no drawing


class Engine(Protocol):
    """What draws a picture at a time: `animegan.pipeline.Pipeline`, or `Server`."""

    def stylize(self, data: bytes, options: Mapping[str, str], /) -> tuple[Encoded, Report]: ...


def local_engine() -> Engine:
    """The engine in this process, under this process's settings. Raises `BadSetting`."""
    os.environ.update({**OPENMP, **os.environ})
    import torch  # noqa: PLC0415 - seconds that a run through a server does not have to spend

    from animegan import settings  # noqa: PLC0415
    from animegan.pipeline import Pipeline  # noqa: PLC0415
    from animegan.resources import hardware  # noqa: PLC0415

    configured = settings.load()
    torch.set_num_threads(configured.cpu_threads or hardware.cpu_count())
    return Pipeline(configured)


def remote_engine(url: str, key: str) -> Client | Server:
    """The server at that address: a gateway, by its client, or TorchServe. `key` is the gateway's, where it wants one.

    Raises `BadOption` for what is no address or no key, `InternalError` where nobody answers.
    """
    if not url.startswith(("http://", "https://")):
        raise BadOption(f"--server {url} is no address of a server. Begin it with http:// or https://.")
    try:
        client = Client(url, key=key, language=language())
        answer = requests.get(f"{url.rstrip('/')}/v1/session", timeout=_ASK_TIMEOUT_S)
    except requests.RequestException as error:
        raise InternalError(f"No answer from {url}: {_cause(error)}. Is the server running?") from None
    except ValueError as error:
        raise BadOption(str(error)) from None
    return client if "X-Animegan-Request-Id" in answer.headers else Server(url)


class Server:
    """A TorchServe with the archive, by the address of its inference API."""

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/predictions/animegan"
        self._session = requests.Session()

    def stylize(self, data: bytes, options: Mapping[str, str], /) -> tuple[Encoded, Report]:
        """Send one picture. Raises `InternalError` with the server's own words where it gave any."""
        try:
            answer = self._session.post(self._url, files={"data": data}, data=options, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise InternalError(f"No answer from {self._url}: {_cause(error)}. Is the server running?") from None
        if not answer.ok:
            raise InternalError(_complaint(answer))
        try:
            return Encoded(answer.content, answer.headers["Content-Type"]), Report.from_headers(answer.headers)
        except (KeyError, ValueError):
            raise InternalError(f"{self._url} answered, but not as this project's server does.") from None


def _cause(error: requests.RequestException) -> str:
    return "it took too long" if isinstance(error, requests.Timeout) else "the connection failed"


def _complaint(answer: requests.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):  # TorchServe's own errors have another shape, or none
        return f"The server answered {answer.status_code} {answer.reason}".strip() + "."


@dataclass(frozen=True)
class Task:
    """One picture to draw, to `base` and its ending; an empty `ending` is left to the format that comes back."""

    source: Path
    base: Path
    ending: str
    format: str

    def done(self) -> bool:
        """Whether an output no older than its source is there."""
        since = self.source.stat().st_mtime
        return any(output.is_file() and output.stat().st_mtime >= since for output in self.outputs())

    def outputs(self) -> list[Path]:
        """Where the output may lie."""
        return [self._output(ending) for ending in ([self.ending] if self.ending else _ENDINGS.values())]

    def write(self, encoded: Encoded) -> Path:
        """Write the output in one step, so that a broken-off run leaves nothing that looks done."""
        output = self._output(self.ending or _ENDINGS[encoded.content_type])
        output.parent.mkdir(parents=True, exist_ok=True)
        part = output.with_name(f".{output.name}.part")
        try:
            part.write_bytes(encoded.data)
            part.replace(output)
        finally:
            part.unlink(missing_ok=True)
        return output

    def _output(self, ending: str) -> Path:
        return self.base.with_name(self.base.name + ending)


def plan(inputs: Sequence[Path], out: Path, format: str = "") -> list[Task]:
    """Which picture goes where. `out` is a file for one input file, else a folder; a file's ending is its format.

    Raises `BadOption` for an input that is not there, a folder without pictures, an ending that is no format, and
    where an output would take another's place or the photo's own.
    """
    sources = list(_sources(inputs, out))
    if len(inputs) == 1 and inputs[0].is_file() and not out.is_dir() and (out.suffix or out.is_file()):
        ending = SUFFIXES.get(out.suffix.lower())
        if not ending:
            raise BadOption(f"{out.name!r}: end it with one of {', '.join(SUFFIXES)}, or name a folder.")
        if format not in ("", "auto", ending):
            raise BadOption(f"--format {format} and the ending of {out.name!r} differ. Leave the format out.")
        tasks = [Task(inputs[0], out.with_suffix(""), out.suffix, ending)]
    elif out.exists() and not out.is_dir():
        raise BadOption(f"{out} is a file. Name a folder for several pictures.")
    else:
        stems = Counter(relative.with_suffix("") for _, relative in sources)
        ending = _ENDINGS.get(f"image/{format.replace('jpg', 'jpeg')}", "")
        # Two photos that differ only in their ending keep it, or one would overwrite the other.
        bases = [name if stems[name.with_suffix("")] > 1 else name.with_suffix("") for _, name in sources]
        tasks = [Task(source, out / base, ending, format) for (source, _), base in zip(sources, bases, strict=True)]
    _refuse_collisions(tasks)
    return tasks


def _refuse_collisions(tasks: Sequence[Task]) -> None:
    taken: dict[Path, Path] = {}
    for task in tasks:
        if (other := taken.setdefault(task.base, task.source)) != task.source:
            raise BadOption(f"{other} and {task.source} would both be drawn as {task.base}. Draw them one by one.")
        if any(output.resolve() == task.source.resolve() for output in task.outputs()):
            raise BadOption(f"{task.source} would be replaced by its drawing. Name another place with -o.")


def _sources(inputs: Sequence[Path], out: Path) -> Iterator[tuple[Path, Path]]:
    """Each picture, and its path below the output folder, whose own pictures are no photos."""
    for given in inputs:
        if given.is_file():
            yield given, Path(given.name)
        elif given.is_dir():
            found = sorted(f for f in given.rglob("*") if f.suffix.lower() in INPUT_SUFFIXES and f.is_file())
            if given.resolve() != out.resolve():
                found = [file for file in found if not file.resolve().is_relative_to(out.resolve())]
            if not found:
                raise BadOption(f"{given} holds no picture ({', '.join(sorted(INPUT_SUFFIXES))}).")
            above = given if len(inputs) == 1 else given.parent  # of several folders each keeps its name
            yield from ((file, file.relative_to(above)) for file in found)
        else:
            raise BadOption(f"{given} is not there.")


@dataclass(frozen=True)
class Outcome:
    """Of one task: where the drawing lies and what was done, or why there is none."""

    task: Task
    drawn: tuple[Path, Report] | None = None
    error: AnimeganError | None = None


def draw(tasks: Sequence[Task], engine: Engine | Client, options: Mapping[str, str]) -> Generator[Outcome, None, None]:
    """Draw and write the pictures, and yield each as it is finished: through a gateway several at a time.

    Raises `BadOption` for a number that is none, `InternalError` where a gateway wants another key.
    """
    if isinstance(engine, Client):
        yield from _draw_through(engine, tasks, options)
    else:
        for task in tasks:
            yield _outcome(task, partial(_draw_with, engine, task, options))


def _draw_with(engine: Engine, task: Task, options: Mapping[str, str]) -> tuple[Encoded, Report]:
    return engine.stylize(task.source.read_bytes(), {**options, "format": task.format})


def _draw_through(client: Client, tasks: Sequence[Task], options: Mapping[str, str]) -> Generator[Outcome, None, None]:
    tasks_of: dict[Path, list[Task]] = defaultdict(list)  # a photo that was given twice may have two places
    for task in tasks:
        tasks_of[task.source].append(task)
    answers = client.stylize_folder(
        tasks_of,
        style=options["style"] or None,
        max_side=_number(options, "max_side"),
        format=tasks[0].format.replace("jpg", "jpeg") or None,  # a plan's tasks have one format
        quality="fast" if options["quality"] == "fast" else _number(options, "quality"),
        detail=options["detail"] or None,
        strength=_share(options, "strength"),
        color=options["color"] or None,
        mode=options["mode"] or None,
    )
    with client, closing(answers):
        for answer in answers:
            if isinstance(answer.error, ServerError) and answer.error.code in ("unauthorized", "forbidden"):
                raise InternalError(answer.error.detail)  # it would be said of each picture
            for task in tasks_of[answer.source]:
                yield _outcome(task, partial(_answered, answer))


def _answered(answer: Answer) -> tuple[Encoded, Report]:
    if isinstance(answer.error, OSError):
        raise answer.error
    if not answer.picture:
        raise InternalError(str(answer.error))
    return Encoded(answer.picture.data, answer.picture.content_type), answer.picture.report


def _number(options: Mapping[str, str], name: str) -> int | None:
    try:
        return int(options[name]) if options[name] else None
    except ValueError:
        raise BadOption(f"{name}={options[name]!r}: use a whole number.") from None


def _share(options: Mapping[str, str], name: str) -> float | None:
    try:
        return float(options[name]) if options[name] else None
    except ValueError:
        raise BadOption(f"{name}={options[name]!r}: use a number from 0 to 1.") from None


def _outcome(task: Task, drawn: Callable[[], tuple[Encoded, Report]]) -> Outcome:
    """Write what is drawn; also where a file can't be read or written, the error is the picture's own."""
    try:
        encoded, report = drawn()
        return Outcome(task, (task.write(encoded), report))
    except AnimeganError as error:
        return Outcome(task, error=error)
    except OSError as error:
        return Outcome(task, error=InternalError(f"{error.strerror}: {error.filename}"))
