"""The style registry: which styles exist, whose they are, where their weights lie. Imports no torch.

The bundled registry is `model_store/styles.json`. A style that the user installed (`animegan fetch`, `animegan
import`) is a pair of files in `home()/styles`: `ID.safetensors` and `ID.json`, which has the shape of
one bundled entry.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from animegan.errors import BadWeights, StyleNotInstalled, UnknownStyle

logger = logging.getLogger(__name__)

DEFAULT_STYLE = "cel"
_RESTORE = "Install the style again, or restore the checkout's model_store."

StyleId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Title(BaseModel):
    """A style's name for people, in English and Chinese."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    en: str
    zh: str


class Checkpoint(BaseModel):
    """A published PyTorch checkpoint; its git blob id (SHA-1 over `blob <size>\\0` and the bytes) checks a download."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str
    git_blob_id: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


# How AnimeGANv2's generator samples where it scales up, in ONNX's words: corners on corners, as in the public PyTorch
# port, or source = target × size in / size out, as TensorFlow 1 resizes.
Resize = Literal["align_corners", "asymmetric"]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Weights(BaseModel):
    """A file of weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    file: str
    sha256: Sha256


class Style(BaseModel):
    """One entry of the registry.

    `weights` is a file beside the entry, or a bundled one that a recipe names; None: listed, but to be installed by the
    user. `recipe` is the look's file, see `looks`; None: AnimeGANv2's generator as it draws. `fast` are the weights of
    `quality=fast`. `resize`: how AnimeGANv2's generator scales up; None: as the PyTorch port does, or another network.
    `about`: describes a style that has no sample picture, because its licence forbids one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: StyleId
    title: Title
    about: Title | None = None
    weights: str | None = None
    sha256: Sha256 | None = None
    recipe: str | None = None
    fast: Weights | None = None
    source: str
    license: str  # an SPDX expression
    license_url: str
    noncommercial: bool
    suits: tuple[Literal["landscape", "portrait"], ...]
    training_size_px: Annotated[int, Field(ge=16)] | None = None
    resize: Resize | None = None
    checkpoint: Checkpoint | None = None


def bundled_dir() -> Path:
    """Return the folder of the bundled registry: beside this module in a wheel or archive, else the checkout's."""
    here = Path(__file__).resolve()
    packed = here.parent / "model_store"
    return packed if packed.is_dir() else here.parents[2] / "model_store"


def home() -> Path:
    """Return the folder of the user's data: `ANIMEGAN_HOME`, else the platform's data directory."""
    override = os.environ.get("ANIMEGAN_HOME")
    return Path(override).expanduser() if override else platformdirs.user_data_path("animegan")


def installed_dir() -> Path:
    """Return the folder of the installed styles; it need not exist."""
    return home() / "styles"


def bundled_styles() -> dict[str, Style]:
    """Return the bundled registry in its own order, by id; styles without weights are listed too."""
    entries = TypeAdapter(list[Style]).validate_json((bundled_dir() / "styles.json").read_bytes())
    return {entry.id: entry for entry in entries}


def installed_styles() -> dict[str, Style]:
    """Return the styles that the user installed, by id. An entry that can't be read is logged and left out."""
    styles = {}
    for file in sorted(installed_dir().glob("*.json")):
        try:
            style = Style.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            logger.warning("%s is not a style's entry, and left out: %s. Install the style again.", file, error)
            continue
        own_weights = style.weights == f"{style.id}.safetensors"
        own_recipe = style.recipe == f"{style.id}.toml"
        if style.id != file.stem or not (own_weights or own_recipe):
            logger.warning("%s names the style %r, and is left out. Install the style again.", file, style.id)
            continue
        styles[style.id] = style
    return styles


def styles() -> dict[str, Style]:
    """Return all styles by id. An installed style replaces the registry's entry only where that has no weights."""
    registry, installed = bundled_styles(), installed_styles()
    return registry | {id: style for id, style in installed.items() if id not in registry or not registry[id].weights}


def get_style(id: str) -> Style:
    """Return the style of that id. Raises `UnknownStyle`, which names those there are."""
    choices = styles()
    if id not in choices:
        raise UnknownStyle(f"There is no style {id!r}. Use one of: {', '.join(choices)}.", style=id)
    return choices[id]


def weights_file(style: Style) -> Path:
    """Return the style's weights. Raises `StyleNotInstalled` with the command that installs them."""
    if style.weights:
        return _folder(style, style.weights) / style.weights
    way = install_command(style)
    raise StyleNotInstalled(f"The style {style.id!r} is not installed here. Install it with: {way}", style=style.id)


def install_command(style: Style) -> str:
    """Return the command that installs the style's weights; of a file to be imported its name is still to be put in."""
    return f"animegan fetch {style.id}" if style.checkpoint else f"animegan import FILE --style {style.id}"


def recipe_file(style: Style) -> Path | None:
    """Return the recipe of the style's look; None: it has none."""
    if style.recipe is None:
        return None
    return bundled_dir() / "looks" / style.recipe if is_bundled(style) else installed_dir() / style.recipe


def is_bundled(style: Style) -> bool:
    """Return whether the style comes with the product, and not from the user."""
    entry = bundled_styles().get(style.id)
    return bool(entry and entry.weights)


def _folder(style: Style, name: str) -> Path:
    """Return the folder of a style's weights: an installed look may draw with bundled ones."""
    if is_bundled(style):
        return bundled_dir()
    return installed_dir() if (installed_dir() / name).is_file() or style.recipe is None else bundled_dir()


def verify(style: Style, *, fast: bool = False) -> Path:
    """Return the style's weights, or those of `quality=fast`, their SHA-256 checked.

    Raises `BadWeights` or `StyleNotInstalled`.
    """
    file, expected = weights_file(style), style.sha256
    if fast and style.fast:
        file, expected = _folder(style, style.fast.file) / style.fast.file, style.fast.sha256
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise BadWeights(f"The weights of {style.id!r} can't be read: {error}. {_RESTORE}") from None
    if digest != expected:
        raise BadWeights(f"{file} has SHA-256 {digest}, not {expected}. {_RESTORE}", style=style.id)
    return file
