"""The `animegan` command: options here, the work in a module each. Heavy imports wait until a command needs them."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from animegan import __version__
from animegan.errors import AnimeganError
from animegan_cli.checkout import ARCHIVE
from animegan_cli.commands import gateway, keys, recipes, styles, workers
from animegan_cli.roles import become, require
from animegan_cli.screen import plain, screen
from animegan_cli.stylize.places import place

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


def _version(flag: bool) -> None:
    if flag:
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
        list[Path],
        typer.Argument(metavar="IN...", help="Photos, and folders of photos; -: standard input.", parser=place),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="A file for one photo (its ending is the format), else a folder; -: standard output.",
            parser=place,
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
    ray: Annotated[
        str, typer.Option(metavar="ADDRESS|auto", help="Draw on this Ray cluster; auto: the one on this machine.")
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
        run(Request(inputs, out, options, format, server, key, device, force, watch, ray, report))
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


recipes.app.callback(invoke_without_command=True)(styles.list_styles)
app.command()(styles.fetch)
app.command("import")(styles.import_style)
app.command("export")(styles.export_style)


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
