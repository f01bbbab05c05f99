"""The addresses of the services that `scripts/serve` starts: by option, else by variable, else by configuration."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from animegan.errors import BadSetting
from animegan_cli.serving.ports import check_free, free_port
from animegan_cli.serving.torchserve import Address, address

PORTS = ("inference", "management", "metrics")
HOSTS = ("inference", "metrics")  # who reaches the management API commands the server: it stays where it is configured
GRPC_PORTS = ("grpc_inference", "grpc_management")
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what it means, not where to listen


@dataclass(frozen=True)
class Place:
    """An address to listen at, and the option that asks for another port."""

    address: Address
    way_out: str


def torchserves(options: argparse.Namespace, properties: Mapping[str, str]) -> dict[str, Place]:
    """Return TorchServe's three addresses by name; port 0 becomes a free one. Raises `BadSetting`."""
    places = {}
    for name in PORTS:
        configured = address(properties, f"{name}_address")
        host = (name in HOSTS and os.environ.get(f"ANIMEGAN_{name.upper()}_HOST")) or configured.host
        variable = f"ANIMEGAN_{name.upper()}_PORT"
        default = port(os.environ.get(variable) or None, variable, configured.port)
        number = port(getattr(options, f"{name}_port"), f"--{name}-port", default)
        places[name] = Place(listening(host, number), f"--{name}-port ")
    return places


def listening(host: str, number: int) -> Address:
    """Return the address; port 0 becomes a free one. Raises `BadSetting`."""
    if ":" in host:
        raise BadSetting(f"Nothing here listens on {host}. Use an IPv4 address; 0.0.0.0 is all of them.")
    return Address(host, number or free_port(host))


def port(text: str | None, origin: str, default: int) -> int:
    """Return the port that the option or the variable names, 0 for a free one. Raises `BadSetting`."""
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or int(text) > 65535:
        raise BadSetting(f"{origin}={text} is not a port. Use a number from 0 (a free one) to 65535.")
    return int(text)


def from_here(there: Address) -> Address:
    """Return the address under which this machine reaches the server."""
    return Address("127.0.0.1", there.port) if there.host == EVERYWHERE else there


def check(places: Mapping[str, Place], properties: Mapping[str, str]) -> None:
    """Raise `BadSetting` unless each port is one of its own and free, gRPC's too."""
    users: dict[int, str] = {}
    agent, inference = places.get("agent"), places["inference"]
    if agent and from_here(agent.address).host != from_here(inference.address).host:
        raise BadSetting(
            f"The agent listens on {agent.address.host} and TorchServe's inference API on {inference.address.host}; "
            "gateways ask both under one name. Set ANIMEGAN_AGENT_HOST and ANIMEGAN_INFERENCE_HOST to the same."
        )
    for name, place in places.items():
        number = place.address.port
        if number in users:
            raise BadSetting(
                f"Port {number} is to serve both {users[number]} and {name}. Move one: {place.way_out}PORT."
            )
        users[number] = name
        way_out = f"Stop that, or take another port: {place.way_out}PORT (0: a free one)."
        check_free(place.address.host, number, name, way_out)
    for name in GRPC_PORTS:
        text = properties.get(f"{name}_port", "0")
        if not re.fullmatch(r"\d{1,5}", text, re.ASCII):
            raise BadSetting(f"{name}_port={text} in config.properties is not a port.")
        if int(text):
            host = properties.get(f"{name}_address", "127.0.0.1")
            check_free(host, int(text), name, f"Stop that, or set {name}_port=0 in config.properties.")
