"""Every error of the client.

    ClientError
    ├── Unreachable         no answer for as long as the client is patient
    ├── UnexpectedAnswer    an answer, but not this gateway's: another server, or something in between
    ├── WaitTimeout         the job has not ended while it was waited for; it goes on
    └── ServerError         the server's own words: code, status, detail, retryable, members
        ├── JobFailed       the job ended in an error, which this is
        ├── JobCancelled    job_cancelled: somebody cancelled the job
        └── JobExpired      job_expired: the picture was kept for a while, and is gone

A photo that can't be read raises `OSError`, an address or a key that can't be one `ValueError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator


@dataclass(frozen=True)
class Problem:
    """RFC 9457 problem details, as the server sends them. `members` holds what comes beside the standard ones."""

    code: str
    status: int
    detail: str
    title: str = ""
    retryable: bool = False  # whether the same request can succeed later
    members: Mapping[str, Any] = field(default_factory=dict)


_STANDARD = frozenset({"type", "code", "status", "detail", "title", "retryable"})


def _gather_members(raw: object) -> object:
    if not isinstance(raw, dict):
        return raw
    members = {name: value for name, value in raw.items() if name not in _STANDARD}
    return {name: value for name, value in raw.items() if name in _STANDARD} | {"members": members}


ProblemJSON = Annotated[Problem, BeforeValidator(_gather_members)]


class ClientError(Exception):
    """Base of all errors; its text is for people."""


class Unreachable(ClientError):
    pass


class UnexpectedAnswer(ClientError):
    pass


class WaitTimeout(ClientError, TimeoutError):
    pass


class ServerError(ClientError):
    """The server's answer. `request_id` names the request in the server's log, where there was one."""

    def __init__(self, problem: Problem, request_id: str = "") -> None:
        super().__init__(problem.detail)
        self.code = problem.code
        self.status = problem.status
        self.detail = problem.detail
        self.retryable = problem.retryable
        self.members = problem.members
        self.request_id = request_id


class JobFailed(ServerError):
    pass


class JobCancelled(ServerError):
    pass


class JobExpired(ServerError):
    pass


def from_problem(problem: Problem, request_id: str = "") -> ServerError:
    """Return the error of that problem, of the class that its code has."""
    kinds: dict[str, type[ServerError]] = {"job_cancelled": JobCancelled, "job_expired": JobExpired}
    return kinds.get(problem.code, ServerError)(problem, request_id)
