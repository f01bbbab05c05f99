"""OpenTelemetry traces: one for each job, from the request that brought it to the picture that was kept.

Off unless the environment names an endpoint: the API, which FastAPI brings, does nothing by itself. A request's
span is FastAPI's. A job carries the context of its request (`Ask.trace`), so what happens to it later is in the same
trace, in whatever process; one that carries none, as for a thumbnail, is not traced.

Attributes tell nothing of a picture, no key, no address of a caller, and of a job's id the first eight characters.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from animegan import __version__
from animegan_gateway.queue.jobs import Job
from animegan_service.protocol import TRACE_ENDPOINTS

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

MOST_STATE = 512  # characters of a caller's tracestate: W3C asks for so many; all of a request's headers have 8 KiB
BRING_JOBS = ("/v1/jobs", "/v1/stylize")  # with POST

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACER = trace.get_tracer("animegan_gateway", __version__)


def export() -> AbstractContextManager[None]:
    """Send traces while the context is open, if the environment names an endpoint."""
    if not any(os.environ.get(name) for name in TRACE_ENDPOINTS):
        return nullcontext()
    from animegan_gateway import exporter  # noqa: PLC0415

    return exporter.export()


def _brings_no_job(scope: MutableMapping[str, Any]) -> bool:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return scope.get("method") != "POST" or path not in BRING_JOBS


# For FastAPI, whose spans follow OpenTelemetry's conventions for HTTP.
REQUESTS: TelemetryConfig = {
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
    "exclude": _brings_no_job,
}


def trace_context(request_id: str) -> dict[str, str]:
    """Return the current request's context for its job to carry, as W3C's headers; empty where it is not traced."""
    trace.get_current_span().set_attribute("animegan.request_id", request_id)
    return _headers()


def record_wait(job: Job) -> None:
    """Record the job's wait until its first attempt as a span; waits between attempts have none."""
    if job.attempt == 1 and job.started_at is not None:
        start_s = job.ask.accepted_at
        _begin(job, "queue", start_s=start_s).end(_ns(max(start_s, job.started_at)))


@contextmanager
def attempt(job: Job) -> Iterator[Callable[[str, bool], None]]:
    """Trace the request to TorchServe. What is yielded takes the outcome's name and whether the picture was drawn."""
    span = _begin(job, "POST /predictions/animegan", SpanKind.CLIENT)
    span.set_attributes({"animegan.attempt": job.attempt, "http.request.method": "POST"})

    def record_outcome(outcome: str, success: bool) -> None:
        span.set_attribute("animegan.outcome", outcome)
        if not success:
            _fail(span, outcome)

    with _current_span(span):
        yield record_outcome


def store_span(job: Job) -> AbstractContextManager[None]:
    """Trace how the drawn picture goes into the store."""
    return _current_span(_begin(job, "keep"))


def trace_headers(url: str) -> dict[str, str]:
    """Record the address of the current attempt, and return the headers that carry its context there."""
    parts = urlsplit(url)
    span = trace.get_current_span()
    span.set_attributes({"url.full": url, "server.address": parts.hostname or "", "server.port": parts.port or 80})
    return _headers()


def record_status(status: int) -> None:
    """Record the status of the answer to the current attempt."""
    trace.get_current_span().set_attribute("http.response.status_code", status)


def _begin(job: Job, name: str, kind: SpanKind = SpanKind.INTERNAL, *, start_s: float | None = None) -> Span:
    if not job.ask.trace:
        return INVALID_SPAN
    attributes = {"animegan.job": job.id[:8], "animegan.request_id": job.ask.request_id}
    start_ns = None if start_s is None else _ns(start_s)
    return _TRACER.start_span(name, _PROPAGATOR.extract(job.ask.trace), kind, attributes, start_time=start_ns)


@contextmanager
def _current_span(span: Span) -> Iterator[None]:
    """Make the span the current one; an exception, a cancellation too, fails it by its name alone."""
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except BaseException as error:
            _fail(span, type(error).__name__)
            raise


def _fail(span: Span, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)


def _headers() -> dict[str, str]:
    """Return the current span's context."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    if len(carrier.get("tracestate", "")) > MOST_STATE:
        del carrier["tracestate"]
    return carrier


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
