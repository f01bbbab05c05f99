"""NetworkPolicies as a network plugin would read them: may this pod reach that one at a port?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Policy = Mapping[str, Any]
Labels = Mapping[str, str]


@dataclass(frozen=True)
class End:
    """A pod, by its labels and its namespace; or, without a namespace, an address outside the cluster."""

    namespace: str = ""
    labels: Labels = field(default_factory=dict)
    address: str = ""


@dataclass(frozen=True)
class Port:
    number: int
    protocol: str = "TCP"


def reaches(policies: Sequence[Policy], source: End, target: End, port: Port) -> bool:
    """Return whether the policies of both ends let the connection through."""
    return _lets(policies, "Egress", source, target, port) and _lets(policies, "Ingress", target, source, port)


def _lets(policies: Sequence[Policy], direction: str, pod: End, other: End, port: Port) -> bool:
    """A pod that no policy of that direction selects is open; else some rule has to name the other end and the port.

    A rule that names no end means all of them, and so with ports.
    """
    applicable = [each for each in policies if direction in each["spec"]["policyTypes"] and _selects(each, pod)]
    way, ends = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    rules = [rule for policy in applicable for rule in policy["spec"].get(way, [])]
    return not applicable or any(
        _names(rule.get(ends), pod, other) and _opens(rule.get("ports"), port) for rule in rules
    )


def _selects(policy: Policy, pod: End) -> bool:
    same = policy["metadata"]["namespace"] == pod.namespace
    return same and _matches(policy["spec"]["podSelector"], pod.labels)


def _names(peers: Sequence[Mapping[str, Any]] | None, pod: End, other: End) -> bool:
    return not peers or any(_is(peer, pod, other) for peer in peers)


def _is(peer: Mapping[str, Any], pod: End, other: End) -> bool:
    if block := peer.get("ipBlock"):
        assert block.keys() == {"cidr"}, "no more of it is read here"
        return bool(other.address) and ip_address(other.address) in ip_network(block["cidr"])
    if not other.namespace:
        return False
    if (spaces := peer.get("namespaceSelector")) is None:
        there = other.namespace == pod.namespace
    else:
        there = _matches(spaces, {"kubernetes.io/metadata.name": other.namespace})
    return there and _matches(peer.get("podSelector", {}), other.labels)


def _opens(ports: Sequence[Mapping[str, Any]] | None, port: Port) -> bool:
    return not ports or any(Port(each["port"], each.get("protocol", "TCP")) == port for each in ports)


def _matches(selector: Mapping[str, Any], labels: Labels) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items()) and all(
        _holds(each, labels) for each in selector.get("matchExpressions", [])
    )


def _holds(expression: Mapping[str, Any], labels: Labels) -> bool:
    assert expression["operator"] == "In", "no other is read here"
    return labels.get(expression["key"]) in expression["values"]
