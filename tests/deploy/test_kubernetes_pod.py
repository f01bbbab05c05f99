"""TorchServe's pod, run by podman as its manifest says."""

from __future__ import annotations

import copy
import io
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import yaml
from PIL import Image

from animegan_agent.settings import Settings as AgentSettings
from animegan_cli.serving.torchserve import address, read_properties
from harness.deployment import networks
from harness.deployment.containers import ContainerImage, podman
from harness.deployment.manifests import (
    container,
    default,
    find,
    load_set,
    quantity,
)
from harness.deployment.networks import Network, own_network
from harness.pictures import encoded, photo
from harness.servers import ROOT, wait_until

PROPERTIES = read_properties(ROOT / "config/config.properties")


POD = "torchserve-pod-0"  # podman's name for the first of a Deployment's


@dataclass(frozen=True)
class Pod:
    """TorchServe's, reached where podman publishes its ports."""

    network: Network

    def ask(self, path: str, port: int, **more: Any) -> requests.Response | None:
        """The answer; None where nobody listens yet."""

        def ask() -> requests.Response | None:
            try:
                return requests.request("POST" if more else "GET", f"http://127.0.0.1:{port}{path}", timeout=60, **more)
            except requests.ConnectionError:
                return None

        return self.network.call(ask)

    def passes_probe(self, name: str, probe: str) -> bool:
        """Return whether a container would pass its probe."""
        one = container(load_set("cpu"), f"torchserve/{name}")
        [port] = [port for port in one["ports"] if port["name"] == one[probe]["httpGet"]["port"]]
        answer = self.ask(one[probe]["httpGet"]["path"], port["containerPort"])
        return answer is not None and answer.ok

    def run_hook(self, name: str, hook: str) -> subprocess.CompletedProcess[str]:
        """Run a container's hook in it."""
        one = container(load_set("cpu"), f"torchserve/{name}")
        return podman("exec", f"{POD}-{name}", *one["lifecycle"][hook]["exec"]["command"])


@pytest.fixture(scope="module")
def pod(image: ContainerImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """TorchServe's Deployment, run by podman in a network of its own."""
    if lacking := networks.missing():
        pytest.skip(f"no containers here: {lacking}")
    deployment = copy.deepcopy(find(load_set("cpu"), "Deployment", "torchserve"))
    spec = deployment["spec"]["template"]["spec"]
    places = [volume.split(":")[:2] for volume in image.volumes]
    spec["volumes"] += [{"name": f"of-{n}", "hostPath": {"path": source}} for n, (source, _) in enumerate(places)]
    volume_mounts = [{"name": f"of-{n}", "mountPath": target, "readOnly": True} for n, (_, target) in enumerate(places)]
    for each in spec["containers"]:
        each["image"] = image.name
        each["volumeMounts"] += volume_mounts
    file = tmp_path_factory.mktemp("pod") / "torchserve.yaml"
    file.write_text(yaml.safe_dump(deployment))
    with own_network() as network:
        try:
            network.call(podman, "play", "kube", "--start", str(file))
            yield Pod(network)
        finally:
            network.call(podman, "pod", "rm", "--force", "--time", "0", POD, check=False)
            network.call(podman, "network", "rm", "podman-default-kube-network", check=False)


@pytest.mark.server
def test_torchserves_pod_becomes_ready_and_draws(pod: Pod) -> None:
    wait_until(lambda: pod.passes_probe("agent", "readinessProbe"), "the pod")
    for name, probe in (("torchserve", "startupProbe"), ("torchserve", "livenessProbe"), ("agent", "livenessProbe")):
        assert pod.passes_probe(name, probe)
    inference = address(PROPERTIES, "inference_address").port
    answer = pod.ask("/predictions/animegan", inference, files={"data": encoded(photo(96, 64))})
    assert answer is not None
    with Image.open(io.BytesIO(answer.content)) as anime:
        assert anime.size == (96, 64)
    logs = podman("logs", f"{POD}-torchserve")
    assert "is left out" not in logs.stdout + logs.stderr, "the operators are compiled ones"
    status = pod.ask("/v1/workers", default(AgentSettings, "port"))
    assert status is not None
    [worker] = status.json()["workers"]
    assert worker["memory_bytes"] > 100 * 2**20, "the agent sees the other container's processes"
    for port in (address(PROPERTIES, "metrics_address").port, default(AgentSettings, "metrics_port")):
        assert (metrics := pod.ask("/metrics", port)) is not None
        assert metrics.ok
    assert pod.ask("/models", address(PROPERTIES, "management_address").port) is None


@pytest.mark.server
def test_the_hooks_drain_the_pod_until_its_torchserve_starts_anew(pod: Pod) -> None:
    wait_until(lambda: pod.passes_probe("agent", "readinessProbe"), "the pod")
    with ThreadPoolExecutor(2) as both:  # as Kubernetes does
        list(both.map(lambda name: pod.run_hook(name, "preStop"), ("torchserve", "agent")))
    assert not pod.passes_probe("agent", "readinessProbe")
    assert pod.passes_probe("agent", "livenessProbe")
    podman("restart", f"{POD}-torchserve")  # as after a liveness probe in vain, whose end runs the hook too
    wait_until(lambda: pod.passes_probe("agent", "readinessProbe"), "the pod to be ready again")


@pytest.mark.slow
def test_the_pod_is_confined_for_real(pod: Pod) -> None:
    for name in ("torchserve", "agent"):
        inside = f"{POD}-{name}"
        status = podman("exec", inside, "cat", "/proc/self/status").stdout
        assert re.search(r"^Uid:\s+10001\s", status, re.MULTILINE)
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
        assert "Read-only" in podman("exec", inside, "touch", "/opt/animegan/new", check=False).stderr
        podman("exec", inside, "touch", "/tmp/new")
        limit = quantity(container(load_set("cpu"), f"torchserve/{name}")["resources"]["limits"]["memory"])
        assert int(podman("inspect", "--format", "{{.HostConfig.Memory}}", inside).stdout) == limit
