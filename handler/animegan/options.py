"""What a request may ask for. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args

from animegan.errors import BadOption
from animegan.settings import SMALLEST_SIDE_PX, Format, Settings

NAMES = ("style", "max_side", "format", "quality")
MOST_CHARACTERS = 100  # of an option: an answer quotes it


@dataclass(frozen=True)
class Options:
    """One request's options, checked: `max_side` in px, `quality` from 1 to 100 (JPEG and WebP)."""

    style: str
    max_side: int
    format: Format
    quality: int


def parse(raw: Mapping[str, str], settings: Settings) -> Options:
    """Read the options that are there; the settings fill in the rest. Raises `BadOption` with the value and its limits.

    Whether the style exists is not decided here.
    """
    unknown = [name for name in raw if name not in NAMES]
    if unknown:
        name = unknown[0][:MOST_CHARACTERS]
        raise BadOption(f"There is no option {name!r}. Use: {', '.join(NAMES)}.", option=name)
    for name, text in raw.items():
        if len(text) > MOST_CHARACTERS:
            raise BadOption(
                f"{name} has {len(text):,} characters, over the limit of {MOST_CHARACTERS}. Shorten it.",
                option=name,
            )
    return Options(
        style=raw.get("style", "").strip() or settings.style,
        max_side=_integer(raw, "max_side", settings.max_side_px, SMALLEST_SIDE_PX, settings.max_side_ceiling_px),
        format=_format(raw.get("format", "").strip().lower(), settings.format),
        quality=_integer(raw, "quality", settings.quality, 1, 100),
    )


def _integer(raw: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = raw.get(name, "").strip()
    if not text:
        return default
    value = int(text) if re.fullmatch("-?[0-9]{1,9}", text) else None
    if value is None or not least <= value <= most:
        raise BadOption(
            f"{name}={text[:32]!r}: use a whole number from {least} to {most}.", option=name, least=least, most=most
        )
    return value


def _format(text: str, default: Format) -> Format:
    text = {"": default, "jpg": "jpeg"}.get(text, text)
    if text not in get_args(Format):
        raise BadOption(f"format={text[:32]!r}: use one of {', '.join(get_args(Format))}.", option="format")
    return cast(Format, text)
