"""TorchServe's own context, as a worker gives it to the handler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

METRICS = Path(__file__).resolve().parents[3] / "config" / "metrics.yaml"


def make_context(headers: list[dict[str, Any]]) -> Context:
    metrics = MetricsCacheYamlImpl(config_file_path=str(METRICS))
    metrics.initialize_cache()
    context = Context("animegan", "", {}, len(headers), None, "0.12.0", metrics=metrics)
    context.request_processor = [RequestProcessor(one) for one in headers]
    return context
