"""A small HTTP server that keeps the gateway's contract and draws nothing: real sockets, no model.

What is handed in tells what becomes of it: a photo that ends with `b"bad"` is refused, one with `b"fails"` becomes a
job that fails, any other is done once the test lets it, its picture `b"anime of "` the photo.
"""

from __future__ import annotations

import email
import json
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from animegan.errors import AnimeganError, BadImage, OutOfMemory
from animegan.report import Report

PATIENCE_S = 30  # of a test that waits for what has to come
REPORT = Report("cel", "CC-BY-SA-4.0", "fp32", "whole", (4000, 2667), (1024, 683), 2, {"run": 1.5})
STYLE = {
    "id": "cel",
    "title": "Cel",
    "license": "CC-BY-SA-4.0",
    "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
    "noncommercial": False,
    "suits": ["landscape"],
    "installed": True,
    "default": True,
    "source": "https://example.org",
    "fast": True,
    "details": ["bold", "medium", "fine"],
    "thumbnail": "/v1/styles/cel/thumbnail",
}


@dataclass(frozen=True)
class Reply:
    """An answer that a test dictates. `acts` does what was asked for all the same; `cut` ends it half way."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    acts: bool = False
    cut: bool = False


CUT = Reply(acts=True, cut=True)


def problem(status: int, code: str, *, retryable: bool = False, retry_after_s: int | None = None) -> Reply:
    body = {"type": f"urn:{code}", "title": code, "status": status, "detail": f"It is {code}.", "code": code}
    body |= {"retryable": retryable} | ({} if retry_after_s is None else {"retry_after_s": retry_after_s})
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/problem+json", **headers})


class Refusal(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


@dataclass
class FakeJob:
    id: str
    fields: dict[str, str]
    photo: bytes
    status: str = "queued"
    ahead: int = 1
    is_fetched: bool = False
    error: AnimeganError | None = None

    def json(self, prefix: str, chinese: bool) -> dict[str, Any]:
        path = f"{prefix}/v1/jobs/{self.id}"
        queued, is_over = self.status == "queued", self.status not in ("queued", "running")
        time = "2026-11-24T22:00:00.000Z"
        return {
            "id": self.id,
            "status": self.status,
            "position": self.ahead + 1 if queued else None,
            "ahead": self.ahead if queued else None,
            "eta_s": None if is_over else 12.5,
            "message": ("它" if chinese else "It is ") + self.status,
            "notes": ["已为你智能适配分辨率：1024×683" if chinese else "fitted the size for you: 1024×683"],
            "style": self.fields.get("style", "cel"),
            "license": "CC-BY-SA-4.0",
            "noncommercial": False,
            "max_side": int(self.fields.get("max_side", 1024)),
            "max_pixels": None,
            "format": self.fields.get("format", "auto"),
            "quality": int(self.fields.get("quality", 92)),
            "fast": False,
            "detail": self.fields.get("detail", "auto"),
            "strength": float(self.fields.get("strength", 1)),
            "color": self.fields.get("color", "style"),
            "tone": self.fields.get("tone", "auto"),
            "mode": self.fields.get("mode", "auto"),
            "faces": 0,
            "original_size": {"width": 4000, "height": 2667},
            "size": {"width": 1024, "height": 683},
            "fitted": True,
            "frames": 1,
            "drawn_frames": 1,
            "accepted_at": time,
            "started_at": None if queued else time,
            "finished_at": time if is_over else None,
            "expires_at": time if is_over else None,
            "result": {"url": f"{path}/result", "content_type": "image/jpeg", "bytes": 9} if is_over else None,
            "error": self.error.problem() if self.error else None,
            "links": {"self": path, "events": f"{path}/events", "result": f"{path}/result"},
        }


class FakeGateway:
    """The server and all that it knows; what a test reads and changes is guarded by `change`.

    `script` holds, by "METHOD path" (a pattern), replies that come before the contract's. Jobs are done when `finish`
    says so of them, asked whenever one is looked at; as it is, at once.
    """

    def __init__(self, prefix: str = "", key: str | None = None) -> None:
        self.prefix = prefix
        self.key = key
        self.change = threading.Condition()
        self.jobs: dict[str, FakeJob] = {}
        self.by_key: dict[str, str] = {}
        # "METHOD path", and the headers with their names in lower case.
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.script: dict[str, deque[Reply]] = {}
        self.finish: Callable[[FakeJob], bool] = lambda _: True
        self.most_at_once = 0
        self.connections = 0
        self.port = 0
        self._connections: set[socket.socket] = set()
        self._away = False
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def start(self) -> None:
        """Listen; a second time on the same port."""
        gateway = self

        class Bound(Handler):
            server_state = gateway

        self._away = False
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Bound)
        self._server.daemon_threads = False  # so that closing it waits for them
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Go away: no listener, and no connection that was open; the jobs are kept."""
        if self._away:
            return
        self._server.shutdown()
        with self.change:
            self._away = True
            self.change.notify_all()
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()

    def replies(self, request: str, *replies: Reply) -> None:
        self.script[request] = deque(replies)

    def requests_like(self, request: str) -> list[dict[str, str]]:
        """The headers of each such request so far."""
        with self.change:
            return [headers for line, headers in self.requests if re.fullmatch(request, line)]

    def until(self, condition: Callable[[], bool]) -> None:
        """Return once it holds; fail where it does not come to hold."""
        with self.change:
            assert self.change.wait_for(condition, PATIENCE_S)

    def let(self, finish: Callable[[FakeJob], bool]) -> None:
        """From now on jobs are done when that says so; it is asked now."""
        with self.change:
            self.finish = finish
            self.change.notify_all()

    def set(self, job_id: str, status: str, *, ahead: int = 1, error: AnimeganError | None = None) -> None:
        with self.change:
            job = self.jobs[job_id]
            job.status, job.ahead, job.error = status, ahead, error
            self.change.notify_all()

    # ---- What the handler calls, inside `change` ---------------------------------------------------------------------

    def submit(self, key: str, fields: dict[str, str], photo: bytes) -> FakeJob:
        if photo.endswith(b"bad"):
            error = BadImage("That is no picture.")
            raise Refusal(Reply(error.status, error.json(), {"Content-Type": "application/problem+json"}))
        job = self.jobs.get(self.by_key.get(key, ""))
        if not job:
            job = FakeJob(f"{len(self.jobs):022d}", fields, photo)
            self.jobs[job.id] = job
            self.by_key[key] = job.id
            self.most_at_once = max(self.most_at_once, len(self.under_way()))
            self.change.notify_all()
        return job

    def under_way(self) -> list[FakeJob]:
        """The jobs whose picture nobody has yet, and may still want."""
        return [job for job in self.jobs.values() if job.status in ("queued", "running", "done") and not job.is_fetched]

    def look(self, job_id: str) -> FakeJob:
        job = self.jobs.get(job_id)
        if not job:
            raise Refusal(problem(404, "job_not_found"))
        if job.status == "expired":
            raise Refusal(problem(410, "job_expired"))
        if job.status in ("queued", "running") and self.finish(job):
            job.status = "failed" if job.photo.endswith(b"fails") else "done"
            job.error = OutOfMemory("It did not fit.", needed_mb=5000) if job.status == "failed" else None
            self.change.notify_all()
        return job

    def wait(self, job_id: str, until: Callable[[FakeJob], bool], timeout_s: float) -> FakeJob:
        self.change.wait_for(lambda: self._away or until(self.look(job_id)), timeout_s)
        if self._away:
            raise Refusal(CUT)
        return self.look(job_id)


