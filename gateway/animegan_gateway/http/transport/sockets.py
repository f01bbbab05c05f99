"""The sockets that the gateway listens on."""

from __future__ import annotations

import os
import socket
from typing import Any

import structlog

from animegan.errors import BadSetting

LOOPBACK, LOOPBACK_6 = "127.0.0.1", "::1"

log = structlog.get_logger(__name__)


def listen(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Return sockets that listen at the address; at 127.0.0.1 at ::1 too, as `localhost` may mean either.

    Raise `BadSetting` where the address can't be used. ::1 is left out where it can't be.
    """
    try:
        sockets = [
            _bind(family, address, backlog)
            for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        ]
    except OSError as error:
        reason = error.strerror or os.strerror(error.errno or 0)
        raise BadSetting(f"host={host} port={port} can't be listened on: {reason}. Choose another.") from None
    if host == LOOPBACK:
        try:
            sockets.append(_bind(socket.AF_INET6, (LOOPBACK_6, sockets[0].getsockname()[1]), backlog))
        except OSError as error:
            log.info("no_ipv6", reason=error.strerror)
    return sockets


def _bind(family: int, address: tuple[Any, ...], backlog: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
