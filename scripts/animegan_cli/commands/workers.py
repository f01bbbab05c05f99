"""`animegan workers`: TorchServe's workers, through the agent beside it."""

from __future__ import annotations

from typing import Annotated, Any

import requests
import typer
from rich.table import Table

from animegan.errors import AnimeganError, ServiceFailed
from animegan_agent.settings import Settings
from animegan_cli.screen import screen

app = typer.Typer(no_args_is_help=True)

MIB = 2**20
PATIENCE_S = 1800  # a replacement waits for pictures to end and for a worker to load, one worker after another

AgentOption = Annotated[
    str | None, typer.Option(metavar="URL", help="The agent's address; without it ANIMEGAN_AGENT_PORT on this machine.")
]


class Refusal(AnimeganError):
    """The agent's own problem details."""


@app.command("list")
def list_workers(agent: AgentOption = None) -> None:
    """List the workers, with what they are doing and the memory that they take."""
    _show(_ask("GET", "/v1/workers", agent))


@app.command()
def scale(
    workers: Annotated[int, typer.Argument(metavar="N", help="How many there are to be.")], agent: AgentOption = None
) -> None:
    """Have N workers until TorchServe starts anew; no picture that is being drawn is lost."""
    _show(_ask("POST", "/v1/workers/scale", agent, {"workers": workers}))


@app.command()
def recycle(agent: AgentOption = None) -> None:
    """Replace each worker by a new process, one after another, while pictures go on being drawn."""
    _show(_ask("POST", "/v1/workers/recycle", agent))


@app.command()
def drain(agent: AgentOption = None) -> None:
    """Have gateways send nothing more, and return when nothing is being drawn; `resume` takes it back."""
    _show(_ask("POST", "/v1/drain", agent))


@app.command()
def resume(agent: AgentOption = None) -> None:
    """Take pictures again after `drain`."""
    _show(_ask("POST", "/v1/resume", agent))


def _ask(method: str, path: str, agent: str | None, body: dict[str, int] | None = None) -> dict[str, Any]:
    """Return the agent's answer. Raises `Refusal`, or `ServiceFailed` where there is no agent."""
    url = (agent or f"http://127.0.0.1:{Settings.load().port}").rstrip("/")
    try:
        with requests.Session() as session:
            session.trust_env = False  # an agent beside this is not asked through a proxy
            answer = session.request(method, f"{url}{path}", json=body, timeout=(5, PATIENCE_S))
        content: dict[str, Any] = answer.json()
    except requests.RequestException as error:
        raise ServiceFailed(
            f"No agent answers at {url} ({type(error).__name__}). Is it running? Name another address with --agent."
        ) from None
    if not answer.ok:
        raise Refusal(str(content.get("detail", answer.status_code)))
    return content


def _show(status: dict[str, Any]) -> None:
    table = Table("Worker", "Process", "State", "Memory, MiB", "Age, s", "Requests")
    for worker in status["workers"]:
        memory = worker["memory_bytes"]
        table.add_row(
            worker["id"],
            str(worker["pid"]),
            worker["state"],
            "" if memory is None else f"{memory / MIB:.0f}",
            f"{worker['age_s']:.0f}",
            str(worker["requests"]),
        )
    screen().print(table)
    state = "drained" if status["draining"] else "paused" if status["paused"] else "open"
    waiting = 0 if status["pending"] is None else status["pending"]
    print(
        f"TorchServe: {status['torchserve']}, {state}; {waiting} requests wait in it; "
        f"{status['wanted']} workers wanted."
    )
