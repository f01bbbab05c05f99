"""`python -m animegan_agent`: the agent, until SIGTERM or Ctrl-C; its settings are `ANIMEGAN_AGENT_…`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import uvicorn
from prometheus_client import CollectorRegistry, start_http_server
from starlette.applications import Starlette

from animegan.errors import AnimeganError
from animegan_agent import api, settings
from animegan_agent.cancelling import Cancelling
from animegan_agent.dispatch import Dispatch
from animegan_agent.management import Management
from animegan_agent.metrics import Metrics
from animegan_agent.operations import Operations
from animegan_agent.recycling import Recycling
from animegan_agent.settings import Settings
from animegan_agent.workers import Workers
from animegan_service import logs
from animegan_service.bell import Bell
from animegan_service.cancellation import cancel
from animegan_service.protocol import CANCEL_FOLDER
from animegan_service.server import serve_until_stop, start_vital_task

LAST_ANSWERS_S = 2

log = structlog.get_logger(__name__)


def main() -> int:
    """Serve; returns the exit status."""
    try:
        configured = settings.load()
    except AnimeganError as error:
        sys.stderr.write(f"agent: {error}\n")
        return 1
    logs.configure(configured.log_file)
    asyncio.run(serve(configured))
    return 0


async def serve(configured: Settings) -> None:
    """Serve until a signal."""
    async with open_agent(configured) as app:
        config = uvicorn.Config(
            app,
            host=configured.host,
            port=configured.port,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # a command is trusted by the address it comes from
            timeout_graceful_shutdown=LAST_ANSWERS_S,
        )
        await serve_until_stop(config, _nothing_to_finish)


async def _nothing_to_finish() -> None:
    """Return at once: the gateways ask again, wherever the agent is then."""


@asynccontextmanager
async def open_agent(configured: Settings) -> AsyncIterator[Starlette]:
    """Yield the agent's app, with everything behind it running."""
    bell = Bell()
    async with contextlib.AsyncExitStack() as stack:
        management = Management(configured.management, configured.torchserve_metrics)
        stack.push_async_callback(management.close)
        dispatch = Dispatch(bell.ring)
        workers = Workers(management, on_look=dispatch.record_java, on_change=bell.ring)
        operations = Operations(configured, management, workers, dispatch)
        recycling = Recycling(configured, workers, operations, dispatch)
        registry = CollectorRegistry()
        registry.register(Metrics(workers, dispatch, recycling))
        server, thread = start_http_server(configured.metrics_port, configured.metrics_host, registry)
        stack.callback(thread.join)
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        stack.push_async_callback(cancel, [start_vital_task(workers.run()), start_vital_task(recycling.run())])
        cancelling = Cancelling(os.environ.get(CANCEL_FOLDER, ""))
        yield api.app(api.Services(workers, dispatch, operations, recycling, cancelling, bell))


if __name__ == "__main__":
    sys.exit(main())
