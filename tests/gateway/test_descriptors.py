"""Connections and open files run out: callers are told, nothing fails for good, and the log stays short."""

from __future__ import annotations

import json
import re
import resource
import socket
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import requests

from animegan_gateway.http.transport.http_protocol import FILES_PER_CONNECTION, most_connections
from harness.gateways import Gateway, code, running_gateway
from harness.pictures import encoded, photo
from harness.servers import wait_until
from harness.trials.descriptor_faults import REFUSAL, IdleConnections, allowed_files

PICTURE = encoded(photo(64, 48))
MOST = 8
FILES = 512


def connect(gateway: Gateway, stack: ExitStack) -> socket.socket:
    return stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=30))


@pytest.mark.slow
def test_connections_beyond_the_most_are_told_so_and_the_others_answered(tmp_path: Path) -> None:
    with running_gateway(tmp_path, None, connections=MOST) as gateway:
        assert f'"most": {MOST}' in gateway.log
        with ExitStack() as stack:
            session = stack.enter_context(requests.Session())
            assert gateway.submit(PICTURE, session).status_code == 202
            for _ in range(MOST - 1):
                connect(gateway, stack)
            for _ in range(3 * MOST):
                with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as beyond:
                    answer = b"".join(iter(lambda: beyond.recv(4096), b""))
                head, _, body = answer.partition(b"\r\n\r\n")
                assert head.startswith(
                    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
                )
                assert json.loads(body)["code"] == "too_many_connections"
            assert gateway.submit(PICTURE, session).status_code == 202
        wait_until(gateway.answers, "connections that have ended to make room")


@pytest.mark.slow
def test_a_burst_of_connections_takes_no_descriptor_that_the_gateway_needs(tmp_path: Path) -> None:
    with running_gateway(tmp_path, None, FILES) as gateway, requests.Session() as session:
        assert gateway.submit(PICTURE, session).status_code == 202
        (most,) = map(int, re.findall(r'"most": (\d+)', gateway.log))
        idle = IdleConnections(gateway.port, 2 * FILES)
        with allowed_files(4 * FILES):
            for _ in range(3):
                idle.fill()
                assert gateway.submit(PICTURE, session).status_code == 202
            wait_until(lambda: idle.look()[REFUSAL], "those beyond the most to be told so")
            idle.close()
        assert idle.answers.keys() == {REFUSAL}
        assert most < FILES / FILES_PER_CONNECTION
        assert "out of system resource" not in gateway.log


def test_the_most_leaves_files_for_each_and_for_the_gateway() -> None:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 0 < most_connections(0) * FILES_PER_CONNECTION < files
    assert most_connections(7) == 7


@pytest.mark.slow
def test_without_a_descriptor_left_an_upload_is_refused_for_now_and_the_log_stays_short(tmp_path: Path) -> None:
    with running_gateway(tmp_path, None) as gateway, requests.Session() as session:
        assert gateway.submit(PICTURE, session).status_code == 202
        assert gateway.process
        process = psutil.Process(gateway.process.pid)
        limits = process.rlimit(resource.RLIMIT_NOFILE)
        process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds(), limits[1]))
        before = len(gateway.log)
        with ExitStack() as stack:
            for _ in range(MOST):
                connect(gateway, stack)
            for _ in range(20):
                assert code(gateway.submit(PICTURE, session)) == (503, "store_unavailable")
            assert len(gateway.log) - before < 40_000
            process.rlimit(resource.RLIMIT_NOFILE, limits)
            wait_until(lambda: gateway.submit(PICTURE, session).status_code == 202, "it to take pictures again")
