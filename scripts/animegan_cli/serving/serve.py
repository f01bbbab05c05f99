"""`scripts/serve`: TorchServe with the archive, its agent, the gateway before it, watched until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from animegan.errors import AnimeganError, BadSetting, InternalError, ServiceFailed
from animegan_agent import settings as agent_settings
from animegan_agent.settings import Settings as AgentSettings
from animegan_cli.checkout import ARCHIVE, CONFIG, IN_CHECKOUT, ROOT
from animegan_cli.serving import addresses, guard, java, processes
from animegan_cli.serving.addresses import Place
from animegan_cli.serving.module import Module
from animegan_cli.serving.signals import Signals, StopRequest
from animegan_cli.serving.supervisor import Service, Supervisor
from animegan_cli.serving.torchserve import Address, TorchServeProcess, read_properties
from animegan_gateway import settings as gateway_settings
from animegan_gateway.settings import Settings as GatewaySettings
from animegan_service.protocol import CANCEL_FOLDER

SAMPLE = ROOT / "docs" / "photos" / "mountain_path.jpg"
TIDY_WITHIN_S = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 if it served until a request to stop."""
    options = _parse(arguments)
    serving = False
    with Signals() as signals:
        try:
            with own_instance() as instance:
                services = _prepare(options, instance, signals)
                supervisor = Supervisor(services.all, signals, say)
                try:
                    supervisor.start()
                    serving = True
                    _greet(services)
                    supervisor.watch()
                finally:
                    supervisor.end()
        except StopRequest as request:
            say("Stopped")
            return 0 if serving else 128 + request.number
        except AnimeganError as error:
            say(f"serve: {error}", sys.stderr)
            return 1
    return 0


@dataclass(frozen=True)
class Instance:
    """A run's folder under the temporary directory, and the mark of its processes."""

    folder: Path
    mark: str


@dataclass(frozen=True)
class Services:
    """The parts to start, in this order."""

    torchserve: TorchServeProcess
    agent: Module | None
    gateway: Module | None

    @property
    def all(self) -> list[Service]:
        return [service for service in (self.torchserve, self.agent, self.gateway) if service]


@contextmanager
def own_instance() -> Iterator[Instance]:
    """Yield a new instance; at the end its processes and its folder go, but after a `ServiceFailed` its logs stay.

    A guard does the same if this process is killed.
    """
    instance = Instance(Path(tempfile.mkdtemp(prefix="animegan-", dir=_short_folder())), uuid.uuid4().hex)
    watch = subprocess.Popen(
        [sys.executable, "-m", "animegan_cli.serving.guard", instance.mark, str(instance.folder)],
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    keep_logs = False
    try:
        yield instance
    except ServiceFailed:
        keep_logs = True
        raise
    finally:
        processes.end(instance.mark, grace_s=0)
        shutil.rmtree(instance.folder / "tmp" if keep_logs else instance.folder, ignore_errors=True)
        watch.communicate(guard.CLEAN_END)


def _short_folder() -> str:
    """Return the temporary directory, or /tmp: a socket's path must fit into 108 bytes, and log4j's is a URL."""
    folder = tempfile.gettempdir()
    return folder if re.fullmatch(r"[\w./-]{1,60}", folder, re.ASCII) else "/tmp"  # noqa: S108 - mkdtemp makes its own


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="serve",
        description="Serve photo in, anime picture out, until Ctrl-C. Sets up what is missing on the first run.",
        epilog="A port comes from its option, else from ANIMEGAN_GATEWAY_PORT, ANIMEGAN_AGENT_PORT, "
        "ANIMEGAN_INFERENCE_PORT (or _MANAGEMENT_, _METRICS_), else from gateway.toml, agent.toml or "
        "config.properties. 0 takes a free one.",
    )
    parser.add_argument("--port", help="port of the page and the jobs API")
    for name in addresses.PORTS:
        parser.add_argument(f"--{name}-port", metavar="PORT", help=f"port of TorchServe's {name} API")
    parser.add_argument("--agent-port", metavar="PORT", help="port of the agent, which watches TorchServe's workers")
    parser.add_argument("--no-gateway", action="store_true", help="TorchServe and its agent alone")
    parser.add_argument("--no-agent", action="store_true", help="with --no-gateway: TorchServe alone")
    parser.add_argument(
        "--config",
        type=Path,
        default=CONFIG,
        metavar="FOLDER",
        help="folder of config.properties and its companions (default: the product's own)",
    )
    options = parser.parse_args(arguments)
    if options.no_agent and not options.no_gateway:
        parser.error("--no-agent goes with --no-gateway only: the gateway asks the agent")
    return options


