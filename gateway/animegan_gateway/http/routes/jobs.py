"""The routes of jobs and of the queue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import WithJsonSchema
from starlette.responses import JSONResponse, Response, StreamingResponse

from animegan.errors import BadOption
from animegan.options import IGNORED, MOST_CHARACTERS
from animegan_gateway.errors import NotReady, RangeNotSatisfiable, StoreUnavailable
from animegan_gateway.http.access.callers import Caller
from animegan_gateway.http.answers import views
from animegan_gateway.http.answers.messages import Language
from animegan_gateway.http.answers.pictures import picture_response, raise_expired
from animegan_gateway.http.answers.problems import document_errors
from animegan_gateway.http.door import Acceptance
from animegan_gateway.http.openapi import (
    DRAWING_ERRORS,
    EVENT,
    EVENTS,
    FORM,
    JOB_ERRORS,
    PICTURE,
    REQUEST_ERRORS,
    SUBMIT_ERRORS,
)
from animegan_gateway.http.services import CallerDep, LanguageDep, Services, ServicesDep
from animegan_gateway.queue.board import Place
from animegan_gateway.queue.jobs import Job, State
from animegan_service.errors import Forbidden

MOST_WAIT_S = 60
MOST_KEY_CHARACTERS = 255
EVENTS_RETRY_MS = 2000

JobId = Annotated[str, Path(description="The job's id.", examples=["3q2-7wAAAAAAAAAAAAAAAA"])]
IdempotencyKey = Annotated[
    str | None,
    Header(
        description="A request that is repeated with the same key, picture and options makes no second job.",
        max_length=MOST_KEY_CHARACTERS,
        min_length=1,
    ),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MOST_KEY_CHARACTERS}),  # a header is never null
]

router = APIRouter(prefix="/v1")


@router.post(
    "/jobs",
    status_code=HTTPStatus.ACCEPTED,
    response_model=views.JobView,
    responses=document_errors(*SUBMIT_ERRORS),
    openapi_extra=FORM,
    summary="Send a photo",
)
async def submit(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    language: LanguageDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Queue a photo. The answer says where to ask for it; nothing that was accepted is lost."""
    acceptance = await _accept(request, services, caller, idempotency_key)
    return _with_ignored(await _accepted_response(services, acceptance.job, language), acceptance)


_STYLIZE: dict[str, Any] = {
    "responses": {
        200: PICTURE,
        202: {"model": views.JobView, "description": "It takes longer than this waits: ask for the job."},
        **document_errors(*SUBMIT_ERRORS, *DRAWING_ERRORS),
    },
    "response_class": Response,
    "openapi_extra": FORM,
    "summary": "Send a photo and wait for the picture",
}


