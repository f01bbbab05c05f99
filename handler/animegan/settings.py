"""The handler's settings: one row each, with its name and unit, its default and its help.

A value comes from `ANIMEGAN_<NAME>` in the environment, else from the TOML file that `ANIMEGAN_CONFIG` names
(`scripts/serve` names `config/animegan.toml`), else from the row. `docs/settings.md` is generated from the rows.
"""

from __future__ import annotations

import difflib
import logging
import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from animegan.errors import BadSetting
from animegan.styles import DEFAULT_STYLE

logger = logging.getLogger(__name__)

MAX_SIDE_PX = 1024
WARMUP_PX = 256
SMALLEST_SIDE_PX = 16  # at a quarter of the resolution the reflection pads still have rows to mirror

# Each has variables that are none of the others', however like them: the gateway, the agent, TorchServe's three APIs.
ROLES = tuple(f"ANIMEGAN_{role}_" for role in ("GATEWAY", "AGENT", "INFERENCE", "MANAGEMENT", "METRICS"))

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "fp16", "bf16"]
Format = Literal["auto", "jpeg", "png", "webp"]
Detail = Literal["bold", "medium", "fine"]
DetailOption = Literal["auto", "bold", "medium", "fine"]
Color = Literal["style", "photo"]
Tone = Literal["auto", "style", "photo"]
Mode = Literal["auto", "portrait", "scene"]
Frames = Literal["all", "first"]


class Rows(BaseSettings):
    """Settings, a field each: `<prefix><NAME>` in the environment, else the TOML file that `<prefix>CONFIG` names."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True, extra="forbid")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic-settings'
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = cls.file()
        return (init_settings, env_settings, *([TomlConfigSettingsSource(settings_cls, Path(file))] if file else []))

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of a setting."""
        return f"{cls.model_config['env_prefix']}{name.upper()}"

    @classmethod
    def file(cls) -> str | None:
        """The TOML file that the environment names."""
        return os.environ.get(cls.variable("config"))

    @classmethod
    def load(cls) -> Self:
        """The settings of this process. Raises `BadSetting`, which names the variable, its value and what is wrong."""
        file = cls.file()
        if file and not Path(file).is_file():
            raise BadSetting(f"{cls.variable('config')}={file} names no file. Correct it, or leave it out.")
        try:
            settings = cls()
        except ValidationError as error:
            raise BadSetting(
                "; ".join(cls._complaint(e["loc"], e["input"], e["msg"]) for e in error.errors())
            ) from None
        except SettingsError as error:  # a list that is no JSON
            raise BadSetting(f"{error}. Write a list as JSON.") from None
        except ValueError as error:  # TOML that can't be parsed
            raise BadSetting(f"{file} can't be read: {error}.") from None
        variables = [cls.variable(field) for field in cls.model_fields]
        elsewhere = tuple(prefix for prefix in ROLES if prefix != cls.model_config["env_prefix"])
        for name in os.environ.keys() - set(variables):
            if name.startswith(elsewhere):
                continue
            if near := difflib.get_close_matches(name, variables, n=1, cutoff=0.85):
                logger.warning("%s is no setting, and ignored. Is %s meant?", name, near[0])
        return settings

    @classmethod
    def _complaint(cls, location: tuple[int | str, ...], value: object, message: str) -> str:
        name = str(location[0]) if location else "the settings"
        variable = cls.variable(name)
        where = variable if variable in os.environ else f"{name} in {cls.file() or 'the settings'}"
        if location and name not in cls.model_fields:
            message = f"there is no such setting; there are {', '.join(cls.model_fields)}"
        return f"{where}={value!r}: {message}"


