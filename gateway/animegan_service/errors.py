"""Errors that any HTTP service has, in the one JSON shape of `animegan.errors`.

AnimeganError
└── ServiceError
    ├── BadRequest        400  bad_request         a request that can't be read
    ├── Forbidden         403  forbidden           a request from a place that may not send it
    ├── NotFound          404  not_found           no such address
    └── MethodNotAllowed  405  method_not_allowed  another one is, as Allow says
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from animegan.errors import AnimeganError


class ServiceError(AnimeganError):
    """An error that may have response headers of its own."""

    @property
    def headers(self) -> Mapping[str, str]:
        return {}


class BadRequest(ServiceError):
    code = "bad_request"
    status = HTTPStatus.BAD_REQUEST
    title = "The request can't be read"


class Forbidden(ServiceError):
    code = "forbidden"
    status = HTTPStatus.FORBIDDEN
    title = "Not from there"


class NotFound(ServiceError):
    code = "not_found"
    status = HTTPStatus.NOT_FOUND
    title = "Nothing is here"


class MethodNotAllowed(ServiceError):
    code = "method_not_allowed"
    status = HTTPStatus.METHOD_NOT_ALLOWED
    title = "Not a method of this address"
