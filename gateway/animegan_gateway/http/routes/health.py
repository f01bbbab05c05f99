"""The routes of health, for whoever watches the gateway."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from animegan.errors import BadOption
from animegan_gateway.http.answers.problems import document_errors
from animegan_gateway.http.services import ServicesDep

router = APIRouter()


class Health(BaseModel):
    status: str


class Readiness(Health):
    torchserve: str


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
    code = HTTPStatus.OK if status == "ready" else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse(answer.model_dump(), code, {"Cache-Control": "no-store"})
