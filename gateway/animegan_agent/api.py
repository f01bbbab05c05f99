"""The agent's HTTP API. Gateways and probes ask from anywhere; commands are taken from this machine alone."""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from animegan.errors import BadOption
from animegan_agent.cancelling import ATTEMPT_FORM, Cancelling
from animegan_agent.dispatch import NEWS_WITHIN_S, Dispatch
from animegan_agent.metrics import is_ready
from animegan_agent.operations import Operations
from animegan_agent.recycling import Recycling
from animegan_agent.workers import Workers, resident_bytes
from animegan_service import problems
from animegan_service.bell import Bell, wait
from animegan_service.errors import Forbidden

ASK_AGAIN_S = 0.1  # during a pause, as each question tells how many pictures a gateway still has here
BROWSERS = ("origin", "sec-fetch-site")  # a page that the operator happens to look at is not the operator

T = TypeVar("T", bound=BaseModel)


class Question(BaseModel):
    """A gateway's question: its name, its number of pictures here, and the state it knows."""

    model_config = ConfigDict(extra="forbid")

    gateway: str = Field(min_length=1, max_length=64)
    running: int = Field(ge=0)
    seen: str = Field("", max_length=64)


class Attempt(BaseModel):
    """An attempt that a gateway asks about, or that nobody waits for any more."""

    model_config = ConfigDict(extra="forbid")

    attempt: str = Field(pattern=ATTEMPT_FORM)


class Scale(BaseModel):
    """The body of a command to scale."""

    model_config = ConfigDict(extra="forbid")

    workers: int


@dataclass(frozen=True)
class Services:
    """The parts that the routes use. `bell` rings when presence, width or pauses change."""

    workers: Workers
    dispatch: Dispatch
    operations: Operations
    recycling: Recycling
    cancelling: Cancelling
    bell: Bell

    def state(self) -> dict[str, Any]:
        """Return the state for gateways; a gateway sends `seen` back with its next question."""
        presence, width, paused = self.workers.presence, self.workers.width, self.dispatch.paused
        state = f"{presence}.{width}.{self.dispatch.tag}"
        return {"presence": presence, "width": width, "paused": paused, "seen": state}


def app(services: Services) -> Starlette:
    """Return the agent's app."""
    server = Starlette(
        routes=[
            Route("/healthz", _healthz),
            Route("/readyz", _readyz),
            Route("/v1/torchserve", _torchserve),
            Route("/v1/cancel", _cancel, methods=["POST"]),
            Route("/v1/progress", _progress),
            Route("/v1/workers", _workers),
            Route("/v1/workers/scale", _scale, methods=["POST"]),
            Route("/v1/workers/recycle", _recycle, methods=["POST"]),
            Route("/v1/drain", _drain, methods=["POST"]),
            Route("/v1/resume", _resume, methods=["POST"]),
        ]
    )
    problems.install(server, directory="GET /v1/workers tells most.")
    server.state.services = services
    return server


async def _healthz(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _readyz(request: Request) -> Response:
    services: Services = request.app.state.services
    ready = is_ready(services.workers, services.dispatch)
    view = {"ready": ready, "torchserve": services.workers.presence, "draining": services.dispatch.draining}
    return JSONResponse(view, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)


async def _torchserve(request: Request) -> Response:
    """Answer as soon as the state differs from the one that the gateway has seen, or after `NEWS_WITHIN_S`."""
    services: Services = request.app.state.services
    if any(name in request.headers for name in BROWSERS):
        raise Forbidden("This is for gateways, and a page in a browser is none.")
    question = _read(Question, dict(request.query_params))
    services.dispatch.record_question(question.gateway, question.running, question.seen.rpartition(".")[2])
    deadline = time.monotonic() + NEWS_WITHIN_S
    with services.bell.listening() as change:
        while (state := services.state())["seen"] == question.seen:
            paused = state["paused"]
            change.clear()
            if not await wait(change, ASK_AGAIN_S if paused else deadline - time.monotonic()):
                break
    return JSONResponse(services.state())


async def _cancel(request: Request) -> Response:
    """Have an attempt end. Its name can't be guessed, so it is enough to authorize the caller."""
    services: Services = request.app.state.services
    if any(name in request.headers for name in BROWSERS):
        raise Forbidden("This is for gateways, and a page in a browser is none.")
    attempt = _read(Attempt, await _json(request)).attempt
    return JSONResponse({"cancelled": services.cancelling.cancel(attempt)})


async def _progress(request: Request) -> Response:
    """Answer how much of an attempt is drawn, to any caller that knows its name."""
    services: Services = request.app.state.services
    if any(name in request.headers for name in BROWSERS):
        raise Forbidden("This is for gateways, and a page in a browser is none.")
    attempt = _read(Attempt, dict(request.query_params)).attempt
    return JSONResponse({"progress": services.cancelling.progress(attempt)})


async def _workers(request: Request) -> Response:
    services: Services = request.app.state.services
    return JSONResponse(_workers_view(services))


async def _scale(request: Request) -> Response:
    services = _authorize(request)
    await services.operations.scale(_read(Scale, await _json(request)).workers)
    return JSONResponse(_workers_view(services))


async def _recycle(request: Request) -> Response:
    services = _authorize(request)
    await services.recycling.all()
    return JSONResponse(_workers_view(services))


async def _drain(request: Request) -> Response:
    services = _authorize(request)
    await services.operations.drain()
    return JSONResponse(_workers_view(services))


async def _resume(request: Request) -> Response:
    services = _authorize(request)
    services.operations.resume()
    return JSONResponse(_workers_view(services))


def _workers_view(services: Services) -> dict[str, Any]:
    workers, model = services.workers, services.workers.model
    slots = [
        {
            "id": worker.id,
            "pid": worker.pid,
            "state": worker.status.lower(),
            "memory_bytes": resident_bytes(worker.pid),
            "age_s": round(workers.age_s(worker), 1),
            "requests": round(workers.requests_of(worker)),
        }
        for worker in (model.workers if model else ())
    ]
    return {
        "torchserve": workers.presence,
        "paused": services.dispatch.paused,
        "draining": services.dispatch.draining,
        "wanted": model.target if model else None,
        "pending": model.pending if model else None,
        "workers": slots,
    }


async def _json(request: Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        raise BadOption("The body is not JSON.") from None


def _authorize(request: Request) -> Services:
    """Raise `Forbidden` unless the command comes from this machine, and from no page in a browser."""
    client = request.client.host if request.client else ""
    try:
        here = ipaddress.ip_address(client).is_loopback
    except ValueError:
        here = False
    if not here or any(name in request.headers for name in BROWSERS):
        raise Forbidden(
            f"Commands are taken from this machine alone, and this one came from {client or 'nowhere'}. "
            "Run `animegan workers` beside TorchServe."
        )
    services: Services = request.app.state.services
    return services


def _read(model: type[T], values: Any) -> T:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))[:64] or "the body"
        raise BadOption(f"{name}={str(first['input'])[:32]!r}: {first['msg']}.", option=name) from None
