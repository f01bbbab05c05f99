"""Real servers and stores for the gateway's tests: redis-server, rclone's S3 server, SQLite."""

from __future__ import annotations

import http.client
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis

from animegan_cli.serving.ports import free_port
from animegan_gateway.queue.jobs import MOST_PAUSE_S, Ask, Job, Result, State, new_id
from animegan_gateway.queue.stores.redis_store import RedisStore
from animegan_gateway.queue.stores.sqlite_store import SqliteStore
from animegan_gateway.queue.stores.store import Bounds, Store
from animegan_service.bell import Bell
from harness.servers import wait_until

AMPLE = Bounds(jobs=1000, bytes=10**9, caller_jobs=1000)
KINDS = ("sqlite", "redis")

_fresh = itertools.count()


def ask(caller: str = "ann", *, size: int = 100, fingerprint: str = "f", accepted_at: float | None = None) -> Ask:
    """Return a caller's request, an upload of `size` bytes to be drawn at 64 by 32 px."""
    return Ask(
        caller=caller,
        style="cel",
        max_side=1024,
        format="jpeg",
        quality=92,
        content_type="image/png",
        bytes=size,
        original_size=(640, 320),
        size=(64, 32),
        frames=1,
        fingerprint=fingerprint,
        request_id="r",
        accepted_at=time.time() if accepted_at is None else accepted_at,
    )


async def submit_job(store: Store, caller: str = "ann", *, size: int = 100) -> str:
    """The id of a new job."""
    return (await store.submit(new_id(), ask(caller, size=size), AMPLE, None)).id


@dataclass
class RedisServer:
    """A redis-server that keeps every write (`appendfsync always`), on a port of its own; to be stopped and started."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)  # beside the test's own
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        settings = {"appendonly": "yes", "appendfsync": "always", "save": "", **self.settings}
        command = [_redis(), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        command += [word for name, value in settings.items() for word in (f"--{name}", value)]
        with (self.folder / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_until(self._answers, "redis-server")

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """A client beside the gateway's."""
        with redis.Redis.from_url(self.url, decode_responses=True, protocol=2) as client:
            yield client

    def do(self, *words: str | float) -> object:
        """Return the answer as redis-cli would."""
        with self.client() as client:
            return client.execute_command(*words)  # type: ignore[no-untyped-call]

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "output.txt").read_text()
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:  # not up yet, or loading
            return False


@contextmanager
def redis_server(
    folder: Path, *, environment: Mapping[str, str] | None = None, **settings: str
) -> Iterator[RedisServer]:
    """A redis-server, started; the settings' names have _ for -."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {name.replace("_", "-"): value for name, value in settings.items()}
    server = RedisServer(folder, options, environment or {})
    server.start()
    try:
        yield server
    finally:
        server.stop()


@dataclass
class Place:
    """Where the stores of a test lie: gateways that open it see the same jobs."""

    kind: str
    folder: Path
    server: RedisServer | None = None
    prefix: str = field(default_factory=lambda: f"{{test{next(_fresh)}}}:")

    def store(self, bell: Bell | None = None, *, lease_s: float = 60) -> Store:
        """A store that is not open yet."""
        if self.server:
            return RedisStore(self.server.url, bell or Bell(), lease_s=lease_s, prefix=self.prefix)
        return SqliteStore(self.folder / f"{self.prefix[1:-2]}.sqlite", bell or Bell())

    @asynccontextmanager
    async def open_store(self, bell: Bell | None = None, *, lease_s: float = 60) -> AsyncIterator[Store]:
        store = self.store(bell, lease_s=lease_s)
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    @asynccontextmanager
    async def gateways(self, count: int) -> AsyncIterator[list[Store]]:
        """A store for each of several gateways; with SQLite it is the only one."""
        async with self.open_store() as first:
            others = [self.store() for _ in range(count - 1)] if self.server else []
            for other in others:
                await other.open()
            yield [first, *others] if self.server else [first] * count
            for other in others:
                await other.close()


@dataclass
class S3Server:
    """rclone's S3 server; a bucket is a folder in `folder`."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    KEY, SECRET = "key", "secret"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@contextmanager
def s3_server(folder: Path) -> Iterator[tuple[S3Server, str]]:
    """The server, and the endpoint to reach it."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    rclone = Path(sys.executable).with_name("rclone")
    command = [str(rclone), "serve", "s3", "--config", "", "--addr", f"127.0.0.1:{port}"]
    command += ["--dir-cache-time", "1ms", "--auth-key", f"{S3Server.KEY},{S3Server.SECRET}", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = S3Server(folder, port, process)
    try:
        wait_until(lambda: _listens(port), "rclone serve s3")
        with _partial_content(port) as endpoint:
            yield server, endpoint
    finally:
        server.stop()


@contextmanager
def _partial_content(port: int) -> Iterator[str]:
    """In front of rclone, which answers a range with 200 where S3 answers 206; it changes nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection("127.0.0.1", port)
            try:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                content = answer.read()
            except OSError:
                self.close_connection = True
                return
            finally:
                connection.close()
            self.send_response_only(206 if answer.getheader("Content-Range") else answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"transfer-encoding", "content-length"}:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815 - the names of http.server

        def log_message(self, *arguments: object) -> None:
            pass

    class Front(ThreadingHTTPServer):
        request_queue_size = 512

    with Front(("127.0.0.1", 0), Handler) as front:
        thread = threading.Thread(target=front.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{front.server_port}"
        finally:
            front.shutdown()
            thread.join()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _redis() -> str:
    path = shutil.which("redis-server")
    if not path:
        pytest.skip("redis-server is not installed (Debian: redis-server)")
    return path


def later() -> float:
    """Return the time of a pause as far away as one may be, less what a test takes."""
    return time.time() + MOST_PAUSE_S - 1


def result(size: int = 7, run_s: float = 1.5) -> Result:
    return Result(content_type="image/jpeg", bytes=size, run_s=run_s, headers={"X-Style": "cel"})


async def take(store: Store, *, owner: str = "one", idle: bool = True) -> Job:
    job = await store.take(owner, idle=idle)
    assert job
    return job


async def move(store: Store, job: Job, to: State, **changes: Any) -> Job:
    after = await store.move(job.id, to, attempt=job.attempt, changes=changes)
    assert after
    return after


async def waiting_ids(store: Store) -> list[str]:
    return [place.id for place in (await store.line()).waiting]