class Settings(Rows):
    """The handler's. See `docs/settings.md`."""

    model_config = SettingsConfigDict(env_prefix="ANIMEGAN_")

    style: str = Field(DEFAULT_STYLE, description="Style of a request that names none.")
    device: Device = Field("auto", description="Where the generator runs; auto: CUDA where there is a GPU.")
    precision: Precision = Field(
        "auto",
        description="auto: fp16 on CUDA, bf16 on a CPU with AMX, else fp32.",
    )
    max_side_px: int = Field(
        MAX_SIDE_PX,
        ge=SMALLEST_SIDE_PX,
        description="Longest side of a picture whose request sets no limit; a larger one is fitted. One more than "
        "twice as long as it is wide may have as many pixels as a square of this side.",
    )
    max_side_ceiling_px: int = Field(
        8192,
        ge=SMALLEST_SIDE_PX,
        description="Largest `max_side` that a request may ask for: time grows with its square, which is the most "
        "pixels that are drawn.",
    )
    memory_mb: int = Field(
        0,
        ge=0,
        description="Memory, in MiB, that drawing may take above the weights, in bands where it must; "
        "0: what is free, less a reserve.",
    )
    draw_floor_s: float = Field(
        60,
        gt=0,
        description="Time, in s, that every picture may be drawn for, however little is predicted for it.",
    )
    draw_ceiling_s: float = Field(
        600,
        gt=0,
        description="Most time, in s, that a picture may be drawn for; one that takes longer is refused. "
        "Keep TorchServe's responseTimeout above it by a minute.",
    )
    max_upload_mb: int = Field(
        32,
        ge=1,
        description="Largest picture file, in MiB. Keep TorchServe's max_request_size above it.",
    )
    max_pixels_mpx: int = Field(
        64,
        ge=1,
        le=178,  # where Pillow itself refuses
        description="Most pixels of a picture as sent, in millions; read from its header before it is decoded.",
    )
    clip_frames: int = Field(1800, ge=1, description="Most frames of an animation.")
    clip_s: float = Field(60, gt=0, description="Longest animation, in s.")
    clip_mpx: int = Field(
        1000,
        ge=1,
        description="Most pixels of all frames of an animation together as they are drawn, in millions. As sent it may "
        "have eight times as many.",
    )
    video_frames: int = Field(9000, ge=1, description="Most frames of a video that is sent to the server.")
    video_s: float = Field(300, gt=0, description="Longest video that is sent to the server, in s.")
    video_mpx: int = Field(
        3000,
        ge=1,
        description="Most pixels of all frames of a video together as they are drawn, in millions, where it is sent to "
        "the server. As sent it may have eight times as many.",
    )
    format: Format = Field(
        "auto",
        description="Output of a request that names none; auto: JPEG, PNG with alpha, an animation of its kind.",
    )
    quality: int = Field(92, ge=1, le=100, description="JPEG and WebP quality of a request that names none.")
    cleanup: Literal["always", "watermark", "never"] = Field(
        "watermark",
        description="When memory that is held and unused goes back: after each batch, past the watermark, or never.",
    )
    cleanup_watermark_mb: int = Field(256, ge=0, description="Held and unused memory, in MiB, past which it goes back.")
    cpu_threads: int = Field(0, ge=0, description="Threads of one worker on the CPU; 0: the CPUs this process may use.")
    warmup_px: int = Field(
        WARMUP_PX,
        ge=0,
        multiple_of=SMALLEST_SIDE_PX,
        description="Side of the square that each style draws at start so that no first caller waits; 0: none.",
    )


def load() -> Settings:
    """The handler's settings in this process. Raises `BadSetting`, also where two of them contradict each other."""
    settings = Settings.load()
    if settings.max_side_px > settings.max_side_ceiling_px:
        raise BadSetting(
            f"max_side_px={settings.max_side_px} is over max_side_ceiling_px={settings.max_side_ceiling_px}. "
            "Lower the one or raise the other."
        )
    if settings.draw_floor_s > settings.draw_ceiling_s:
        raise BadSetting(
            f"draw_floor_s={settings.draw_floor_s:g} is over draw_ceiling_s={settings.draw_ceiling_s:g}. "
            "Lower the one or raise the other."
        )
    return settings
