"""An HTTP server until SIGTERM or Ctrl-C, and tasks whose failure ends the process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import structlog
import uvicorn

STOP = (signal.SIGTERM, signal.SIGINT)
WAITING_CONNECTIONS = 2048  # that the system keeps until they are accepted

log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """Uvicorn without signal handlers of its own: it still answers while the service finishes its work.

    On sockets of the service, asyncio takes its configuration's `backlog` for the connections to accept in one turn of
    the loop, and for those that may wait in the system. The latter are `WAITING_CONNECTIONS`: many more.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(WAITING_CONNECTIONS)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_until_stop(
    config: uvicorn.Config, finish: Callable[[], Awaitable[None]], sockets: list[socket.socket] | None = None
) -> None:
    """Serve until a signal, on these sockets or those of the configuration; it still answers while `finish` runs."""
    server = Server(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP:
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.serve(sockets))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        await finish()
        server.should_exit = True
    stopping.cancel()
    await serving


def start_vital_task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task whose failure stops the process, which is better started anew than half alive."""
    task = asyncio.create_task(work)
    task.add_done_callback(_stop_on_failure)
    return task


def _stop_on_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("task_failed", exc_info=error)
        signal.raise_signal(signal.SIGTERM)
