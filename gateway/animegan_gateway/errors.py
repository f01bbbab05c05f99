"""The gateway's own errors, beside those of any HTTP service (`animegan_service.errors`) and the engine's.

AnimeganError
├── WrongHost            421  wrong_host             addressed to a host that this is not
├── Unauthorized         401  unauthorized           no key, or one that is unknown or revoked
├── JobNotFound          404  job_not_found          no such job, or somebody else's
├── UploadTimeout        408  upload_timeout         the picture came too slowly
├── NotReady             409  not_ready              the result was asked for too early
├── JobCancelled         409  job_cancelled          there will be no result
├── JobExpired           410  job_expired            the picture is deleted
├── RangeNotSatisfiable  416  range_not_satisfiable  a part that lies past the end
├── IdempotencyMismatch  422  idempotency_mismatch   the key was used for another request
├── Busy                 429                         ask again after `retry_after_s`
│   ├── QueueFull             queue_full             the queue holds all it may
│   ├── ShareFull             share_full             this caller's part of the queue is full
│   └── RateLimited           rate_limited           this caller asks too often
├── WorkerKilled         500  worker_killed          drawing the picture ended a worker, twice
├── DrawingFailed        500  drawing_failed         tried again and again, in vain
├── TooManyConnections   503  too_many_connections   as many callers are connected as there may be
├── Draining             503  draining               the gateway is about to stop
├── StoreUnavailable     503  store_unavailable      the queue's store can't be reached
└── StorageFull          503  storage_full           no room for the picture
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus

from animegan.errors import AnimeganError
from animegan_service.errors import BadRequest, NotFound, ServiceError


class WrongHost(BadRequest):
    code = "wrong_host"
    status = HTTPStatus.MISDIRECTED_REQUEST
    title = "Not this server's name"


class Unauthorized(ServiceError):
    code = "unauthorized"
    status = HTTPStatus.UNAUTHORIZED
    title = "A key is needed"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": 'Bearer realm="animegan"'}


class JobNotFound(NotFound):
    code = "job_not_found"
    title = "No such job"


class UploadTimeout(AnimeganError):
    code = "upload_timeout"
    status = HTTPStatus.REQUEST_TIMEOUT
    title = "The upload took too long"
    retryable = True


class NotReady(AnimeganError):
    code = "not_ready"
    status = HTTPStatus.CONFLICT
    title = "Not drawn yet"
    retryable = True


class JobCancelled(AnimeganError):
    code = "job_cancelled"
    status = HTTPStatus.CONFLICT
    title = "The job was cancelled"


class JobExpired(AnimeganError):
    code = "job_expired"
    status = HTTPStatus.GONE
    title = "The picture is deleted"


class RangeNotSatisfiable(ServiceError):
    code = "range_not_satisfiable"
    status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    title = "No such part"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Content-Range": f"bytes */{self.members['bytes']}"}


class IdempotencyMismatch(AnimeganError):
    code = "idempotency_mismatch"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    title = "The Idempotency-Key was used before"


class Busy(ServiceError):
    """Too much at once; worth another try after `retry_after_s`, which is rounded up to whole seconds."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    retryable = True

    def __init__(self, detail: str, *, retry_after_s: float, **members: str | float | None) -> None:
        seconds = max(1, math.ceil(retry_after_s))
        super().__init__(f"{detail} Try again in {seconds} s.", retry_after_s=seconds, **members)

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.members["retry_after_s"])}


class QueueFull(Busy):
    code = "queue_full"
    title = "The queue is full"


class ShareFull(Busy):
    code = "share_full"
    title = "Your part of the queue is full"


class RateLimited(Busy):
    code = "rate_limited"
    title = "Too many requests"


class WorkerKilled(AnimeganError):
    code = "worker_killed"
    title = "Drawing this picture ends the worker"


class DrawingFailed(AnimeganError):
    code = "drawing_failed"
    title = "The picture could not be drawn"
    retryable = True


class TooManyConnections(AnimeganError):
    code = "too_many_connections"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "Too many connections"
    retryable = True


class Draining(AnimeganError):
    code = "draining"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "About to stop"
    retryable = True


class StoreUnavailable(AnimeganError):
    code = "store_unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "The queue can't be reached"
    retryable = True


class StorageFull(AnimeganError):
    code = "storage_full"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "No room for the picture"
    retryable = True
