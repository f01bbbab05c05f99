"""An OTLP collector for tests: a small HTTP server that reads what OpenTelemetry's exporter sends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from harness.servers import wait_until

KINDS = {Sent.SPAN_KIND_INTERNAL: "internal", Sent.SPAN_KIND_SERVER: "server", Sent.SPAN_KIND_CLIENT: "client"}
PARENT = "00f067aa0ba902b7"


@dataclass(frozen=True)
class Span:
    """A span as it was sent; ids are hexadecimal, `parent` is empty for a root."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    start_ns: int
    end_ns: int
    failed: bool
    attributes: Mapping[str, object]
    resource: Mapping[str, object]


@dataclass
class Collector:
    """Where to send, and what came."""

    endpoint: str
    go: Callable[[], None]  # from then on nobody listens there
    spans: list[Span] = field(default_factory=list)

    def trace(self, trace: str, *names: str) -> dict[str, Span]:
        """The spans of a trace by their names, once it has these and no others; each name has one."""

        def find() -> list[Span]:
            return [span for span in self.spans if span.trace == trace]

        wait_until(lambda: {span.name for span in find()} >= set(names), f"{names}, of which came {find()}")
        spans = find()
        assert sorted(span.name for span in spans) == sorted(names), spans
        return {span.name: span for span in spans}


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector, until it goes or the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            running.spans += _spans(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def go() -> None:
            server.shutdown()
            thread.join()
            server.server_close()

        running = Collector(f"http://127.0.0.1:{server.server_port}", go)
        try:
            yield running
        finally:
            go()


def traceparent(trace: str, *, sampled: bool = True) -> dict[str, str]:
    """The header of a caller that traces."""
    return {"traceparent": f"00-{trace}-{PARENT}-{int(sampled):02}"}


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for group in request.resource_spans:
        resource = _read(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Span(
                    service=str(resource["service.name"]),
                    name=span.name,
                    kind=KINDS[span.kind],
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    failed=span.status.code == Status.STATUS_CODE_ERROR,
                    attributes=_read(span.attributes),
                    resource=resource,
                )


def _read(pairs: Iterable[KeyValue]) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "") for pair in pairs}
