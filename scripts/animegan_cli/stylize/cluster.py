"""The drawing on an existing Ray cluster: actors hold the generator, Ray Data hands each a few tasks of one shape."""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import socket
import sys
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from animegan import __version__
from animegan.errors import AnimeganError, BadSetting, InternalError
from animegan.picture.headers import inspect
from animegan.picture.sizes import Limits
from animegan.settings import Settings
from animegan_cli.roles import require
from animegan_cli.stylize.engines import THREADS, local_engine
from animegan_cli.stylize.tasks import Task

CHUNK = 16  # tasks that an actor gets at once, within which it decodes, draws and encodes side by side
CONNECT_S = 5.0
HEADER_BYTES = 2**16  # by which the shape of most photos can be told
LIMITS = Limits(max_bytes=HEADER_BYTES, max_pixels=sys.maxsize)

Shape = tuple[int, int] | None  # width and height in px


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that this process is a driver of, and what its actors draw with."""

    settings: Settings
    cpus: int  # of an actor
    gpus: int  # of an actor: 1 where the cluster has any
    actors: int  # that there is room for now; more are started as the cluster grows


def connect(address: str, settings: Settings) -> Cluster:
    """Connect to the cluster at an address, or with `auto` to the one on this machine.

    Raises `BadSetting` where Ray is not installed, `InternalError` where no cluster answers or none of it can draw.
    """
    require("ray")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters is raised
    ray: Any = importlib.import_module("ray")
    try:
        _reach(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise InternalError(
            f"--ray {address}: no Ray cluster answers. Start one with `ray start --head`, and run this on one of its "
            f"machines. {_reason(error)}"
        ) from None
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = settings.device != "cpu" and any(node.get("GPU") for node in nodes)
    cpus = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    if not cpus:
        raise InternalError(f"--ray {address}: no machine of the cluster has a CPU to draw on.")
    most = THREADS if gpus else settings.cpu_threads or max(cpus)
    each = min(most, *cpus)
    room = sum(int(node.get("GPU", 0)) for node in nodes) if gpus else sum(count // each for count in cpus)
    return Cluster(settings, cpus=each, gpus=int(gpus), actors=max(1, room))


def _reach(address: str) -> None:
    """Raise `OSError` where nothing listens at HOST:PORT: Ray itself asks there for two minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()


def draw(cluster: Cluster, tasks: Sequence[Task], options: Mapping[str, str]) -> Generator[Any, None, None]:
    """Have the tasks drawn, and yield the outcome of each as its chunk is finished.

    An actor that ends is replaced by Ray, and its chunk drawn again. Raises `InternalError` where Ray gives up.
    """
    import ray  # noqa: PLC0415

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        chunks = chunked(_shapes(tasks), CHUNK)
        rows = [{"tasks": pickle.dumps(chunk)} for chunk in chunks]
        outcomes = ray.data.from_items(rows, override_num_blocks=len(rows)).flat_map(
            Drawer,
            fn_constructor_args=(cluster.settings.model_dump(mode="json"), cluster.cpus, dict(options), __version__),
            compute=ray.data.ActorPoolStrategy(min_size=min(cluster.actors, len(rows))),
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus,
        )
        for row in outcomes.iter_rows():
            yield _unpack(row["outcome"])
    except ray.exceptions.RayError as error:
        raise InternalError(f"The cluster gave up: {_reason(error)}") from None


class Drawer:
    """An actor: the engine, which draws chunks of tasks."""

    def __init__(self, settings: Mapping[str, Any], threads: int, options: Mapping[str, str], version: str) -> None:
        if version != __version__:
            raise BadSetting(
                f"This machine has animegan-serve {__version__}, the driver {version}. Install one version."
            )
        os.environ["OMP_NUM_THREADS"] = str(threads)  # Ray sets 1 for a worker of less than a CPU
        configured = Settings.model_validate(settings)
        self._engine = local_engine(configured.model_copy(update={"cpu_threads": threads}))
        self._options = options

    def __call__(self, row: Mapping[str, bytes]) -> list[dict[str, bytes]]:
        """Draw and write the tasks of a row, and return their outcomes."""
        from animegan_cli.stylize.drawing import draw as draw_here  # noqa: PLC0415 - it knows this module

        outcomes = draw_here(_unpack(row["tasks"]), self._engine, self._options)
        return [{"outcome": pickle.dumps(outcome)} for outcome in outcomes]


def chunked(shapes: Iterable[tuple[Task, Shape]], most: int) -> Iterator[list[Task]]:
    """Yield the tasks in lists of no more than `most`, each of one shape."""
    groups: dict[Shape, list[Task]] = defaultdict(list)
    for task, shape in shapes:
        groups[shape].append(task)
    for group in groups.values():
        for first in range(0, len(group), most):
            yield group[first : first + most]


def _shapes(tasks: Sequence[Task]) -> list[tuple[Task, Shape]]:
    """Return the tasks with their photos' shapes, which the cluster reads."""
    import ray  # noqa: PLC0415

    rows = ray.data.from_items([{"index": index, "task": pickle.dumps(task)} for index, task in enumerate(tasks)])
    shapes = {row["index"]: row["shape"] for row in rows.map(_with_shape).iter_rows()}
    return [(task, _unpack(shapes[index])) for index, task in enumerate(tasks)]


def _with_shape(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"index": row["index"], "shape": pickle.dumps(shape_of(_unpack(row["task"])))}


def shape_of(task: Task) -> Shape:
    """Return the shape of a task's photo; None where its first bytes don't tell it."""
    try:
        with task.source.open("rb") as file:
            return inspect(file.read(HEADER_BYTES), LIMITS).size
    except (OSError, AnimeganError):  # whoever draws it says what is wrong with it
        return None


def _unpack(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301 - whoever may write here may run code on the cluster as it is


def _reason(error: Exception) -> str:
    """Return the last line of an error: those before it are the cluster's stacks."""
    return str(error).strip().splitlines()[-1]