@router.put("/stylize/{name:path}", include_in_schema=False)  # where `curl -T photo.jpg …/v1/stylize/` sends it
@router.put("/stylize", **_STYLIZE)
@router.post("/stylize", **_STYLIZE)
async def stylize(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    language: LanguageDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """As POST v1/jobs, and the answer is the picture. A caller who hangs up takes the photo out of the queue.

    With an Idempotency-Key it stays there: the same request can be made again. A PUT does the same.
    """
    acceptance = await _accept(request, services, caller, idempotency_key)
    answer = await _stylized_response(
        request, services, caller, acceptance.job, language, keep=idempotency_key is not None
    )
    return _with_ignored(answer, acceptance)


async def _stylized_response(
    request: Request, services: Services, caller: Caller, job: Job, language: Language, *, keep: bool
) -> Response:
    disconnect = asyncio.create_task(_wait_for_disconnect(request))
    end = asyncio.create_task(services.door.wait_for_end(job))
    try:
        await asyncio.wait(
            {disconnect, end}, timeout=services.door.settings.stylize_timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if end.done():
            job = await end
        elif disconnect.done() and not keep:
            return _removal_response(services, await services.door.remove(caller, job.id), language)
        if not job.ended:
            return await _accepted_response(services, job, language)
        return await picture_response(request, services.door, job, download=False)
    finally:
        disconnect.cancel()
        end.cancel()


@router.get(
    "/jobs/{job_id}",
    response_model=views.JobView,
    responses={304: {"description": "Nothing changed."}, **document_errors(*JOB_ERRORS, BadOption)},
    summary="Where a job stands",
)
async def job(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    language: LanguageDep,
    job_id: JobId,
    wait: Annotated[
        float,
        Query(ge=0, le=MOST_WAIT_S, description="Seconds to wait for its end, or with If-None-Match for a change."),
    ] = 0,
) -> Response:
    """The job. With `wait` the answer comes when it has ended, or differs from what If-None-Match names."""
    if_none_match = request.headers.get("if-none-match")
    job = await services.door.find(caller, job_id)
    place = await services.door.place(job)

    def has_news() -> bool:
        return job.ended if if_none_match is None else _etag(services, job, place, language) not in if_none_match

    if wait and not has_news():
        try:
            async with asyncio.timeout(wait), aclosing(services.door.follow(job)) as updates:
                async for update in updates:
                    if update:
                        job, place = update
                    if has_news():
                        break
        except TimeoutError:
            pass
        if job.state is State.EXPIRED:
            await services.door.find(caller, job_id)
    etag = _etag(services, job, place, language)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Accept-Language"}
    if if_none_match is not None and etag in if_none_match:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return JSONResponse(_view(services, job, place, language), headers=headers)


@router.get(
    "/jobs/{job_id}/events",
    responses={
        200: {
            "description": "Events position, running, done, failed, cancelled and expired, each with the whole job.",
            "content": {"text/event-stream": {"schema": EVENT}},
        },
        **document_errors(*JOB_ERRORS),
    },
    response_class=StreamingResponse,
    summary="Watch a job",
)
async def events(services: ServicesDep, caller: CallerDep, language: LanguageDep, job_id: JobId) -> Response:
    """Server-sent events: one at once, one for each change; the stream ends when the job has."""
    job = await services.door.find(caller, job_id)

    async def stream() -> AsyncIterator[str]:
        with services.metrics.events.track_inprogress():
            yield f"retry: {EVENTS_RETRY_MS}\n\n"
            with suppress(StoreUnavailable):  # the browser asks again
                async with aclosing(services.door.follow(job)) as updates:
                    async for update in updates:
                        yield _event(services, *update, language) if update else ": still here\n\n"

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream(), media_type="text/event-stream", headers=headers)


@router.get(
    "/jobs/{job_id}/result",
    responses={
        200: PICTURE,
        206: {**PICTURE, "description": "The part that Range asked for."},
        304: {"description": "It is what If-None-Match names."},
        **document_errors(*JOB_ERRORS, *DRAWING_ERRORS, NotReady, RangeNotSatisfiable),
    },
    response_class=StreamingResponse,
    summary="The picture",
)
async def result(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    job_id: JobId,
    download: Annotated[bool, Query(description="Have a browser save it instead of showing it.")] = False,
) -> Response:
    """The drawn picture; of a failed job its problem."""
    return await picture_response(request, services.door, await services.door.find(caller, job_id), download=download)


@router.delete(
    "/jobs/{job_id}",
    response_model=views.JobView,
    responses=document_errors(*JOB_ERRORS, Forbidden),
    summary="Cancel a job, or delete its picture",
)
async def remove(services: ServicesDep, caller: CallerDep, language: LanguageDep, job_id: JobId) -> Response:
    """A job that has not ended is cancelled; the picture of one that has is deleted now."""
    return _removal_response(services, await services.door.remove(caller, job_id), language)


@router.get(
    "/queue",
    response_model=views.QueueView,
    responses=document_errors(*REQUEST_ERRORS),
    summary="How busy it is",
)
async def queue(services: ServicesDep, _: CallerDep) -> Response:
    """Return how many pictures wait and run, so that a client can hold back what can wait, as a preview."""
    waiting, running = await services.door.tally()
    view = views.QueueView(waiting=waiting, running=running)
    return JSONResponse(view.model_dump(), headers={"Cache-Control": "no-store"})


async def _accept(request: Request, services: Services, caller: Caller, idempotency_key: str | None) -> Acceptance:
    return await services.door.accept(
        caller,
        request.stream(),
        request.headers,
        request.query_params.multi_items(),
        name=request.path_params.get("name", ""),
        idempotency_key=idempotency_key,
        request_id=request.state.request_id,
    )


def _with_ignored(response: Response, acceptance: Acceptance) -> Response:
    """Return the response, which names what of the request nothing was made of."""
    if acceptance.ignored:
        response.headers[IGNORED] = ", ".join(quote(name[:MOST_CHARACTERS], safe=" []") for name in acceptance.ignored)
    return response


async def _accepted_response(services: Services, job: Job, language: Language) -> Response:
    if job.state is State.EXPIRED:  # sent again with its key, after its picture was deleted
        raise_expired(job)
    view = _view(services, job, await services.door.place(job), language)
    headers = {"Location": view["links"]["self"], "Cache-Control": "no-store"}
    return JSONResponse(view, HTTPStatus.ACCEPTED, headers=headers)


def _removal_response(services: Services, job: Job, language: Language) -> Response:
    return JSONResponse(_view(services, job, Place(None, None), language), headers={"Cache-Control": "no-store"})


async def _wait_for_disconnect(request: Request) -> None:
    """Return when the caller has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _event(services: Services, job: Job, place: Place, language: Language) -> str:
    view = json.dumps(_view(services, job, place, language), ensure_ascii=False)
    return f"event: {EVENTS.get(job.state, job.state.value)}\ndata: {view}\n\n"


def _etag(services: Services, job: Job, place: Place, language: Language) -> str:
    return views.etag(job, place, services.fleet.presence, language)


def _view(services: Services, job: Job, place: Place, language: Language) -> dict[str, Any]:
    view = views.job_view(
        job,
        place,
        services.fleet.presence,
        language=language,
        base=services.door.settings.path_prefix,
        keep_s=services.door.settings.keep_s,
        style=services.catalogue.styles().get(job.ask.style),
    )
    return view.model_dump(mode="json")
