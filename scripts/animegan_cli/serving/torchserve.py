"""TorchServe as a service to supervise: its configuration for one instance, its start, its state, its end."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import psutil

from animegan.errors import BadSetting
from animegan.resources import cgroups
from animegan_cli.serving import processes
from animegan_cli.serving.java import Java
from animegan_cli.serving.ports import free_port

MODEL = "animegan"
JAVA_CLASS = "org.pytorch.serve.ModelServer"
GRACE_S = 15.0  # Java takes 2 to 3 s to close its servers
ANSWER_WITHIN_S = 2.0
SILENCE_S = 120.0  # for TorchServe to describe its model; from then on the model's own time to load counts
HEAP = "ANIMEGAN_JAVA_HEAP_MB"
# Java's heap, in MiB. It carries answers of a quarter of its size, two at a time. What can be drawn in the other three
# quarters of the memory gives far smaller ones; the rest is for photos that wait, and the most holds a full queue of
# the largest.
MOST_HEAP, LEAST_HEAP = 2048, 128
HEAP_SHARE = 0.25  # of the memory there is
FAILED_LOADS = 2  # of one worker in a row: TorchServe itself would go on for five minutes

# Printed by the launcher or by Java outside its log, and harmless: a folder and settings that are meant.
NOISE = re.compile(
    r"WARNING: sun\.reflect\.Reflection\.getCallerClass|nvidia-smi not available|Model server started\."
    r"|Warning: TorchServe is using non-default JVM parameters"
)
FAILED_LOAD = re.compile(r" (W-\d+)-\S+: Load model failed")  # the layout is log4j2.xml's
WORKER_LINE = re.compile(r"([\d:]{8}) \w+ +W-\S+-std(?:out|err): (.*)")


@dataclass(frozen=True)
class Address:
    """The address at which a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"http://{self.host}:{self.port}"

    def get(self, path: str, within_s: float) -> tuple[int, bytes]:
        """Return status and body of the answer to a GET. Raises `OSError` where no answer in HTTP comes in time."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=within_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error) or type(error).__name__) from None
        finally:
            connection.close()


def read_properties(file: Path) -> dict[str, str]:
    """Return the keys and values of a Java properties file, as TorchServe's launcher reads it. Raises `BadSetting`."""
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise BadSetting(f"{file} can't be read: {error.strerror}.") from None
    pairs = [line.split("=", 1) for line in map(str.strip, lines) if line and not line.startswith("#")]
    wrong = [pair[0] for pair in pairs if len(pair) != 2]
    if wrong:
        raise BadSetting(f"{file} has the line {wrong[0]!r}, which is not key=value.")
    return {key.strip(): value.strip() for key, value in pairs}


def address(properties: Mapping[str, str], key: str) -> Address:
    """Return the host and port of such a key as `inference_address`. Raises `BadSetting`."""
    value = properties.get(key, "")
    match = re.fullmatch(r"http://([^:/]+):(\d+)", value)
    if not match or int(match[2]) > 65535:
        raise BadSetting(f"{key}={value} in config.properties is not http://HOST:PORT.")
    return Address(match[1], int(match[2]))


def with_heap(vmargs: str, environment: Mapping[str, str], memory_bytes: int) -> str:
    """Return Java's options with the size of its heap: that of `HEAP`, else of the options, else a share of the memory.

    Raises `BadSetting`.
    """
    heap_mib = environment.get(HEAP, "")
    if heap_mib and (not re.fullmatch(r"\d{1,7}", heap_mib, re.ASCII) or int(heap_mib) < LEAST_HEAP):
        raise BadSetting(
            f"{HEAP}={heap_mib} is no size of a heap. Use a number of MiB from {LEAST_HEAP}, or leave it out."
        )
    if not heap_mib and "-Xmx" in vmargs:
        return vmargs
    share = int(memory_bytes * HEAP_SHARE / 2**20)
    return f"{vmargs} -Xmx{heap_mib or min(MOST_HEAP, max(LEAST_HEAP, share))}m".strip()


def memory_bytes() -> int:
    """Return the memory that this process may use: the host's, or what the tightest cgroup around it allows."""
    limit = cgroups.memory()
    total: int = psutil.virtual_memory().total
    return min(total, limit.limit) if limit else total


