"""`animegan styles new|show|check`: a look of one's own, and what a recipe says."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from rich.table import Table

from animegan import looks
from animegan.errors import AnimeganError, BadImage, BadLook, BadOption
from animegan.settings import MAX_SIDE_PX
from animegan.styles import Style, Title, bundled_dir, bundled_styles, get_style, installed_dir, recipe_file
from animegan_cli.replacing import replacing
from animegan_cli.screen import screen

if TYPE_CHECKING:
    from torch import Tensor

FEWEST = 3  # pictures: of fewer, one odd one decides
MEASURED_PX = 512  # longest side at which a picture's colours are measured
ENDINGS = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

app = typer.Typer()


@app.command(no_args_is_help=True)
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The style's id: a-z, 0-9 and _, a letter first.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="PICTURE...", hidden=True)] = None,
    source: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="PICTURE...", help="Pictures, and folders of pictures, whose colours it takes."),
    ] = None,
    title: Annotated[str, typer.Option(metavar="TEXT", help="Its name for people; its id unless said.")] = "",
    photo: Annotated[
        list[Path] | None, typer.Option("--photo", metavar="PHOTO", help="A photo for the sheet; may be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a look of that name, and what was changed in it.")] = (
        False
    ),
) -> None:
    """Make a style that draws with the tones and colours of your pictures; ten are enough."""
    recipe, count = create(name, [*(source or []), *(more or [])], title=title, force=force)
    print(f"Fitted to {count} pictures: {recipe}")
    print(f"Every number in it may be changed; then run: animegan styles check {recipe}")
    if photo:
        print(f"Sheet: {sheet(name, photo, recipe.with_suffix('.jpg'))}")
    else:
        print(f"See it with: animegan stylize PHOTO --style {name} -o OUT")


@app.command(no_args_is_help=True)
def show(
    name: Annotated[str, typer.Argument(metavar="STYLE", help="A style's id, or a recipe's file.")],
) -> None:
    """Show a style's recipe: every number, its range, and what it does."""
    file = _file(name)
    print(file)
    table = Table("Number", "Value", "Range", "What it is", box=None, pad_edge=False)
    for row in rows(looks.read(file)):
        table.add_row(*row)
    screen().print(table)


@app.command(no_args_is_help=True)
def check(
    files: Annotated[list[str], typer.Argument(metavar="STYLE...", help="Styles' ids, and recipes' files.")],
) -> None:
    """Check recipes; of a wrong one the line, the value and its range are shown, and the status is 1."""
    wrong = []
    for name in files:
        try:
            file = _file(name)
            look = looks.read(file)
            if not (installed_dir() / look.weights).is_file() and not (bundled_dir() / look.weights).is_file():
                raise BadLook(
                    f"{file}, line {looks.line_of(file.read_text('utf-8'), ['weights'])}: weights = {look.weights!r}: "
                    f"there is no such file in {installed_dir()}, nor is it bundled. Name redraw.safetensors."
                )
        except AnimeganError as error:
            wrong.append(error.detail)
        else:
            print(f"{file}: right ({', '.join(step.step for step in look.finish) or 'no finish'})")
    if wrong:
        raise BadLook(" ".join(wrong))


def create(name: str, sources: Sequence[Path], *, title: str = "", force: bool = False) -> tuple[Path, int]:
    """Fit a look to pictures and install it as a style. Returns its recipe's file and the number of pictures.

    Raises `BadOption` for an id that can't be used or is in use and for too few pictures, `BadImage`, `BadSetting`.
    """
    registry = bundled_styles()
    if name in registry:
        raise BadOption(f"The style {name!r} is the product's. Choose another name.", style=name)
    recipe, entry = installed_dir() / f"{name}.toml", installed_dir() / f"{name}.json"
    weights = bundled_dir() / "redraw.safetensors"
    try:
        style = Style(
            id=name,
            title=Title(en=title or name, zh=title or name),
            recipe=recipe.name,
            weights=weights.name,
            sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
            source="fitted to its user's pictures; the network is Real-ESRGAN's, https://github.com/xinntao/Real-ESRGAN",
            license="BSD-3-Clause",
            license_url="https://github.com/xinntao/Real-ESRGAN/blob/master/LICENSE",
            noncommercial=False,
            suits=(),
        )
    except ValidationError:
        raise BadOption(f"{name!r} can't be an id: use 1 to 64 of a-z, 0-9 and _, a letter first.") from None
    if not force and (recipe.exists() or entry.exists()):
        raise BadOption(
            f"There is a style {name!r} already: {recipe}. Choose another name, or replace it with --force."
        )
    files = list(pictures(sources))
    if len(files) < FEWEST:
        raise BadOption(
            f"{len(files)} pictures were given; a look is fitted to {FEWEST} or more, best to ten. Name more."
        )
    from animegan.finish.fit import fit  # noqa: PLC0415 - torch is not needed before

    text = fit([_pixels(file) for file in files])
    with replacing(recipe) as part:
        part.write_text(text, "utf-8")
    with replacing(entry) as part:
        part.write_text(style.model_dump_json(indent=2, exclude_none=True) + "\n", "utf-8")
    return recipe, len(files)


