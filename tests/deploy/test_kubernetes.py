"""The manifests: what Kubernetes takes, and how closely pods are confined."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from harness.deployment.manifests import (
    SETS,
    Manifest,
    container,
    containers,
    every_set,
    find,
    load_set,
    pods,
    variables,
)
from harness.servers import ROOT

VERSIONS = ("1.30.0", "1.37.0")  # the first that has what the manifests need, and the newest whose schemas are here
SCHEMAS = {file.stem: json.loads(file.read_text()) for file in (ROOT / "tests/deploy/schemas").glob("*.json")}


def validate(manifests: Iterable[Manifest], version: str, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(manifests))
    tool = Path(sys.prefix) / "bin" / "kubernetes-validate"
    words = [str(tool), "--strict", "--kubernetes-version", version, str(file)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_all_of_it(version: str, tmp_path: Path) -> None:
    builtin = [each for name in SETS for each in load_set(name) if each["kind"] not in SCHEMAS]
    process = validate(builtin, version, tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.slow
def test_a_misspelt_key_would_be_seen(tmp_path: Path) -> None:
    wrong = copy.deepcopy(find(load_set("cpu"), "Deployment", "gateway"))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    process = validate([wrong], VERSIONS[-1], tmp_path)
    assert process.returncode != 0
    assert "livenesProbe" in process.stdout + process.stderr


@pytest.fixture(scope="module")
def jsonschema() -> ModuleType:
    """Return the package, which takes a second and a half that every process of the tests would pay."""
    return import_module("jsonschema")


@every_set
def test_its_custom_resources_fit_their_schemas(name: str, jsonschema: ModuleType) -> None:
    for each in load_set(name):
        if schema := SCHEMAS.get(each["kind"]):
            jsonschema.validate(each, schema)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_key_that_a_custom_resource_has_not_would_be_seen(kind: str, jsonschema: ModuleType) -> None:
    [first, *_] = [each for each in load_set("everything") if each["kind"] == kind]
    with pytest.raises(jsonschema.ValidationError, match="misspelt"):
        jsonschema.validate({**first, "spec": {**first["spec"], "misspelt": 1}}, SCHEMAS[kind])


@every_set
def test_what_it_refers_to_is_there(name: str) -> None:
    manifests = load_set(name)
    labels = {pod: template["metadata"]["labels"] for pod, template in pods(manifests).items()}
    claims = {each["metadata"]["name"] for each in manifests if each["kind"] == "PersistentVolumeClaim"}
    for each in manifests:
        kind, spec = each["kind"], each.get("spec", {})
        if kind in ("Service", "PodDisruptionBudget"):
            selector = spec["selector"] if kind == "Service" else spec["selector"]["matchLabels"]
            [pod] = [pod for pod, its in labels.items() if selector.items() <= its.items()]
            if kind == "Service":
                ports = {
                    port["name"]
                    for its, one in containers(manifests)
                    if its.startswith(f"{pod}/")
                    for port in one["ports"]
                }
                assert {port["targetPort"] for port in spec["ports"]} <= ports
        if kind in ("HorizontalPodAutoscaler", "ScaledObject"):
            target = spec["scaleTargetRef"]
            assert "replicas" not in find(manifests, target["kind"], target["name"])["spec"], "they are not ours to set"
        if kind == "ServiceMonitor":
            [service] = [
                one
                for one in manifests
                if one["kind"] == "Service"
                and spec["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()
            ]
            assert {end["port"] for end in spec["endpoints"]} <= {port["name"] for port in service["spec"]["ports"]}
        if kind == "Ingress":
            [rule] = spec["rules"]
            assert [rule["host"]] == spec["tls"][0]["hosts"]
            assert json.loads(variables(container(manifests, "gateway/gateway"))["ANIMEGAN_GATEWAY_HOSTS"]) == [
                rule["host"]
            ]
            backend = rule["http"]["paths"][0]["backend"]["service"]
            ports = {port["name"] for port in find(manifests, "Service", backend["name"])["spec"]["ports"]}
            assert backend["port"]["name"] in ports
    for template in pods(manifests).values():
        for volume in template["spec"].get("volumes", []):
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] in claims


@pytest.mark.parametrize("part", ["gateway", "torchserve"])
def test_pods_are_spread_over_nodes_and_zones(part: str) -> None:
    template = pods(load_set("cpu"))[part]
    spread = template["spec"]["topologySpreadConstraints"]
    assert {each["topologyKey"] for each in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert all(each["labelSelector"]["matchLabels"] == template["metadata"]["labels"] for each in spread)
    find(load_set("cpu"), "PodDisruptionBudget", part)


def test_one_autoscaler_at_a_time() -> None:
    kinds = [each["kind"] for each in load_set("everything")]
    assert "ScaledObject" in kinds
    assert "HorizontalPodAutoscaler" not in kinds


VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def loose(template: Manifest) -> list[str]:
    """Return what the pod-security standard "restricted" refuses in a pod without Windows and init containers."""
    spec = template["spec"]
    pod = spec.get("securityContext", {})
    faults = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    faults += [f"{name} in the pod" for name in ("sysctls", "seLinuxOptions", "appArmorProfile") if name in pod]
    faults += [f"volume {kind}" for each in spec.get("volumes", []) for kind in each.keys() - {"name"} - VOLUMES]
    assert not {"initContainers", "ephemeralContainers"} & spec.keys(), "read them here too"
    for each in spec["containers"]:
        own = each.get("securityContext", {})
        merged = {**pod, **own}
        capabilities = own.get("capabilities", {})
        probes = [each[name] for name in ("startupProbe", "livenessProbe", "readinessProbe") if name in each]
        probes += each.get("lifecycle", {}).values()
        checks = {
            "privileged": not own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities": capabilities.get("drop") == ["ALL"]
            and set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
            "runAsNonRoot": merged.get("runAsNonRoot") is True,
            "runAsUser": merged.get("runAsUser") != 0,
            "seccompProfile": merged.get("seccompProfile", {}).get("type") in ("RuntimeDefault", "Localhost"),
            "procMount": own.get("procMount", "Default") == "Default",
            "hostPort": not any("hostPort" in port for port in each.get("ports", [])),
            "host": not any(
                "host" in probe.get("httpGet", {}) or "host" in probe.get("tcpSocket", {}) for probe in probes
            ),
        }
        faults += [f"{each['name']}: {name}" for name, fine in checks.items() if not fine]
    return faults


@every_set
def test_pods_are_restricted(name: str) -> None:
    labels = find(load_set(name), "Namespace", "animegan")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert [(pod, what) for pod, template in pods(load_set(name)).items() for what in loose(template)] == []


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("spec", {"hostPID": True}),
        ("spec", {"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}),
        ("pod", {"runAsNonRoot": False}),
        ("pod", {"seccompProfile": {"type": "Unconfined"}}),
        ("container", {"allowPrivilegeEscalation": True}),
        ("container", {"capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE"]}}),
        ("container", {"capabilities": {}}),
        ("container", {"runAsUser": 0}),
        ("container", {"privileged": True}),
    ],
)
def test_a_loose_pod_would_be_seen(where: str, change: Manifest) -> None:
    template = copy.deepcopy(pods(load_set("cpu"))["torchserve"])
    spec = template["spec"]
    target = {"spec": spec, "pod": spec["securityContext"], "container": spec["containers"][0]["securityContext"]}[
        where
    ]
    target.update(change)
    assert loose(template) != []


@every_set
def test_pods_have_no_more_than_they_need(name: str) -> None:
    for pod, template in pods(load_set(name)).items():
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, pod
        # Else a Service named animegan-gateway would set ANIMEGAN_GATEWAY_PORT to tcp://...
        assert spec["enableServiceLinks"] is False, pod
    for path, each in containers(load_set(name)):
        assert each["securityContext"]["readOnlyRootFilesystem"] is True, path
        resources = each["resources"]
        assert resources["requests"].keys() >= {"cpu", "memory"}, path
        assert resources["limits"].keys() >= {"cpu", "memory"}, path
        # What is killed for its memory had what it asked for.
        assert resources["requests"]["memory"] == resources["limits"]["memory"], path
        assert {"startupProbe", "livenessProbe"} <= each.keys(), path


@every_set
def test_the_containers_of_torchserves_pod_can_see_each_other(name: str) -> None:
    spec = pods(load_set(name))["torchserve"]["spec"]
    assert spec["shareProcessNamespace"] is True
    assert len({each["image"] for each in spec["containers"]}) == 1
    assert all("runAsUser" not in each["securityContext"] for each in spec["containers"]), "the agent ends workers"
