"""A web server on loopback that publishes one file, well or badly."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from animegan.styles import installed_dir, installed_styles


@dataclass
class Site:
    """What the server does; `range_headers` collects each request's Range header, None where there was none."""

    content: bytes
    url: str = ""
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)  # of the next answers; 200 when used up
    breaks: list[int] = field(default_factory=list)  # bytes after which the next answers break off; all when used up
    stalls: bool = False  # after those bytes it waits instead of closing
    shifted: bool = False  # it answers a range with another one
    length: bool = True  # whether it tells the length
    range_headers: list[str | None] = field(default_factory=list)
    end: threading.Event = field(default_factory=threading.Event)

    @property
    def git_blob_id(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@contextmanager
def publish(content: bytes) -> Iterator[Site]:
    """Serve `content` at the site's `url` until the block ends."""
    site = Site(content)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            range_header = self.headers.get("Range")
            site.range_headers.append(range_header)
            status = site.statuses.pop(0) if site.statuses else 200
            if status != 200:
                self.send_error(status)
                return
            start = int(range_header.removeprefix("bytes=").removesuffix("-")) if range_header and site.ranges else 0
            if start >= len(site.content):
                self.send_error(416)
                return
            body = site.content[start:]
            self.send_response(206 if start else 200)
            if start:
                first = start - 1 if site.shifted else start
                self.send_header("Content-Range", f"bytes {first}-{len(site.content) - 1}/{len(site.content)}")
            if site.length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # a client may have heard enough
                self.wfile.write(body[: site.breaks[0]] if site.breaks else body)
            if site.breaks:
                site.breaks.pop(0)
                if site.stalls:
                    site.end.wait(30)
                self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}/style.pt"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            site.end.set()
            server.shutdown()
            thread.join()


def check_absent() -> None:
    assert installed_styles() == {}
    assert not list(installed_dir().glob("*.safetensors"))
