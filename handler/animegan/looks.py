"""Looks: recipes in TOML that name a network, its weights, how far a photo is shrunk, and the finish. Imports no torch.

network = "redraw"
weights = "redraw.safetensors"

[detail]
shrink = 0.25

[[finish]]
step = "grade"
chroma = 1.3
"""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from animegan.errors import BadLook, BadOption
from animegan.settings import DetailOption
from animegan.styles import Style, bundled_dir, recipe_file

Tint = Annotated[float, Field(ge=-0.1, le=0.1)]
Share = Annotated[float, Field(ge=0, le=1)]


def _ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(b < a for a, b in itertools.pairwise(values)):
        raise ValueError("each value must be at least the one before it")
    return values


Tones = Annotated[tuple[Share, ...], Field(min_length=3, max_length=33), AfterValidator(_ascending)]


class Table(BaseModel):
    """A table of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Bend(Table):
    """A grade's change of the hues near one of OKLab's: red 29, skin 55, yellow 110, green 142, sky 240, blue 264."""

    hue_deg: float = Field(ge=0, lt=360, description="Centre, in degrees of OKLab's hue.")
    width_deg: float = Field(20, ge=5, le=90, description="Standard deviation of the bell around it, in degrees.")
    turn_deg: float = Field(0, ge=-45, le=45, description="By how much the hue turns there, in degrees.")
    chroma: float = Field(0, ge=-1, le=1, description="What is added there to the grade's `chroma`.")
    light: float = Field(0, ge=-0.3, le=0.3, description="By which part the lightness grows there.")


class GradeStep(Table):
    """Tone, chroma, hues and tint, in OKLab."""

    step: Literal["grade"]
    tone: Tones = Field(
        (0.0, 0.5, 1.0),
        description="The tone curve: lightness from evenly spaced lightnesses 0 to 1, each at least the one before.",
    )
    night: Share = Field(0.0, description="Median lightness of a picture up to which the tone curve is left out.")
    day: float = Field(0.001, gt=0, le=1, description="Median lightness from which on it is applied in full.")
    chroma: float = Field(1, ge=0, le=3, description="Factor on the chroma.")
    chroma_limit: float = Field(
        0, ge=0, le=5, description="How much less of it strong colours get, per unit of chroma."
    )
    shadow_tint: tuple[Tint, Tint] = Field((0, 0), description="OKLab's (a, b) that the shadows take.")
    light_tint: tuple[Tint, Tint] = Field((0, 0), description="OKLab's (a, b) that the lights take; white stays white.")
    bend: tuple[Bend, ...] = Field((), max_length=12, description="Hues that turn, one table each.")

    @model_validator(mode="after")
    def _day_follows_night(self) -> Self:
        if self.day <= self.night:
            raise ValueError(f"day={self.day} must be above night={self.night}")
        return self


class LinesStep(Table):
    """Lines on the dark side of edges, darkened from the local colour."""

    step: Literal["lines"]
    width_px: float = Field(
        0.9, ge=0.5, le=4, description="Width: the narrower Gaussian's standard deviation, in px at a side of 1024."
    )
    amount: Share = Field(0.6, description="How much darker a full line is than its surroundings.")
    threshold: float = Field(0.01, ge=0, le=0.2, description="Step of luma, of 1, at which a line begins.")
    softness: float = Field(0.02, ge=0.002, le=0.3, description="Further step, of luma, at which it is full.")
    shadows: float = Field(
        0.4, ge=0.05, le=1, description="Step that black counts against, of that in white; 1: the same."
    )
    crowd: float = Field(
        0.15, ge=0.02, le=1, description="Share of a neighbourhood above which its lines are lighter; 1: never."
    )


class LevelsStep(Table):
    """A few soft tones without colour."""

    step: Literal["levels"]
    edges: Annotated[tuple[Share, ...], Field(min_length=1, max_length=7), AfterValidator(_ascending)] = Field(
        (0.16, 0.36, 0.6), description="Stretched tones at which one level ends and the next begins."
    )
    tones: Tones = Field((0.0, 0.4, 0.75, 1.0), description="Lightness (as sRGB) of the levels, one more than `edges`.")
    softness: float = Field(0.05, ge=0.005, le=0.5, description="Width of a transition, of the stretched tones.")
    blue: float = Field(
        1, ge=0, le=3, description="What is added to the lightness per unit of blueness, so that skies are light."
    )
    skin: float = Field(0.06, ge=0, le=0.4, description="What is added to the lightness of skin.")
    skin_deg: float = Field(55, ge=0, lt=360, description="OKLab's hue of skin, in degrees.")
    skin_width_deg: float = Field(18, ge=5, le=60, description="Standard deviation of the bell around it, in degrees.")
    darkest: Share = Field(0.25, description="Lightness above which nothing is stretched to black.")
    lightest: Share = Field(0.8, description="Lightness below which nothing is stretched to white.")
    most_black: Share = Field(0.3, description="Share of the picture that may be black.")
    least_black: Share = Field(0.5, description="How far the first edge may move down for it, of its value.")
    screen: Share = Field(0, description="How much of the middle tones is a screentone of dots; 0: flat greys.")
    pitch_px: float = Field(6, ge=3, le=40, description="Distance of its dots, in px at a side of 1024.")

    @model_validator(mode="after")
    def _dark_is_below_light(self) -> Self:
        if self.darkest >= self.lightest:
            raise ValueError(f"darkest={self.darkest} must be below lightest={self.lightest}")
        return self

    @model_validator(mode="after")
    def _one_tone_more(self) -> Self:
        if len(self.tones) != len(self.edges) + 1:
            raise ValueError(f"{len(self.edges)} edges need {len(self.edges) + 1} tones, not {len(self.tones)}")
        return self


class DabsStep(Table):
    """Dabs of paint along the edges."""

    step: Literal["dabs"]
    radius_px: float = Field(8, ge=1, le=40, description="Radius of a dab, in px at a side of 1024.")
    passes: int = Field(2, ge=1, le=4, description="How often the picture is painted over.")
    noise: float = Field(0.008, ge=0.001, le=0.1, description="Standard deviation of luma, of 1, that counts as flat.")


class PaperStep(Table):
    """The grain of paper."""

    step: Literal["paper"]
    amount: float = Field(0.012, ge=0, le=0.2, description="Standard deviation of the grain, of 1.")


Finish = GradeStep | LinesStep | LevelsStep | DabsStep | PaperStep


class Detail(Table):
    """The factor by which a photo is shrunk before it is drawn."""

    shrink: float = Field(
        0.25,
        ge=0.1,
        le=0.5,
        description="Factor on the photo's sides at `detail=bold`; `medium` is 1.5 times it, `fine` twice.",
    )


class Look(Table):
    """A recipe."""

    network: Literal["redraw", "animegan2"] = Field(description="The network that draws.")
    weights: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*\.safetensors$", description="Its weights: a file's name."
    )
    detail: Detail | None = Field(None, description="For `redraw`: how far the photo is shrunk.")
    finish: tuple[Annotated[Finish, Field(discriminator="step")], ...] = Field(
        (), max_length=16, description="The steps that follow the network, in order, one table each."
    )

    @model_validator(mode="after")
    def _detail_is_redraws(self) -> Self:
        if (self.detail is not None) != (self.network == "redraw"):
            raise ValueError("the table [detail] belongs to the network `redraw`, and to it alone")
        return self


def check_style(style: Style, look: Look, detail: DetailOption, *, fast: bool = False) -> None:
    """Raise `BadOption` for an option that the style, whose look this is, does not have."""
    if fast and not style.fast:
        raise BadOption(f"The style {style.id!r} has no fast network. Leave quality=fast out.", option="quality")
    if detail != "auto" and look.detail is None:
        raise BadOption(
            f"detail={detail!r}: the style {style.id!r} draws a photo at its own size. Use detail=auto.",
            option="detail",
        )


def look_of(style: Style) -> Look:
    """Return the look of a style: its recipe, or AnimeGANv2's generator as it draws. Raises `BadLook`."""
    file = recipe_file(style)
    if file is None:
        return Look(network="animegan2", weights=style.weights or f"{style.id}.safetensors")
    look = read(file)
    if style.resize and look.network != "animegan2":
        raise BadLook(
            f"The entry of {style.id!r} has resize={style.resize!r}, and {file} the network {look.network!r}, which "
            "has no such choice. Leave resize out of the entry."
        )
    if look.weights != style.weights:
        raise BadLook(f"{file} names the weights {look.weights}, and the style's entry {style.weights}. Correct one.")
    return look


