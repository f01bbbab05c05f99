"""Who reaches whom in the cluster, and that the page says so."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import product

import yaml

from docs.pages import code, tables
from harness.deployment.manifests import (
    container,
    every_set,
    load_set,
    of_ones_own,
)
from harness.deployment.policies import End, Policy, Port, reaches


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
PER_SET = {
    "cpu": {("gateway", "redis", 6379)},
    "gpu": {("gateway", "redis", 6379)},
    "one-node": set(),
    "everything": {("gateway", "redis", 6379), ("keda", "redis", 6379)},
    "redis elsewhere": {("gateway", "redis elsewhere", 6379)},
}


def paths(policies: list[Policy]) -> set[tuple[str, str, int]]:
    """Every pair and port that the policies let through, of those that begin or end at a pod of ours."""
    inside = {"gateway", "torchserve", "redis", "a pod beside them"}
    return {
        (source, target, port.number)
        for source, target, port in product(ENDS, ENDS, PORTS)
        if source != target and inside & {source, target} and reaches(policies, ENDS[source], ENDS[target], port)
    }


def policies_of(name: str) -> list[Policy]:
    return [each for each in load_set(name) if each["kind"] == "NetworkPolicy"]


@every_set
def test_who_reaches_whom(name: str) -> None:
    assert paths(policies_of(name)) == IN_EVERY_SET | PER_SET[name]


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
    whole = paths(policies)
    # DNS over TCP is for long answers: the table has both protocols as one.
    idle = [what for what, rest in fewer(policies) if paths(rest) == whole]
    assert idle == ["gateway, egress 1, ports 0", "gateway, egress 1, ports 1"]
    assert paths([]) > whole


def test_nothing_but_the_gateway_is_reached_from_outside() -> None:
    for each in load_set("everything"):
        if each["kind"] == "Service":
            assert each["spec"].get("type", "ClusterIP") == "ClusterIP"
    [ingress] = [each for each in load_set("everything") if each["kind"] == "Ingress"]
    backends = [path["backend"]["service"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    assert backends == [{"name": "gateway", "port": {"name": "http"}}]


PAGE = "docs/operations/kubernetes.md"


def test_the_page_says_who_reaches_whom() -> None:
    aliases = {
        "the ingress controller": {"ingress-nginx", "k3s's traefik"},
        "Prometheus": {"prometheus"},
        "KEDA, with its component": {"keda"},
        "the cluster's DNS": {"dns"},
    }
    [rows] = [rows for rows in tables(PAGE) if rows[0][0] == "the ingress controller"]
    assert IN_EVERY_SET | PER_SET["everything"] == {
        (source, target, int(port))
        for row in rows
        for source in aliases.get(row[0], {row[0]})
        for target in aliases.get(row[1], {row[1]})
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
