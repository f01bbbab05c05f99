"""A real server for tests: `scripts/serve` on free ports, with changed configuration where a test asks for it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import requests
import yaml

from animegan_cli.serving import processes
from animegan_cli.serving.torchserve import JAVA_CLASS

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"ANIMEGAN_WARMUP_PX": "16"}  # the settings of a server that is to start soon
PATIENCE_S = 300  # for a start on a busy machine, the archive's building included


@dataclass
class Server:
    """A server that was started; its base URLs are known once it is ready."""

    process: subprocess.Popen[str]
    output: Path
    home: Path

    @property
    def inference(self) -> str:
        return self._find(r"Inference: (\S+)")

    @property
    def page(self) -> str:
        """The gateway's base URL."""
        return self._find(r"Open (\S+)/ in a browser")

    @property
    def management(self) -> str:
        return self._find(r"Management: (\S+)")

    @property
    def agent(self) -> str:
        """The agent's base URL."""
        return self._find(r"Agent: (\S+)")

    @property
    def metrics(self) -> str:
        return self._find(r"Metrics: (\S+)")

    @property
    def folder(self) -> Path:
        """The instance's own folder."""
        return Path(self._find(r"Logs: (\S+)")).parent

    @property
    def mark(self) -> str:
        """The mark of the instance's processes, as their environment carries it."""
        children = psutil.Process(self.process.pid).children()
        marks = {child.environ().get(processes.MARK, "").split("/")[0] for child in children}
        (mark,) = marks - {""}  # the guard has none
        return mark

    def log_text(self) -> str:
        """Return the server's output and TorchServe's log."""
        files = sorted((self.folder / "logs").glob("torchserve*.log"))
        return "\n".join([self.output.read_text(), *(file.read_text() for file in files)])

    def describe(self) -> dict[str, Any]:
        """The model as the management API describes it."""
        models: list[dict[str, Any]] = requests.get(f"{self.management}/models/animegan", timeout=10).json()
        return models[0]

    def ready(self) -> bool:
        try:
            return any(worker["status"] == "READY" for worker in self.describe()["workers"])
        except (requests.RequestException, KeyError):  # not up (again) yet
            return False

    def worker_pids(self) -> list[int]:
        return [worker["pid"] for worker in self.describe()["workers"] if worker["status"] == "READY"]

    def java(self) -> psutil.Process | None:
        """The Java process of the instance, if it runs."""
        return next((child for child in self.descendants() if JAVA_CLASS in command(child)), None)

    def gateway(self) -> psutil.Process | None:
        """The gateway's process, if it runs."""
        return next((child for child in self.descendants() if "animegan_gateway" in command(child)), None)

    def launcher(self) -> psutil.Process | None:
        """TorchServe's Python launcher, if it runs."""
        return next((child for child in self.descendants() if "ts.model_server" in command(child)), None)

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def _find(self, pattern: str) -> str:
        match = re.search(pattern, self.output.read_text())
        assert match, f"{pattern} is not in:\n{self.output.read_text()}"
        return match[1]


def ends_everything(server: Server, number: int) -> None:
    """Send the signal that is to end the server; fail where a process, the folder or a port of it is left."""
    mark, folder, descendants = server.mark, server.folder, server.descendants()
    ports = [urlsplit(url).port or 0 for url in (server.inference, server.management, server.metrics)]
    assert server.stop(number) == 0
    assert not any(map(alive, descendants))
    assert not processes.find(mark)
    assert not folder.exists()
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def alive(process: psutil.Process) -> bool:
    """Return whether it still runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # ended meanwhile
        return []


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return once the condition holds; fail, naming what was waited for, where it does not come to hold."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.1)


@contextmanager
def started_server(
    *arguments: str,
    model: Mapping[str, Any] | None = None,
    handler: str = "",
    properties: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """`scripts/serve`, just started; ended at the end, if it still runs.

    `model` changes model-config.yaml and `handler` is added to animegan_handler.py, both inside a copy of the archive;
    `properties` changes config.properties;
    `environment` adds variables. Without them it is the checkout's configuration, on free ports.
    """
    with tempfile.TemporaryDirectory(prefix="animegan-test-") as folder:
        work = Path(folder)
        settings = re.compile(r"ANIMEGAN_(?!LOCK|TORCH_INDEX)")
        inherited = {name: value for name, value in os.environ.items() if not settings.match(name)}
        own = {
            "ANIMEGAN_HOME": str(work / "home"),
            "ANIMEGAN_GATEWAY_METRICS_PORT": "0",
            "ANIMEGAN_AGENT_METRICS_PORT": "0",
        }
        variables = {**inherited, **own, **(environment or {})}
        command = [str(ROOT / "scripts" / "serve"), "--port=0", "--agent-port=0"]
        command += [f"--{name}-port=0" for name in ("inference", "management", "metrics")]
        if model or handler or properties:
            changes = dict(properties or {})
            if model or handler:
                changes["model_store"] = str(_repack(work, model or {}, handler))
            command.append(f"--config={_reconfigure(work, changes)}")
        output = work / "output.txt"
        with output.open("w") as stream:
            process = subprocess.Popen(
                [*command, *arguments],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        server = Server(process, output, Path(variables["ANIMEGAN_HOME"]))
        try:
            yield server
        finally:
            if process.poll() is None:
                server.stop()


@contextmanager
def running_server(
    *arguments: str,
    model: Mapping[str, Any] | None = None,
    handler: str = "",
    properties: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """`started_server`, and ready."""
    with started_server(
        *arguments, model=model, handler=handler, properties=properties, environment=environment
    ) as server:
        last = "Ready. " if "--no-gateway" in arguments else "try it"
        wait_until(lambda: server.process.poll() is not None or last in server.output.read_text(), "the server")
        assert server.process.poll() is None, server.output.read_text()
        yield server


def _repack(work: Path, changes: Mapping[str, Any], handler: str) -> Path:
    """A model store with the checkout's archive, its model-config.yaml changed, the text added to its handler."""
    subprocess.run([sys.executable, "-m", "animegan_cli", "archive", "--if-stale"], check=True)
    store = work / "model_store"
    store.mkdir()
    source, target = ROOT / "model_store" / "animegan.mar", store / "animegan.mar"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "model-config.yaml":
                data = yaml.safe_dump({**yaml.safe_load(data), **changes}).encode()
            elif name == "animegan_handler.py":
                data += handler.encode()
            new.writestr(name, data)
    return store


def _reconfigure(work: Path, changes: Mapping[str, str]) -> Path:
    """A copy of `config/`, its config.properties changed."""
    config = work / "config"
    shutil.copytree(ROOT / "config", config)
    file = config / "config.properties"
    lines = [line for line in file.read_text().splitlines() if line.partition("=")[0] not in changes]
    file.write_text("\n".join([*lines, *(f"{key}={value}" for key, value in changes.items()), ""]))
    return config
