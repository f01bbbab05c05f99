"""Traces through everything `scripts/serve` starts: one job, one trace, in both processes; and none by default."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from harness.gateways import code
from harness.monitoring.collectors import PARENT, Collector, collector, traceparent
from harness.pictures import encoded, photo
from harness.servers import QUICK, ROOT, Server, running_server, wait_until

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("mortal")]  # one of them needs that server too

TRACE = "1" * 32
HANDLER = ("stylize", "decode", "faces", "run", "encode")
JOB = ("POST /v1/stylize", "queue", "POST /predictions/animegan", "keep")
CLOCKS_NS = 10**6  # between the clock of days and that of durations


@pytest.fixture(scope="module")
def receiver() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(receiver: Collector) -> Iterator[Server]:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        **QUICK,
    }
    with running_server(environment=environment) as running:
        yield running


def draw(server: Server, **headers: str) -> requests.Response:
    picture = {"image": ("secret_place.png", encoded(photo(96, 64), "PNG"))}
    return requests.post(
        f"{server.page}/v1/stylize", files=picture, data={"max_side": "48"}, headers=headers, timeout=120
    )


def test_one_job_is_one_trace_through_both_processes(traced: Server, receiver: Collector) -> None:
    answer = draw(traced, **traceparent(TRACE), **{"X-Animegan-Request-Id": "asked-for"})
    assert answer.ok, answer.text
    spans = receiver.trace(TRACE, *JOB, *HANDLER)
    request, queue, attempt, keep = (spans[name] for name in JOB)
    stylize, *phases = (spans[name] for name in HANDLER)

    assert {span.name: (span.service, span.kind, span.parent) for span in spans.values()} == {
        "POST /v1/stylize": ("animegan-gateway", "server", PARENT),
        "queue": ("animegan-gateway", "internal", request.id),
        "POST /predictions/animegan": ("animegan-gateway", "client", request.id),
        "keep": ("animegan-gateway", "internal", request.id),
        "stylize": ("animegan-handler", "server", attempt.id),
        **{span.name: ("animegan-handler", "internal", stylize.id) for span in phases},
    }
    assert not any(span.failed for span in spans.values())
    assert request.start_ns < queue.start_ns < queue.end_ns < attempt.start_ns
    assert attempt.start_ns < stylize.start_ns < stylize.end_ns < attempt.end_ns
    # The caller has its answer once the result is stored; what else belongs to keeping it may end a little later.
    assert attempt.end_ns - CLOCKS_NS < keep.start_ns < min(keep.end_ns, request.end_ns)

    job = answer.headers["X-Animegan-Job"]
    own = {"animegan.job": job[:8], "animegan.request_id": "asked-for"}
    assert request.attributes["http.route"] == "/v1/stylize"
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["animegan.request_id"] == "asked-for"
    assert queue.attributes == keep.attributes == own
    url = f"{traced.inference}/predictions/animegan"
    assert attempt.attributes == {
        **own,
        "animegan.attempt": 1,
        "animegan.outcome": "drawn",
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.full": url,
        "server.address": "127.0.0.1",
        "server.port": int(traced.inference.rpartition(":")[2]),
    }
    assert (stylize.attributes["animegan.style"], stylize.attributes["animegan.width_px"]) == ("cel", 48)
    assert stylize.attributes["animegan.plan"] == answer.headers["X-Animegan-Plan"]
    page = (ROOT / "docs" / "operations" / "tracing.md").read_text()
    for span in (queue, attempt, keep, stylize, *phases):
        assert f"─ {span.name} " in page
        assert all(f"`{name}`" in page for name in span.attributes if name.startswith("animegan."))
    text = str([(span.attributes, span.resource) for span in spans.values()])
    for private in (job, "client.address", "secret_place"):
        assert private not in text

    assert f"request asked-for: ok trace_id={TRACE}" in traced.log_text()
    log = (traced.folder / "logs" / "gateway.log").read_text()
    lines = [line for line in log.splitlines() if '"asked-for"' in line]
    assert len(lines) == 3  # it was accepted, attempted, answered
    assert all(f'"trace_id": "{TRACE}"' in line for line in lines)


def test_without_a_caller_that_traces_torchserve_begins_one(traced: Server, receiver: Collector) -> None:
    answer = requests.post(f"{traced.inference}/predictions/animegan", files={"data": b"no picture"}, timeout=60)
    assert code(answer) == (415, "unsupported_image")
    wait_until(lambda: any(span.failed for span in receiver.spans), "the failed request's span")
    (failed,) = (span for span in receiver.spans if span.failed)
    assert (failed.name, failed.parent, failed.attributes["error.type"]) == ("stylize", "", "unsupported_image")


def test_the_sdk_is_loaded_only_where_there_is_an_endpoint(traced: Server, mortal: Server) -> None:
    for each, on in ((traced, True), (mortal, False)):
        gateway = each.gateway()
        assert gateway
        for process in (gateway.pid, *each.worker_pids()):
            assert loads_protobuf(process) is on, psutil.Process(process).cmdline()


def test_a_collector_that_is_away_fails_no_job_and_holds_up_no_end(traced: Server, receiver: Collector) -> None:
    receiver.go()
    for _ in range(3):
        assert draw(traced).ok
    assert traced.stop() == 0


def loads_protobuf(pid: int) -> bool:
    """Return whether the process has loaded the library that OpenTelemetry's exporter alone brings."""
    return any(Path(each.path).match("google/_upb/*") for each in psutil.Process(pid).memory_maps())
