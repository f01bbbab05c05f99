"""The gateway's traces: which requests have one, that a job keeps its own through a restart, and that they are off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from animegan_gateway.queue.jobs import Ask, new_id
from harness.gateways import Gateway, before
from harness.monitoring.collectors import PARENT, collector, traceparent
from harness.pictures import encoded, photo
from harness.servers import Server, wait_until
from harness.stores import AMPLE, KINDS, Place, ask, redis_server

TRACE, QUIET = "1" * 32, "2" * 32
PICTURE = encoded(photo(64, 48))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.server
def test_a_job_stays_in_its_trace_through_a_restart(server: Server, tmp_path: Path) -> None:
    with collector() as receiver:
        tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_SERVICE_NAME": "door"}
        gateway = Gateway(tmp_path, {**before(None), **tracing})
        gateway.start()
        quiet = gateway.submit(PICTURE, headers=traceparent(QUIET, sampled=False)).json()["id"]
        url = f"{gateway.url}/v1/jobs?key=ag_1_secret"
        job = requests.post(url, files={"image": PICTURE}, headers=traceparent(TRACE), timeout=60).json()["id"]
        assert gateway.job(job)["status"] == "queued"
        assert gateway.stop() == 0  # and what is left was sent
        (request,) = receiver.trace(TRACE, "POST /v1/jobs").values()

        gateway.variables = {**before(server), **tracing}
        gateway.start()
        thumbnail = f"{gateway.url}/v1/styles/cel/thumbnail"  # 409 until it is drawn
        wait_until(lambda: requests.get(thumbnail, timeout=120).ok, "the thumbnail")
        assert gateway.wait(quiet)["status"] == gateway.wait(job)["status"] == "done"
        assert gateway.stop() == 0

        spans = receiver.trace(TRACE, "POST /v1/jobs", "queue", "POST /predictions/animegan", "keep")
        assert len(receiver.spans) == len(spans)  # none of the others, of looking on, of a thumbnail
    assert (request.parent, request.service) == (PARENT, "door")
    assert request.attributes["url.query"] == "REDACTED"
    assert {span.parent for span in spans.values()} == {PARENT, request.id}
    assert spans["queue"].attributes["animegan.job"] == job[:8]


@pytest.mark.slow
def test_without_an_endpoint_nothing_that_traces_is_imported(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, {**before(None), "PYTHONPROFILEIMPORTTIME": "1"})
    gateway.start()
    answer = gateway.submit(PICTURE, headers=traceparent(TRACE))
    assert gateway.stop() == 0
    modules = gateway.errors.read_text()
    assert "animegan_gateway.drawing.dispatcher" in modules
    for module in ("opentelemetry.sdk.trace", "opentelemetry.exporter", "animegan_gateway.exporter"):
        assert module not in modules  # redis brings the part of the SDK that is about metrics
    assert answer.ok
    assert "trace_id" not in gateway.log


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_a_store_keeps_the_context_of_a_request(kind: str, tmp_path: Path) -> None:
    traced = ask().model_copy(update={"trace": {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b"}})
    with redis_server(tmp_path) as server:
        async with Place(kind, tmp_path, server if kind == "redis" else None).open_store() as store:
            job = await store.submit(new_id(), traced, AMPLE, None)
            running = await store.take("owner", idle=True)
            assert running
            assert (running.id, running.ask) == (job.id, traced)


def test_a_job_that_was_stored_before_there_were_traces_is_read() -> None:
    stored = json.loads(ask().model_dump_json())
    del stored["trace"]
    assert Ask.model_validate(stored).trace == {}
