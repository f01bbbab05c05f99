"""Errors as answers: one JSON shape for all of them, and their documentation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from http import HTTPMethod, HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from animegan.errors import CONTENT_TYPE, AnimeganError, BadLook, BadOption, BadSetting, BadWeights, InternalError
from animegan_gateway.errors import BadRequest, Busy, MethodNotAllowed, NotFound, RangeNotSatisfiable, Unauthorized

log = structlog.get_logger(__name__)


def _codes() -> list[Any]:
    """Of all errors there are."""

    def below(error: type[AnimeganError]) -> Iterator[type[AnimeganError]]:
        yield error
        for each in error.__subclasses__():
            yield from below(each)

    return sorted({error.code for error in below(AnimeganError)})


class App(FastAPI):
    """An app whose OpenAPI document knows of no other errors than problems."""

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            schema = super().openapi()
            for path in schema["paths"].values():
                for operation in path.values():
                    if "HTTPValidationError" in str(operation["responses"].get("422")):
                        del operation["responses"]["422"]  # only text in the path, and any text will do
            for name in ("HTTPValidationError", "ValidationError"):
                schema["components"]["schemas"].pop(name, None)
            for model in schema["components"]["schemas"].values():
                for example in model.get("examples", ()):  # in which FastAPI leaves out what is null
                    example.update({name: example.get(name) for name in model["required"]})
        return self.openapi_schema or {}


class Problem(BaseModel):
    """RFC 9457 problem details; `detail` names the value, the limit and the way out."""

    model_config = ConfigDict(extra="allow")
    type: str = Field(examples=["urn:animegan:problem:bad-option"])
    title: str
    status: int
    detail: str
    code: str = Field(json_schema_extra={"enum": _codes()})
    retryable: bool = Field(description="Whether the same request can succeed later.")


def problem_response(error: AnimeganError) -> Response:
    """The answer that an error is."""
    headers = {}
    if isinstance(error, Busy):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.members['bytes']}"
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="animegan"'
    return stored_problem_response(error.problem(), headers)


def stored_problem_response(problem: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """The answer that problem details are, such as a failed job's."""
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return JSONResponse(problem, int(problem["status"]), headers, media_type=CONTENT_TYPE)


def documented(*errors: type[AnimeganError]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may raise these."""
    by_status: defaultdict[int, list[type[AnimeganError]]] = defaultdict(list)
    for error in errors:
        by_status[int(error.status)].append(error)
    return {status: _described(those) for status, those in sorted(by_status.items())}


def _described(errors: list[type[AnimeganError]]) -> dict[str, Any]:
    examples = {error.code: {"summary": error.title, "value": _example(error)} for error in errors}
    described: dict[str, Any] = {
        "description": "; ".join(f"`{error.code}`: {error.title}" for error in errors) + ".",
        "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
    }
    if any(issubclass(error, Busy) for error in errors):
        described["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return described


def _example(error: type[AnimeganError]) -> dict[str, Any]:
    detail = "What was sent, the limit, and the way out."
    return (error(detail, retry_after_s=4) if issubclass(error, Busy) else error(detail)).problem()


def _allowed(request: Request) -> list[str]:
    """The methods of the address; the router itself tells those of one route, where several have the address."""

    def possible(method: HTTPMethod) -> bool:
        scope = {**request.scope, "method": method.value}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    methods = [method.value for method in HTTPMethod if possible(method)]
    return [*methods, "HEAD"] if "GET" in methods and "HEAD" not in methods else methods  # see `shell`


def install(app: FastAPI) -> None:
    """Have the app answer every error as a problem, and tell a caller nothing of a fault of its own."""

    async def known(_: Request, error: Exception) -> Response:
        assert isinstance(error, AnimeganError)
        if isinstance(error, (BadSetting, BadWeights, BadLook)):  # the operator's affair, and it names files
            log.error("operator_error", reason=str(error))
            error = InternalError("The server is not set up right; its log has the details.")
        return problem_response(error)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        name = str(first["loc"][-1])[:100]
        return problem_response(BadOption(f"{name}={str(first.get('input'))[:32]!r}: {first['msg']}.", option=name))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == HTTPStatus.NOT_FOUND:
            return problem_response(NotFound("There is nothing at this address. GET docs lists what there is."))
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            response = problem_response(MethodNotAllowed(f"{request.method} is not possible here."))
            response.headers["Allow"] = ", ".join(_allowed(request)) or "GET, HEAD"  # none of its routes: a file
            return response
        return problem_response(BadRequest(str(error.detail)))

    async def hung_up(_: Request, error: Exception) -> Response:  # noqa: ARG001 - the signature is Starlette's
        return problem_response(BadRequest("The connection ended before the request did."))

    async def unexpected(_: Request, error: Exception) -> Response:
        log.error("request_failed", exc_info=error)
        return problem_response(InternalError("A fault of this server; its log has the details."))

    app.add_exception_handler(AnimeganError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(ClientDisconnect, hung_up)
    app.add_exception_handler(Exception, unexpected)
