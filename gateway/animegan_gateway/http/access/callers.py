"""Who asks: the holder of an API key, a browser's session, or an address."""

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
    """`name` is what the queue is fair between; `key` is set for the holder of one."""

    name: str
    key: Key | None = None


class Callers:
    """Tells callers by what their requests carry. Where `required`, a valid key or a session opened with one is needed.

    `secret` signs the sessions, `path` is where their cookie is valid.
    """

    def __init__(self, keys: Keys, secret: bytes, *, required: bool, path: str) -> None:
        self.required = required
        self._keys = keys
        self._path = path
        self._serializer = URLSafeTimedSerializer(secret, salt="session")

    def identify(self, request: Request) -> Caller:
        """Raises `Unauthorized`, or `Forbidden` for what another site had a browser send."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":  # another scheme is a proxy's affair, and browsers send it for other sites too
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
        """The caller whose session the cookie is; None for no cookie, a forged or old one, or one of a revoked key."""
        try:
            (session, key_id), at = self._serializer.loads(request.cookies.get(COOKIE, ""), return_timestamp=True)
        except (BadSignature, ValueError):
            return None
        # A clock that was set back, or another gateway's, may have signed it in what is the future here.
        if time.time() - at.timestamp() > SESSION_S:
            return None
        if not key_id:
            return None if self.required else Caller(f"session:{session}")
        key = self._keys.get(key_id)
        return Caller(f"key:{key.id}", key) if key else None

    def sign_in(self, request: Request, response: Response, key_text: str) -> None:
        """Open a session. Raises `Unauthorized` for a wrong key, or none where one is required; `Forbidden`."""
        _refuse_other_sites(request)
        key = self._keys.find(key_text) if key_text else None
        if key is None and (key_text or self.required):
            raise Unauthorized("This API key is unknown or revoked. Check it, or ask the operator for another.")
        if key is None and self.session(request):
            return
        value = self._serializer.dumps([secrets.token_urlsafe(12), key.id if key else ""])
        self._set_cookie(request, response, value, SESSION_S)

    def sign_out(self, request: Request, response: Response) -> None:
        """Have the browser forget its session. Raises `Forbidden`."""
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
    """The caller's address; of IPv6 the /64, as one household has all of it."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(address)
