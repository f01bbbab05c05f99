"""`animegan styles`, `fetch`, `import` and `export`: the styles there are, installed, and written for elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from animegan.errors import BadOption
from animegan.looks import look_of
from animegan.styles import Style, bundled_styles, get_style
from animegan.styles import styles as all_styles
from animegan_cli.language import language
from animegan_cli.screen import screen

StyleArgument = Annotated[str, typer.Argument(metavar="STYLE", help="A style's id; `animegan styles` lists them.")]


def list_styles(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, for programs.")] = False,
) -> None:
    """List the styles: whose terms they are under, and which are installed. Or make, show and check one of your own."""
    if context.invoked_subcommand:
        return
    from animegan_cli.weights.install import state  # noqa: PLC0415

    states = {style: state(style) for style in all_styles().values()}
    if as_json:
        entries = [style.model_dump(mode="json") | {"state": where} for style, where in states.items()]
        print(json.dumps(entries, indent=2))
        return
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, caption="NC: for non-commercial use only", caption_justify="left")
    for heading in ("ID", "TITLE", "SUITS", "LICENCE", "NC", "STATE"):
        table.add_column(heading, no_wrap=heading in ("ID", "NC", "STATE"), overflow="fold")
    for style, where in states.items():
        noncommercial = "NC" if style.noncommercial else ""
        table.add_row(style.id, _title(style), ", ".join(style.suits), style.license, noncommercial, where)
    screen().print(table)


def fetch(
    style_id: StyleArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept the licence without being asked.")] = False,
) -> None:
    """Download a published style, after its licence was shown."""
    from animegan_cli.weights import install  # noqa: PLC0415

    style = bundled_styles().get(style_id) or get_style(style_id)
    if install.state(style) == "bundled":
        print(f"{style_id} is bundled: there is nothing to fetch.")
        return
    if install.is_intact(style_id):
        print(f"{style_id} is installed already.")
        return
    install.published(style)
    _show_licence(style)
    if not yes:
        _ask("Download it under these terms?")
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(style_id, total=None)
        install.fetch(style, progress=lambda size, total: bar.update(task, completed=size, total=total))
    print(f"Installed the style {style_id}.")


def import_style(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", exists=True, dir_okay=False, help="PyTorch checkpoint, safetensors, ONNX or TFLite file."
        ),
    ],
    style_id: Annotated[str, typer.Option("--style", metavar="ID", help="The id to install it under.")],
    license: Annotated[
        str | None,
        typer.Option(
            "--license", "--licence", metavar="TEXT", help="SPDX id or words; needed for a style of your own."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Its title in English.")] = None,
    title_zh: Annotated[str | None, typer.Option(metavar="TEXT", help="Its title in Chinese.")] = None,
    source: Annotated[str | None, typer.Option(metavar="TEXT", help="Where the weights come from.")] = None,
    noncommercial: Annotated[
        bool | None,
        typer.Option(
            "--noncommercial/--commercial",
            help="What the licence allows; a style of your own counts as non-commercial unless you say otherwise.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Install a style from a weights file in hand; for the listed ids, the registry knows title and licence."""
    from animegan_cli.weights import install  # noqa: PLC0415

    style = install.import_file(
        file,
        style_id,
        license=license,
        title=title,
        title_zh=title_zh,
        source=source,
        noncommercial=noncommercial,
    )
    _show_licence(style)
    print(f"Installed the style {style.id}.")


def export_style(
    onnx: Annotated[
        Path, typer.Option("--onnx", metavar="FILE", help="The ONNX file to write; one that is there is replaced.")
    ],
    style_id: Annotated[
        str, typer.Option("--style", metavar="ID", help="A style's id; `animegan styles` lists them.")
    ] = "classic",
    fast: Annotated[
        bool, typer.Option("--fast", help="Write the small network that draws at quality=fast, softer.")
    ] = False,
) -> None:
    """Write a style's network as an ONNX file, to run it elsewhere; compared with PyTorch if onnxruntime is there.

    What the look does before and after its network is not in the file.
    """
    style = get_style(style_id)
    from animegan_cli.weights.export import export, left_out  # noqa: PLC0415

    difference = export(onnx, style, fast=fast)
    _show_licence(style)
    print(f"Wrote {onnx} ({onnx.stat().st_size / 2**20:.0f} MiB)", flush=True)
    if rest := left_out(look_of(style)):
        print(f"Not in the file: {rest}.", flush=True)
    if difference is None:
        print("Checked by onnx.checker only. Install onnxruntime to have it compared with PyTorch.", flush=True)
    else:
        print(f"Checked in ONNX Runtime: at most {difference:.1g} from PyTorch.", flush=True)


def _title(style: Style) -> str:
    return style.title.zh if language() == "zh" else style.title.en


def _show_licence(style: Style) -> None:
    use = "non-commercial use only" if style.noncommercial else "commercial use allowed"
    lines = [f"{_title(style)} ({style.id})", f"  from     {style.source}", f"  licence  {style.license}, {use}"]
    print("\n".join(lines + [f"           {style.license_url}"] * bool(style.license_url)), flush=True)


def _ask(question: str) -> None:
    """Go on after a yes. Raises `BadOption` where nobody can be asked."""
    if not sys.stdin.isatty():
        raise BadOption("The licence wants a yes, and there is no terminal to ask at. Read it, then add --yes.")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        print("Nothing was downloaded.")
        raise typer.Exit(1)
