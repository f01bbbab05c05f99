"""The manifests: what Kubernetes takes, how closely pods are confined, who reaches whom, and that one runs for real."""

from __future__ import annotations

import copy
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
import yaml
from PIL import Image

from animegan.settings import Settings as HandlerSettings
from animegan_agent.settings import Settings as AgentSettings
from animegan_cli.serving.torchserve import address, read_properties
from animegan_gateway.__main__ import LAST_ANSWERS_S
from animegan_gateway.queue.jobs import State
from animegan_gateway.queue.redis_store import RedisStore
from animegan_gateway.settings import Settings as GatewaySettings
from animegan_service.bell import Bell
from animegan_service.protocol import CANCEL_FOLDER
from docs.pages import code, tables
from harness.deployment import networks
from harness.deployment.containers import built_image, missing, podman
from harness.deployment.manifests import (
    FOLDER,
    Manifest,
    composed,
    container,
    containers,
    kept_by_redis,
    named,
    of_ones_own,
    pods,
    quantity,
    variables,
)
from harness.deployment.networks import Network, own_network
from harness.deployment.policies import End, Policy, Port, reaches
from harness.pictures import encoded, photo
from harness.servers import ROOT, wait_until
from harness.stores import redis_server, submitted
from tools import prometheus_rule

SETS = {
    "cpu": ("overlays/cpu",),
    "gpu": ("overlays/gpu",),
    "one-node": ("overlays/one-node",),
    "everything": ("overlays/cpu", "ingress", "keda", "prometheus-operator"),
    "redis elsewhere": ("base", "redis-elsewhere", "hpa"),
}
VERSIONS = ("1.30.0", "1.37.0")  # the first that has what the manifests need, and the newest whose schemas are here
SCHEMAS = {file.stem: json.loads(file.read_text()) for file in (ROOT / "tests/deploy/schemas").glob("*.json")}
MODEL: dict[str, Any] = yaml.safe_load((ROOT / "config/model-config.yaml").read_text())
PROPERTIES = read_properties(ROOT / "config/config.properties")

every_set = pytest.mark.parametrize("name", SETS)


def made(name: str) -> tuple[Manifest, ...]:
    return composed(*SETS[name])


def default(settings: type[GatewaySettings | AgentSettings | HandlerSettings], name: str) -> Any:
    return settings.model_fields[name].default


# ---- What Kubernetes takes -------------------------------------------------------------------------------------------