def _prepare(options: argparse.Namespace, instance: Instance, signals: Signals) -> Services:
    """Prepare the start: settings, ports, Java, the archive. Raises `AnimeganError`, `StopRequest`."""
    config = options.config.resolve()
    for name, rows in (("agent", AgentSettings), ("gateway", GatewaySettings)):
        if (config / f"{name}.toml").is_file():
            os.environ.setdefault(rows.variable("config"), str(config / f"{name}.toml"))
    agent = None if options.no_agent else agent_settings.load()
    gateway = None if options.no_gateway else gateway_settings.load()
    properties = read_properties(config / "config.properties")
    places = addresses.torchserves(options, properties)
    if agent:
        number = addresses.port(options.agent_port, "--agent-port", agent.port)
        places["agent"] = Place(addresses.listening(agent.host, number), "--agent-port ")
        at = addresses.listening(agent.metrics_host, agent.metrics_port)
        places["agent metrics"] = Place(at, f"{agent.variable('metrics_port')}=")
    if gateway:
        number = addresses.port(options.port, "--port", gateway.port)
        places["page"] = Place(addresses.listening(gateway.host, number), "--port ")
        at = addresses.listening(gateway.metrics_host, gateway.metrics_port)
        places["gateway metrics"] = Place(at, f"{gateway.variable('metrics_port')}=")
    addresses.check(places, properties)
    for name in addresses.PORTS:
        properties[f"{name}_address"] = str(places[name].address)
    environment = {"ANIMEGAN_CONFIG": str(config / "animegan.toml"), **os.environ}
    for name in ("ANIMEGAN_CONFIG", "ANIMEGAN_HOME"):  # the workers have another working directory
        if environment.get(name):
            environment[name] = str(Path(environment[name]).expanduser().resolve())
    environment.setdefault(CANCEL_FOLDER, str(instance.folder / "cancelled"))
    torchserve = _torchserve(config, properties, instance, signals, environment)
    return Services(
        torchserve,
        _agent(agent, places, torchserve, environment) if agent else None,
        _gateway(gateway, places, torchserve, environment) if gateway else None,
    )


def _torchserve(
    config: Path, properties: Mapping[str, str], instance: Instance, signals: Signals, environment: Mapping[str, str]
) -> TorchServeProcess:
    runtime = _java(instance, signals, environment)
    say(f"Java {runtime.version}: {runtime.home}")
    model_store = ROOT / properties.get("model_store", "model_store")
    if model_store == ROOT / "model_store":
        model_store = ARCHIVE.parent
        _run(instance, signals, environment, "-m", "animegan_cli", "archive", "--if-stale")
    elif not (model_store / properties["load_models"]).is_file():
        raise BadSetting(f"{model_store} holds no {properties['load_models']}. Copy it there, or correct model_store.")
    return TorchServeProcess(
        properties=properties,
        config=config,
        model_store=model_store,
        folder=instance.folder,
        mark=f"{instance.mark}/torchserve",
        java=runtime,
        environment=environment,
        show=say,
    )


