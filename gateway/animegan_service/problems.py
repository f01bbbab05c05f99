"""Every error of a Starlette or FastAPI app, answered as RFC 9457 problem details."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPMethod, HTTPStatus
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from animegan.errors import CONTENT_TYPE, AnimeganError, BadLook, BadSetting, BadWeights, InternalError
from animegan_service.errors import BadRequest, MethodNotAllowed, NotFound, ServiceError

log = structlog.get_logger(__name__)


def install(app: Starlette, *, directory: str) -> None:
    """Answer every error of the app as a problem. `directory` is a sentence on where its addresses are listed."""

    async def answer_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, AnimeganError)
        if isinstance(error, (BadSetting, BadWeights, BadLook)):  # an operator's error names files of the server
            log.error("operator_error", reason=str(error))
            error = InternalError("The server is not set up right; its log has the details.")
        return problem_response(error)

    async def answer_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == HTTPStatus.NOT_FOUND:
            return problem_response(NotFound(f"There is nothing at this address. {directory}"))
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            response = problem_response(MethodNotAllowed(f"{request.method} is not possible here."))
            response.headers["Allow"] = ", ".join(_methods(request)) or "GET, HEAD"  # the latter for static files
            return response
        return problem_response(BadRequest(str(error.detail)))

    async def answer_disconnect(_: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
        return problem_response(BadRequest("The connection ended before the request did."))

    async def answer_fault(_: Request, error: Exception) -> Response:
        log.error("request_failed", exc_info=error)
        return problem_response(InternalError("A fault of this server; its log has the details."))

    app.add_exception_handler(AnimeganError, answer_error)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(ClientDisconnect, answer_disconnect)
    app.add_exception_handler(Exception, answer_fault)


def problem_response(error: AnimeganError) -> Response:
    """Return the response to a request that ended with this error."""
    return stored_problem_response(error.problem(), error.headers if isinstance(error, ServiceError) else {})


def stored_problem_response(problem: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Return the response that these problem details describe, for example those kept with a failed job."""
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return JSONResponse(problem, int(problem["status"]), headers, media_type=CONTENT_TYPE)


def _methods(request: Request) -> list[str]:
    """Return the methods of the request's address; where several routes share it, the router knows those of one."""

    def possible(method: HTTPMethod) -> bool:
        scope = {**request.scope, "method": method.value}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    methods = [method.value for method in HTTPMethod if possible(method)]
    # HEAD is answered wherever GET is, though FastAPI's routes do not list it.
    return [*methods, "HEAD"] if "GET" in methods and "HEAD" not in methods else methods
