"""Requests that get through: sent again while the server is busy or away, for as long as the client is patient."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from io import BytesIO
from urllib.parse import urlsplit

import requests
from pydantic import TypeAdapter, ValidationError
from urllib3.exceptions import NewConnectionError

from animegan_client.errors import (
    ClientError,
    Problem,
    ProblemJSON,
    ServerError,
    UnexpectedAnswer,
    Unreachable,
    from_problem,
)

TIMEOUT_S = (5, 60)  # to connect or to send a block, and between two bytes of an answer
UNKNOWN_PATIENCE_S = 3.0  # with an address at which nothing has ever listened
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.2, 5.0  # it doubles from the one to the other
AWAY = frozenset({502, 503, 504})  # from the gateway, or from a proxy that does not reach it
PROBLEM: TypeAdapter[Problem] = TypeAdapter(ProblemJSON)


class Transport:
    """The connections to one server. May be used from several threads: each request has a session to itself.

    A 429 is waited out as its `Retry-After` says. A server that does not answer, or answers that it can't serve now, is
    asked again with growing pauses. A request gives up after `patience_s`; of a server that is away, that counts from
    its last sign of life, so that a thousand pictures do not each wait for one that is gone. Where nothing has ever
    listened, the address is wrong rather than the server away: that is told after `UNKNOWN_PATIENCE_S`.

    `contact`: whether something has listened.
    """

    def __init__(self, url: str, *, key: str | None, language: str, patience_s: float) -> None:
        self._url = url
        self._key = key
        self._language = language
        self._patience_s = patience_s
        self._idle: deque[requests.Session] = deque()
        self._stop = threading.Event()
        self._away_since: float | None = None
        self.contact = False

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        patience_s: float = float("inf"),
    ) -> requests.Response:
        """Send an idempotent request and return the whole answer, whose status is 2xx or 304.

        `patience_s` can lessen the client's own. Raises `ServerError`, `Unreachable` or `UnexpectedAnswer`.
        """
        patience_s = min(patience_s, self._patience_s)
        failing_since: float | None = None
        backoff_s = FIRST_BACKOFF_S
        while True:
            try:
                answer = self._send(method, path, params, headers, body)
            except requests.RequestException as error:
                failure: ClientError = Unreachable(
                    f"No answer from {self._url}: {_cause(error)}. Is the server running?"
                )
                failure.__cause__ = error
                away, again, pause_s = True, _may_pass(error), backoff_s
                self.contact |= not _is_unconnected(error)
                if not self.contact:
                    patience_s = min(patience_s, UNKNOWN_PATIENCE_S)
            else:
                self.contact = True
                if answer.status_code < 300 or answer.status_code == 304:
                    self._away_since = None
                    return answer
                failure = _failure(answer)
                away = answer.status_code in AWAY and isinstance(failure, ServerError) and failure.retryable
                again, pause_s = away or answer.status_code == 429, _retry_after_s(answer, backoff_s)
            now = time.monotonic()
            failing_since = failing_since or now
            away_since = self._away_since = (self._away_since or now) if away else None
            give_up = min(failing_since, away_since or now) + patience_s
            if not again or now + pause_s >= give_up or self._stop.wait(pause_s):
                raise failure
            backoff_s = min(2 * backoff_s, LAST_BACKOFF_S)

    @property
    def closed(self) -> bool:
        return self._stop.is_set()

    def close(self) -> None:
        """Close the connections, those in use when their answer is there. Nothing is sent a second time any more."""
        self._stop.set()
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        headers: Mapping[str, str] | None,
        body: bytes | None,
    ) -> requests.Response:
        with self._session() as session:
            return session.request(
                method,
                f"{self._url}/{path}",
                params=params,
                headers=headers,
                # From a file it is sent in blocks. As bytes, all of it would have to be sent within one timeout.
                data=None if body is None else BytesIO(body),
                timeout=TIMEOUT_S,
                allow_redirects=False,  # a POST would be sent on as a GET
            )

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        """Yield a session that no other thread uses meanwhile."""
        try:
            session = self._idle.pop()
        except IndexError:
            session = self._new_session()
        try:
            yield session
        finally:
            self._idle.append(session)
            if self.closed:
                self.close()

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.headers["Accept-Language"] = self._language
        session.cookies.set_policy(
            DefaultCookiePolicy(allowed_domains=[])
        )  # a cookie is the page's, and wants an Origin
        if self._key:
            session.auth = _Bearer(self._key)
        return session


class _Bearer(requests.auth.AuthBase):
    """Sets the API key's header. As a header of the session it would give way to an entry in ~/.netrc."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def checked_url(url: str) -> str:
    """Return the base address without a slash at its end. Raises `ValueError` for another text."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets, or a port out of range
        usable = False
    if not usable or "?" in url or "#" in url:
        raise ValueError(f"{url!r} is no address of a server. It is like http://127.0.0.1:8000 or https://host/anime.")
    return url.rstrip("/")


def checked_key(key: str | None) -> str | None:
    """Return the key without surrounding white space. Raises `ValueError` for characters that no key has."""
    key = (key or "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("The key has characters that no key has. Copy it again.")
    return key or None


def _may_pass(error: requests.RequestException) -> bool:
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, passing) and not isinstance(error, requests.exceptions.SSLError)


def _is_unconnected(error: requests.RequestException) -> bool:
    """Return whether there was no connection at all: refused, no such name, no way there."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)


def _cause(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return f"no trusted connection ({error})"
    if isinstance(error, requests.Timeout):
        return "it took too long"
    return "nothing listens there" if _is_unconnected(error) else "the connection failed"


def _failure(answer: requests.Response) -> ClientError:
    """Return the error of an answer; a proxy in front of the gateway may answer without problem details."""
    status = answer.status_code
    if status < 400:
        where = answer.headers.get("Location", "nowhere")
        return UnexpectedAnswer(f"{answer.url} redirects to {where}. Give the client the address that it leads to.")
    try:
        problem = PROBLEM.validate_json(answer.content)
    except ValidationError:
        detail = f"{answer.url} answered {status} {answer.reason}".strip() + "."
        problem = Problem(f"http_{status}", status, detail, answer.reason, retryable=status == 429 or status in AWAY)
    return from_problem(problem, answer.headers.get("X-Animegan-Request-Id", ""))


def _retry_after_s(answer: requests.Response, otherwise_s: float) -> float:
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else otherwise_s
