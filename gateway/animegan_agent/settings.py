"""The agent's settings, one row each; see `animegan.settings.Rows` for where a value comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from pydantic_settings import SettingsConfigDict

from animegan.settings import Rows

Url = Annotated[str, StringConstraints(pattern=r"^https?://[^/\s]+$")]
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(Rows):
    """The agent's. See `docs/settings.md`."""

    model_config = SettingsConfigDict(env_prefix="ANIMEGAN_AGENT_")

    host: str = Field("127.0.0.1", description="Address to listen on. What commands the workers answers loopback only.")
    port: Port = Field(8083, description="Port on which gateways ask, and readiness is told.")
    metrics_host: str = Field("127.0.0.1", description="Address of the metrics.")
    metrics_port: Port = Field(8084, description="Port of the metrics.")
    management: Url = Field("http://127.0.0.1:8081", description="TorchServe's management address.")
    torchserve_metrics: Url = Field(
        "http://127.0.0.1:8082", description="TorchServe's metrics address, where its requests are counted."
    )
    recycle_after_requests: int = Field(
        0, ge=0, description="Requests after which a worker is replaced by a new one; 0: any number."
    )
    recycle_above_mb: int = Field(
        0, ge=0, description="Resident memory of a worker, in MiB, above which it is replaced; 0: any size."
    )
    recycle_every_s: float = Field(0, ge=0, description="Age of a worker, in s, at which it is replaced; 0: any age.")
    recycle_overlap: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether a further worker draws while one is replaced; auto: on a CPU, where memory allows.",
    )
    idle_within_s: float = Field(
        60, gt=0, description="How long a replacement waits for TorchServe to be idle, in s, before it is put off."
    )
    log_file: Path | None = Field(
        None, description="File of the log, rotated at 10 MB, four kept; None: standard error."
    )


def load() -> Settings:
    """Return the agent's settings in this process. Raise `BadSetting`."""
    return Settings.load()