def validated(manifests: Iterable[Manifest], version: str, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(manifests))
    tool = Path(sys.prefix) / "bin" / "kubernetes-validate"
    words = [str(tool), "--strict", "--kubernetes-version", version, str(file)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_all_of_it(version: str, tmp_path: Path) -> None:
    builtin = [each for name in SETS for each in made(name) if each["kind"] not in SCHEMAS]
    done = validated(builtin, version, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_misspelt_key_would_be_seen(tmp_path: Path) -> None:
    wrong = copy.deepcopy(named(made("cpu"), "Deployment", "gateway"))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    done = validated([wrong], VERSIONS[-1], tmp_path)
    assert done.returncode != 0
    assert "livenesProbe" in done.stdout + done.stderr


@every_set
def test_its_custom_resources_fit_their_schemas(name: str) -> None:
    for each in made(name):
        if schema := SCHEMAS.get(each["kind"]):
            jsonschema.validate(each, schema)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_key_that_a_custom_resource_has_not_would_be_seen(kind: str) -> None:
    [first, *_] = [each for each in made("everything") if each["kind"] == kind]
    with pytest.raises(jsonschema.ValidationError, match="misspelt"):
        jsonschema.validate({**first, "spec": {**first["spec"], "misspelt": 1}}, SCHEMAS[kind])


@every_set
def test_what_it_refers_to_is_there(name: str) -> None:
    manifests = made(name)
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
            assert "replicas" not in named(manifests, target["kind"], target["name"])["spec"], (
                "they are not ours to set"
            )
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
            ports = {port["name"] for port in named(manifests, "Service", backend["name"])["spec"]["ports"]}
            assert backend["port"]["name"] in ports
    for template in pods(manifests).values():
        for volume in template["spec"].get("volumes", []):
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] in claims


@pytest.mark.parametrize("part", ["gateway", "torchserve"])
def test_pods_are_spread_over_nodes_and_zones(part: str) -> None:
    template = pods(made("cpu"))[part]
    spread = template["spec"]["topologySpreadConstraints"]
    assert {each["topologyKey"] for each in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert all(each["labelSelector"]["matchLabels"] == template["metadata"]["labels"] for each in spread)
    named(made("cpu"), "PodDisruptionBudget", part)


def test_one_autoscaler_at_a_time() -> None:
    kinds = [each["kind"] for each in made("everything")]
    assert "ScaledObject" in kinds
    assert "HorizontalPodAutoscaler" not in kinds


# ---- How closely pods are confined -----------------------------------------------------------------------------------


VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def loose(template: Manifest) -> list[str]:
    """What the pod-security standard "restricted" would refuse in a pod without Windows and init containers."""
    spec = template["spec"]
    pod = spec.get("securityContext", {})
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    found += [f"{name} in the pod" for name in ("sysctls", "seLinuxOptions", "appArmorProfile") if name in pod]
    found += [f"volume {kind}" for each in spec.get("volumes", []) for kind in each.keys() - {"name"} - VOLUMES]
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
        found += [f"{each['name']}: {name}" for name, fine in checks.items() if not fine]
    return found


@every_set
def test_pods_are_restricted(name: str) -> None:
    labels = named(made(name), "Namespace", "animegan")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert [(pod, what) for pod, template in pods(made(name)).items() for what in loose(template)] == []


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
    template = copy.deepcopy(pods(made("cpu"))["torchserve"])
    spec = template["spec"]
    target = {"spec": spec, "pod": spec["securityContext"], "container": spec["containers"][0]["securityContext"]}[
        where
    ]
    target.update(change)
    assert loose(template) != []


@every_set
def test_pods_have_no_more_than_they_need(name: str) -> None:
    for pod, template in pods(made(name)).items():
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, pod
        # Else a Service named animegan-gateway would set ANIMEGAN_GATEWAY_PORT to tcp://...
        assert spec["enableServiceLinks"] is False, pod
    for path, each in containers(made(name)):
        assert each["securityContext"]["readOnlyRootFilesystem"] is True, path
        resources = each["resources"]
        assert resources["requests"].keys() >= {"cpu", "memory"}, path
        assert resources["limits"].keys() >= {"cpu", "memory"}, path
        # What is killed for its memory had what it asked for.
        assert resources["requests"]["memory"] == resources["limits"]["memory"], path
        assert {"startupProbe", "livenessProbe"} <= each.keys(), path


@every_set
def test_the_containers_of_torchserves_pod_can_see_each_other(name: str) -> None:
    spec = pods(made(name))["torchserve"]["spec"]
    assert spec["shareProcessNamespace"] is True
    assert len({each["image"] for each in spec["containers"]}) == 1
    assert all("runAsUser" not in each["securityContext"] for each in spec["containers"]), "the agent ends workers"


# ---- Who reaches whom ------------------------------------------------------------------------------------------------


def ours(component: str) -> End:
    return End("animegan", {"app.kubernetes.io/name": "animegan", "app.kubernetes.io/component": component})


ENDS = {
    "gateway": ours("gateway"),
    "torchserve": ours("torchserve"),
    "redis": ours("redis"),
    "a pod beside them": End("animegan", {"app.kubernetes.io/name": "other"}),
    "a pod elsewhere": End("default", {"app.kubernetes.io/name": "animegan", "app.kubernetes.io/component": "gateway"}),
    "ingress-nginx": End("ingress-nginx", {"app.kubernetes.io/name": "ingress-nginx"}),
    "k3s's traefik": End("kube-system", {"app.kubernetes.io/name": "traefik"}),
    "a pod of the system": End("kube-system", {"k8s-app": "metrics-server"}),
    "dns": End("kube-system", {"k8s-app": "kube-dns"}),
    "prometheus": End("monitoring", {"app.kubernetes.io/name": "prometheus"}),
    "grafana": End("monitoring", {"app.kubernetes.io/name": "grafana"}),
    "keda": End("keda", {"app": "keda-operator"}),
    "redis elsewhere": End(address="192.0.2.10"),
    "the internet": End(address="198.51.100.1"),
}
PORTS = [Port(number) for number in (53, 80, 443, 6379, 8000, 8001, 8080, 8081, 8082, 8083, 8084, 9090)] + [
    Port(53, "UDP")
]
IN_EVERY_SET = {
    ("ingress-nginx", "gateway", 8000),
    ("k3s's traefik", "gateway", 8000),
    ("gateway", "torchserve", 8080),
    ("gateway", "torchserve", 8083),
    ("prometheus", "gateway", 8001),
    ("prometheus", "torchserve", 8082),
    ("prometheus", "torchserve", 8084),
    ("gateway", "dns", 53),
}
REACHED = {
    "cpu": {("gateway", "redis", 6379)},
    "gpu": {("gateway", "redis", 6379)},
    "one-node": set(),
    "everything": {("gateway", "redis", 6379), ("keda", "redis", 6379)},
    "redis elsewhere": {("gateway", "redis elsewhere", 6379)},
}


def reached(policies: list[Policy]) -> set[tuple[str, str, int]]:
    """Every pair and port that the policies let through, of those that begin or end at a pod of ours."""
    inside = {"gateway", "torchserve", "redis", "a pod beside them"}
    return {
        (source, target, port.number)
        for source, target, port in product(ENDS, ENDS, PORTS)
        if source != target and inside & {source, target} and reaches(policies, ENDS[source], ENDS[target], port)
    }


def policies_of(name: str) -> list[Policy]:
    return [each for each in made(name) if each["kind"] == "NetworkPolicy"]


@every_set
def test_who_reaches_whom(name: str) -> None:
    assert reached(policies_of(name)) == IN_EVERY_SET | REACHED[name]


def fewer(policies: list[Policy]) -> Iterator[tuple[str, list[Policy]]]:
    """The policies without one of them, without one rule, and with one of several peers or ports less."""
    for index, policy in enumerate(policies):
        name = policy["metadata"]["name"]
        yield name, policies[:index] + policies[index + 1 :]
        for way, ends in (("ingress", "from"), ("egress", "to")):
            for number, rule in enumerate(policy["spec"].get(way, [])):
                copied = copy.deepcopy(policies)
                del copied[index]["spec"][way][number]
                yield f"{name}, {way} {number}", copied
                for key in (ends, "ports"):
                    for entry in range(len(rule[key]) if len(rule[key]) > 1 else 0):
                        copied = copy.deepcopy(policies)
                        del copied[index]["spec"][way][number][key][entry]
                        yield f"{name}, {way} {number}, {key} {entry}", copied


def test_no_rule_is_idle() -> None:
    policies = policies_of("everything")
    whole = reached(policies)
    # DNS over TCP is for long answers: the table has both protocols as one.
    idle = [what for what, rest in fewer(policies) if reached(rest) == whole]
    assert idle == ["gateway, egress 1, ports 0", "gateway, egress 1, ports 1"]
    assert reached([]) > whole


def test_nothing_but_the_gateway_is_reached_from_outside() -> None:
    for each in made("everything"):
        if each["kind"] == "Service":
            assert each["spec"].get("type", "ClusterIP") == "ClusterIP"
    [ingress] = [each for each in made("everything") if each["kind"] == "Ingress"]
    backends = [path["backend"]["service"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    assert backends == [{"name": "gateway", "port": {"name": "http"}}]


# ---- Figures that have to agree --------------------------------------------------------------------------------------


def test_ports_are_those_that_the_parts_listen_on() -> None:
    ports = {
        path: {port["name"]: port["containerPort"] for port in each["ports"]} for path, each in containers(made("cpu"))
    }
    assert ports["gateway/gateway"] == {
        "http": default(GatewaySettings, "port"),
        "metrics": default(GatewaySettings, "metrics_port"),
    }
    assert ports["torchserve/torchserve"] == {
        "inference": address(PROPERTIES, "inference_address").port,
        "metrics": address(PROPERTIES, "metrics_address").port,
    }
    assert ports["torchserve/agent"] == {
        "agent": default(AgentSettings, "port"),
        "agent-metrics": default(AgentSettings, "metrics_port"),
    }
    management = address(PROPERTIES, "management_address")
    assert management.host == "127.0.0.1"
    assert management.port not in {port for each in ports.values() for port in each.values()}


@every_set
def test_settings_are_known_and_no_defaults(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prefixes: dict[str, type[GatewaySettings | AgentSettings]] = {
        "ANIMEGAN_GATEWAY_": GatewaySettings,
        "ANIMEGAN_AGENT_": AgentSettings,
    }
    others = {"ANIMEGAN_INFERENCE_HOST", "ANIMEGAN_METRICS_HOST", CANCEL_FOLDER}
    for path, each in containers(made(name)):
        given = variables(each)
        for prefix, settings in prefixes.items():
            fields = {key.removeprefix(prefix).lower(): value for key, value in given.items() if key.startswith(prefix)}
            for field, value in fields.items():
                monkeypatch.setenv(f"{prefix}{field.upper()}", value or "redis://elsewhere:6379/0")
            loaded = settings.load()
            for field in fields:
                assert getattr(loaded, field) != default(settings, field), f"{path}: {field}"
        rest = {key for key in given if key.startswith("ANIMEGAN_") and not key.startswith(tuple(prefixes))}
        assert rest <= others, path


def test_the_gateway_reads_keys_where_they_are_mounted() -> None:
    spec = pods(made("cpu"))["gateway"]["spec"]
    [one] = spec["containers"]
    [mount] = [mount for mount in one["volumeMounts"] if mount["name"] == "keys"]
    assert mount["mountPath"] == variables(one)["ANIMEGAN_GATEWAY_KEYS_FOLDER"]
    assert "subPath" not in mount, "a file alone is never brought up to date"
    assert {"name": "keys", "secret": {"secretName": "animegan-keys"}} in spec["volumes"]


def test_what_a_secret_gives_comes_before_what_uses_it() -> None:
    names = list(variables(container(made("cpu"), "gateway/gateway")))
    assert names.index("REDIS_PASSWORD") < names.index("ANIMEGAN_GATEWAY_STORE")


@every_set
def test_each_part_has_time_to_end(name: str) -> None:
    gateway, torchserve = (pods(made(name))[pod]["spec"] for pod in ("gateway", "torchserve"))
    waits = gateway["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    ends = waits + default(GatewaySettings, "drain_s") + LAST_ANSWERS_S
    assert ends <= gateway["terminationGracePeriodSeconds"] < ends + 15
    slowest = MODEL["responseTimeout"]
    agent = container(made(name), "torchserve/agent")
    assert float(variables(agent)["ANIMEGAN_AGENT_IDLE_WITHIN_S"]) == slowest
    assert slowest < torchserve["terminationGracePeriodSeconds"] <= slowest + 60
    drain = {"exec": {"command": ["animegan", "workers", "drain"]}}
    assert [each["lifecycle"]["preStop"] for each in torchserve["containers"]] == [drain, drain]
    assert named(made(name), "Deployment", "torchserve")["spec"]["progressDeadlineSeconds"] > MODEL["startupTimeout"]


@pytest.mark.parametrize("name", ["cpu", "gpu", "everything"])
def test_an_update_takes_none_away_before_the_next_is_ready(name: str) -> None:
    for part in ("gateway", "torchserve"):
        strategy = named(made(name), "Deployment", part)["spec"]["strategy"]
        first = (
            "maxUnavailable" if (name, part) == ("gpu", "torchserve") else "maxSurge"
        )  # no GPU may be left for one more
        assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0, first: 1}}


def test_the_proxy_leaves_the_judging_to_the_gateway() -> None:
    [ingress] = [each for each in made("everything") if each["kind"] == "Ingress"]
    told = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
    assert told["proxy-buffering"] == told["proxy-request-buffering"] == "off"
    assert int(told["proxy-body-size"].removesuffix("m")) > default(HandlerSettings, "max_upload_mb")
    assert float(told["proxy-read-timeout"]) > default(GatewaySettings, "stylize_timeout_s")


RESULT_BYTES = 256 * 2**10  # photos drawn at 1024 px take 70 to 280 kB


def test_redis_has_room_for_a_busy_hour_and_a_copy_of_what_changes() -> None:
    redis, settings = container(made("cpu"), "redis/redis"), variables(container(made("cpu"), "gateway/gateway"))
    day = json.loads((ROOT / "benchmarks" / "results" / "day.json").read_text())
    busiest_per_s = max(day["series"]["load"]) / day["drawing_s"]
    [most] = [word.split()[1] for word in redis["args"] if word.startswith("--maxmemory ")]
    held = quantity(most.removesuffix("gb") + "Gi")
    limit = quantity(redis["resources"]["limits"]["memory"])
    kept = busiest_per_s * int(settings["ANIMEGAN_GATEWAY_KEEP_S"]) * RESULT_BYTES
    assert held > 1.4 * int(settings["ANIMEGAN_GATEWAY_QUEUE_MB"]) * 2**20 + kept
    assert limit > 1.25 * held
    [claim] = named(made("cpu"), "StatefulSet", "redis")["spec"]["volumeClaimTemplates"]
    assert quantity(claim["spec"]["resources"]["requests"]["storage"]) >= 3 * held


def test_sqlites_volume_has_room_for_the_queue() -> None:
    claim = named(made("one-node"), "PersistentVolumeClaim", "gateway")
    assert (
        quantity(claim["spec"]["resources"]["requests"]["storage"]) > 2 * default(GatewaySettings, "queue_mb") * 2**20
    )
    gateway = named(made("one-node"), "Deployment", "gateway")["spec"]
    assert (gateway["replicas"], gateway["strategy"]) == (1, {"type": "Recreate"})
    assert not any(
        "REDIS" in key or key.endswith("_STORE") for key in variables(container(made("one-node"), "gateway/gateway"))
    )


def test_redis_keeps_what_the_gateway_asks_it_to_keep(tmp_path: Path) -> None:
    assert kept_by_redis(container(made("cpu"), "redis/redis")["args"], tmp_path) == {
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory": str(3 * 2**30),
        "maxmemory-policy": "noeviction",
    }


# ---- Scaling and monitoring ------------------------------------------------------------------------------------------


def test_both_autoscalers_aim_at_the_same() -> None:
    hpa = named(made("cpu"), "HorizontalPodAutoscaler", "torchserve")["spec"]
    keda = named(made("everything"), "ScaledObject", "torchserve")["spec"]
    waiting, running = (metric["external"]["target"] for metric in hpa["metrics"])
    assert {waiting["type"], running["type"]} == {trigger["metricType"] for trigger in keda["triggers"]}
    assert [waiting["averageValue"], running["averageValue"]] == [
        keda["triggers"][0]["metadata"]["listLength"],
        keda["triggers"][1]["metadata"]["streamLength"],
    ]
    assert hpa["maxReplicas"] == keda["maxReplicaCount"]
    assert hpa["behavior"] == keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert keda["minReplicaCount"] == 0


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_keda_finds_the_jobs_where_it_looks(tmp_path: Path) -> None:
    triggers = named(made("everything"), "ScaledObject", "torchserve")["spec"]["triggers"]
    line, leases = triggers[0]["metadata"]["listName"], triggers[1]["metadata"]["stream"]
    with redis_server(tmp_path / "redis") as server:
        store = RedisStore(server.url, Bell(), lease_s=9)
        await store.open()
        try:

            async def figures() -> tuple[int, int]:
                """As KEDA's scalers `redis` and `redis-streams` count: ZCARD of a sorted set, XLEN of a stream."""
                return await store._redis.zcard(line), await store._redis.xlen(leases)

            assert await figures() == (0, 0)
            for _ in range(3):
                await submitted(store)
            assert await figures() == (3, 0)
            job = await store.take("gateway", idle=True)
            assert job
            assert await figures() == (2, 1)
            await store.move(job.id, State.DONE)
            assert await figures() == (2, 0)
        finally:
            await store.close()


def promtool(rules: Manifest, test: Manifest, folder: Path) -> None:
    """Have promtool test the rules."""
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian: prometheus)")
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    (folder / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", **test}))
    done = subprocess.run(
        ["promtool", "test", "rules", folder / "test.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_adapter_serves_what_the_autoscaler_asks_for(tmp_path: Path) -> None:
    rules = yaml.safe_load((FOLDER / "prometheus-adapter" / "values.yaml").read_text())["rules"]["external"]
    hpa = named(made("cpu"), "HorizontalPodAutoscaler", "torchserve")["spec"]
    served = {rule["name"]["as"]: rule for rule in rules}
    assert list(served) == [metric["external"]["metric"]["name"] for metric in hpa["metrics"]]
    where = 'namespace="animegan"'
    recorded = [
        {
            "record": name,
            "expr": rule["metricsQuery"]
            .replace("<<.Series>>", rule["seriesQuery"].partition("{")[0])
            .replace("<<.LabelMatchers>>", where),
        }
        for name, rule in served.items()
    ]
    # Two gateways, which both tell the figures of the whole queue, and another namespace.
    series = [
        {"series": f'{metric}{{namespace="{space}",pod="{pod}"{more}}}', "values": value}
        for space, pod, queued, running in (("animegan", "a", 8, 3), ("animegan", "b", 7, 3), ("other", "a", 90, 90))
        for metric, more, value in (
            ("animegan_gateway_queue_depth", "", f"{queued}x3"),
            ("animegan_gateway_jobs", ',state="running"', f"{running}x3"),
            ("animegan_gateway_jobs", ',state="done"', "500x3"),
        )
    ]
    expected = [
        {"expr": name, "eval_time": "2m", "exp_samples": [{"labels": name, "value": value}]}
        for name, value in (("animegan_waiting_jobs", 8), ("animegan_running_jobs", 3))
    ]
    promtool(
        {"groups": [{"name": "adapter", "rules": recorded}]},
        {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": expected}]},
        tmp_path,
    )


def test_the_operators_rules_are_generated() -> None:
    assert prometheus_rule.FILE.read_text() == prometheus_rule.render()


def test_the_operator_scrapes_under_the_names_that_the_rules_ask_for() -> None:
    configured = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    jobs = {
        relabeling["replacement"]
        for each in made("everything")
        if each["kind"] == "ServiceMonitor"
        for endpoint in each["spec"]["endpoints"]
        for relabeling in endpoint["relabelings"]
        if relabeling["targetLabel"] == "job"
    }
    assert jobs == {job["job_name"] for job in configured["scrape_configs"]}
    intervals = {
        endpoint["interval"]
        for each in made("everything")
        if each["kind"] == "ServiceMonitor"
        for endpoint in each["spec"]["endpoints"]
    }
    assert intervals == {configured["global"]["scrape_interval"]}


def test_a_pod_near_its_limit_is_an_alert(tmp_path: Path) -> None:
    rules = {
        "groups": [
            *named(made("everything"), "PrometheusRule", "animegan-container-memory")["spec"]["groups"],
            *named(made("everything"), "PrometheusRule", "animegan")["spec"]["groups"],
        ]
    }
    labels = 'namespace="animegan",pod="torchserve-1",container="torchserve"'
    series = [
        {"series": f'container_memory_working_set_bytes{{{labels},node="a"}}', "values": "1950x30"},
        {"series": f'kube_pod_container_resource_limits{{{labels},resource="memory"}}', "values": "2048x30"},
    ]
    firing = 'ALERTS{alertname="AnimeganMemoryNearLimit",alertstate="firing",instance="torchserve-1/torchserve"}'
    expected = {"expr": f"count({firing})", "eval_time": "20m", "exp_samples": [{"labels": "{}", "value": 1}]}
    promtool(rules, {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [expected]}]}, tmp_path)


# ---- The page --------------------------------------------------------------------------------------------------------


PAGE = "docs/operations/kubernetes.md"


def test_the_page_says_who_reaches_whom() -> None:
    called = {
        "the ingress controller": {"ingress-nginx", "k3s's traefik"},
        "Prometheus": {"prometheus"},
        "KEDA, with its component": {"keda"},
        "the cluster's DNS": {"dns"},
    }
    [rows] = [rows for rows in tables(PAGE) if rows[0][0] == "the ingress controller"]
    assert IN_EVERY_SET | REACHED["everything"] == {
        (source, target, int(port))
        for row in rows
        for source in called.get(row[0], {row[0]})
        for target in called.get(row[1], {row[1]})
        for port in row[2].split(", ")
    }


def test_the_overlay_on_the_page_can_be_built() -> None:
    [block] = [block for block in code("yaml", PAGE) if "kind: Kustomization" in block]
    kustomization = yaml.safe_load(block)
    prefix = "../animegan-serve/deploy/kubernetes/"
    for kind in ("resources", "components"):
        kustomization[kind] = [path.removeprefix(prefix) for path in kustomization[kind]]
    manifests = of_ones_own(kustomization)
    assert container(manifests, "gateway/gateway")["image"].startswith("registry.example.com/animegan-serve@sha256:")
    [ingress] = [each for each in manifests if each["kind"] == "Ingress"]
    assert ingress["spec"]["rules"][0]["host"] == "pictures.example.org"


# ---- One of them, for real -------------------------------------------------------------------------------------------


POD = "torchserve-pod-0"  # podman's name for the first of a Deployment's


@dataclass(frozen=True)
class Pod:
    """TorchServe's, reached where podman publishes its ports."""

    network: Network

    def asked(self, path: str, port: int, **more: Any) -> requests.Response | None:
        """The answer; None where nobody listens yet."""

        def ask() -> requests.Response | None:
            try:
                return requests.request("POST" if more else "GET", f"http://127.0.0.1:{port}{path}", timeout=60, **more)
            except requests.ConnectionError:
                return None

        return self.network.call(ask)

    def probed(self, name: str, probe: str) -> bool:
        """Whether a container would pass its probe."""
        one = container(made("cpu"), f"torchserve/{name}")
        [port] = [port for port in one["ports"] if port["name"] == one[probe]["httpGet"]["port"]]
        answer = self.asked(one[probe]["httpGet"]["path"], port["containerPort"])
        return answer is not None and answer.ok

    def hooked(self, name: str, hook: str) -> subprocess.CompletedProcess[str]:
        """Run a container's hook in it."""
        one = container(made("cpu"), f"torchserve/{name}")
        return podman("exec", f"{POD}-{name}", *one["lifecycle"][hook]["exec"]["command"])


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """TorchServe's Deployment, run by podman in a network of its own."""
    if lacking := missing() or networks.missing():
        pytest.skip(f"no containers here: {lacking}")
    deployment = copy.deepcopy(named(made("cpu"), "Deployment", "torchserve"))
    for each in deployment["spec"]["template"]["spec"]["containers"]:
        each["image"] = built_image()
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
    wait_until(lambda: pod.probed("agent", "readinessProbe"), "the pod")
    for name, probe in (("torchserve", "startupProbe"), ("torchserve", "livenessProbe"), ("agent", "livenessProbe")):
        assert pod.probed(name, probe)
    inference = address(PROPERTIES, "inference_address").port
    answer = pod.asked("/predictions/animegan", inference, files={"data": encoded(photo(96, 64))})
    assert answer is not None
    with Image.open(io.BytesIO(answer.content)) as drawn:
        assert drawn.size == (96, 64)
    logs = podman("logs", f"{POD}-torchserve")
    assert "is left out" not in logs.stdout + logs.stderr, "the operators are compiled ones"
    told = pod.asked("/v1/workers", default(AgentSettings, "port"))
    assert told is not None
    [worker] = told.json()["workers"]
    assert worker["memory_bytes"] > 100 * 2**20, "the agent sees the other container's processes"
    for port in (address(PROPERTIES, "metrics_address").port, default(AgentSettings, "metrics_port")):
        assert (metrics := pod.asked("/metrics", port)) is not None
        assert metrics.ok
    assert pod.asked("/models", address(PROPERTIES, "management_address").port) is None


@pytest.mark.server
def test_the_hooks_drain_the_pod_until_its_torchserve_starts_anew(pod: Pod) -> None:
    wait_until(lambda: pod.probed("agent", "readinessProbe"), "the pod")
    with ThreadPoolExecutor(2) as both:  # as Kubernetes does
        list(both.map(lambda name: pod.hooked(name, "preStop"), ("torchserve", "agent")))
    assert not pod.probed("agent", "readinessProbe")
    assert pod.probed("agent", "livenessProbe")
    podman("restart", f"{POD}-torchserve")  # as after a liveness probe in vain, whose end runs the hook too
    wait_until(lambda: pod.probed("agent", "readinessProbe"), "the pod to be ready again")


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
        limit = quantity(container(made("cpu"), f"torchserve/{name}")["resources"]["limits"]["memory"])
        assert int(podman("inspect", "--format", "{{.HostConfig.Memory}}", inside).stdout) == limit
