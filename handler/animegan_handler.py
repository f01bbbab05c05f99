"""TorchServe's side of the engine: requests in, one answer of its own for each, whatever the rest of the batch does."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ts.metrics.metric_cache_errors import MetricsCacheKeyError
from ts.metrics.metric_type_enum import MetricTypes

import animegan_forms as forms
from animegan import __version__, settings
from animegan.errors import (
    CONTENT_TYPE,
    AnimeganError,
    BadLook,
    BadSetting,
    BadWeights,
    InternalError,
)
from animegan.options import ATTEMPT, IGNORED, MOST_CHARACTERS, REQUEST_ID
from animegan.pipeline.items import Failed, Item
from animegan.pipeline.pipeline import Pipeline
from animegan.resources import hardware, memory

if TYPE_CHECKING:
    from animegan_spans import Spans

logger = logging.getLogger(__name__)

METRICS = {
    "animegan_pictures_total": MetricTypes.COUNTER,
    "animegan_fitted_pictures_total": MetricTypes.COUNTER,
    "animegan_out_of_memory_recoveries_total": MetricTypes.COUNTER,
    "animegan_cleanups_total": MetricTypes.COUNTER,
    "animegan_phase_seconds": MetricTypes.HISTOGRAM,
    "animegan_batch_pictures": MetricTypes.GAUGE,
    "animegan_memory_bytes": MetricTypes.GAUGE,
    "animegan_peak_memory_bytes": MetricTypes.GAUGE,
}
REQUEST_ID_FORM = re.compile(r"[\w.-]{1,64}", re.ASCII)
ATTEMPT_FORM = re.compile(r"[\w-]{22}\.[0-9]{1,9}", re.ASCII)  # a file in `CANCEL_FOLDER` once the job is cancelled
CANCEL_FOLDER = "ANIMEGAN_CANCEL_FOLDER"  # which the agent beside TorchServe writes to
PROGRESS_ENDING = ".progress"  # of the file there that tells how much of an attempt is drawn, 0 to 1
PROGRESS_EVERY_S = 0.25
TRACE_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class AnimeganHandler:
    """One worker's handler. `handle` takes TorchServe's batch: a mapping of fields for each request."""

    pipeline: Pipeline
    metrics: dict[str, Any]  # TorchServe's metrics, by name
    spans: Spans | None

    def initialize(self, context: Any) -> None:
        """Load every style that is on this machine. Raises `BadSetting`, which ends the worker and is in the log."""
        forms.keep_repeated_fields()
        self.metrics = {name: _metric(context.metrics, name) for name in METRICS}
        self.spans = _spans()
        configured = settings.load()
        torch.set_num_threads(configured.cpu_threads or hardware.cpu_count())
        self.pipeline = Pipeline(configured, gpu=context.system_properties.get("gpu_id"))
        self.pipeline.load_styles()
        logger.info(
            "animegan %s is ready on %s: %s", __version__, self.pipeline.device, ", ".join(self.pipeline.loaded)
        )
        self._count([], cleanup=False)  # so that every rate begins at zero

    def handle(self, data: Sequence[Mapping[str, Any]], context: Any) -> list[bytes]:
        """Answer each request of the batch with its picture, or with its own error as problem details."""
        began_ns = time.time_ns()
        asks = self.preprocess(data, context)
        items = [item for ask in asks for item in ask.items]
        self.inference(items)
        answers = self.postprocess(asks, context)
        for ask in asks:
            if attempt := _attempt(ask.headers):
                _progress_file(attempt).unlink(missing_ok=True)
        self._count(items, cleanup=self.pipeline.cleaner.clean_up())
        if self.spans:
            self.spans.record(items, [ask.headers for ask in asks for _ in ask.items], began_ns)
        return answers

    def preprocess(self, data: Sequence[Mapping[str, Any]], context: Any) -> list[forms.Ask]:
        """Read each request's options and begin to decode its pictures."""
        return [self._decode(fields, context.get_all_request_header(index) or {}) for index, fields in enumerate(data)]

    def inference(self, items: Sequence[Item]) -> None:
        """Draw the pictures as they are decoded, and encode them."""
        self.pipeline.draw(items)
        self.pipeline.encode(items)

    def postprocess(self, asks: Sequence[forms.Ask], context: Any) -> list[bytes]:
        """Status, headers and body of each answer."""
        return [self._answer(index, ask, context) for index, ask in enumerate(asks)]

    def _decode(self, fields: Mapping[str, Any], headers: Mapping[str, Any]) -> forms.Ask:
        try:
            request = forms.read(fields, headers, __version__)
        except AnimeganError as error:
            return forms.Ask(headers, items=[Item(Failed(forms.refuse(fields, error)))])
        items = [self.pipeline.decode(photo.data, photo.options) for photo in request.photos]
        attempt = _attempt(headers)
        for place, item in enumerate(items):
            if attempt:
                item.abandoned = attempt.exists
                item.progress = progress_writer(_progress_file(attempt), place, len(items))
        return forms.Ask(headers, request.form, items, request.ignored)

    def _answer(self, index: int, ask: forms.Ask, context: Any) -> bytes:
        headers = ask.headers
        if request_id := _request_id(headers):
            context.set_response_header(index, REQUEST_ID, request_id)
            traced = self.spans.words(headers) if self.spans else ""
            logger.info("request %s: %s%s", request_id, ask.error.code if ask.error else "ok", traced)
        files = [item.finished.encoded for item in ask.items if item.finished]
        drawings = [forms.Drawing(file.data, file.content_type) for file in files]
        if ask.error or len(drawings) < len(ask.items):
            error = ask.error or AnimeganError("The picture was not drawn.")
            if isinstance(error, (BadSetting, BadWeights, BadLook)):  # the operator's affair, and it names files
                logger.error("%s", error)
                error = InternalError("The server can't load this style. Use another one; its log has the details.")
            error = ask.form.refuse(_with_place(error, ask))
            context.set_response_status(code=int(error.status), phrase=error.title, idx=index)
            context.set_response_content_type(index, CONTENT_TYPE)
            return error.json()
        answer = ask.form.answer(drawings)
        for name, value in {**_headers(ask), **answer.headers}.items():
            context.set_response_header(index, name, value)
        context.set_response_content_type(index, answer.content_type)
        return answer.body

    def _count(self, items: Sequence[Item], *, cleanup: bool) -> None:
        for item in items:
            # Only a style that exists becomes a label: callers must not be able to invent series.
            style = item.decoded.options.style if item.decoded else "none"
            result = item.error.code if item.error else "ok"
            plan = item.finished.method.plan.mode if item.finished and item.finished.method.plan else "none"
            self.metrics["animegan_pictures_total"].add_or_update(1, [style, result, plan])
            for phase, duration in item.seconds.items():
                self.metrics["animegan_phase_seconds"].add_or_update(duration, [phase])
        fitted_count = sum(bool(item.finished and item.finished.report.fitted) for item in items)
        recovered = sum(bool(item.method and item.method.recovered) for item in items)
        self.metrics["animegan_fitted_pictures_total"].add_or_update(fitted_count, [])
        self.metrics["animegan_out_of_memory_recoveries_total"].add_or_update(recovered, [])
        self.metrics["animegan_cleanups_total"].add_or_update(int(cleanup), [])
        self.metrics["animegan_batch_pictures"].add_or_update(len(items), [])
        for where, usage in memory.usage(self.pipeline.device).items():
            labels = [where, str(self.pipeline.device)]
            self.metrics["animegan_memory_bytes"].add_or_update(usage.current, labels)
            self.metrics["animegan_peak_memory_bytes"].add_or_update(usage.peak, labels)


