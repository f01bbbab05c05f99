"""`python -m animegan_gateway`: the gateway, until SIGTERM or Ctrl-C; its settings are `ANIMEGAN_GATEWAY_…`."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys

import structlog
import uvicorn

from animegan import settings as handler_settings
from animegan.errors import AnimeganError
from animegan_gateway import settings, tracing
from animegan_gateway.gateway import open_gateway
from animegan_gateway.http.transport.http_protocol import ACCEPTED_AT_ONCE, limited_protocol, most_connections
from animegan_gateway.http.transport.middleware import RequestMiddleware
from animegan_gateway.http.transport.sockets import listen
from animegan_gateway.http.uploads.pace import Pace
from animegan_gateway.settings import Settings
from animegan_service import logs
from animegan_service.server import WAITING_CONNECTIONS, serve_until_stop

ANSWER_WITHIN_S = 5  # a slow upload, before its connection is cut
LAST_ANSWERS_S = 5  # for answers under way once everything is drained

log = structlog.get_logger(__name__)


def main() -> int:
    """Serve; returns the exit status."""
    try:
        configured = settings.load()
        logs.configure(configured.log_file)
        _raise_file_limit()
        with tracing.export():
            asyncio.run(serve(configured))
    except AnimeganError as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 1
    return 0


async def serve(configured: Settings) -> None:
    """Serve until a signal. Raise `BadSetting` or `StoreUnavailable` where it can't start."""
    connections = most_connections(configured.connections)
    log.info("connections", most=connections)
    pace = Pace(configured.upload_idle_s + ANSWER_WITHIN_S, configured.upload_rate_kb_s * 1000)
    if configured.trusted_proxies and not configured.keys_required:
        log.warning(
            "open_behind_a_proxy",
            detail="trusted_proxies is set and no key is asked for: whoever reaches the proxy may draw. "
            "Set ANIMEGAN_GATEWAY_KEYS=required, unless the proxy asks who they are.",
        )
    async with open_gateway(configured, handler_settings.load()) as gateway:
        config = uvicorn.Config(
            RequestMiddleware(gateway.app, configured.allowed_hosts, configured.path_prefix),
            http=limited_protocol(connections, configured.header_timeout_s, pace),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            backlog=ACCEPTED_AT_ONCE,
            proxy_headers=bool(configured.trusted_proxies),
            forwarded_allow_ips=configured.trusted_proxies,
            timeout_graceful_shutdown=LAST_ANSWERS_S,
        )
        sockets = listen(configured.host, configured.port, WAITING_CONNECTIONS)
        await serve_until_stop(config, lambda: gateway.drain(configured.drain_s), sockets)


def _raise_file_limit() -> None:
    """Every caller that waits holds a file: take as many as the system grants."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
