"""Callers: holders of API keys, sessions of browsers, addresses."""

from __future__ import annotations

import ipaddress
import secrets
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from animegan_gateway.errors import Unauthorized
from animegan_gateway.http.access.keys import Key, Keys
from animegan_service.errors import Forbidden

COOKIE = "animegan_session"
SESSION_S = 30 * 86400
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Caller:
    """The queue is fair between names; `key` is set for the holder of one."""

    name: str
    key: Key | None = None


class Callers:
    """Identifies callers by what requests carry. Where `required`, that is a valid key or a session opened with one.

    `secret` signs the sessions, `path` is where their cookie is valid.
    """

    def __init__(self, keys: Keys, secret: bytes, *, required: bool, path: str) -> None:
        self.required = required
        self._keys = keys
        self._path = path
        self._serializer = URLSafeTimedSerializer(secret, salt="session")

    def identify(self, request: Request) -> Caller:
        """Return who sent the request. Raise `Unauthorized`, or `Forbidden` for one that another site made."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":  # other schemes are for a proxy, and browsers send them for other sites too
            key = self._keys.find(text.strip())
            if key is None:
                raise Unauthorized("This API key is unknown or revoked. Check it, or ask the operator for another.")
            return Caller(f"key:{key.id}", key)
        _refuse_other_sites(request)
        if caller := self.session(request):
            return caller
        if self.required:
            raise Unauthorized("Send an API key: the header 'Authorization: Bearer ag_…'. The operator makes them.")
        return Caller(f"address:{_network(request)}")

    def session(self, request: Request) -> Caller | None:
        """Return the caller of a session's cookie; None for none, a forged or an old one, or one of a revoked key."""
        try:
            (session, key_id), at = self._serializer.loads(request.cookies.get(COOKIE, ""), return_timestamp=True)
        except (BadSignature, ValueError):
            return None
        # The time of signing may lie in the future: the clock was set back, or another gateway's is ahead.
        if time.time() - at.timestamp() > SESSION_S:
            return None
        if not key_id:
            return None if self.required else Caller(f"session:{session}")
        key = self._keys.get(key_id)
        return Caller(f"key:{key.id}", key) if key else None

    def sign_in(self, request: Request, response: Response, key_text: str) -> None:
        """Open a session. Raise `Forbidden`, or `Unauthorized` for a wrong key or a missing one that is required."""
        _refuse_other_sites(request)
        key = self._keys.find(key_text) if key_text else None
        if key is None and (key_text or self.required):
            raise Unauthorized("This API key is unknown or revoked. Check it, or ask the operator for another.")
        if key is None and self.session(request):
            return
        value = self._serializer.dumps([secrets.token_urlsafe(12), key.id if key else ""])
        self._set_cookie(request, response, value, SESSION_S)

    def sign_out(self, request: Request, response: Response) -> None:
        """Have the browser forget its session. Raise `Forbidden`."""
        _refuse_other_sites(request)
        self._set_cookie(request, response, "", 0)

    def _set_cookie(self, request: Request, response: Response, value: str, max_age_s: int) -> None:
        response.set_cookie(
            COOKIE,
            value,
            max_age=max_age_s,
            path=self._path,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )


def _refuse_other_sites(request: Request) -> None:
    """Raise `Forbidden` for a change that a browser sends for another site's page: by Fetch Metadata, else by Origin.

    A cookie without either of the two is no browser of today's.
    """
    if request.method in SAFE_METHODS:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        foreign = site not in ("same-origin", "none")
    elif origin is not None:
        foreign = urlsplit(origin).netloc != request.headers.get("host")
    else:
        foreign = COOKIE in request.cookies
    if foreign:
        raise Forbidden("Another site's page sent this. Open this server's own page, or send an API key.")


def _network(request: Request) -> str:
    """Return the caller's address; of IPv6 the /64, as one household has all of it."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(address)