def sheet(name: str, photos: Sequence[Path], out: Path) -> Path:
    """Draw photos in that style and in `cel` side by side, as a JPEG. Returns its file."""
    from PIL import Image  # noqa: PLC0415

    from animegan.picture import images  # noqa: PLC0415
    from animegan_cli.commands import contact_sheet  # noqa: PLC0415 - torch is not needed before

    with ExitStack() as stack:
        try:
            inputs = [stack.enter_context(Image.open(file)) for file in photos]
        except OSError as error:
            raise BadImage(f"A photo can't be read: {error}. Name a picture file.") from None
        sheet = contact_sheet.draw(inputs, ["cel", name], max_side=MAX_SIDE_PX, width=contact_sheet.CELL_PX)
    with replacing(out) as part:
        part.write_bytes(images.encode(sheet, None, format="jpeg", quality=contact_sheet.QUALITY).data)
    return out


def pictures(sources: Sequence[Path]) -> Iterator[Path]:
    """Yield each file, and those in each folder. Raises `BadOption` for what is not there."""
    for path in sources:
        if path.is_dir():
            yield from sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS)
        elif path.is_file():
            yield path
        else:
            raise BadOption(f"{path} is not there. Name pictures, or folders of pictures, with --from.")


def rows(look: looks.Look) -> Iterator[tuple[str, str, str, str]]:
    """Yield a recipe's numbers: name, value, range, and what it is; a table's own row first."""
    yield from _rows(look, "")


def _rows(table: BaseModel, path: str) -> Iterator[tuple[str, str, str, str]]:
    below: list[tuple[BaseModel, str]] = []
    for name, field in type(table).model_fields.items():
        value = getattr(table, name)
        if isinstance(value, BaseModel):
            below.append((value, f"{path}{name}."))
        elif name in ("finish", "bend"):
            below += [(item, f"{path}{name}[{index}].") for index, item in enumerate(value)]
        elif value is not None:
            text = ", ".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)
            yield f"{path}{name}", text, _range(field), field.description or ""
    for item, inner in below:
        yield from _rows(item, inner)


def _range(field: FieldInfo) -> str:
    """Return the numbers that a field takes, as "0 to 1"."""
    limits = dict(re.findall(r"\b(ge|gt|le|lt)=(-?[\d.]+)", repr(field)))
    low, high = limits.get("ge") or limits.get("gt"), limits.get("le") or limits.get("lt")
    return f"{low} to {high}" if low and high else f"{low} or more" if low else ""


def _file(name: str) -> Path:
    """Return the recipe of a style, or the file of that name. Raises `BadOption` for a style without one."""
    if name.endswith(".toml") or "/" in name:
        return Path(name)
    file = looks.bundled_looks().get(name) or recipe_file(get_style(name))
    if file is None:
        raise BadOption(f"The style {name!r} has no recipe: it is drawn as its network draws it.", style=name)
    return file


def _pixels(file: Path) -> Tensor:
    """Return the pixels of a picture, uint8 (H, W, 3), at most 512 px a side."""
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    from animegan.picture import images  # noqa: PLC0415

    try:
        with Image.open(file) as image:
            return torch.from_numpy(np.array(images.prepare(image, max_side=MEASURED_PX).rgb))
    except OSError as error:
        raise BadImage(f"{file} can't be read as a picture: {error}. Leave it out, or save it as PNG.") from None
