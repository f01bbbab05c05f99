"""TCP ports: free ones, and who holds one that is not."""

from __future__ import annotations

import errno
import os
import socket

import psutil

from animegan.errors import BadSetting


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


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
