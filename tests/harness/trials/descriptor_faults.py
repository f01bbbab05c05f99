"""Faults of what the gateway may hold open: connections that ask nothing, and no descriptor left."""

from __future__ import annotations

import re
import resource
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from harness import MIB
from harness.servers import wait_until
from harness.trials.services import FLOWS, Beside, Fault, Services, on_files

OPEN_FILES = 1024
IDLE = 1500
HOLD_S = 10.0
LOG_MIB = 0.5  # at most, in that time
OWN_FILES = 500  # of the trial itself
REFUSAL = "HTTP/1.1 503 Service Unavailable"


class IdleConnections:
    """So many connections that ask nothing; `fill` opens those again that the gateway has ended."""

    def __init__(self, port: int, count: int) -> None:
        self.answers: Counter[str] = Counter()  # their first lines
        self._port = port
        self._count = count
        self._selector = selectors.DefaultSelector()

    def look(self) -> Counter[str]:
        """Drop those that have ended, and return all answers so far."""
        for key, _ in self._selector.select(0):
            self._read(key.fileobj)
        return self.answers

    def fill(self) -> None:
        """Drop those that have ended, and open what is missing."""
        self.look()
        while len(self._selector.get_map()) < self._count:
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", self._port))
            self._selector.register(connection, selectors.EVENT_READ)

    def close(self) -> None:
        for key in [*self._selector.get_map().values()]:
            self._drop(key.fileobj)
        self._selector.close()

    def _read(self, connection: object) -> None:
        assert isinstance(connection, socket.socket)
        try:
            line = connection.recv(65536).split(b"\r\n")[0].decode()
        except ConnectionError as error:
            line = type(error).__name__
        self.answers[line or "its end"] += 1
        self._drop(connection)

    def _drop(self, connection: object) -> None:
        assert isinstance(connection, socket.socket)
        self._selector.unregister(connection)
        connection.close()


@contextmanager
def allowed_files(files: int) -> Iterator[None]:
    """This process may have so many files open meanwhile. Skips where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        pytest.skip(f"a process may open {hard} files here, and this takes {files}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, files), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _connect_without_end(services: Services) -> Beside:
    gateway = services.gateway
    (most,) = map(int, re.findall(r'"most": (\d+)', gateway.log))
    log_bytes, before = len(gateway.log), _count_drawings(services)
    idle, peak = IdleConnections(gateway.port, IDLE), 0
    with allowed_files(IDLE + OWN_FILES):
        try:
            until = time.monotonic() + HOLD_S
            while time.monotonic() < until or _count_drawings(services) < before + FLOWS or not idle.answers[REFUSAL]:
                idle.fill()
                time.sleep(1)
                wait_until(lambda: _connections(services) <= most, "the end of those that are refused")
                peak = max(peak, _connections(services))
        finally:
            idle.close()
    refusals, log_mib = idle.answers[REFUSAL], (len(gateway.log) - log_bytes) / MIB
    assert "out of system resource" not in gateway.log, "an accept that found no descriptor"
    assert log_mib < LOG_MIB, "the log's growth"
    return Beside(
        f"{peak} connections were held at most, with a limit of {most}; {refusals} others were told 503 "
        f"too_many_connections; the log grew by {1024 * log_mib:.0f} KiB"
    )


def _take_the_last_descriptor(services: Services) -> Beside:
    process = _process(services)
    limits, log_bytes = process.rlimit(resource.RLIMIT_NOFILE), len(services.gateway.log)
    process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds(), limits[1]))
    wait_until(lambda: "store_unavailable" in services.gateway.log[log_bytes:], "an upload that finds none")
    time.sleep(HOLD_S)
    process.rlimit(resource.RLIMIT_NOFILE, limits)
    log_mib = (len(services.gateway.log) - log_bytes) / MIB
    assert log_mib < LOG_MIB, "the log's growth"
    return Beside(f"the log grew by {1024 * log_mib:.0f} KiB")


def _process(services: Services) -> psutil.Process:
    assert services.gateway.process
    return psutil.Process(services.gateway.process.pid)


def _connections(services: Services) -> int:
    """Return the number of connections."""
    connections = _process(services).net_connections("tcp")
    return sum(each.status == "ESTABLISHED" and each.laddr.port == services.gateway.port for each in connections)


def _count_drawings(services: Services) -> float:
    return services.gateway.metric("animegan_gateway_attempts_total", outcome="drawn")


CONNECTIONS = Fault(
    f"{IDLE:,} connections ask nothing",
    f"to a gateway that may open {OPEN_FILES} files, for {HOLD_S:g} s; one that is ended is opened again",
    _connect_without_end,
    place=lambda services: on_files(services, OPEN_FILES),
)
DESCRIPTORS = Fault(
    "No descriptor is left",
    f"the limit on open files is set to those that the gateway has at that moment, for {HOLD_S:g} s",
    _take_the_last_descriptor,
    frozenset({"503 store_unavailable"}),
    on_files,
)
