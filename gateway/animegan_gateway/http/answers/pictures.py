"""A drawn picture as an answer: whole, in part, as JSON, or the reason why there is none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import NoReturn

import structlog
from fastapi import Request
from starlette.responses import Response, StreamingResponse

from animegan.errors import InternalError
from animegan.options import prefers_json
from animegan_gateway.errors import JobCancelled, JobExpired, NotReady
from animegan_gateway.http.answers import ranges
from animegan_gateway.http.answers.file_names import content_disposition
from animegan_gateway.http.answers.json_picture import json_picture
from animegan_gateway.http.door import Door
from animegan_gateway.queue.jobs import Job, State
from animegan_service.problems import stored_problem_response

log = structlog.get_logger(__name__)


async def picture_response(request: Request, door: Door, job: Job, *, download: bool) -> Response:
    """Return the job's picture as the request's Accept, Range and conditional headers ask; of a failed job its problem.

    Raise `NotReady`, `JobCancelled` or `JobExpired` where there is no picture.
    """
    if job.state in (State.QUEUED, State.RUNNING):
        raise NotReady("The picture is not drawn yet. Ask for the job, or wait for it.", job_status=job.state.value)
    if job.state is State.CANCELLED:
        raise JobCancelled("This job was cancelled, so there is no picture. Send the photo again.")
    if job.state is State.FAILED:
        problem = job.error or InternalError("The picture was not drawn.").problem()
        return stored_problem_response({**problem, "job_status": job.state.value})
    if job.state is State.EXPIRED or job.result is None:
        raise_expired(job)
    as_json = prefers_json(request.headers.get("accept", ""))
    etag = f'"{job.result_key}{".json" if as_json else ""}"'
    ending = job.result.content_type.partition("/")[2].replace("jpeg", "jpg")
    name = f"{job.ask.name}-{job.ask.style}" if job.ask.name else f"anime-{job.id[:8]}"
    headers = {
        **job.result.headers,
        "ETag": etag,
        "Cache-Control": "private, no-cache",
        "Last-Modified": format_datetime(datetime.fromtimestamp(job.finished_at or 0, UTC), usegmt=True),
        "Vary": "Accept",
        "X-Animegan-Job": job.id,
    }
    if request.method == "GET" and etag in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if as_json:
        chunks = await _chunks(door, job, 0, job.result.bytes - 1)
        body, length = json_picture(job, chunks)
        headers["Content-Length"] = str(length)
        return StreamingResponse(body, headers=headers, media_type="application/json")
    headers["Accept-Ranges"] = "bytes"
    headers["Content-Disposition"] = content_disposition(f"{name}.{ending}", download=download)
    size, status = job.result.bytes, HTTPStatus.OK
    if_range = request.headers.get("if-range")
    part = None
    if request.method == "GET" and if_range in (None, etag):
        part = ranges.parse(request.headers.get("range"), size)
    first, last = part or (0, size - 1)
    if part:
        status = HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    headers["Content-Length"] = str(last - first + 1)
    chunks = await _chunks(door, job, first, last)
    return StreamingResponse(chunks, status, headers=headers, media_type=job.result.content_type)


async def _chunks(door: Door, job: Job, first: int, last: int) -> AsyncIterator[bytes]:
    """Return the picture's bytes, the first of them read: before the status is sent a missing file can have its own."""
    chunks = door.read(job, first, last)
    try:
        chunk = await anext(chunks)
    except FileNotFoundError:
        log.warning("result_missing", job=job.id[:8])
        raise JobExpired(
            f"The picture of the job {job.id!r} is gone from the store. Send the photo again for another."
        ) from None
    return _prepend(chunk, chunks)


async def _prepend(chunk: bytes, chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(chunks):
        yield chunk
        async for following in chunks:
            yield following


def raise_expired(job: Job) -> NoReturn:
    """Raise `JobExpired` for a job whose picture is deleted."""
    raise JobExpired(f"The picture of the job {job.id!r} is deleted. Send the photo again for another.")
