"""Uvicorn's HTTP protocol with limits: connections, the time and the size of a request's head, the pace of its body."""

from __future__ import annotations

import asyncio
import resource
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from animegan.errors import CONTENT_TYPE, AnimeganError
from animegan_gateway.errors import TooManyConnections
from animegan_gateway.http.uploads.pace import Pace
from animegan_service.errors import BadRequest

# A connection too many is open for some turns of the event loop before it is refused: in a burst without a bound here,
# those would take every descriptor.
ACCEPTED_AT_ONCE = 8  # by each of the two sockets, in a turn
RESERVED_FILES = 128  # of the gateway itself (its stores, its log, TorchServe), and of connections that are refused
FILES_PER_CONNECTION = 2  # its own, and that of the picture which comes or goes
MOST_HEAD_BYTES = 64 * 1024  # of a request's line and headers, and of a chunked body's trailers


def most_connections(setting: int) -> int:
    """Return how many connections there may be: the setting, or for 0 what the limit on open files is enough for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return setting or max(1, (files - RESERVED_FILES) // FILES_PER_CONNECTION)


def limited_protocol(connections: int, header_timeout_s: float, pace: Pace) -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol for so many connections, with a time limit on a request's headers, a pace of its body.

    An upload's own limits (`uploads.receive`) are answered; these are for clients that do not even listen.
    """

    refusal = _answer(
        TooManyConnections(
            f"{connections} callers are connected to this server, as many as it takes at one time. Try again in a "
            "moment."
        ),
        "Retry-After: 1",
    )

    class LimitedProtocol(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None
        _head_bytes = 0  # received in a row without a request's beginning, a part of its body or its end
        _progress = False
        _body_start = _body_last = 0.0  # on the loop's clock, while a body is received
        _body_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > connections:
                transport.write(refusal)
                transport.close()
                return
            self._set_deadline(header_timeout_s)

        def data_received(self, data: bytes) -> None:
            self._progress = False
            super().data_received(data)
            self._head_bytes = 0 if self._progress else self._head_bytes + len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse_head()
            elif self._deadline is None and self.timeout_keep_alive_task is None and self._is_idle():
                # The rest of a request that was answered before its end, or blank lines.
                self._set_deadline(header_timeout_s)

        def on_message_begin(self) -> None:
            self._progress = True
            self._set_deadline(header_timeout_s)
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._body_start = self._body_last = self.loop.time()
            self._body_bytes = 0
            self._watch_body()
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._progress = True
            if not self._is_idle():  # the rest of a body that was answered already gains no time
                self._body_last = self.loop.time()
                self._body_bytes += len(body)
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._progress = True
            self._set_deadline(None)
            super().on_message_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._set_deadline(None)
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            self.transport.write(_answer(BadRequest(f"{msg.rstrip('.')}. Send a request of HTTP/1.1.")))
            self.transport.close()

        def _is_idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _refuse_head(self) -> None:
            if self._is_idle() and not self.transport.is_closing():
                self.send_400_response(f"The request's headers are longer than {MOST_HEAD_BYTES} bytes.")
            else:
                self._abort()

        def _watch_body(self) -> None:
            left_s = pace.deadline(self._body_start, self._body_last, self._body_bytes) - self.loop.time()
            if left_s <= 0:
                self._abort()
                return
            self._set_deadline(None)
            self._deadline = self.loop.call_later(left_s, self._watch_body)

        def _set_deadline(self, seconds: float | None) -> None:
            if self._deadline:
                self._deadline.cancel()
            self._deadline = None if seconds is None else self.loop.call_later(seconds, self._abort)

        def _abort(self) -> Any:
            self.transport.abort()

    return LimitedProtocol


def _answer(error: AnimeganError, *headers: str) -> bytes:
    """Return the whole answer to what never becomes a request of the app; the connection ends with it."""
    body = error.json()
    head = (
        f"HTTP/1.1 {int(error.status)} {HTTPStatus(error.status).phrase}",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(body)}",
        *headers,
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "\r\n".join((*head, "", "")).encode() + body
