"""The gateway's settings, one row each; see `animegan.settings.Rows` for where a value comes from.

What a picture may weigh and measure, and the defaults of its options, are the handler's (`animegan.settings.Settings`).
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from pydantic_settings import SettingsConfigDict

from animegan.errors import BadSetting
from animegan.settings import Rows
from animegan.styles import home
from animegan_gateway.http.access.keys import Keys

Url = Annotated[str, StringConstraints(pattern=r"^https?://[^/\s]+$")]
Origin = Annotated[str, StringConstraints(pattern=r"^https?://[^/\s*]+$", to_lower=True)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(Rows):
    """The gateway's. See `docs/settings.md`."""

    model_config = SettingsConfigDict(env_prefix="ANIMEGAN_GATEWAY_")

    host: str = Field("127.0.0.1", description="Address to listen on. Off loopback, API keys are required.")
    port: Port = Field(8000, description="Port of the page and the API.")
    metrics_host: str = Field("127.0.0.1", description="Address of the metrics, apart from the API's.")
    metrics_port: Port = Field(8001, description="Port of the metrics.")
    torchserve: Annotated[str, StringConstraints(pattern=r"^http://[^/\s]+$")] = Field(
        "http://127.0.0.1:8080",
        description="TorchServe's inference address. A name that resolves to several addresses stands for as many.",
    )
    agent_port: Port = Field(
        8083,
        description="Port of the agent beside each TorchServe, which tells how wide it runs; 0: none, `width` tells.",
    )
    width: int = Field(
        0, ge=0, description="Pictures sent to each TorchServe at one time; 0: its ready workers times its batch size."
    )
    data: Path | None = Field(
        None,
        description="Folder of the queue, of pictures and of the API keys; "
        "None: `gateway` in the data directory, which ANIMEGAN_HOME moves.",
    )
    store: Annotated[str, StringConstraints(pattern=r"^(|rediss?://.+|unix://.+)$")] = Field(
        "", description="Where jobs are kept: a Redis URL; empty: SQLite in `data`, for one gateway."
    )
    pictures: Annotated[str, StringConstraints(pattern=r"^(|s3://.+)$")] = Field(
        "",
        description="Where uploads and results are kept: s3://BUCKET/PREFIX, with the usual AWS_… variables; "
        "empty: files in `data`, or Redis with a Redis store.",
    )
    queue_jobs: int = Field(1000, ge=1, description="Most jobs that wait or run; one more is answered 429.")
    queue_mb: int = Field(2048, ge=1, description="Most bytes, in MiB, of the pictures that wait or are drawn.")
    share_percent: int = Field(
        50, ge=1, le=100, description="Most of `queue_jobs` that one caller's jobs may hold, in percent."
    )
    rate_per_minute: int = Field(600, ge=0, description="Jobs that one caller may send in a minute; 0: any number.")
    keep_s: int = Field(3600, ge=1, description="How long a job and its picture are kept after it ended, in s.")
    expired_for_s: int = Field(86400, ge=0, description="How long an expired job is answered 410 and not 404, in s.")
    retries: int = Field(4, ge=0, description="How often a picture is tried again after an error that may pass.")
    lease_s: float = Field(
        9,
        ge=1,
        description="With Redis: a gateway that is silent for this long, in s, loses its running jobs to others.",
    )
    draw_timeout_s: float = Field(
        690, gt=0, description="How long TorchServe may take for a picture, in s; keep it above its responseTimeout."
    )
    stylize_timeout_s: float = Field(
        300, gt=0, description="How long POST v1/stylize waits, in s, before it answers 202."
    )
    upload_idle_s: float = Field(30, gt=0, description="Longest pause of an upload, in s.")
    upload_rate_kb_s: float = Field(
        4, ge=0, description="Least rate of an upload, in kB/s, as its mean from `upload_idle_s` on; 0: any."
    )
    header_timeout_s: float = Field(10, gt=0, description="How long a request's headers may take, in s.")
    connections: int = Field(
        0,
        ge=0,
        description="Most connections at one time, one more is answered 503; 0: as many as the limit on open files is "
        "enough for.",
    )
    drain_s: float = Field(30, ge=0, description="On SIGTERM: how long running pictures may take to finish, in s.")
    keys: Literal["auto", "required", "off"] = Field(
        "auto", description="API keys: required, or off; auto: off on loopback, required elsewhere."
    )
    keys_folder: Path | None = Field(
        None, description="Folder of `keys.json`, where the API keys are kept, such as a mounted secret; None: `data`."
    )
    hosts: list[str] = Field(
        [],
        description="Names under which the gateway is reached, as a JSON list; others are refused. "
        "Empty: on loopback localhost, 127.0.0.1 and ::1, elsewhere any.",
    )
    cors_origins: list[Origin] = Field(
        [],
        description="Origins of other sites whose pages may use the API, as a JSON list: "
        '["https://pictures.example.org"]. Their browsers send no cookie of this one; where keys are required, '
        "they send a key.",
    )
    path_prefix: Annotated[str, StringConstraints(pattern=r"^(|(/[\w.~-]+)+)$")] = Field(
        "", description="Path under which a proxy serves the gateway, such as /anime."
    )
    trusted_proxies: list[str] = Field(
        [], description="Addresses whose X-Forwarded-For and X-Forwarded-Proto are believed, as a JSON list."
    )
    log_file: Path | None = Field(
        None, description="File of the log, rotated at 10 MB, four kept; None: standard error."
    )

    @property
    def folder(self) -> Path:
        return self.data or home() / "gateway"

    @property
    def keys_directory(self) -> Path:
        """Return the folder of `keys.json`."""
        return self.keys_folder or self.folder

    @property
    def on_loopback(self) -> bool:
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def keys_required(self) -> bool:
        return self.keys == "required" or (self.keys == "auto" and not self.on_loopback)

    @property
    def allowed_hosts(self) -> list[str]:
        """Return the host names that are answered, without ports; empty: all."""
        return self.hosts or (["localhost", "127.0.0.1", "[::1]"] if self.on_loopback else [])


def load() -> Settings:
    """Return the gateway's settings in this process. Raise `BadSetting`, also for strangers served without keys."""
    settings = Settings.load()
    way_out = "Add one with `animegan keys add NAME`, or listen on 127.0.0.1."
    if not settings.on_loopback and settings.keys == "off":
        raise BadSetting(f"host={settings.host} is reachable from elsewhere, and keys=off. {way_out}")
    if settings.keys_required and not Keys(settings.keys_directory).list_keys():
        raise BadSetting(
            f"host={settings.host} needs API keys, and there is none in {settings.keys_directory}. {way_out}"
        )
    if not settings.width and not settings.agent_port:
        raise BadSetting(
            "width=0 asks the agent beside TorchServe, and agent_port=0 says there is none. Set one of them."
        )
    return settings
