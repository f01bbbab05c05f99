"""The routes of styles."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from animegan.errors import StyleNotInstalled, UnknownStyle
from animegan_gateway.http.answers import views
from animegan_gateway.http.answers.problems import document_errors
from animegan_gateway.http.openapi import JPEG, REQUEST_ERRORS
from animegan_gateway.http.services import CallerDep, LanguageDep, ServicesDep

THUMBNAIL_RETRY_S = 3

router = APIRouter(prefix="/v1")


@router.get(
    "/styles",
    response_model=views.StylesView,
    responses=document_errors(*REQUEST_ERRORS),
    summary="The styles there are",
)
async def list_styles(services: ServicesDep, _: CallerDep, language: LanguageDep) -> Response:
    """Every style with its licence; what is not installed can't be drawn."""
    base = services.door.settings.path_prefix
    view = views.styles_view(services.catalogue.styles(), services.door.drawing.style, language, base)
    return JSONResponse(view.model_dump(mode="json"), headers={"Cache-Control": "no-cache", "Vary": "Accept-Language"})


@router.get(
    "/styles/{style_id}/thumbnail",
    responses={
        200: {"description": "A small JPEG.", "content": {JPEG: {"schema": {"type": "string", "format": "binary"}}}},
        202: {"description": "It is being drawn: ask again after `Retry-After` seconds. The body is empty."},
        **document_errors(*REQUEST_ERRORS, StyleNotInstalled, UnknownStyle),
    },
    response_class=Response,
    summary="A sample in a style",
)
async def thumbnail(services: ServicesDep, _: CallerDep, style_id: str) -> Response:
    """A sample photo, drawn by this server when it is first asked for."""
    picture = await services.thumbnails.get(style_id)
    if picture is None:
        headers = {"Retry-After": str(THUMBNAIL_RETRY_S), "Cache-Control": "no-store"}
        return Response(status_code=HTTPStatus.ACCEPTED, headers=headers)
    return Response(picture, media_type=JPEG, headers={"Cache-Control": "private, max-age=3600"})
