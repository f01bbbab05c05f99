"""The command: what is due is drawn, each picture is told as it is finished, and what failed at the end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Task as Bar
from rich.text import Text

from animegan import settings
from animegan.errors import AnimeganError, BadOption, InternalError
from animegan.looks import check_style, look_of
from animegan.options import parse
from animegan.settings import Settings
from animegan.styles import get_style, weights_file
from animegan_cli.language import language
from animegan_cli.screen import plain
from animegan_cli.stylize import report
from animegan_cli.stylize.cluster import Cluster, connect
from animegan_cli.stylize.drawing import Outcome, client_options, draw, draw_bytes
from animegan_cli.stylize.engines import local_engine, remote_engine
from animegan_cli.stylize.journal import NAME, Journal
from animegan_cli.stylize.places import check_access, is_local
from animegan_cli.stylize.tasks import Plan, Task, plan, single
from animegan_service.notes import notes

if TYPE_CHECKING:
    from animegan_cli.stylize.drawing import Engine

STREAM = Path("-")  # standard input or output
LOOK_EVERY_S = 1.0  # of --watch
State = tuple[int, int]  # of a file: what changes with it


@dataclass(frozen=True)
class Request:
    """The command as typed: the options of a drawing by name, and those of the run."""

    inputs: list[Path]
    out: Path
    options: Mapping[str, str]
    format: str = ""
    server: str = ""
    key: str = ""
    device: str = ""
    force: bool = False
    watch: bool = False
    ray: str = ""
    report: Path | None = None


def run(request: Request) -> None:
    """Draw the photos. Raises the `AnimeganError` of a single one, else `Failures` after the others are drawn."""
    _check_cluster(request)
    options = check(request)
    if STREAM in (*request.inputs, request.out):
        _stream(request)
        return
    plan = _plan(request)
    due = plan.tasks if request.force else plan.due(options)
    results = report.Run(options, left_out=plan.left_out)
    results.existing = [task.source for task in plan.tasks if task not in due]
    console = Console(stderr=True, markup=False, highlight=False)
    for file, reason in plan.left_out.items():
        console.print(plain(f"left out: {file}: {reason}"), soft_wrap=True)
    if results.existing:
        print(f"{len(results.existing)} of {len(plan.tasks)} are done already; --force draws them again.", flush=True)
    try:
        if due or request.watch:
            engine = _engine(request)
            if due:
                _draw(due, engine, request, plan, results, console)
            if request.watch:
                _watch(engine, request, results, console)
    finally:
        if request.report:
            data, sheet = report.write(results, request.report)
            console.print(f"Report: {data}, {sheet}", soft_wrap=True)
    if request.watch:
        return
    errors = [(outcome.task, outcome.error) for outcome in results.outcomes if outcome.error]
    errors.sort(key=lambda failure: plan.tasks.index(failure[0]))  # several are drawn at one time
    if errors and len(plan.tasks) == 1:
        raise errors[0][1]
    if errors:
        raise Failures(errors, len(due))


def _check_cluster(request: Request) -> None:
    """Raise `BadOption` for what a cluster does not do, and for an address without one."""
    if not request.ray:
        if remote := [path for path in (*request.inputs, request.out) if not is_local(path)]:
            raise BadOption(f"{remote[0]} is an address, which --ray alone reads and writes.")
        return
    if request.server or request.watch or STREAM in (*request.inputs, request.out):
        raise BadOption("--ray draws files and folders: leave out --server, --watch and -.")
    for path in (*request.inputs, request.out):
        check_access(path)


class Failures(Exception):
    """Some of the pictures were not drawn: which and why, and of how many."""

    def __init__(self, errors: list[tuple[Task, AnimeganError]], count: int) -> None:
        super().__init__(f"{len(errors)} of {count} failed, listed above.")
        self.errors = errors


def check(request: Request) -> dict[str, Any]:
    """Return the options as the journal keeps them. Raises the error of one that can't be used.

    For a server these are the ones that were named, since it has settings of its own.
    """
    options = {name: value for name, value in request.options.items() if value}
    if request.server:
        client_options(request.options, request.format)
        return {**options, "format": request.format, "server": True}
    configured = _settings(request)
    parsed = parse({**options, "format": request.format}, configured)
    style = get_style(parsed.style)
    weights_file(style)
    check_style(style, look_of(style), parsed.wish.detail, fast=parsed.fast)
    return asdict(parsed)


def _settings(request: Request) -> Settings:
    configured = settings.load()
    if not request.device:
        return configured
    if request.device not in ("auto", "cpu", "cuda"):
        raise BadOption(f"--device {request.device}: use one of auto, cpu, cuda.", option="device")
    return configured.model_copy(update={"device": request.device})


def _engine(request: Request) -> Engine:
    if request.ray:
        return connect(request.ray, _settings(request))
    return remote_engine(request.server, request.key) if request.server else local_engine(_settings(request))


def _plan(request: Request) -> Plan:
    inputs, out = request.inputs, request.out
    if request.ray:  # the workers have working folders of their own
        inputs, out = [path.absolute() for path in inputs], out.absolute()
    return plan(inputs, out, request.format, may_be_empty=request.watch)


def _stream(request: Request) -> None:
    """Draw one picture from standard input, or to standard output."""
    if len(request.inputs) != 1 or request.watch or request.report:
        raise BadOption("- stands for one photo, on standard input or output; --watch and --report need a folder.")
    if request.out == STREAM and sys.stdout.isatty():
        raise BadOption("Standard output is a terminal. Send it to a file, or name one with -o.")
    task = None if request.out == STREAM else single(STREAM, request.out, request.format)
    data = _read(request.inputs[0])
    engine = _engine(request)
    assert not isinstance(engine, Cluster)
    encoded, drawing_report = draw_bytes(data, engine, request.options, task.format if task else request.format)
    if task:
        task.write(encoded)
    else:
        sys.stdout.buffer.write(encoded.data)
    for note in notes(drawing_report, language()):
        print(note, file=sys.stderr)


def _read(source: Path) -> bytes:
    if source == STREAM:
        return sys.stdin.buffer.read()
    try:
        return source.read_bytes()
    except OSError as error:
        raise InternalError(f"{source} can't be read: {error.strerror}.") from None


def _draw(
    tasks: Sequence[Task],
    engine: Engine,
    request: Request,
    plan: Plan,
    results: report.Run,
    console: Console,
) -> None:
    """Draw the pictures, and tell and note each as it is finished."""
    columns = (
        TextColumn("Drawing"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(compact=True),
    )  # fmt: skip
    bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    bar = bars.add_task("", total=len(tasks))
    before = len(results.outcomes)

    def tell(share: float) -> None:
        bars.update(bar, completed=len(results.outcomes) - before + share)

    with bars, _flush_journal(plan), closing(draw(tasks, engine, request.options, tell)) as outcomes:
        for outcome in outcomes:
            if outcome.drawing:
                output, drawing_report = outcome.drawing
                outcome = _note(outcome, plan, results.options)  # noqa: PLW2901
                remarks = ", ".join(notes(drawing_report, language()))
                line = f"{outcome.task.source} -> {output}" + (f" ({remarks})" if remarks else "")
                console.print(plain(line), soft_wrap=True)
            if outcome.error and request.watch:
                console.print(plain(f"{outcome.task.source}: {outcome.error.detail}"), soft_wrap=True)
            results.outcomes.append(outcome)
            tell(0)


@contextmanager
def _flush_journal(plan: Plan) -> Iterator[None]:
    """Write the journal's end, however the run ends. Raises `InternalError`."""
    try:
        yield
    finally:
        if plan.journal:
            try:
                plan.journal.flush()
            except OSError as error:
                raise _no_journal(plan.journal, error) from None


