"""`animegan gateway`: the gateway alone; a look at its queue, and its repair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from animegan_cli.roles import become, require

if TYPE_CHECKING:
    from animegan_gateway.queue.repair import Patient

app = typer.Typer()


@app.callback(invoke_without_command=True)
def run(context: typer.Context) -> None:
    """Run the gateway alone, before a TorchServe elsewhere."""
    require("gateway")
    if context.invoked_subcommand is None:
        become("animegan_gateway", [])


@app.command()
def check() -> None:
    """Look over the queue and the pictures of a gateway that is stopped, and change nothing; status 1: not sound."""
    patient = _patient()
    health = patient.check()
    print(f"{patient.file}: {health.damage or 'sound'}; {health.jobs} jobs can be read, {health.waiting} of them wait.")
    if not health.ours:
        print(f"{patient.pictures}: not marked as the pictures of this queue.")
    if health.orphans:
        print(f"{len(health.orphans)} pictures have no job:")
        print("\n".join(f"  {file}" for file in health.orphans))
    if not health.sound:
        print("`animegan gateway repair` keeps what can be read, and sets pictures without a job aside.")
        raise typer.Exit(1)


@app.command()
def repair() -> None:
    """Keep what can be read of a damaged queue, and set pictures without a job aside; its gateway has to be stopped."""
    patient = _patient()
    outcome = patient.repair()
    print(f"{patient.file}: {outcome.jobs} jobs.")
    if outcome.damaged:
        print(f"The damaged database is kept as {outcome.damaged}; delete it once nothing is missed.")
    if outcome.pictures:
        print(f"{len(outcome.pictures)} pictures without a job are in {patient.unclaimed}, under their jobs' ids:")
        print("\n".join(f"  {file.name}" for file in outcome.pictures))


def _patient() -> Patient:
    from animegan_gateway.queue.repair import Patient  # noqa: PLC0415
    from animegan_gateway.settings import Settings  # noqa: PLC0415

    return Patient(Settings.load())
