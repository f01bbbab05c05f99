"""What a request may ask for, and by which names. Imports no torch."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from animegan.errors import BadOption
from animegan.settings import SMALLEST_SIDE_PX, Color, DetailOption, Format, Frames, Mode, Settings, Tone

NAMES = (
    "style",
    "max_side",
    "max_pixels",
    "format",
    "quality",
    "detail",
    "strength",
    "color",
    "tone",
    "mode",
    "frames",
)
FAST: Literal["fast"] = "fast"  # as `quality`
BEST: Literal["best"] = "best"  # as `quality`
ORIGINAL: Literal["original"] = "original"  # as `max_side`
MOST_CHARACTERS = 100  # of an option: an answer quotes it
PICTURE_NAMES = ("image", "file", "data", "photo", "picture", "img", "body")  # each also in the plural, and with []
HEADER_PREFIX = "x-animegan-"
REQUEST_ID = "X-Animegan-Request-Id"  # TorchServe overwrites X-Request-Id
ATTEMPT = "X-Animegan-Attempt"  # of a gateway's job, by which it can be cancelled
IGNORED = "X-Animegan-Ignored"  # in an answer: the names of the fields that were left out

_OTHER_WORDS = {
    "style": ("model", "effect", "filter", "theme", "look"),
    "max_side": ("size", "side", "width", "height", "resolution", "dimension"),
    "format": ("output", "extension", "ext"),
    "quality": ("q",),
    "strength": ("intensity", "weight", "amount", "alpha"),
    "color": ("colors", "colour"),
    "tone": ("brightness", "lightness"),
}
_LIKENESS = 0.75  # of two names, by difflib: stlye and style have 0.8, submit and strength 0.43


@dataclass(frozen=True)
class Wish:
    """What is asked of a drawing beside its style.

    `detail`: how far the photo is shrunk before it is drawn; auto: by what the photo shows. `strength`: 0 is the fitted
    photo byte for byte, 1 the drawing. `color`: the style's own, or the photo's hue and chroma under the drawing's
    lightness. `tone`: the style's own; or where the photo's light and dark are lost to the network, they are given back
    to the drawing; auto: as suits the style's network. `mode`: whether faces are looked for and drawn again, each from
    a crop of its own; auto: those that are surely faces; portrait: those that may be, too; scene: none.
    """

    detail: DetailOption = "auto"
    strength: float = 1.0
    color: Color = "style"
    tone: Tone = "auto"
    mode: Mode = "auto"


@dataclass(frozen=True)
class Options:
    """One request's options, checked: `quality` from 1 to 100 (JPEG and WebP), the limits as `sizes.fit` takes them.

    `fast`: drawn by the small network, `best`: by the large one, which `quality=fast` and `quality=best` ask for;
    without either an animation is drawn by the small one, a picture by the large one. `frames`: all of an animation, or
    the first. `wish`: what else.
    """

    style: str
    max_side: int | None
    max_pixels: int | None
    format: Format
    quality: int
    fast: bool = False
    best: bool = False
    frames: Frames = "all"
    wish: Wish = Wish()

    @property
    def keeps_motion(self) -> bool:
        """Return whether an animation is drawn as one; a JPEG holds one picture."""
        return self.frames == "all" and self.format != "jpeg"


def is_picture_name(name: str) -> bool:
    """Return whether a field of that name is where callers put the picture."""
    plain = name.lower().partition("[")[0]
    return plain in PICTURE_NAMES or plain.removesuffix("s") in PICTURE_NAMES


def sift(fields: Iterable[tuple[str, str]]) -> tuple[dict[str, str], list[str]]:
    """Return the options among a request's fields, and the names of the others, which are left out.

    Forms send fields that are nobody's option, such as `csrf_token`. Raise `BadOption` for one without a name, or whose
    name may mean an option.
    """
    options: dict[str, str] = {}
    others = []
    for field, value in fields:
        name = field.lower().replace("-", "_")
        if len(field) > MOST_CHARACTERS:
            excerpt = field[:MOST_CHARACTERS]
            raise BadOption(f"The field {excerpt!r}… has a name of over {MOST_CHARACTERS} characters.", option=excerpt)
        if name in NAMES:
            options = merge(options, {name: value})
        elif suggestion := _meaning(field):
            raise BadOption(
                f"There is no option {field[:MOST_CHARACTERS]!r}. Is {suggestion!r} meant? "
                f"There are: {', '.join(NAMES)}.",
                option=field[:MOST_CHARACTERS],
            )
        elif not field.strip():
            raise BadOption("A field has no name. Name it, or leave it out.", option="")
        else:
            others.append(field)
    return options, others


def prefers_json(accept: str) -> bool:
    """Return whether an Accept header (RFC 9110, 12.5.1) takes JSON and no picture, not even as anything."""
    kinds = {entry.partition(";")[0].strip().lower() for entry in accept.split(",")}
    return "application/json" in kinds and not any(kind == "*/*" or kind.startswith("image/") for kind in kinds)


def option_headers() -> list[str]:
    """Return the names of the headers that are options."""
    return [f"X-Animegan-{name.replace('_', '-').title()}" for name in NAMES]


def options_in_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the options among a request's headers: X-Animegan-Style and so on, in upper or lower case.

    Raise `BadOption` for another header of that prefix, except the request's id and the attempt.
    """
    options: dict[str, str] = {}
    for header, value in headers:
        name = header.lower()
        if not name.startswith(HEADER_PREFIX) or name in (REQUEST_ID.lower(), ATTEMPT.lower()):
            continue
        option = name.removeprefix(HEADER_PREFIX).replace("-", "_")
        if option not in NAMES:
            excerpt = header[:MOST_CHARACTERS]
            raise BadOption(
                f"There is no option for the header {excerpt!r}. There are: {', '.join(option_headers())}.",
                option=excerpt,
            )
        options = merge(options, {option: value})
    return options


