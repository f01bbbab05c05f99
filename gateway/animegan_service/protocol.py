"""Names on which the handler in the archive, the gateway and the agent agree."""

from __future__ import annotations

from enum import StrEnum

MODEL = "animegan"  # TorchServe's name of the archive
CANCEL_FOLDER = "ANIMEGAN_CANCEL_FOLDER"  # where the agent leaves a file for each attempt that nobody waits for
PROGRESS_ENDING = ".progress"  # of a file there, named after an attempt: how much of it is drawn, 0 to 1
TRACE_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Presence(StrEnum):
    """The state of a TorchServe."""

    READY = "ready"
    LOADING = "loading"  # it answers, and no worker is ready
    AWAY = "away"
