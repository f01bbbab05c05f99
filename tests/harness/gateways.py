"""A real gateway for tests: its own process, on free ports, with a folder of its own, before a TorchServe that runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import requests

from animegan_cli.serving.ports import free_port
from harness.servers import Server, wait_until

END_STATES = ("done", "failed", "cancelled")


def code(answer: requests.Response) -> tuple[int, str]:
    """The status and the code of a problem, which has the shape that every error has."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"urn:animegan:problem:{problem['code'].replace('_', '-')}"
    assert problem["title"]
    assert problem["detail"]
    assert isinstance(problem["retryable"], bool)
    return answer.status_code, problem["code"]


@dataclass
class Gateway:
    """A gateway that can be killed and started again on its ports and its folder."""

    folder: Path
    variables: Mapping[str, str]
    port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    open_files: int = 0  # the hard limit on them; 0: the test's own
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    @property
    def errors(self) -> Path:
        """Return its output since its last start."""
        return self.folder / "stderr.txt"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = re.compile(r"ANIMEGAN_(?!LOCK|TORCH_INDEX)")
        inherited = {name: value for name, value in os.environ.items() if not settings.match(name)}
        own = {
            "ANIMEGAN_HOME": str(self.folder / "home"),
            "ANIMEGAN_GATEWAY_DATA": str(self.folder),
            "ANIMEGAN_GATEWAY_PORT": str(self.port),
            "ANIMEGAN_GATEWAY_METRICS_PORT": str(self.metrics_port),
            "ANIMEGAN_GATEWAY_LOG_FILE": str(self.folder / "gateway.log"),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        limit = ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(self.open_files)] if self.open_files else []
        command = [*limit, sys.executable, "-m", "animegan_gateway"]
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(command, env={**inherited, **own, **self.variables}, stderr=errors)
        wait_until(lambda: self.process is None or self.process.poll() is not None or self.answers(), "the gateway")
        assert self.process.poll() is None, f"the gateway did not start: {self.errors.read_text()}"

    def refusal(self) -> str:
        """Start it where it can't be; return the line that it prints."""
        try:
            self.start()
        except AssertionError:
            text = self.errors.read_text()
            assert text.count("\n") == 1, text
            return text
        raise AssertionError("the gateway started")

    def command(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run `animegan gateway NAME` on its folder."""
        return subprocess.run(
            [sys.executable, "-m", "animegan_cli", "gateway", name],
            env={**os.environ, "ANIMEGAN_GATEWAY_DATA": str(self.folder), "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/healthz", timeout=5).ok
        except requests.RequestException:
            return False

    def kill(self) -> None:
        """End it as `kill -9` does."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self, within_s: float = 60) -> int:
        """Ask it to stop, and return its exit status."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def resident_mib(self) -> float:
        assert self.process
        return float(psutil.Process(self.process.pid).memory_info().rss / 2**20)

    def submit(self, picture: bytes, caller: requests.Session | None = None, **options: Any) -> requests.Response:
        """POST v1/jobs."""
        headers = options.pop("headers", {})
        session = caller or requests
        return session.post(f"{self.url}/v1/jobs", files={"image": picture}, data=options, headers=headers, timeout=120)

    def job(self, job_id: str) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/v1/jobs/{job_id}", timeout=60)
        assert answer.ok, answer.text
        return dict(answer.json())

    def remove(self, job: Mapping[str, Any]) -> requests.Response:
        """DELETE v1/jobs/{id}."""
        return requests.delete(f"{self.url}{job['links']['self']}", timeout=60)

    def wait(self, job_id: str, within_s: float = 120) -> dict[str, Any]:
        """The job once it has ended."""
        deadline = time.monotonic() + within_s
        while True:
            answer = requests.get(f"{self.url}/v1/jobs/{job_id}?wait=10", timeout=60)
            assert answer.ok, answer.text
            job: dict[str, Any] = answer.json()
            if job["status"] in END_STATES:
                return job
            assert time.monotonic() < deadline, job

    def until(self, job_id: str, state: str) -> dict[str, Any]:
        """The job once it is in that state."""
        etag = ""
        while True:
            answer = requests.get(f"{self.url}/v1/jobs/{job_id}?wait=10", headers={"If-None-Match": etag}, timeout=60)
            if answer.status_code == HTTPStatus.OK:
                job: dict[str, Any] = answer.json()
                if job["status"] == state:
                    return job
                assert job["status"] not in END_STATES, job
            etag = answer.headers["ETag"]

    def events(self, job_id: str, **headers: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events of a job, each with its name and the job, until the gateway ends the stream."""
        url = f"{self.url}/v1/jobs/{job_id}/events"
        with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
            assert answer.ok, answer.text
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            fields: dict[str, str] = {}
            for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                elif "event" in fields:
                    yield fields.pop("event"), json.loads(fields.pop("data"))

    def metric(self, name: str, **labels: str) -> float:
        """The value of a series."""
        pairs = {f'{label}="{value}"' for label, value in labels.items()}
        for line in requests.get(self.metrics_url, timeout=10).text.splitlines():
            match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if match and pairs <= set((match[1] or "").split(",")):
                return float(match[2])
        raise AssertionError(f"{name} {labels} is not there")

    @contextmanager
    def browser(self) -> Iterator[requests.Session]:
        """A caller of its own: a session with its cookie."""
        with requests.Session() as session:
            answer = session.post(f"{self.url}/v1/session", json={}, headers={"Origin": self.url}, timeout=30)
            assert answer.ok, answer.text
            session.headers["Origin"] = self.url
            yield session


def before(torchserve: Server | None) -> dict[str, str]:
    """The variables of a gateway before that TorchServe, or before none."""
    inference = torchserve.inference if torchserve else f"http://127.0.0.1:{free_port()}"
    agent_port = urlsplit(torchserve.agent).port if torchserve else free_port()
    return {"ANIMEGAN_GATEWAY_TORCHSERVE": inference, "ANIMEGAN_GATEWAY_AGENT_PORT": str(agent_port)}


@contextmanager
def running_gateway(
    folder: Path, torchserve: Server | None, open_files: int = 0, /, **settings: object
) -> Iterator[Gateway]:
    """A gateway with these settings, by their names; without a TorchServe its jobs wait."""
    variables = {f"ANIMEGAN_GATEWAY_{name.upper()}": str(value) for name, value in settings.items()}
    gateway = Gateway(folder, {**before(torchserve), **variables}, open_files=open_files)
    gateway.start()
    try:
        yield gateway
    finally:
        if gateway.process and gateway.process.poll() is None:
            gateway.stop()
