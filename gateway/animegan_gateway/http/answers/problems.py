"""The gateway's errors as answers, and their documentation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from animegan.errors import CONTENT_TYPE, AnimeganError, BadOption
from animegan_gateway.errors import Busy
from animegan_service import problems


def _codes() -> list[Any]:
    """Return the codes of all errors."""

    def below(error: type[AnimeganError]) -> Iterator[type[AnimeganError]]:
        yield error
        for each in error.__subclasses__():
            yield from below(each)

    return sorted({error.code for error in below(AnimeganError)})


class Problem(BaseModel):
    """RFC 9457 problem details; `detail` names the value, the limit and the way out."""

    model_config = ConfigDict(extra="allow")
    type: str = Field(examples=["urn:animegan:problem:bad-option"])
    title: str
    status: int
    detail: str
    code: str = Field(json_schema_extra={"enum": _codes()})
    retryable: bool = Field(description="Whether the same request can succeed later.")


def document_errors(*errors: type[AnimeganError]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may raise these."""
    by_status: defaultdict[int, list[type[AnimeganError]]] = defaultdict(list)
    for error in dict.fromkeys(errors):
        by_status[int(error.status)].append(error)
    return {status: _document_status(those) for status, those in sorted(by_status.items())}


def _document_status(errors: list[type[AnimeganError]]) -> dict[str, Any]:
    examples = {error.code: {"summary": error.title, "value": _example(error)} for error in errors}
    response: dict[str, Any] = {
        "description": "; ".join(f"`{error.code}`: {error.title}" for error in errors) + ".",
        "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
    }
    if any(issubclass(error, Busy) for error in errors):
        response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return response


def _example(error: type[AnimeganError]) -> dict[str, Any]:
    detail = "What was sent, the limit, and the way out."
    return (error(detail, retry_after_s=4) if issubclass(error, Busy) else error(detail)).problem()


def install(app: FastAPI) -> None:
    """Answer every error of the app as a problem."""

    async def answer_invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        name = str(first["loc"][-1])[:100]
        message = f"{name}={str(first.get('input'))[:32]!r}: {first['msg']}."
        return problems.problem_response(BadOption(message, option=name))

    problems.install(app, directory="GET docs lists what there is.")
    app.add_exception_handler(RequestValidationError, answer_invalid)
