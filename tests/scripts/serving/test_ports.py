"""Ports that are free, and stay so while a server is being started anew."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from animegan_cli.serving import ports
from animegan_cli.serving.ports import free_port


def test_a_free_port_is_one_to_listen_on_and_none_of_an_outgoing_connection() -> None:
    first, last = map(int, ports.CONNECTIONS.read_text().split())
    numbers = [free_port() for _ in range(20)]
    assert not [port for port in numbers if first <= port <= last]
    with socket.create_server(("127.0.0.1", numbers[0])) as server:
        assert server.getsockname()[1] == numbers[0]


def test_a_port_that_is_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr("animegan_cli.serving.ports.random.sample", lambda *_: [port, port])
        assert free_port() not in (0, port)


@pytest.mark.parametrize("text", [None, "", "many", "1024\t65535"])
def test_where_there_are_no_others_it_is_any(text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "range"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(ports, "CONNECTIONS", file)
    with socket.create_server(("127.0.0.1", free_port())):
        pass


def test_where_nothing_can_listen_there_is_none() -> None:
    assert free_port("192.0.2.1") == 0
