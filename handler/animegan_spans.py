"""TorchServe's requests as OpenTelemetry spans, sent to the OTLP endpoint that the environment names.

Imported only where there is one. A request's span is the child of what its `traceparent` header names, else the root of
a trace. It begins when TorchServe hands over the batch and ends with the answers of the batch. What it waited in
TorchServe before is the gap between the caller's span and this one.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_BSP_SCHEDULE_DELAY
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from animegan import __version__
from animegan.pipeline.items import Item

SERVICE = "animegan-handler"
FLUSH_EVERY_MS = 500  # a worker is killed, never asked to end: spans this young are lost with it

_PROPAGATOR = TraceContextTextMapPropagator()


class Spans:
    """One worker's. A thread of its own sends; neither a slow collector nor one that is away holds up a picture."""

    def __init__(self) -> None:
        attributes = OTELResourceDetector().detect().attributes
        resource = Resource.create({SERVICE_NAME: SERVICE, SERVICE_VERSION: __version__, **attributes})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        delay_ms = None if os.environ.get(OTEL_BSP_SCHEDULE_DELAY) else FLUSH_EVERY_MS
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=delay_ms))
        self._tracer = self._provider.get_tracer("animegan_handler", __version__)
        logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)  # that it gave up, not each try before

    def record(self, items: Sequence[Item], headers: Sequence[Mapping[str, Any]], began_ns: int) -> None:
        """The spans of a batch whose answers are ready; `began_ns` is since 1970."""
        ended_ns = time.time_ns()
        for item, own in zip(items, headers, strict=True):
            caller = _caller(own)
            span = self._tracer.start_span("stylize", caller, SpanKind.SERVER, start_time=began_ns)
            span.set_attributes({"animegan.batch_size": len(items), **_about(item)})
            if item.error:
                span.set_attribute("error.type", item.error.code)
                span.set_status(StatusCode.ERROR)
            below = trace.set_span_in_context(span, caller)
            for phase, (first_ns, last_ns) in item.times_ns.items():
                child = self._tracer.start_span(phase, below, start_time=first_ns)
                child.set_attribute("animegan.seconds", item.seconds[phase])
                child.end(last_ns)
            span.end(ended_ns)

    def words(self, headers: Mapping[str, Any]) -> str:
        """Return the fields of a log line that name the caller's trace, if that is recorded."""
        context = trace.get_current_span(_caller(headers)).get_span_context()
        return f" trace_id={trace.format_trace_id(context.trace_id)}" if context.trace_flags.sampled else ""


def _caller(headers: Mapping[str, Any]) -> Context:
    """The trace's context as a request's headers have it; TorchServe keeps the case of their names."""
    return _PROPAGATOR.extract({name.lower(): str(value) for name, value in headers.items()})


def _about(item: Item) -> dict[str, str | int | bool]:
    """Return a span's attributes: the options that exist, and what was done."""
    about: dict[str, str | int | bool] = {}
    if decoded := item.decoded:
        (original_width, original_height), (width, height) = decoded.source.original_size, decoded.source.size
        about |= {
            "animegan.style": decoded.options.style,
            "animegan.original_width_px": original_width,
            "animegan.original_height_px": original_height,
            "animegan.width_px": width,
            "animegan.height_px": height,
        }
    if item.method and item.method.plan:
        about |= {"animegan.plan": item.method.plan.mode, "animegan.recovered": item.method.recovered}
    if finished := item.finished:
        about["animegan.precision"] = finished.report.precision
    return about