def _agent(
    settings: AgentSettings, places: Mapping[str, Place], torchserve: TorchServeProcess, environment: Mapping[str, str]
) -> Module:
    own = {
        "port": places["agent"].address.port,
        "metrics_port": places["agent metrics"].address.port,
        "management": addresses.from_here(places["management"].address),
        "torchserve_metrics": addresses.from_here(places["metrics"].address),
        "log_file": settings.log_file or torchserve.logs / "agent.log",
    }
    return _module("Agent", settings, own, places["agent"].address, 0, torchserve, environment)


def _gateway(
    settings: GatewaySettings,
    places: Mapping[str, Place],
    torchserve: TorchServeProcess,
    environment: Mapping[str, str],
) -> Module:
    own = {
        "data": settings.folder.resolve(),
        "port": places["page"].address.port,
        "metrics_port": places["gateway metrics"].address.port,
        "torchserve": addresses.from_here(places["inference"].address),
        "agent_port": places["agent"].address.port,
        "log_file": settings.log_file or torchserve.logs / "gateway.log",
    }
    return _module("Gateway", settings, own, places["page"].address, settings.drain_s, torchserve, environment)


def _module(
    name: str,
    settings: AgentSettings | GatewaySettings,
    own: Mapping[str, object],
    at: Address,
    grace_s: float,
    torchserve: TorchServeProcess,
    environment: Mapping[str, str],
) -> Module:
    return Module(
        name=name,
        module=f"animegan_{name.lower()}",
        address=addresses.from_here(at),
        grace_s=grace_s,
        log=str(own["log_file"]),
        mark=f"{torchserve.mark.split('/')[0]}/{name.lower()}",
        environment={**environment, **{settings.variable(key): str(value) for key, value in own.items()}},
        show=say,
    )


def _java(instance: Instance, signals: Signals, environment: Mapping[str, str]) -> java.Java:
    runtime = java.find(environment, say)
    if runtime is None and IN_CHECKOUT:
        say("There is no Java 11 to 21; installing one into .venv")
        _run(instance, signals, environment, str(ROOT / "scripts" / "bootstrap.py"), "java")
        runtime = java.find(environment, lambda _: None)
    if runtime is None:
        raise BadSetting(
            "No Java 11 to 21 runs here. Install one: Debian's default-jre-headless, or animegan-serve[java]."
        )
    return runtime


def _run(instance: Instance, signals: Signals, environment: Mapping[str, str], *arguments: str) -> None:
    """Run Python with these arguments, in the instance. Raises `StopRequest`, or `InternalError` if it fails."""
    temporary = instance.folder / "tmp"
    temporary.mkdir(exist_ok=True)
    step = subprocess.Popen(
        [sys.executable, *arguments],
        env={**environment, processes.MARK: instance.mark, "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while step.poll() is None:
            signals.check()
            signals.pause(1.0)
    except StopRequest:
        step.send_signal(signal.SIGINT)  # lets it tidy up
        with suppress(subprocess.TimeoutExpired):
            step.wait(TIDY_WITHIN_S)
        raise
    if step.returncode:
        raise InternalError("That failed, so nothing is served; the reason is above.")


def _greet(services: Services) -> None:
    inference, management, metrics = services.torchserve.addresses
    agent = f"  Agent: {services.agent.address}" if services.agent else ""
    say(
        f"Ready. Inference: {inference}  Management: {management}  Metrics: {metrics}{agent}  "
        f"Logs: {services.torchserve.logs}"
    )
    if services.gateway:
        page = services.gateway.address
        if not SAMPLE.is_file():  # as in a container
            say(f"Open {page}/ in a browser")
            return
        say(f"Open {page}/ in a browser, or try it here (Ctrl-C ends it):\n")
        say(f"    curl --fail-with-body -F {shlex.quote(f'image=@{SAMPLE}')} {page}/v1/stylize -o anime.jpg\n")


def say(line: str, stream: TextIO = sys.stdout) -> None:
    """Print a line at once. A reader that has gone away is no reason to stop serving: the rest goes nowhere."""
    try:
        print(line, file=stream, flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
