"""The handler's spans: each request of a batch has its own, under its own parent."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from animegan_handler import AnimeganHandler
from harness.engine.contexts import make_context
from harness.monitoring.collectors import PARENT, Collector, collector, traceparent
from harness.pictures import encoded, photo
from harness.servers import wait_until

GOOD = encoded(photo(40, 32))
CLOCKS_NS = 10**6  # between the clock of days and that of durations
FIRST, SECOND = "a" * 32, "b" * 32


@pytest.fixture(scope="module")
def receiver() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture(scope="module")
def handler(receiver: Collector) -> Iterator[AnimeganHandler]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANIMEGAN_WARMUP_PX", "0")
        patch.setenv("ANIMEGAN_CPU_THREADS", "2")
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        patch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        instance = AnimeganHandler()
        instance.initialize(make_context([]))
    yield instance
    assert instance.spans
    instance.spans._provider.shutdown()


@pytest.mark.slow
def test_each_request_of_a_batch_has_its_own_span(
    handler: AnimeganHandler, receiver: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    requests = [
        ({"data": GOOD, "max_side": b"20"}, {"Traceparent": traceparent(FIRST)["traceparent"]}),
        ({"data": b"no picture"}, {**traceparent(SECOND), "X-Animegan-Request-Id": "second"}),
        ({"data": GOOD}, {"traceparent": "of no such form"}),
        ({"data": GOOD}, traceparent("c" * 32, sampled=False)),
    ]
    with caplog.at_level(logging.INFO):
        handler.handle([fields for fields, _ in requests], make_context([headers for _, headers in requests]))
    wait_until(lambda: len({span.trace for span in receiver.spans}) == 3, "three traces")

    first = receiver.trace(FIRST, "stylize", "decode", "faces", "run", "encode")
    top = first.pop("stylize")
    assert (top.service, top.kind, top.parent, top.failed) == ("animegan-handler", "server", PARENT, False)
    assert top.resource["deployment.environment.name"] == "test"
    assert top.attributes == {
        "animegan.batch_size": 4,
        "animegan.style": "cel",
        "animegan.original_width_px": 40,
        "animegan.original_height_px": 32,
        "animegan.width_px": 20,
        "animegan.height_px": 16,
        "animegan.plan": top.attributes["animegan.plan"],
        "animegan.recovered": False,
        "animegan.precision": top.attributes["animegan.precision"],
    }
    before_ns = top.start_ns
    for phase in ("decode", "faces", "run", "encode"):
        span = first[phase]
        assert (span.kind, span.parent) == ("internal", top.id)
        assert before_ns - CLOCKS_NS <= span.start_ns < span.end_ns <= top.end_ns + CLOCKS_NS
        before_ns = span.end_ns

    second = receiver.trace(SECOND, "stylize", "decode")
    assert (second["stylize"].parent, second["stylize"].failed) == (PARENT, True)
    assert second["stylize"].attributes == {"animegan.batch_size": 4, "error.type": "unsupported_image"}
    assert (second["stylize"].start_ns, second["stylize"].end_ns) == (top.start_ns, top.end_ns)
    assert f"request second: unsupported_image trace_id={SECOND}" in caplog.text

    (root,) = (span for span in receiver.spans if span.name == "stylize" and span.trace not in {FIRST, SECOND})
    assert root.parent == ""
