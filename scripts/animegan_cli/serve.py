"""`scripts/serve`: TorchServe with the animegan archive and the gateway before it, watched, until Ctrl-C or SIGTERM."""

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
from animegan_cli import guard, java, processes
from animegan_cli.gateway import Gateway
from animegan_cli.ports import check_free, free_port
from animegan_cli.signals import Signals, Stopped
from animegan_cli.supervisor import Supervisor
from animegan_cli.torchserve import Address, TorchServe, address, read_properties
from animegan_gateway import settings as gateway_settings
from animegan_gateway.settings import Settings as GatewaySettings

ROOT = Path(__file__).resolve().parents[2]
PORTS = ("inference", "management", "metrics")
GRPC_PORTS = ("grpc_inference", "grpc_management")
TIDY_WITHIN_S = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 0 once it was serving and is asked to stop."""
    options = _parse(arguments)
    serving = False
    with Signals() as signals:
        try:
            with own_instance() as instance:
                torchserve, gateway = _prepare(options, instance, signals)
                supervisor = Supervisor([torchserve, gateway], signals, say)
                try:
                    supervisor.start()
                    serving = True
                    _greet(torchserve, gateway)
                    supervisor.watch()
                finally:
                    supervisor.end()
        except Stopped as stopped:
            say("Stopped")
            return 0 if serving else 128 + stopped.number
        except AnimeganError as error:
            say(f"serve: {error}", sys.stderr)
            return 1
    return 0


@dataclass(frozen=True)
class Instance:
    """What one run calls its own: a folder under the temporary directory, and the mark of its processes."""

    folder: Path
    mark: str


@contextmanager
def own_instance() -> Iterator[Instance]:
    """At its end no process with the mark is left, nor the folder; after a `ServiceFailed` its logs are kept.

    A guard does the same if this process is killed.
    """
    instance = Instance(Path(tempfile.mkdtemp(prefix="animegan-", dir=_short_folder())), uuid.uuid4().hex)
    watch = subprocess.Popen(
        [sys.executable, "-m", "animegan_cli.guard", instance.mark, str(instance.folder)],
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
        watch.communicate(guard.DONE)


def _short_folder() -> str:
    """The temporary directory, or /tmp: a socket's path must fit into 108 bytes, and log4j's is a URL."""
    folder = tempfile.gettempdir()
    return folder if re.fullmatch(r"[\w./-]{1,60}", folder, re.ASCII) else "/tmp"  # noqa: S108 - mkdtemp makes its own


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="serve",
        description="Serve photo in, anime picture out, until Ctrl-C. Sets up what is missing on the first run.",
        epilog="A port comes from its option, else from ANIMEGAN_GATEWAY_PORT, ANIMEGAN_INFERENCE_PORT (or "
        "_MANAGEMENT_, _METRICS_), else from gateway.toml or config.properties. 0 takes a free one.",
    )
    parser.add_argument("--port", help="port of the page and the jobs API")
    for name in PORTS:
        parser.add_argument(f"--{name}-port", metavar="PORT", help=f"port of TorchServe's {name} API")
    parser.add_argument(
        "--config",
        type=Path,
        default=ROOT / "config",
        metavar="FOLDER",
        help="folder of config.properties and its companions (default: the checkout's config/)",
    )
    return parser.parse_args(arguments)


def _prepare(options: argparse.Namespace, instance: Instance, signals: Signals) -> tuple[TorchServe, Gateway]:
    """Everything before the start: settings, ports, Java, the archive. Raises `AnimeganError`, `Stopped`."""
    config = options.config.resolve()
    if (config / "gateway.toml").is_file():
        os.environ.setdefault(GatewaySettings.variable("config"), str(config / "gateway.toml"))
    front = gateway_settings.load()
    properties = read_properties(config / "config.properties")
    for name in PORTS:
        properties[f"{name}_address"] = str(_chosen(options, name, address(properties, f"{name}_address")))
    page = Address(front.host, _port(options.port, "--port", front.port) or free_port(front.host))
    metrics = Address(front.metrics_host, front.metrics_port or free_port(front.metrics_host))
    _check_ports(properties, page, metrics)
    environment = {"ANIMEGAN_CONFIG": str(config / "animegan.toml"), **os.environ}
    for name in ("ANIMEGAN_CONFIG", "ANIMEGAN_HOME"):  # the workers have another working directory
        if environment.get(name):
            environment[name] = str(Path(environment[name]).expanduser().resolve())
    runtime = _java(instance, signals, environment)
    say(f"Java {runtime.version}: {runtime.home}")
    model_store = ROOT / properties.get("model_store", "model_store")
    if model_store == ROOT / "model_store":
        _run(instance, signals, environment, "-m", "animegan_cli", "archive", "--if-stale")
    elif not (model_store / properties["load_models"]).is_file():
        raise BadSetting(f"{model_store} holds no {properties['load_models']}. Copy it there, or correct model_store.")
    torchserve = TorchServe(
        properties=properties,
        config=config,
        model_store=model_store,
        folder=instance.folder,
        mark=f"{instance.mark}/torchserve",
        java=runtime,
        environment=environment,
        show=say,
    )
    inference, management, _ = torchserve.addresses
    own = {
        "data": front.folder.resolve(),
        "port": page.port,
        "metrics_port": metrics.port,
        "torchserve": inference,
        "management": management,
        "log_file": front.log_file or torchserve.logs / "gateway.log",
    }
    variables = {GatewaySettings.variable(name): str(value) for name, value in own.items()}
    gateway = Gateway(
        address=page,
        drain_s=front.drain_s,
        logs=torchserve.logs,
        mark=f"{instance.mark}/gateway",
        environment={**environment, **variables},
        show=say,
    )
    return torchserve, gateway


def _chosen(options: argparse.Namespace, name: str, configured: Address) -> Address:
    """The address with the port that the option or the variable names; 0 becomes a free one. Raises `BadSetting`."""
    variable = f"ANIMEGAN_{name.upper()}_PORT"
    asked = _port(os.environ.get(variable) or None, variable, configured.port)
    port = _port(getattr(options, f"{name}_port"), f"--{name}-port", asked)
    return Address(configured.host, port or free_port(configured.host))


def _port(text: str | None, origin: str, default: int) -> int:
    """The port that was asked for, 0 for a free one. Raises `BadSetting`."""
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or int(text) > 65535:
        raise BadSetting(f"{origin}={text} is not a port. Use a number from 0 (a free one) to 65535.")
    return int(text)


def _check_ports(properties: Mapping[str, str], page: Address, metrics: Address) -> None:
    """Raise `BadSetting` unless each port is one of its own and free."""
    taken: dict[int, str] = {}
    wanted = {"page": (page, "--port "), "gateway metrics": (metrics, "ANIMEGAN_GATEWAY_METRICS_PORT=")}
    wanted |= {name: (address(properties, f"{name}_address"), f"--{name}-port ") for name in PORTS}
    for name, (at, option) in wanted.items():
        way_out = f"Stop that, or take another port: {option}PORT (0: a free one)."
        if at.port in taken:
            raise BadSetting(f"Port {at.port} is to serve both {taken[at.port]} and {name}. Move one: {option}PORT.")
        taken[at.port] = name
        check_free(at.host, at.port, name, way_out)
    for name in GRPC_PORTS:
        port = properties.get(f"{name}_port", "0")
        if not re.fullmatch(r"\d{1,5}", port, re.ASCII):
            raise BadSetting(f"{name}_port={port} in config.properties is not a port.")
        if int(port):
            host = properties.get(f"{name}_address", "127.0.0.1")
            check_free(host, int(port), name, f"Stop that, or set {name}_port=0 in config.properties.")


def _java(instance: Instance, signals: Signals, environment: Mapping[str, str]) -> java.Java:
    found = java.find(environment, say)
    if found is None:
        say("There is no Java 11 to 21; installing one into .venv")
        _run(instance, signals, environment, str(ROOT / "scripts" / "bootstrap.py"), "java")
        found = java.find(environment, lambda _: None)
    if found is None:
        raise BadSetting("No Java 11 to 21 runs here, nor PyPI's. Install one (Debian: default-jre-headless).")
    return found


def _run(instance: Instance, signals: Signals, environment: Mapping[str, str], *arguments: str) -> None:
    """Run Python with these arguments, in the instance. Raises `Stopped`, or `InternalError` if it fails."""
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
    except Stopped:
        step.send_signal(signal.SIGINT)  # lets it tidy up
        with suppress(subprocess.TimeoutExpired):
            step.wait(TIDY_WITHIN_S)
        raise
    if step.returncode:
        raise InternalError("That failed, so nothing is served; the reason is above.")


def _greet(torchserve: TorchServe, gateway: Gateway) -> None:
    inference, management, metrics = torchserve.addresses
    say(f"Ready. Inference: {inference}  Management: {management}  Metrics: {metrics}  Logs: {torchserve.logs}")
    field = shlex.quote(f"image=@{ROOT / 'docs' / 'photos' / 'mountain_path.jpg'}")
    say(f"Open {gateway.address}/ in a browser, or try it here (Ctrl-C ends it):\n")
    say(f"    curl -F {field} {gateway.address}/v1/stylize -o anime.jpg\n")


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
