"""A real Prometheus for tests and benchmarks: as `deploy/prometheus` configures it, before servers that run here."""

from __future__ import annotations

import math
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import yaml

from animegan_cli.serving.ports import free_port
from harness.servers import ROOT, Server, command, wait_until

FOLDER = ROOT / "deploy" / "prometheus"
INSTANCE = "server"  # what the parts of one TorchServe are called


@dataclass(frozen=True)
class Prometheus:
    """One that runs, and what its API tells."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query that have a value now, which NaN is none."""
        rows = self._get("query", query=expression)["result"]
        return [each for each in rows if not math.isnan(float(each["value"][1]))]

    def range(self, expression: str, start: float, end: float, step_s: float) -> list[dict[str, Any]]:
        """Each series with its `values`: pairs of a time, in s since 1970, and the value as text."""
        bounds = {"start": str(start), "end": str(end), "step": str(step_s)}
        return list(self._get("query_range", query=expression, **bounds)["result"])

    def values(self, label: str) -> list[str]:
        """The values that the label has anywhere."""
        return list(self._get(f"label/{label}/values"))

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> dict[str, str]:
        """The health of each job's target."""
        return {each["labels"]["job"]: each["health"] for each in self._get("targets")["activeTargets"]}

    def _get(self, path: str, **parameters: str) -> Any:
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30)
        assert answer.ok, f"{parameters}: {answer.text}"
        return answer.json()["data"]


def targets(server: Server) -> dict[str, str]:
    """Return the addresses of the metrics of a server's parts: host and port, by the job's name."""
    addresses = {"animegan-torchserve": urlsplit(server.metrics).netloc}
    for name in ("gateway", "agent"):
        [process] = [each for each in server.descendants() if f"animegan_{name}" in command(each)]
        addresses[f"animegan-{name}"] = f"127.0.0.1:{process.environ()[f'ANIMEGAN_{name.upper()}_METRICS_PORT']}"
    return addresses


@contextmanager
def running_prometheus(folder: Path, at: Mapping[str, str], every: str = "1s") -> Iterator[Prometheus]:
    """The shipped configuration with these targets by their jobs' names, scraped and its rules looked at that often."""
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": every, "evaluation_interval": every, "scrape_timeout": every}
    configuration["rule_files"] = [str(FOLDER / pattern) for pattern in configuration["rule_files"]]
    for job in configuration["scrape_configs"]:
        job["static_configs"] = [{"targets": [at[job["job_name"]]], "labels": {"instance": INSTANCE}}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    words = [shutil.which("prometheus") or "prometheus", f"--config.file={file}", f"--web.listen-address={address}"]
    words += [f"--storage.tsdb.path={folder / 'series'}", "--log.level=warn"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or _ready(address), "Prometheus")
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        yield Prometheus(f"http://{address}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _ready(address: str) -> bool:
    try:
        return requests.get(f"http://{address}/-/ready", timeout=5).ok
    except requests.RequestException:
        return False
