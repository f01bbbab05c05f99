"""Callers: holders of API keys, sessions of browsers, addresses."""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from animegan_gateway.errors import Unauthorized
from animegan_gateway.http.access.attempts import Attempts
from animegan_gateway.http.access.keys import Key, Keys
from animegan_gateway.queue.stores.store import Store
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

    `secret` signs the sessions, `path` is where their cookie is valid; `store` has those that were ended early.
    `origins` are those of other sites whose pages may send requests.
    """

    def __init__(
        self, keys: Keys, store: Store, secret: bytes, *, required: bool, path: str, origins: Collection[str] = ()
    ) -> None:
        self.required = required
        self._origins = origins
        self._keys = keys
        self._store = store
        self._attempts = Attempts()
        self._path = path
        self._serializer = URLSafeTimedSerializer(secret, salt="session")

    async def identify(self, request: Request) -> Caller:
        """Return who sent the request.

        Raise `Unauthorized`, `RateLimited`, `StoreUnavailable`, or `Forbidden` for one that another site made.
        """
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":  # other schemes are for a proxy, and browsers send them for other sites too
            key = await self._key(request, text.strip())
            return Caller(f"key:{key.id}", key)
        if request.headers.get("origin") not in self._origins:
            _refuse_other_sites(request)
        if caller := await self.session(request):
            return caller
        if self.required:
            raise Unauthorized("Send an API key: the header 'Authorization: Bearer ag_…'. The operator makes them.")
        return Caller(f"address:{_network(request)}")

    async def session(self, request: Request) -> Caller | None:
        """Return the caller of a session's cookie.

        None for none, a forged or an old one, one that was ended, or one of a revoked key. Raise `StoreUnavailable`.
        """
        cookie = self._read(request)
        if cookie is None or await self._store.is_session_over(cookie[0]):
            return None
        session, key_id = cookie
        if not key_id:
            return None if self.required else Caller(f"session:{session}")
        key = self._keys.get(key_id)
        return Caller(f"key:{key.id}", key) if key else None

    async def sign_in(self, request: Request, response: Response, key_text: str) -> None:
        """Open a session.

        Raise `Forbidden`, `Unauthorized` for a wrong key or a missing one that is required, `RateLimited` or
        `StoreUnavailable`.
        """
        _refuse_other_sites(request)
        if not key_text and self.required:
            raise Unauthorized("Give an API key. The operator makes them.")
        key = await self._key(request, key_text) if key_text else None
        if key is None and await self.session(request):
            return
        value = self._serializer.dumps([secrets.token_urlsafe(12), key.id if key else ""])
        self._set_cookie(request, response, value, SESSION_S)

    async def sign_out(self, request: Request, response: Response) -> None:
        """End the session, also for a copy of its cookie. Raise `Forbidden`, `StoreUnavailable` or `StorageFull`."""
        _refuse_other_sites(request)
        if cookie := self._read(request):
            await self._store.end_session(cookie[0], SESSION_S)
        self._set_cookie(request, response, "", 0)

    async def _key(self, request: Request, text: str) -> Key:
        """Return the key of that text. Raise `Unauthorized` or `RateLimited`."""
        address, key_id = _network(request), self._keys.id_of(text)
        await self._attempts.require(address, key_id)
        key = self._keys.find(text)
        if key is None:
            await self._attempts.count(address, key_id)
            raise Unauthorized("This API key is unknown or revoked. Check it, or ask the operator for another.")
        return key

    def _read(self, request: Request) -> tuple[str, str] | None:
        """Return session and key's id of a cookie; None for none, a forged or an old one."""
        try:
            (session, key_id), at = self._serializer.loads(request.cookies.get(COOKIE, ""), return_timestamp=True)
        except (BadSignature, ValueError):
            return None
        # The time of signing may lie in the future: the clock was set back, or another gateway's is ahead.
        return None if time.time() - at.timestamp() > SESSION_S else (session, key_id)

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
