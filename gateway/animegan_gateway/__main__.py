"""`python -m animegan_gateway`: the gateway, until SIGTERM or Ctrl-C; its settings are `ANIMEGAN_GATEWAY_…`."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import sys
from collections.abc import Iterator

import structlog
import uvicorn

from animegan import settings as handler_settings
from animegan.errors import AnimeganError
from animegan_gateway import logs, settings
from animegan_gateway.gateway import running
from animegan_gateway.patience import patient_protocol
from animegan_gateway.settings import Settings
from animegan_gateway.shell import Shell

BACKLOG = 2048
LAST_ANSWERS_S = 5  # for answers under way once everything is drained
STOP = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger(__name__)


def main() -> int:
    """Serve; returns the exit status."""
    try:
        configured = settings.load()
        logs.set_up(configured.log_file)
        _raise_file_limit()
        asyncio.run(serve(configured))
    except AnimeganError as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 1
    return 0


async def serve(configured: Settings) -> None:
    """Serve until a signal. Raises `BadSetting` or `StoreUnavailable` where it can't start."""
    async with running(configured, handler_settings.load()) as gateway:
        server = Server(
            uvicorn.Config(
                Shell(gateway.app, configured.allowed_hosts, configured.path_prefix),
                host=configured.host,
                port=configured.port,
                http=patient_protocol(configured.header_timeout_s, configured.upload_timeout_s + 5),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                backlog=BACKLOG,
                proxy_headers=bool(configured.trusted_proxies),
                forwarded_allow_ips=configured.trusted_proxies,
                timeout_graceful_shutdown=LAST_ANSWERS_S,
            )
        )
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in STOP:
            loop.add_signal_handler(number, stop.set)
        serving = asyncio.create_task(server.serve())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            await gateway.drain(configured.drain_s)
            server.should_exit = True
        stopping.cancel()
        await serving


class Server(uvicorn.Server):
    """Uvicorn, but signals are the gateway's: it answers while it drains."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _raise_file_limit() -> None:
    """Every caller that waits holds a file: take as many as the system grants."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
