"""What a request may ask for. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args

from animegan.errors import BadOption
from animegan.settings import SMALLEST_SIDE_PX, Color, DetailOption, Format, Mode, Settings

NAMES = ("style", "max_side", "format", "quality", "detail", "strength", "color", "mode")
FAST = "fast"  # as `quality`
MOST_CHARACTERS = 100  # of an option: an answer quotes it


@dataclass(frozen=True)
class Wish:
    """What is asked of a drawing beside its style.

    `detail`: how far the photo is shrunk before it is drawn; auto: by what the photo shows. `strength`: 0 is the fitted
    photo byte for byte, 1 the drawing. `color`: the style's own, or the photo's hue and chroma under the drawing's
    lightness. `mode`: whether faces are looked for and drawn again, each from a crop of its own; auto: those that are
    surely faces; portrait: those that may be, too; scene: none.
    """

    detail: DetailOption = "auto"
    strength: float = 1.0
    color: Color = "style"
    mode: Mode = "auto"


@dataclass(frozen=True)
class Options:
    """One request's options, checked: `max_side` in px, `quality` from 1 to 100 (JPEG and WebP).

    `fast`: drawn by the small network, which `quality=fast` asks for. `wish`: `detail`, `strength`, `color` and `mode`.
    """

    style: str
    max_side: int
    format: Format
    quality: int
    fast: bool = False
    wish: Wish = Wish()


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
    fast = raw.get("quality", "").strip().lower() == FAST
    return Options(
        style=raw.get("style", "").strip() or settings.style,
        max_side=_integer(raw, "max_side", settings.max_side_px, SMALLEST_SIDE_PX, settings.max_side_ceiling_px),
        format=cast(Format, _choice(raw, "format", settings.format, get_args(Format), {"jpg": "jpeg"})),
        quality=settings.quality if fast else _integer(raw, "quality", settings.quality, 1, 100, f", or {FAST}"),
        fast=fast,
        wish=Wish(
            detail=cast(DetailOption, _choice(raw, "detail", "auto", get_args(DetailOption))),
            strength=_share(raw, "strength", 1.0),
            color=cast(Color, _choice(raw, "color", "style", get_args(Color))),
            mode=cast(Mode, _choice(raw, "mode", "auto", get_args(Mode))),
        ),
    )


def _integer(raw: Mapping[str, str], name: str, default: int, least: int, most: int, or_word: str = "") -> int:
    text = raw.get(name, "").strip()
    if not text:
        return default
    value = int(text) if re.fullmatch("-?[0-9]{1,9}", text) else None
    if value is None or not least <= value <= most:
        raise BadOption(
            f"{name}={text[:32]!r}: use a whole number from {least} to {most}{or_word}.",
            option=name,
            least=least,
            most=most,
        )
    return value


def _share(raw: Mapping[str, str], name: str, default: float) -> float:
    text = raw.get(name, "").strip()
    if not text:
        return default
    value = float(text) if re.fullmatch(r"[0-9]{0,3}\.?[0-9]{0,6}", text) and text != "." else None
    if value is None or not 0 <= value <= 1:
        raise BadOption(f"{name}={text[:32]!r}: use a number from 0 to 1, as 0.75.", option=name, least=0, most=1)
    return value


def _choice(
    raw: Mapping[str, str], name: str, default: str, choices: tuple[str, ...], aliases: Mapping[str, str] = {}
) -> str:
    text = raw.get(name, "").strip().lower()
    value = aliases.get(text, text) or default
    if value not in choices:
        raise BadOption(f"{name}={text[:32]!r}: use one of {', '.join(choices)}.", option=name)
    return value
