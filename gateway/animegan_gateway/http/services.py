"""What the routes get: the parts of the gateway, the caller, the language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from animegan.errors import AnimeganError
from animegan_gateway.drawing.fleet import Fleet
from animegan_gateway.http.access.callers import Caller, Callers
from animegan_gateway.http.answers.messages import Language, preferred_language
from animegan_gateway.http.door import Door
from animegan_gateway.http.styles.catalogue import Catalogue
from animegan_gateway.http.styles.thumbnails import Thumbnails
from animegan_gateway.metrics import Metrics


@dataclass(frozen=True)
class Services:
    """The parts that the routes use."""

    door: Door
    catalogue: Catalogue
    callers: Callers
    thumbnails: Thumbnails
    fleet: Fleet
    metrics: Metrics


# Dependencies are coroutines because FastAPI runs plain functions in a thread.
async def find_services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


async def identify_caller(request: Request) -> Caller:
    services = await find_services(request)
    try:
        return await services.callers.identify(request)
    except AnimeganError as error:
        services.metrics.rejected.labels(error.code).inc()
        raise


async def find_language(request: Request) -> Language:
    return preferred_language(request.headers.get("accept-language"))


ServicesDep = Annotated[Services, Depends(find_services)]
CallerDep = Annotated[Caller, Depends(identify_caller)]
LanguageDep = Annotated[Language, Depends(find_language)]
