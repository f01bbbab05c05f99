"""The image's HEALTHCHECK, `python -m animegan_cli.serving.health`: it fails where the container can't draw pictures.

Status 0, or 1 with the reason. The check asks the gateway if it runs here or is to, else the agent, else TorchServe
itself, at the address that the process's own settings name, whatever set them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import psutil

from animegan.errors import AnimeganError, ServiceFailed
from animegan_agent.settings import Settings as AgentSettings
from animegan_cli.serving.addresses import from_here
from animegan_cli.serving.torchserve import MODEL, Address, address, read_properties
from animegan_gateway.settings import Settings as GatewaySettings

ANSWER_WITHIN_S = 5.0
SERVE, TORCHSERVE = "animegan_cli.serving.serve", "ts.model_server"
ROLES: Mapping[str, type[GatewaySettings | AgentSettings]] = {
    "animegan_gateway": GatewaySettings,
    "animegan_agent": AgentSettings,
}


def main() -> int:
    """Run the command; the container engine keeps what it prints."""
    try:
        print(check())
    except (AnimeganError, psutil.Error) as error:
        print(error)
        return 1
    return 0


def check() -> str:
    """Return what is ready. Raises `ServiceFailed`, or `psutil.Error` where a process ends meanwhile."""
    running = {module: process for process in psutil.process_iter() if (module := _module(process))}
    service = _service(running)
    if service not in running:
        raise ServiceFailed(f"{service} does not run yet.")
    process = running[service]
    if service == TORCHSERVE:
        words = process.cmdline()
        properties = read_properties(Path(words[words.index("--ts-config") + 1]))
        status, body = _get(address(properties, "management_address"), f"/models/{MODEL}")
        ready = status == HTTPStatus.OK and any(
            worker["status"] == "READY" for worker in json.loads(body)[0]["workers"]
        )
    else:
        os.environ.update(process.environ())
        settings = ROLES[service].load()
        status, body = _get(from_here(Address(settings.host, settings.port)), "/readyz")
        ready = status == HTTPStatus.OK
    if not ready:
        raise ServiceFailed(f"{service} is not ready: {status} {body}")
    return f"{service} is ready"


def _module(process: psutil.Process) -> str:
    """Return the Python module that the process runs, if it is one of ours."""
    try:
        words = process.cmdline()
    except psutil.Error:  # ended meanwhile
        return ""
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
    return module if module in (SERVE, TORCHSERVE, *ROLES) else ""


def _service(running: Mapping[str, psutil.Process]) -> str:
    """Return the module to ask. `serve` starts it last, so it may not run yet."""
    if SERVE not in running:
        return next(filter(running.__contains__, ROLES), SERVE)
    options = running[SERVE].cmdline()
    if "--no-gateway" not in options:
        return "animegan_gateway"
    return TORCHSERVE if "--no-agent" in options else "animegan_agent"


def _get(there: Address, path: str) -> tuple[int, str]:
    try:
        status, body = there.get(path, ANSWER_WITHIN_S)
    except OSError as error:
        raise ServiceFailed(f"{there}{path} does not answer: {error or type(error).__name__}.") from None
    return status, body.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
