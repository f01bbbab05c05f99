"""The routes of a browser's session."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response
from starlette.types import Message

from animegan.errors import BadOption
from animegan.settings import SMALLEST_SIDE_PX, Format
from animegan_gateway.errors import RateLimited, StorageFull, StoreUnavailable, Unauthorized
from animegan_gateway.http.answers.problems import document_errors
from animegan_gateway.http.services import Services, ServicesDep
from animegan_service.errors import BadRequest, Forbidden

MOST_BODY_BYTES = 4096


class Bounded(APIRoute):
    """A route whose body is read into memory: no more than `MOST_BODY_BYTES` of it. Raise `BadRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_bounded(request: Request) -> Response:
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

        return handle_bounded


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
    return JSONResponse(view.model_dump(), headers={"Cache-Control": "no-store"})
