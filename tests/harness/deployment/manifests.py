"""What `deploy/kubernetes` comes to, as kustomize builds it; and what a redis-server makes of its arguments there."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from animegan.settings import Settings as HandlerSettings
from animegan_agent.settings import Settings as AgentSettings
from animegan_cli.serving.ports import free_port
from animegan_gateway.settings import Settings as GatewaySettings
from harness.servers import ROOT, wait_until

FOLDER = ROOT / "deploy" / "kubernetes"
SETS = {
    "cpu": ("overlays/cpu",),
    "gpu": ("overlays/gpu",),
    "one-node": ("overlays/one-node",),
    "everything": ("overlays/cpu", "ingress", "keda", "prometheus-operator"),
    "redis elsewhere": ("base", "redis-elsewhere", "hpa"),
}
Manifest = dict[str, Any]
Settings = type[GatewaySettings | AgentSettings | HandlerSettings]

every_set = pytest.mark.parametrize("name", SETS)


def load_set(name: str) -> tuple[Manifest, ...]:
    """The manifests of a set."""
    return compose(*SETS[name])


def default(settings: Settings, name: str) -> Any:
    return settings.model_fields[name].default


@cache
def build(folder: Path) -> tuple[Manifest, ...]:
    """The manifests of a kustomization."""
    kubectl = Path(sys.prefix) / "bin" / "kubectl"
    process = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return tuple(yaml.safe_load_all(process.stdout))


@cache
def compose(resource: str, *components: str) -> tuple[Manifest, ...]:
    """That folder with those components."""
    return of_ones_own({"resources": [resource], "components": [f"components/{name}" for name in components]})


def of_ones_own(kustomization: Manifest) -> tuple[Manifest, ...]:
    """As built from a kustomization whose resources and components are named from `deploy/kubernetes`."""
    with tempfile.TemporaryDirectory(prefix="animegan-test-") as place:
        for kind in ("resources", "components"):
            paths = [os.path.relpath(FOLDER / name, Path(place).resolve()) for name in kustomization.get(kind, [])]
            kustomization = {**kustomization, kind: paths}
        (Path(place) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return build(Path(place))


def find(manifests: Sequence[Manifest], kind: str, name: str) -> Manifest:
    """The one of that kind and name."""
    [manifest] = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return manifest


def pods(manifests: Sequence[Manifest]) -> dict[str, Manifest]:
    """The pod's template of each that runs pods, by its name."""
    return {
        each["metadata"]["name"]: each["spec"]["template"] for each in manifests if "template" in each.get("spec", {})
    }


def containers(manifests: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Each container under its pod's and its own name."""
    for name, pod in pods(manifests).items():
        for container in pod["spec"]["containers"]:
            yield f"{name}/{container['name']}", container


def container(manifests: Sequence[Manifest], name: str) -> Manifest:
    return dict(containers(manifests))[name]


def variables(container: Manifest) -> dict[str, str]:
    """The values in a container's environment; what comes from a secret is empty."""
    return {each["name"]: each.get("value", "") for each in container.get("env", [])}


def quantity(text: str) -> float:
    """A quantity as Kubernetes writes one, in bytes or pieces."""
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}
    unit = next((unit for unit in units if text.endswith(unit)), "")
    return float(text.removesuffix(unit)) * units.get(unit, 1)


def kept_by_redis(words: Sequence[str], folder: Path) -> dict[str, str]:
    """Return the persistence settings of a real redis-server, started with these words in that folder."""
    if not shutil.which(words[0]):
        pytest.skip(f"{words[0]} is not installed (Debian: redis-server)")
    port = str(free_port())
    command_line = [
        word.replace("--dir /data", f"--dir {folder}").replace("$(REDIS_PASSWORD)", "secret") for word in words
    ]
    process = subprocess.Popen([*command_line, "--bind 127.0.0.1", f"--port {port}"], stdout=subprocess.DEVNULL)

    def ask(command: str) -> str:
        client = ["redis-cli", "-e", "-p", port, *shlex.split(command)]
        environment = {**os.environ, "REDISCLI_AUTH": "secret"} if "--requirepass secret" in command_line else None
        answer = subprocess.run(client, env=environment, capture_output=True, text=True, check=False)
        return answer.stdout if answer.returncode == 0 else ""

    try:
        wait_until(lambda: process.poll() is not None or ask("ping") == "PONG\n", "redis-server")
        assert process.poll() is None, command_line
        names = ("appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy")
        return {name: ask(f"config get {name}").removeprefix(name).strip() for name in names}
    finally:
        process.terminate()
        process.wait(30)
