"""The `animegan` command: options here, the work in a module each. Heavy imports wait until a command needs them."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from animegan import __version__
from animegan.errors import AnimeganError, BadOption
from animegan.looks import look_of
from animegan.styles import bundled_styles, get_style
from animegan.styles import styles as all_styles
from animegan_cli.checkout import ARCHIVE
from animegan_cli.commands import gateway, keys, recipes, workers
from animegan_cli.language import language
from animegan_cli.roles import become, require
from animegan_cli.screen import plain, screen

if TYPE_CHECKING:
    from animegan.styles import Style

app = typer.Typer(
    name="animegan",
    help="Photos to anime pictures with AnimeGANv2's generator.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(gateway.app, name="gateway", help="Run the gateway alone; check and repair its queue.")
app.add_typer(keys.app, name="keys", help="Make, list and revoke the gateway's API keys.")
app.add_typer(recipes.app, name="styles", help="List the styles; make, show and check one of your own.")
app.add_typer(workers.app, name="workers", help="List, scale and replace TorchServe's workers.")

StyleArgument = Annotated[str, typer.Argument(metavar="STYLE", help="A style's id; `animegan styles` lists them.")]


def main() -> None:
    """Run the command: status 0, 1 after an error of `animegan.errors`, 2 after one of usage, 130 after Ctrl-C."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a title in a locale that can't write it
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except AnimeganError as error:
        print(f"animegan: {plain(error.detail)}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains as it ends
        sys.exit(1)


def _say(line: str) -> None:
    print(line, flush=True)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"animegan {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


# The options of these are their module's own.
ROLE: dict[str, Any] = {
    "add_help_option": False,
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
}


@app.command(**ROLE)
def serve(context: typer.Context) -> None:
    """Serve: TorchServe, its agent and the gateway, watched until Ctrl-C."""
    require("serve")
    require("gateway")
    become("animegan_cli.serving.serve", context.args)


@app.command(**ROLE)
def agent(context: typer.Context) -> None:
    """Run the agent alone, beside a TorchServe."""
    require("gateway")
    become("animegan_agent", context.args)


@app.command()
def stylize(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IN...", help="Photos, and folders of photos; -: standard input.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="A file for one photo (its ending is the format), else a folder; -: standard output.",
        ),
    ],
    style: Annotated[str, typer.Option(help="A style's id; `animegan styles` lists them.")] = "",
    max_side: Annotated[
        str, typer.Option(metavar="PX|original", help="Limit on the longest side; a larger photo is fitted.")
    ] = "",
    max_pixels: Annotated[
        str, typer.Option(metavar="N", help="Limit on the pixels in place of it, which keeps long photos wide.")
    ] = "",
    format: Annotated[str, typer.Option(help="In a folder: jpeg, png, webp, or auto (JPEG, PNG with alpha).")] = "",
    quality: Annotated[
        str,
        typer.Option(
            metavar="1-100|fast|best", help="Of JPEG and WebP; fast, best: drawn by the small or the large network."
        ),
    ] = "",
    detail: Annotated[
        str, typer.Option(metavar="auto|bold|medium|fine", help="How far the photo is shrunk before it is drawn.")
    ] = "",
    strength: Annotated[str, typer.Option(metavar="0-1", help="0 is the photo, 1 the drawing.")] = "",
    color: Annotated[str, typer.Option(metavar="style|photo", help="The style's colours, or the photo's.")] = "",
    tone: Annotated[
        str, typer.Option(metavar="auto|style|photo", help="The style's light and dark, or the photo's.")
    ] = "",
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where it is drawn here.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Draw also what is done already.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on drawing what comes into the folders.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report, FILE.json, and a contact sheet, FILE.html.")
    ] = None,
    mode: Annotated[
        str, typer.Option(metavar="auto|portrait|scene", help="Whether faces are drawn again, from close up.")
    ] = "",
    frames: Annotated[
        str, typer.Option(metavar="all|first", help="Of an animation: all of its frames, or the first.")
    ] = "",
    server: Annotated[
        str, typer.Option(metavar="URL", help="Draw through this server, for example http://127.0.0.1:8000.")
    ] = "",
    key: Annotated[
        str, typer.Option(metavar="KEY", envvar="ANIMEGAN_KEY", help="The server's API key, where it wants one.")
    ] = "",
) -> None:
    """Draw photos as anime pictures. In a folder, what was drawn with the same options is skipped."""
    from animegan_cli.stylize.command import Failures, Request, run  # noqa: PLC0415

    options = {
        "style": style,
        "max_side": max_side,
        "max_pixels": max_pixels,
        "quality": quality,
        "detail": detail,
        "strength": strength,
        "color": color,
        "tone": tone,
        "mode": mode,
        "frames": frames,
    }
    try:
        run(Request(inputs, out, options, format, server, key, device, force, watch, report))
    except Failures as failures:
        for task, error in failures.errors:
            print(plain(f"{task.source}: {error.detail}"), file=sys.stderr)
        print(f"animegan: {failures}", file=sys.stderr)
        raise typer.Exit(1) from None


@app.command()
def archive(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write it, instead of the server's own place.")
    ] = None,
    if_stale: Annotated[
        bool, typer.Option("--if-stale", help="Only if it is missing or was made from other sources.")
    ] = False,
) -> None:
    """Build the archive that TorchServe serves: every bundled style traced, with the handler."""
    from animegan_cli.archive import archiver as work  # noqa: PLC0415
    from animegan_cli.commands import native  # noqa: PLC0415

    require("serve")
    native.build(_say)  # first, as the libraries travel in the archive
    target = out or ARCHIVE
    if if_stale and not work.is_stale(target):
        return
    work.build(target, lambda step: _say(f"{step} ..."))
    print(f"Built {target} ({target.stat().st_size / 2**20:.0f} MiB)", flush=True)


@app.command("compile")
def compile_operators() -> None:
    """Compile the CPU's fused operators, if a C++ compiler is there; without them drawing on the CPU is slower."""
    from animegan_cli.commands import native  # noqa: PLC0415

    native.build(_say)


@recipes.app.callback(invoke_without_command=True)
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


@app.command()
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
        install.fetch(style, progress=lambda done, total: bar.update(task, completed=done, total=total))
    print(f"Installed the style {style_id}.")


@app.command("import")
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


@app.command("export")
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


@app.command("profile")
def profile_picture(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", exists=True, dir_okay=False, help="A photo.")],
    style: Annotated[str, typer.Option(help="A style's id; `animegan styles` lists them.")] = "",
    max_side: Annotated[
        str, typer.Option(metavar="PX|original", help="Limit on the longest side; a larger photo is fitted.")
    ] = "",
    max_pixels: Annotated[
        str, typer.Option(metavar="N", help="Limit on the pixels in place of it, which keeps long photos wide.")
    ] = "",
    quality: Annotated[
        str, typer.Option(metavar="1-100|fast", help="Of JPEG and WebP; fast: drawn by the small network, softer.")
    ] = "",
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write PyTorch's trace too, for Perfetto or chrome://tracing.")
    ] = None,
    snapshot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the CUDA allocator's history too, for pytorch.org/memory_viz."),
    ] = None,
) -> None:
    """Show where the time and the memory of one picture go, by phase, on the server's own settings."""
    from animegan_cli.commands import profile as work  # noqa: PLC0415

    options = {"style": style, "max_side": max_side, "max_pixels": max_pixels, "quality": quality}
    result = work.profile(image, options, trace=trace, snapshot=snapshot)
    console = screen()
    console.print(work.summary(result))
    console.print(work.table(result))
    console.print(work.legend(result))
    console.print(work.own_time(result))


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