@dataclass
class TorchServeProcess:
    """One TorchServe with its Java and its workers; implements `supervisor.Service`.

    `properties` are config.properties' own; `config` is the folder of the other configuration files, `model_store` that
    of the archive, and `folder` the instance's, made on the first start. `show` gets the lines that it prints.
    """

    name: ClassVar[str] = "TorchServe"

    properties: Mapping[str, str]
    config: Path
    model_store: Path
    folder: Path
    mark: str
    java: Java
    environment: Mapping[str, str]
    show: Callable[[str], None]

    _process: subprocess.Popen[str] | None = field(default=None, init=False)
    _reader: threading.Thread | None = field(default=None, init=False)
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=60), init=False)
    _failed_loads: dict[str, int] = field(default_factory=dict, init=False)
    _startup_s: float | None = field(default=None, init=False)  # as the model is described
    _unknown: bool = field(default=False, init=False)  # TorchServe is up, without the model

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Return the addresses of the inference, the management and the metrics API."""
        keys = ("inference_address", "management_address", "metrics_address")
        return tuple(address(self.properties, key) for key in keys)

    def start(self) -> None:
        temporary = self.folder / "tmp"  # its PID file, its workers' sockets and the unpacked archive lie here
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        self.logs.mkdir(exist_ok=True)
        self._configure()
        self._lines.clear()
        self._failed_loads.clear()
        self._startup_s = None
        self._unknown = False
        environment = {**processes.OPENMP, **self.environment}
        environment.pop("TS_CONFIG_FILE", None)
        environment |= {
            processes.MARK: self.mark,
            "JAVA_HOME": str(self.java.home),
            "TMPDIR": str(temporary),
            "TEMP": str(temporary),
            "LOG_LOCATION": str(self.logs),
            "METRICS_LOCATION": str(self.logs),
            "TS_OPEN_INFERENCE_PROTOCOL": "oip",  # KServe's addresses of the server's readiness and metadata
        }
        command = [sys.executable, "-m", "ts.model_server", "--start", "--foreground", "--no-config-snapshots"]
        command += ["--ts-config", str(self.folder / "config.properties")]
        command += ["--log-config", str(self.folder / "log4j2.xml")]
        command += ["--model-store", str(self.model_store)]
        self._process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C in a terminal is the supervisor's to pass on
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def trouble(self) -> str | None:
        if self._process is None or self._process.poll() is not None:
            return "ended by itself"
        if max([0, *self._failed_loads.values()]) >= FAILED_LOADS:  # copied in one step: the reader adds to it
            return f"has a worker that ended {FAILED_LOADS} times while it loaded the model"
        if self._unknown:
            return f"could not load {self.properties['load_models']}"
        return None

    def ready(self) -> bool:
        description = self._describe()
        if description is None:
            return False
        if self._startup_s is None:
            self.show("TorchServe is up; its worker loads the model")
        self._startup_s = float(description["startupTimeout"])
        ready = any(worker["status"] == "READY" for worker in description["workers"])
        if ready:
            self._failed_loads.clear()
        return ready

    def patience_s(self) -> float:
        return SILENCE_S if self._startup_s is None else SILENCE_S + self._startup_s

    def end(self, hurried: Callable[[], bool]) -> None:
        processes.end(self.mark, grace_s=GRACE_S, leads=_is_java, hurried=hurried)
        if self._process is not None:
            self._process.wait()
            self._process = None
        if self._reader is not None:
            self._reader.join(timeout=GRACE_S)

    def last_words(self) -> str:
        """Return the end of a worker's last traceback, else the last lines that were printed."""
        lines = [match[2] for line in self._lines if (match := WORKER_LINE.match(line))]
        starts = [at for at, line in enumerate(lines) if line.startswith("Traceback ")]
        error = [line for line in lines[starts[-1] + 1 :] if not line.startswith(" ")] if starts else []
        return "\n".join([*(f"    {line}" for line in error or [*self._lines][-20:]), f"Its whole log: {self.logs}"])

    def _configure(self) -> None:
        for name in ("log4j2.xml", "metrics.yaml"):
            try:
                shutil.copyfile(self.config / name, self.folder / name)
            except OSError as error:
                raise BadSetting(f"{self.config / name} can't be read: {error.strerror}.") from None
        own = {
            "metrics_config": str(self.folder / "metrics.yaml"),
            "initial_worker_port": str(free_port()),
            "vmargs": with_heap(self.properties.get("vmargs", ""), self.environment, memory_bytes()),
        }
        for key in ("grpc_inference_port", "grpc_management_port"):
            if self.properties.get(key, "0") == "0":
                own[key] = str(free_port())
        merged = {key: value for key, value in {**self.properties, **own}.items() if key != "model_store"}
        text = "".join(f"{key}={value}\n" for key, value in merged.items())
        (self.folder / "config.properties").write_text(text)

    def _describe(self) -> dict[str, Any] | None:
        management = address(self.properties, "management_address")
        try:
            status, body = management.get(f"/models/{MODEL}", ANSWER_WITHIN_S)
            models = json.loads(body)
        except (OSError, ValueError):
            return None
        self._unknown = status == 404
        return models[0] if status == 200 else None

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            if NOISE.match(line):
                continue
            self._lines.append(line.rstrip())
            if match := FAILED_LOAD.search(line):
                self._failed_loads[match[1]] = self._failed_loads.get(match[1], 0) + 1
            self.show(WORKER_LINE.sub(r"\1 worker: \2", line.rstrip()))


def _is_java(process: psutil.Process) -> bool:
    return JAVA_CLASS in process.cmdline()