def _spans() -> Spans | None:
    """None where there is no endpoint for traces; OpenTelemetry's SDK is not imported then."""
    if not any(os.environ.get(name) for name in TRACE_ENDPOINTS):
        return None
    from animegan_spans import Spans  # noqa: PLC0415

    return Spans()


def _metric(metrics: Any, name: str) -> Any:
    """The metric as `config/metrics.yaml` declares it. Raises `BadSetting` now: later it would fail a batch."""
    try:
        return metrics.get_metric(name, METRICS[name])
    except MetricsCacheKeyError:
        kind = METRICS[name].value
        raise BadSetting(f"config/metrics.yaml declares no {kind} {name}. Put it back as it was shipped.") from None


def _request_id(headers: Mapping[str, Any]) -> str | None:
    """The request's id, where it is one that a header and a line of log can carry."""
    return _header(headers, REQUEST_ID, REQUEST_ID_FORM)


def _attempt(headers: Mapping[str, Any]) -> Path | None:
    """Return the file that is there once the job of this request is cancelled; None where none can be."""
    folder, attempt = os.environ.get(CANCEL_FOLDER), _header(headers, ATTEMPT, ATTEMPT_FORM)
    return Path(folder, attempt) if folder and attempt else None


def _progress_file(attempt: Path) -> Path:
    return attempt.with_name(f"{attempt.name}{PROGRESS_ENDING}")


def progress_writer(file: Path, place: int, count: int) -> Callable[[float], None]:
    """Return what writes how much of a request is drawn into a file for the agent, at most every `PROGRESS_EVERY_S`.

    It takes the share of the picture at `place` of `count`. A disk that is full is no reason to end a drawing.
    """
    part = file.with_name(f"{file.name}.part")
    next_at = time.monotonic() + PROGRESS_EVERY_S

    def write(share: float) -> None:
        nonlocal next_at
        now = time.monotonic()
        if now < next_at:
            return
        next_at = now + PROGRESS_EVERY_S
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(f"{(place + share) / count:.4f}")
            part.replace(file)

    return write


def _header(headers: Mapping[str, Any], key: str, form: re.Pattern[str]) -> str | None:
    value = next((str(value) for name, value in headers.items() if name.lower() == key.lower()), "")
    return value if form.fullmatch(value) else None


def _with_place(error: AnimeganError, ask: forms.Ask) -> AnimeganError:
    """Return the error, of several pictures with the place of the one that has it."""
    if len(ask.items) < 2:
        return error
    place = next(place for place, item in enumerate(ask.items, start=1) if not item.finished)
    return type(error)(f"Picture {place} of {len(ask.items)}: {error.detail}", **{**error.members, "picture": place})


def _headers(ask: forms.Ask) -> dict[str, str]:
    """Return the headers of an answer: its report, of several pictures the first one's, and what was ignored."""
    reports = (item.finished.report.headers() for item in ask.items if item.finished)
    names = (name[:MOST_CHARACTERS].encode("ascii", "replace").decode() for name in ask.ignored)
    ignored = re.sub(r"[^\x20-\x7e]", "?", ", ".join(names))
    return {**next(reports, {}), **({IGNORED: ignored} if ignored else {})}
