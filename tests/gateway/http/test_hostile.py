"""Callers who mean harm: slow ones, endless ones, bombs, a thousand who only watch. The door stays up for others."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import repeat
from typing import Any

import psutil
import pytest
import requests

from harness import MIB
from harness.files.picture_files import png_bomb
from harness.gateways import Gateway, code, running_gateway
from harness.pictures import encoded, photo
from harness.servers import Server, wait_until

pytestmark = pytest.mark.server

PICTURE = encoded(photo(64, 48))
LARGE = encoded(photo(1024, 1024))
FLAT_MIB = 64
GIGABYTE = 1000  # in MiB
STREAMS = 1000
BOUNDARY = "b"
FORM = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
PART = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'.encode()


@pytest.fixture(scope="module")
def gateway(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway"), server) as running:
        draw(running)
        yield running


@pytest.fixture(scope="module")
def hasty(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One with little patience."""
    limits = {"header_timeout_s": 1, "upload_idle_s": 1}
    with running_gateway(tmp_path_factory.mktemp("hasty"), server, **limits) as running:
        yield running


def draw(gateway: Gateway) -> None:
    """Somebody else is served."""
    with gateway.browser() as other:
        answer = other.post(f"{gateway.url}/v1/stylize", files={"image": PICTURE}, timeout=120)
        assert answer.ok, answer.text
        assert gateway.wait(gateway.submit(PICTURE, other).json()["id"])["status"] == "done"