def bundled_looks() -> dict[str, Path]:
    """Return the recipes that come with the product, by name."""
    return {file.stem: file for file in sorted((bundled_dir() / "looks").glob("*.toml"))}


def read(file: Path) -> Look:
    """Return the recipe in that file. Raises `BadLook`."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadLook(f"{file} can't be read: {error}. Give a recipe's file.") from None
    return parse(text, str(file))


def parse(text: str, name: str) -> Look:
    """Return the recipe in that text. Raises `BadLook`, which names the file, the line, the value and its range."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadLook(f"{name} is not TOML: {error}. Correct it there.") from None
    try:
        return Look.model_validate(tables)
    except ValidationError as error:
        first = error.errors()[0]
        path = [part for part in first["loc"] if part not in STEPS]
        if first["type"].startswith("union_tag"):
            path.append("step")
        line = line_of(text, path)
        value = "" if first["type"] == "missing" or isinstance(first["input"], dict) else f" = {first['input']!r}"
        message = first["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        if first["type"] == "extra_forbidden":
            message = "there is no such number; see the reference of recipes"
        raise BadLook(
            f"{name}, line {line}: {where or 'the recipe'}{value}: {message}. Correct that line.", line=line
        ) from None


STEPS = ("grade", "lines", "levels", "dabs", "paper")


def line_of(text: str, path: list[int | str]) -> int:
    """Return the line, from 1, of the value at that path of tables and keys; of its table where the key is missing."""
    names: list[int | str] = []
    counts: dict[str, int] = {}
    best, depth = 1, 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)\s*([\w.]+)\s*\]", line):
            names, opening = [], ""
            for part in header[2].split("."):
                opening = f"{opening}.{part}".lstrip(".")
                names.append(part)
                if opening == header[2] and header[1] == "[[":
                    counts[opening] = counts.get(opening, -1) + 1
                    for below in [key for key in counts if key.startswith(f"{opening}.")]:
                        del counts[below]
                if opening in counts:
                    names.append(counts[opening])
            here = names
        elif key := re.match(r"\s*([\w-]+)\s*=", line):
            here = [*names, key[1]]
        else:
            continue
        if len(here) > depth and path[: len(here)] == here:
            best, depth = number, len(here)
    return best