class Handler(BaseHTTPRequestHandler):
    server_state: FakeGateway
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer is 40 ms late

    def setup(self) -> None:
        super().setup()
        with self.server_state.change:
            self.server_state.connections += 1
            self.server_state._connections.add(self.connection)

    def finish(self) -> None:
        with self.server_state.change:
            self.server_state._connections.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        state = self.server_state
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        line = f"{self.command} {self.path}"
        with state.change:
            state.requests.append((line, {name.lower(): value for name, value in self.headers.items()}))
            state.change.notify_all()
            replies = next((r for pattern, r in state.script.items() if r and re.fullmatch(pattern, line)), None)
            reply = replies.popleft() if replies else None
            if not reply or reply.acts:
                try:
                    answer = self._act(body)
                except Refusal as refusal:
                    answer = refusal.reply
                reply = CUT if reply and reply.cut else answer
        if reply.cut:
            self.close_connection = True
            return
        with suppress(OSError):  # the client may have gone
            self.send_response(reply.status)
            headers = {"Content-Length": str(len(reply.body)), "X-Animegan-Request-Id": "request-7", **reply.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

    def _act(self, body: bytes) -> Reply:
        state = self.server_state
        if state.key and self.headers["Authorization"] != f"Bearer {state.key}":
            raise Refusal(problem(401, "unauthorized"))
        url = urlsplit(self.path)
        path = f"{self.command} {url.path.removeprefix(f'{state.prefix}/v1/')}"
        if not url.path.startswith(f"{state.prefix}/v1/"):
            raise Refusal(problem(404, "no_such_address"))
        if path == "GET session":
            return self._json(200, {"keys_required": bool(state.key), "signed_in": False}, {"Set-Cookie": "session=1"})
        if path == "GET styles":
            return self._json(200, {"default": "cel", "styles": [STYLE]})
        if path == "POST jobs":
            job = state.submit(self.headers["Idempotency-Key"], *self._form(body))
            return self._json(
                202, self._describe(job), {"Location": self._describe(job)["links"]["self"], "Set-Cookie": "a=b"}
            )
        if match := re.fullmatch("GET jobs/([^/]+)/result", path):
            return self._result(state.look(match[1]))
        if match := re.fullmatch("GET jobs/([^/]+)", path):
            return self._poll(match[1], parse_qs(url.query))
        if match := re.fullmatch("DELETE jobs/([^/]+)", path):
            job = state.look(match[1]) if match[1] not in state.jobs else state.jobs[match[1]]
            state.set(job.id, "cancelled" if job.status in ("queued", "running") else "expired")
            return self._json(200, self._describe(job))
        raise Refusal(problem(404, "no_such_address"))

    def _poll(self, job_id: str, query: dict[str, list[str]]) -> Reply:
        state, etag = self.server_state, self.headers["If-None-Match"]
        seconds = float(query.get("wait", ["0"])[0])
        assert seconds <= 60

        def answers(job: FakeJob) -> bool:
            return self._etag(job) != etag if etag else job.status not in ("queued", "running")

        job = state.wait(job_id, answers, seconds)
        if self._etag(job) == etag:
            return Reply(304, b"", {"ETag": etag, "Content-Length": "0"})
        return self._json(200, self._describe(job), {"ETag": self._etag(job)})

    def _result(self, job: FakeJob) -> Reply:
        if job.status != "done":
            raise Refusal(problem(503, "out_of_memory", retryable=True))  # of a failed job its own problem
        job.is_fetched = True
        return Reply(200, b"anime of " + job.photo, {"Content-Type": "image/jpeg", **REPORT.headers()})

    def _describe(self, job: FakeJob) -> dict[str, Any]:
        return job.json(self.server_state.prefix, self.headers.get("Accept-Language", "").startswith("zh"))

    @staticmethod
    def _etag(job: FakeJob) -> str:
        return f'W/"{job.status}-{job.ahead}"'

    def _form(self, body: bytes) -> tuple[dict[str, str], bytes]:
        message = email.message_from_bytes(f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode() + body)
        parts: dict[str, bytes] = {}
        for part in message.get_payload():
            assert isinstance(part, email.message.Message)
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            parts[str(part.get_param("name", header="content-disposition"))] = data
        photo = parts.pop("image")
        return {name: value.decode() for name, value in parts.items()}, photo

    @staticmethod
    def _json(status: int, value: object, headers: Mapping[str, str] | None = None) -> Reply:
        body = json.dumps(value, ensure_ascii=False).encode()
        return Reply(HTTPStatus(status), body, {"Content-Type": "application/json", **(headers or {})})

    def log_message(self, format: str, *arguments: object) -> None: ...
