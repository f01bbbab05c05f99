"""Around every request: its id, a check of its host, security headers, one line of log."""

from __future__ import annotations

import re
import secrets
import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from animegan.options import REQUEST_ID
from animegan_gateway.errors import WrongHost
from animegan_service.errors import BadRequest
from animegan_service.problems import problem_response

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
)
HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
HEALTH = ("/healthz", "/readyz")
HSTS = "max-age=31536000"
ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
JOB = re.compile(r"(?<=/jobs/)([\w-]{8})[\w-]+")  # whoever knows a job's id can open it, so the log has a part of it

log = structlog.get_logger("access")


class RequestMiddleware:
    """ASGI middleware. `hosts` are the names that are answered, without ports; empty: all.

    `prefix` is the path under which a proxy serves the app, which may take it away or leave it.
    """

    def __init__(self, app: ASGIApp, hosts: list[str], prefix: str = "") -> None:
        self._app = app
        self._prefix = prefix
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        without_slash = bool(self._prefix) and path == self._prefix
        if not path.startswith(f"{self._prefix}/") and not without_slash:
            path = self._prefix + path
        scope.update(path=path, root_path=self._prefix)
        request_id_header = headers.get(REQUEST_ID, "")
        request_id = request_id_header if ID.fullmatch(request_id_header) else secrets.token_hex(8)
        scope["state"]["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        start, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                response_headers = MutableHeaders(scope=message)
                response_headers[REQUEST_ID] = request_id
                for name, value in HEADERS.items():
                    response_headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    response_headers["Strict-Transport-Security"] = HSTS
            await send(message)

        try:
            is_probe = path.removeprefix(self._prefix) in HEALTH  # probes use whatever address they know
            app = self._app if is_probe or self._is_own_host(headers.get("host", "")) else _refuse_host
            if len(headers.getlist("host")) > 1:
                app = _refuse_hosts
            elif without_slash and app is self._app:
                query = scope["query_string"].decode("latin-1")
                app = RedirectResponse(f"{path}/{query and '?'}{query}")  # the page's addresses are relative
            # A HEAD is handled as a GET; uvicorn drops the body.
            scope_as_get = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
            await app(scope_as_get, receive, answer)
        finally:
            seconds = round(time.perf_counter() - start, 4)
            log.info("request", method=scope["method"], path=JOB.sub(r"\1…", path), status=status, seconds=seconds)

    def _is_own_host(self, host: str) -> bool:
        name = re.sub(r":\d+$", "", host).lower()
        return not self._hosts or name in self._hosts


async def _refuse_hosts(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 400 (RFC 9112, 3.2): a proxy and this server could each go by another one of the hosts."""
    error = BadRequest("The request has more than one Host header. Send one.")
    await problem_response(error)(scope, receive, send)


async def _refuse_host(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 421: a page of another name that resolves to this address would share its origin (DNS rebinding)."""
    host = Headers(scope=scope).get("host", "")[:100]
    error = WrongHost(f"This server does not go by the name {host!r}. The setting hosts lists the names it goes by.")
    await problem_response(error)(scope, receive, send)