def _no_journal(journal: Journal, error: OSError) -> InternalError:
    return InternalError(f"{journal.folder / NAME} can't be written: {error.strerror}.")


class _Rate(ProgressColumn):
    """Pictures a second."""

    def render(self, task: Bar) -> Text:
        return Text(f"{task.speed:.2f} pictures/s" if task.speed else "")


def _note(outcome: Outcome, plan: Plan, options: Mapping[str, Any]) -> Outcome:
    """Note the picture in the journal, without which it would be drawn again."""
    if not (plan.journal and outcome.drawing and outcome.stat):
        return outcome
    try:
        plan.journal.add(outcome.task.source, outcome.drawing[0], outcome.stat, options)
    except OSError as error:
        return replace(outcome, drawing=None, error=_no_journal(plan.journal, error))
    return outcome


def _watch(engine: Engine, request: Request, results: report.Run, console: Console) -> None:
    """Draw what comes into the folders, until Ctrl-C: each photo once it is the same at two looks in a row."""
    console.print("Watching for photos; Ctrl-C ends it.")
    last_states: dict[Path, State] = {}
    failed: dict[Path, State | None] = {}
    with suppress(KeyboardInterrupt):
        while True:
            failed |= {outcome.task.source: _state(outcome.stat) for outcome in results.outcomes if outcome.error}
            plan = _plan(request)
            states = {task: _state(_stat(task.source)) for task in plan.due(results.options)}
            due = [
                task
                for task, state in states.items()
                if last_states.get(task.source) == state != failed.get(task.source)
            ]
            last_states = {task.source: state for task, state in states.items() if state}
            if due:
                _draw(due, engine, request, plan, results, console)
            time.sleep(LOOK_EVERY_S)


def _state(stat: os.stat_result | None) -> State | None:
    return (stat.st_size, stat.st_mtime_ns) if stat else None


def _stat(photo: Path) -> os.stat_result | None:
    try:
        return photo.stat()
    except OSError:
        return None
