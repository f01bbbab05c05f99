"""The gateway's parts put together, in the order in which they start and, reversed, end."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from animegan import __version__
from animegan.errors import BadSetting, InternalError
from animegan.options import IGNORED, REQUEST_ID, option_headers
from animegan.report import Report
from animegan.settings import Settings as HandlerSettings
from animegan_gateway import tracing
from animegan_gateway.drawing.dispatcher import Dispatcher, retry_while_away
from animegan_gateway.drawing.fleet import Fleet
from animegan_gateway.drawing.torchserve import TorchServe
from animegan_gateway.errors import WrongHost
from animegan_gateway.http import site
from animegan_gateway.http.access.callers import Callers
from animegan_gateway.http.access.keys import Keys
from animegan_gateway.http.answers import problems
from animegan_gateway.http.door import Door
from animegan_gateway.http.openapi import App
from animegan_gateway.http.routes import health, jobs, session, styles
from animegan_gateway.http.services import Services
from animegan_gateway.http.styles.catalogue import Catalogue
from animegan_gateway.http.styles.thumbnails import Thumbnails
from animegan_gateway.metrics import Metrics
from animegan_gateway.queue.backend import Backend, open_backend
from animegan_gateway.queue.blobs import spool
from animegan_gateway.queue.board import Board
from animegan_gateway.queue.housekeeping import Housekeeper
from animegan_gateway.settings import Settings
from animegan_service.bell import Bell
from animegan_service.cancellation import cancel
from animegan_service.server import start_vital_task

DESCRIPTION = """\
Photo in, anime picture out. Send a photo with `POST v1/jobs`, follow its place in the queue, fetch the picture; or have
`POST v1/stylize` do all of it in one request. Errors are RFC 9457 problem details: `detail` names the value, the limit
and the way out, `retryable` says whether the same request can succeed later. Beside those of each address there are
404 `not_found` where there is no such address, 405 `method_not_allowed`, and 503 `too_many_connections`."""

CORS_REQUEST_HEADERS = [
    *("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "If-Range", "Range", REQUEST_ID),
    *option_headers(),
]
CORS_ANSWER_HEADERS = [
    *("Content-Disposition", "Content-Range", "ETag", "Location", "Retry-After", "X-Animegan-Job"),
    *(IGNORED, REQUEST_ID, *Report.header_names()),
]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Gateway:
    """The parts of a gateway that its process needs."""

    app: FastAPI
    door: Door
    dispatcher: Dispatcher
    metrics_port: int

    async def drain(self, grace_s: float) -> None:
        """Take no new jobs, finish running ones within the grace, and leave waiting ones for the next start."""
        log.info("draining")
        self.door.stop_accepting()
        await self.dispatcher.drain(grace_s)
        log.info("drained")


@asynccontextmanager
async def open_gateway(settings: Settings, drawing: HandlerSettings) -> AsyncIterator[Gateway]:
    """Yield the gateway, with everything behind its app running. Raise `BadSetting` or `StoreUnavailable`."""
    if settings.queue_mb < drawing.max_upload_mb:
        raise BadSetting(
            f"queue_mb={settings.queue_mb} is under max_upload_mb={drawing.max_upload_mb}, so a large picture "
            "would never be accepted. Raise the one or lower the other."
        )
    bell, metrics = Bell(), Metrics(settings.folder)
    settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with contextlib.AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_backend(settings, bell))
        folder = stack.enter_context(spool.open_spool(settings.folder))
        fleet = _fleet(settings, bell)
        catalogue = Catalogue()
        board = Board(backend.store, fleet)
        door = Door(settings, drawing, backend, board, catalogue, bell, metrics, folder)
        dispatcher = Dispatcher(
            backend.store, backend.blobs, fleet, bell, metrics, board, spool=folder, retries=settings.retries
        )
        housekeeper = Housekeeper(settings, backend, fleet, metrics, owner=dispatcher.owner)
        callers = Callers(
            Keys(settings.keys_directory),
            backend.store,
            await backend.store.secret(),
            required=settings.keys_required,
            path=settings.path_prefix or "/",
            origins=settings.cors_origins,
        )
        thumbnails = Thumbnails(door, catalogue, folder)
        app = _app(settings.cors_origins, Services(door, catalogue, callers, thumbnails, fleet, metrics))
        metrics_port = metrics.serve(settings.metrics_host, settings.metrics_port)
        stack.callback(metrics.close)
        for work in (fleet.watch(), _dispatch(backend, dispatcher), housekeeper.renew(), housekeeper.run()):
            stack.push_async_callback(cancel, [start_vital_task(work)])
        stack.push_async_callback(thumbnails.close)
        yield Gateway(app, door, dispatcher, metrics_port)


async def _dispatch(backend: Backend, dispatcher: Dispatcher) -> None:
    """Dispatch, once what an earlier process left running is back in the queue: on a full disk that has to wait."""
    if not backend.shared:
        await retry_while_away(backend.recover)
    await dispatcher.run()


def _app(cors_origins: list[str], services: Services) -> FastAPI:
    app = App(
        title="AnimeGAN Serve",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=problems.document_errors(InternalError, WrongHost),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        telemetry=tracing.REQUESTS,
    )
    app.state.services = services
    problems.install(app)
    for router in (jobs.router, styles.router, session.router, health.router, session.bounded):
        app.include_router(router)
    site.install(app)
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=CORS_REQUEST_HEADERS,
            expose_headers=CORS_ANSWER_HEADERS,
        )
    return app


def _fleet(settings: Settings, bell: Bell) -> Fleet:
    name = secrets.token_hex(8)
    port = urlsplit(settings.torchserve).port or 80

    def reach(host: str) -> TorchServe:
        agent = f"http://{host}:{settings.agent_port}" if settings.agent_port else None
        url = f"http://{host}:{port}"
        return TorchServe(url, agent, settings.width, settings.draw_timeout_s, name, on_change=bell.ring_all)

    return Fleet(settings.torchserve, reach)
