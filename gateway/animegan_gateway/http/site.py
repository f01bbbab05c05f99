"""The routes beside jobs: the page, its session, the documentation, health."""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import fastapi_offline
from fastapi import APIRouter, Body, FastAPI, Query, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Message

from animegan.errors import BadOption
from animegan.settings import SMALLEST_SIDE_PX, Format
from animegan_gateway.errors import RateLimited, StorageFull, StoreUnavailable, Unauthorized
from animegan_gateway.http import assets
from animegan_gateway.http.answers.problems import document_errors
from animegan_gateway.http.routes import Services, ServicesDep
from animegan_service.errors import BadRequest, Forbidden

PAGE = Path(str(resources.files(__package__).joinpath("page")))
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)  # Swagger UI sets styles inline

MOST_BODY_BYTES = 4096


class Bounded(APIRoute):
    """A route whose body is read into memory: no more than `MOST_BODY_BYTES` of it. Raise `BadRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def limited(request: Request) -> Response:
            body = b""
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BODY_BYTES:
                    raise BadRequest(
                        f"The request's body is over {MOST_BODY_BYTES} bytes. Send what is asked for alone."
                    )

            async def replay() -> Message:
                return {"type": "http.request", "body": body}

            return await handle(Request(request.scope, replay))

        return limited


router = APIRouter()
bounded = APIRouter(route_class=Bounded)


class LimitsView(BaseModel):
    max_upload_mb: int
    max_pixels_mpx: int
    smallest_side_px: int
    max_side_px: int = Field(description="The default.")
    max_side_ceiling_px: int
    format: Format
    quality: int


class SessionView(BaseModel):
    keys_required: bool
    signed_in: bool
    limits: LimitsView
    keep_s: int = Field(description="How long a picture is kept after it was drawn, in s.")


class Credentials(BaseModel):
    key: str = Field("", max_length=200, description="An API key; empty where none is required.")


class Health(BaseModel):
    status: str


class Readiness(Health):
    torchserve: str


@router.get(
    "/v1/session",
    response_model=SessionView,
    responses=document_errors(StoreUnavailable),
    summary="Whether this browser has a session",
)
async def session(request: Request, services: ServicesDep) -> Response:
    """Return whether keys are required and this browser is signed in, and the limits of a picture."""
    return _session(services, signed_in=await services.callers.session(request) is not None)


@bounded.post(
    "/v1/session",
    response_model=SessionView,
    responses=document_errors(BadOption, BadRequest, Forbidden, RateLimited, StoreUnavailable, Unauthorized),
    summary="Open a session",
)
async def sign_in(
    request: Request, services: ServicesDep, credentials: Annotated[Credentials | None, Body()] = None
) -> Response:
    """Exchange an API key for an HttpOnly cookie: a page's pictures and event streams can't carry a header."""
    response = _session(services, signed_in=True)
    await services.callers.sign_in(request, response, credentials.key if credentials else "")
    return response


@router.delete(
    "/v1/session",
    response_model=SessionView,
    responses=document_errors(Forbidden, StorageFull, StoreUnavailable),
    summary="End the session",
)
async def sign_out(request: Request, services: ServicesDep) -> Response:
    """End the session at the server, and have the browser forget its cookie."""
    response = _session(services, signed_in=False)
    await services.callers.sign_out(request, response)
    return response


@router.get("/healthz", response_model=Health, summary="The process lives")
async def healthz() -> Health:
    return Health(status="ok")


@router.get(
    "/readyz",
    response_model=Readiness,
    responses={
        503: {"model": Readiness, "description": "Draining, or a store is away or full."},
        **document_errors(BadOption),
    },
    summary="It takes jobs",
)
async def readyz(
    services: ServicesDep,
    exclude: Annotated[
        Literal["store"] | None,
        Query(description="What is not looked at: without the store, this is 503 only while the server drains."),
    ] = None,
) -> Response:
    """Return whether jobs are taken. TorchServe may be away meanwhile: then they wait."""
    status = "draining" if services.door.draining else "ready"
    if status == "ready" and exclude is None and (problem := await services.door.store_problem()):
        status = problem.code
    answer = Readiness(status=status, torchserve=services.fleet.presence)
    return JSONResponse(
        answer.model_dump(), HTTPStatus.OK if status == "ready" else HTTPStatus.SERVICE_UNAVAILABLE, _NO_STORE
    )


def install(app: FastAPI) -> None:
    """Add the page at the root, its files under page/, and Swagger UI at docs."""
    app.include_router(router)
    app.include_router(bounded)
    mimetypes.add_type("application/manifest+json", ".webmanifest")
    swagger = Path(str(resources.files(fastapi_offline).joinpath("static")))
    for address, asset in assets.load(PAGE).items():
        app.add_api_route(address, _asset(asset), include_in_schema=False)
    app.mount("/page", Files(directory=PAGE), name="page")
    app.mount("/swagger", Files(directory=swagger), name="swagger")
    docs = assets.Asset((PAGE / "docs" / "docs.html").read_bytes(), "text/html", assets.FRESH)
    app.add_api_route("/docs", _asset(docs, {"Content-Security-Policy": DOCS_POLICY}), include_in_schema=False)


class Files(StaticFiles):
    """Files that a browser revalidates before each use, as they change with the version and their names do not."""

    def file_response(self, *arguments: object, **named: object) -> Response:
        response = super().file_response(*arguments, **named)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = assets.FRESH
        return response


_NO_STORE = {"Cache-Control": "no-store"}


def _asset(asset: assets.Asset, headers: dict[str, str] | None = None) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return asset.response(request, headers)

    return answer


def _session(services: Services, *, signed_in: bool) -> Response:
    drawing, settings = services.door.drawing, services.door.settings
    view = SessionView(
        keys_required=services.callers.required,
        signed_in=signed_in,
        limits=LimitsView(
            max_upload_mb=drawing.max_upload_mb,
            max_pixels_mpx=drawing.max_pixels_mpx,
            smallest_side_px=SMALLEST_SIDE_PX,
            max_side_px=drawing.max_side_px,
            max_side_ceiling_px=drawing.max_side_ceiling_px,
            format=drawing.format,
            quality=drawing.quality,
        ),
        keep_s=settings.keep_s,
    )
    return JSONResponse(view.model_dump(), headers=_NO_STORE)
