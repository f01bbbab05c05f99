"""Send traces to the OTLP endpoint that the environment names, in a thread of its own: no job waits for it.

Imported only where there is an endpoint: OpenTelemetry's SDK and its exporter take memory.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from animegan import __version__

SERVICE = "animegan-gateway"
FLUSH_WITHIN_S = 3.0

log = structlog.get_logger(__name__)


@contextmanager
def export() -> Iterator[None]:
    """Send spans while the context is open, and those left at its end for at most `FLUSH_WITHIN_S`."""
    own = OTELResourceDetector().detect().attributes
    resource = Resource.create({SERVICE_NAME: SERVICE, SERVICE_VERSION: __version__, **own})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(_SpanSetup())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)  # one line when it gives up, none for each try
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        flushing = threading.Thread(target=provider.shutdown, daemon=True)
        flushing.start()
        flushing.join(FLUSH_WITHIN_S)
        if flushing.is_alive():
            log.warning("traces_not_sent")


class _SpanSetup(SpanProcessor):
    """Adds the trace's id to the log, and removes the query, as each recorded span begins."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - SpanProcessor's own
        trace_id = trace.format_trace_id(span.get_span_context().trace_id)
        structlog.contextvars.bind_contextvars(trace_id=trace_id)  # in the log lines of this task
        if "url.query" in (span.attributes or {}):
            span.set_attribute("url.query", "REDACTED")  # no address takes one: it may be anything
