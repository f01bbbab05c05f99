"""All TorchServes behind one name, one for each address that it resolves to."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog

from animegan_gateway.drawing.torchserve import TorchServe
from animegan_service.cancellation import cancel
from animegan_service.protocol import Presence

RESOLVE_EVERY_S = 2.0
NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))

log = structlog.get_logger(__name__)


class Fleet:
    """`watch` keeps it up to date. `reach(host)` makes the TorchServe at that address.

    An address that the name no longer has gets no new pictures, and is forgotten once it has drawn those it has.
    """

    def __init__(self, url: str, reach: Callable[[str], TorchServe]) -> None:
        self._host = urlsplit(url).hostname or ""
        self._reach = reach
        self._members: dict[str, TorchServe] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[str] = set()

    async def watch(self) -> None:
        """Resolve the name and watch its TorchServes until cancelled."""
        try:
            while True:
                await self._resolve()
                await asyncio.sleep(RESOLVE_EVERY_S)
        finally:
            await cancel(self._watching.values())
            for member in self._members.values():
                await member.close()

    @property
    def presence(self) -> Presence:
        """Return the best presence of any of them."""
        there = {member.presence for member in self._members.values()}
        return next((presence for presence in (Presence.READY, Presence.LOADING) if presence in there), Presence.AWAY)

    @property
    def width(self) -> int:
        """Return how many pictures all of them take at one time."""
        return sum(member.width for name, member in self._members.items() if name not in self._leaving)

    def reserve(self) -> TorchServe | None:
        """Reserve a place at the least busy of those that have one, to be given back with `release`."""
        free = [member for name, member in self._members.items() if name not in self._leaving and member.free > 0]
        if not free:
            return None
        member = min(free, key=lambda member: member.in_flight / member.width)
        member.in_flight += 1
        return member

    async def _resolve(self) -> None:
        hosts = await _addresses(self._host)
        if hosts is None:
            return
        for host in hosts - self._members.keys():
            member = self._reach(f"[{host}]" if ":" in host else host)
            self._members[host] = member
            self._watching[host] = asyncio.create_task(member.watch())
            log.info("torchserve_found", host=host)
        self._leaving = self._members.keys() - hosts
        for host in self._leaving:
            if not self._members[host].in_flight:
                await cancel([self._watching.pop(host)])
                await self._members.pop(host).close()
                log.info("torchserve_left", host=host)


async def _addresses(host: str) -> set[str] | None:
    """Return the addresses of the name, or None without an answer; of one family, as a server may have both."""
    with contextlib.suppress(ValueError):
        return {str(ipaddress.ip_address(host))}
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the resolver may lack files or memory, too
        if isinstance(error, socket.gaierror) and error.errno in NO_SUCH_NAME:
            return set()
        log.warning("name_not_resolved", host=host, reason=str(error))
        return None
    families = [family for family, *_ in infos]
    family = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    return {str(at[0]) for each, *_, at in infos if each == family}