@contextmanager
def connect(gateway: Gateway, start: str | bytes) -> Iterator[socket.socket]:
    """A connection that has sent this; whoever waits for it in vain fails."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
        connection.sendall(start.encode() if isinstance(start, str) else start)
        yield connection


def read_to_end(connection: socket.socket) -> bytes:
    """Return all bytes until the gateway closes the connection."""
    data = b""
    try:
        while chunk := connection.recv(MIB):
            data += chunk
    except ConnectionError:
        pass
    return data


def post(path: str, *headers: str, host: str = "127.0.0.1") -> str:
    return f"POST {path} HTTP/1.1\r\nHost: {host}\r\n" + "".join(f"{header}\r\n" for header in headers)


def drip_until_end(connection: socket.socket, piece: bytes) -> bytes:
    """Send the piece again and again, slowly, until the connection is gone; what was received meanwhile."""
    data = b""
    connection.settimeout(0.05)
    try:
        while True:
            connection.sendall(piece)
            try:
                if not (chunk := connection.recv(MIB)):
                    return data
                data += chunk
            except TimeoutError:
                pass
    except ConnectionError:
        return data


def test_headers_that_come_byte_by_byte_lose_their_connections(hasty: Gateway) -> None:
    def drip(_: int) -> bytes:
        with connect(hasty, "GET / HTTP/1.1\r\nHost: localhost\r\n") as connection:
            return drip_until_end(connection, b"x")

    with ThreadPoolExecutor(50) as pool:
        drips = pool.map(drip, range(50))
        draw(hasty)
        assert set(drips) == {b""}


def test_a_body_that_comes_byte_by_byte_is_answered_408_and_loses_its_connection(hasty: Gateway) -> None:
    def drip(_: int) -> bytes:
        start = post("/v1/jobs", "Content-Length: 100000") + FORM + "\r\n"
        with connect(hasty, start.encode() + PART) as connection:
            return drip_until_end(connection, b"x")

    with ThreadPoolExecutor(50) as pool:
        drips = pool.map(drip, range(50))
        draw(hasty)
        for answer in drips:
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b'"code":"upload_timeout"' in answer
    assert not [*hasty.folder.glob("spool*/**/*.upload")]


SILENT = [
    "",
    "\r\n" * 3,
    "GET /healthz HTTP/1.1\r\n",
    "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n\r\n",
    post("/v1/jobs", "Content-Length: 9"),
    post("/v1/jobs", "Content-Length: 9") + "\r\n123",
    post("/v1/session", "Content-Length: 9") + "\r\n123",
    post("/v1/session", "Transfer-Encoding: chunked") + "\r\n5\r\n",
]


def test_connections_that_fall_silent_are_closed(hasty: Gateway) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(hasty, start)) for start in SILENT]
        for rest in ("123456789", "1234"):
            early = stack.enter_context(
                connect(hasty, post("/v1/jobs", "Content-Length: 9", "Content-Type: text/css") + "\r\n")
            )
            assert early.recv(MIB).startswith(b"HTTP/1.1 400 ")  # answered before its end, as it is no form
            early.sendall(rest.encode())
            silent.append(early)
        for connection in silent:
            read_to_end(connection)  # times out otherwise


@contextmanager
def flat(gateway: Gateway) -> Iterator[Callable[[], None]]:
    """Memory does not grow; the function that this gives is to be called again and again meanwhile."""
    before = gateway.resident_mib()

    def look() -> None:
        assert gateway.resident_mib() - before < FLAT_MIB

    yield look
    look()


def flood(gateway: Gateway, start: str | bytes, piece: bytes, most: int = GIGABYTE) -> bytes:
    """Send the piece, of a MiB, so many times or until the gateway has enough; what it answers."""
    with connect(gateway, start) as connection, flat(gateway) as look:
        try:
            for number, each in enumerate(repeat(piece, most)):
                connection.sendall(each)
                if number % 32 == 0:
                    look()
            connection.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
        return read_to_end(connection)


CHUNK = f"{MIB:x}\r\n".encode() + bytes(MIB) + b"\r\n"
CHUNKED = "Transfer-Encoding: chunked"
LENGTH = f"Content-Length: {GIGABYTE * MIB}"


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (post("/v1/jobs", LENGTH) + FORM + "\r\n", bytes(MIB)),
        (post("/v1/jobs", CHUNKED) + FORM + f"\r\n{len(PART):x}\r\n{PART.decode()}\r\n", CHUNK),
        (post("/v1/stylize", CHUNKED) + FORM + f"\r\n{len(PART):x}\r\n{PART.decode()}\r\n", CHUNK),
    ],
    ids=["with its length", "in chunks", "to stylize"],
)
def test_an_upload_of_a_gigabyte_is_refused_and_memory_stays_flat(gateway: Gateway, start: str, piece: bytes) -> None:
    answer = flood(gateway, start, piece)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"too_large"' in answer
    assert not [*gateway.folder.glob("spool*/**/*.upload")]
    draw(gateway)


@pytest.mark.parametrize("headers", [[LENGTH], [CHUNKED]], ids=["with its length", "in chunks"])
def test_a_gigabyte_where_a_key_belongs_is_refused_and_memory_stays_flat(gateway: Gateway, headers: list[str]) -> None:
    start = post("/v1/session", "Content-Type: application/json", *headers) + "\r\n"
    answer = flood(gateway, start, CHUNK if headers == [CHUNKED] else b" " * MIB)
    assert answer.startswith(b"HTTP/1.1 400 ")
    draw(gateway)


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        ("GET /", b"x" * MIB),
        ("GET / HTTP/1.1\r\nX-Long: ", b"x" * MIB),
        ("GET / HTTP/1.1\r\n", b"X-Many: y\r\n" * (MIB // 11)),
        (post("/v1/session", CHUNKED) + "\r\n2\r\n{}\r\n0\r\n", b"X-Trailer: y\r\n" * (MIB // 14)),
        (post("/v1/session", CHUNKED) + "\r\n2\r\n{}\r\n0\r\nX-Trailer: ", b"x" * MIB),
    ],
    ids=["an address", "a header", "headers", "trailers", "a trailer"],
)
def test_what_goes_on_and_on_is_cut_off(gateway: Gateway, start: str, piece: bytes) -> None:
    def send(connection: socket.socket) -> None:
        for each in repeat(piece, 200):
            connection.sendall(each)

    with connect(gateway, start) as connection, flat(gateway), pytest.raises(ConnectionError):
        send(connection)
    draw(gateway)


def test_long_headers_within_reason_and_many_requests_at_once_are_answered(gateway: Gateway) -> None:
    with requests.Session() as caller:
        assert caller.get(f"{gateway.url}/healthz", headers={"Cookie": "c" * 30_000}, timeout=30).ok
    one = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = one.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    with connect(gateway, one * 3000 + last) as connection:
        assert read_to_end(connection).count(b"HTTP/1.1 200 ") == 3001


def test_a_bomb_of_a_png_is_refused_by_its_header(gateway: Gateway) -> None:
    bomb = png_bomb(10_000, 10_000)
    assert len(bomb) < MIB
    with flat(gateway):
        for _ in range(3):
            assert code(gateway.submit(bomb)) == (413, "too_large")
    draw(gateway)


async def watch(port: int, job: dict[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An event stream that was begun."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {job['links']['events']} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    await reader.readuntil(b"event: position\n")
    return reader, writer


def test_a_thousand_who_only_watch_keep_nobody_from_being_served(gateway: Gateway) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most_files = STREAMS + 200
    if hard != resource.RLIM_INFINITY and hard < most_files:
        pytest.skip(f"a process may open {hard} files here, and this test needs {most_files}")
    assert gateway.process
    process = psutil.Process(gateway.process.pid)
    draw(gateway)
    files = process.num_fds()

    async def watch_events(job: dict[str, Any]) -> None:
        streams = []
        for _ in range(STREAMS // 50):
            streams += await asyncio.gather(*(watch(gateway.port, job) for _ in range(50)))
        assert gateway.metric("animegan_gateway_event_streams") == STREAMS
        assert process.num_fds() >= STREAMS
        await asyncio.to_thread(draw, gateway)
        for _, writer in streams[::2]:  # half of them hang up
            writer.close()
        await asyncio.to_thread(wait_until, lambda: process.num_fds() < STREAMS, "their files")
        await asyncio.to_thread(gateway.remove, job)
        for reader, writer in streams[1::2]:  # the others are told the end
            assert b"event: cancelled\n" in await reader.read()
            writer.close()

    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most_files), hard))
    try:
        with gateway.browser() as ann:
            ahead = [gateway.submit(LARGE, ann).json() for _ in range(12)]  # so that the last one waits meanwhile
            asyncio.run(watch_events(gateway.submit(PICTURE, ann).json()))
            for job in ahead:
                gateway.remove(job)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: process.num_fds() <= files, "all files to be closed")
    wait_until(lambda: gateway.metric("animegan_gateway_event_streams") == 0, "the streams to end")
    draw(gateway)
