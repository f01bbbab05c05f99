"""`animegan keys`: who may use the gateway."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from animegan_cli.screen import screen
from animegan_gateway.http.access.keys import Keys
from animegan_gateway.settings import Settings

app = typer.Typer(no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is; in lists, never sent anywhere.")]


def _keys() -> Keys:
    return Keys(Settings.load().keys_directory)


@app.command()
def add(
    name: NameArgument,
    rate: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Jobs a minute, instead of the gateway's setting; 0: any.")
    ] = None,
    share: Annotated[
        int | None,
        typer.Option(metavar="PERCENT", min=1, max=100, help="Part of the queue, instead of the gateway's setting."),
    ] = None,
) -> None:
    """Make an API key and show it, this once; it works at once."""
    print(_keys().add(name, rate, share))


@app.command("list")
def list_keys() -> None:
    """List the keys, without their secrets."""
    table = Table("Name", "Id", "Made", "Jobs a minute", "Part of the queue")
    for key in _keys().list_keys():
        rate = "" if key.rate_per_minute is None else str(key.rate_per_minute)
        share = "" if key.share_percent is None else f"{key.share_percent} %"
        table.add_row(key.name, key.id, f"{key.created:%Y-%m-%d}", rate, share)
    screen().print(table)


@app.command()
def revoke(name: Annotated[str, typer.Argument(metavar="NAME", help="The key's name or id.")]) -> None:
    """End a key and the sessions opened with it, at once in every gateway."""
    key = _keys().revoke(name)
    print(f"Revoked {key.name} ({key.id}).")