def merge(*sources: Mapping[str, str]) -> dict[str, str]:
    """Return the options of all sources. Raise `BadOption` where two of them contradict each other."""
    options: dict[str, str] = {}
    for source in sources:
        for name, value in source.items():
            if options.get(name, value).strip().lower() != value.strip().lower():
                raise contradiction(name, options[name], value)
            options[name] = value
    return options


def contradiction(name: str, one: str, other: str) -> BadOption:
    """Return the error of an option that is there twice, with two values."""
    return BadOption(f"The option {name!r} is there twice, as {one[:32]!r} and {other[:32]!r}. Send one.", option=name)


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
    word = raw.get("quality", "").strip().lower()
    max_side, max_pixels = _limits(raw, settings)
    return Options(
        style=raw.get("style", "").strip() or settings.style,
        max_side=max_side,
        max_pixels=max_pixels,
        format=cast(Format, _choice(raw, "format", settings.format, get_args(Format), {"jpg": "jpeg"})),
        quality=settings.quality
        if word in (FAST, BEST)
        else _integer(raw, "quality", settings.quality, 1, 100, f", {FAST} or {BEST}"),
        fast=word == FAST,
        best=word == BEST,
        frames=cast(Frames, _choice(raw, "frames", "all", get_args(Frames))),
        wish=Wish(
            detail=cast(DetailOption, _choice(raw, "detail", "auto", get_args(DetailOption))),
            strength=_share(raw, "strength", 1.0),
            color=cast(Color, _choice(raw, "color", "style", get_args(Color))),
            tone=cast(Tone, _choice(raw, "tone", "auto", get_args(Tone))),
            mode=cast(Mode, _choice(raw, "mode", "auto", get_args(Mode))),
        ),
    )


def _limits(raw: Mapping[str, str], settings: Settings) -> tuple[int | None, int | None]:
    """`max_side` and `max_pixels`: those that are there, or the settings' for both; `original` is no limit."""
    ceiling = settings.max_side_ceiling_px
    original = raw.get("max_side", "").strip().lower() == ORIGINAL
    has_side, has_pixels = (bool(raw.get(name, "").strip()) for name in ("max_side", "max_pixels"))
    if not has_side and not has_pixels:
        return settings.max_side_px, settings.max_side_px**2
    side = None if original else _integer(raw, "max_side", 0, SMALLEST_SIDE_PX, ceiling, f", or {ORIGINAL}")
    pixels = _integer(raw, "max_pixels", 0, SMALLEST_SIDE_PX**2, ceiling**2)
    return side or None, pixels or None


def check_options(max_side: int | str | None, max_pixels: int | None, wish: Wish) -> None:
    """Raise `BadOption` for one of a wrong type or out of its range."""
    for name, limit, least, or_word in (
        ("max_side", None if max_side == ORIGINAL else max_side, SMALLEST_SIDE_PX, f", or {ORIGINAL!r}"),
        ("max_pixels", max_pixels, SMALLEST_SIDE_PX**2, ""),
    ):
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < least):
            raise BadOption(f"{name}={limit!r}: use a whole number from {least}{or_word}.", option=name)
    if not isinstance(wish.strength, int | float) or not 0 <= wish.strength <= 1:
        raise BadOption(f"strength={wish.strength!r}: use a number from 0 to 1, as 0.75.", option="strength")
    for name, value, choices in (
        ("detail", wish.detail, get_args(DetailOption)),
        ("color", wish.color, get_args(Color)),
        ("tone", wish.tone, get_args(Tone)),
    ):
        if value not in choices:
            raise BadOption(f"{name}={value!r}: use one of {', '.join(choices)}.", option=name)


def _meaning(field: str) -> str | None:
    """Return the option that a name may mean: a misspelt one, another word for it, or with a word more."""
    words = re.findall("[a-z]+", field.lower())
    for option in NAMES:
        if not {option, *_OTHER_WORDS.get(option, ())}.isdisjoint(words):
            return option
    plain = "".join(words)
    spellings = {name.replace("_", ""): name for name in NAMES}
    near = difflib.get_close_matches(plain, spellings, n=1, cutoff=_LIKENESS)
    return spellings[near[0]] if near else None


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
