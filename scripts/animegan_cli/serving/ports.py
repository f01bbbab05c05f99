"""TCP ports: free ones, and who holds one that is not."""

from __future__ import annotations

import errno
import os
import random
import socket
from pathlib import Path

import psutil

from animegan.errors import BadSetting

CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST_PORT = 10_000
TRIES = 50


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nothing listens on now.

    If possible it is outside the range of outgoing connections: one of those could take the port while a server
    restarts, and block it for a minute after its own end.
    """
    below = _first_of_connections()
    for port in random.sample(range(FIRST_PORT, below), TRIES) if below >= FIRST_PORT + TRIES else ():
        if _bind(host, port):
            return port
    return _bind(host, 0) or 0


def _bind(host: str, port: int) -> int | None:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return None
        number: int = probe.getsockname()[1]
        return number


def _first_of_connections() -> int:
    """Return the lowest port that Linux gives to outgoing connections; 0 where the system does not say."""
    try:
        return int(CONNECTIONS.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def check_free(host: str, port: int, name: str, way_out: str) -> None:
    """Raise `BadSetting`, naming the port and its holder, unless a server can listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: past closed connections
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise BadSetting(f"Port {port} ({name}) is in use{_holder(port)}. {way_out}") from None
            raise BadSetting(
                f"{host}:{port} ({name}) can't be used: {os.strerror(error.errno or 0)}. {way_out}"
            ) from None


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass  # another user's processes are not shown to everyone
    return ""
