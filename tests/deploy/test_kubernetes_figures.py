"""Figures of the manifests that have to agree with the code and with each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from animegan.settings import Settings as HandlerSettings
from animegan_agent.settings import Settings as AgentSettings
from animegan_cli.serving.torchserve import address, read_properties
from animegan_gateway.__main__ import LAST_ANSWERS_S
from animegan_gateway.settings import Settings as GatewaySettings
from animegan_service.protocol import CANCEL_FOLDER
from harness.deployment.manifests import (
    container,
    containers,
    default,
    every_set,
    find,
    kept_by_redis,
    load_set,
    pods,
    quantity,
    variables,
)
from harness.servers import ROOT

MODEL: dict[str, Any] = yaml.safe_load((ROOT / "config/model-config.yaml").read_text())
PROPERTIES = read_properties(ROOT / "config/config.properties")


def test_ports_are_those_that_the_parts_listen_on() -> None:
    ports = {
        path: {port["name"]: port["containerPort"] for port in each["ports"]}
        for path, each in containers(load_set("cpu"))
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
    for path, each in containers(load_set(name)):
        values = variables(each)
        for prefix, settings in prefixes.items():
            fields = {
                key.removeprefix(prefix).lower(): value for key, value in values.items() if key.startswith(prefix)
            }
            for field, value in fields.items():
                monkeypatch.setenv(f"{prefix}{field.upper()}", value or "redis://elsewhere:6379/0")
            loaded = settings.load()
            for field in fields:
                assert getattr(loaded, field) != default(settings, field), f"{path}: {field}"
        rest = {key for key in values if key.startswith("ANIMEGAN_") and not key.startswith(tuple(prefixes))}
        assert rest <= others, path


def test_the_gateway_reads_keys_where_they_are_mounted() -> None:
    spec = pods(load_set("cpu"))["gateway"]["spec"]
    [one] = spec["containers"]
    [mount] = [mount for mount in one["volumeMounts"] if mount["name"] == "keys"]
    assert mount["mountPath"] == variables(one)["ANIMEGAN_GATEWAY_KEYS_FOLDER"]
    assert "subPath" not in mount, "a file alone is never brought up to date"
    assert {"name": "keys", "secret": {"secretName": "animegan-keys"}} in spec["volumes"]


def test_what_a_secret_gives_comes_before_what_uses_it() -> None:
    names = list(variables(container(load_set("cpu"), "gateway/gateway")))
    assert names.index("REDIS_PASSWORD") < names.index("ANIMEGAN_GATEWAY_STORE")


@every_set
def test_each_part_has_time_to_end(name: str) -> None:
    gateway, torchserve = (pods(load_set(name))[pod]["spec"] for pod in ("gateway", "torchserve"))
    waits = gateway["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    ends = waits + default(GatewaySettings, "drain_s") + LAST_ANSWERS_S
    assert ends <= gateway["terminationGracePeriodSeconds"] < ends + 15
    slowest = MODEL["responseTimeout"]
    agent = container(load_set(name), "torchserve/agent")
    assert float(variables(agent)["ANIMEGAN_AGENT_IDLE_WITHIN_S"]) == slowest
    assert slowest < torchserve["terminationGracePeriodSeconds"] <= slowest + 60
    drain = {"exec": {"command": ["animegan", "workers", "drain"]}}
    assert [each["lifecycle"]["preStop"] for each in torchserve["containers"]] == [drain, drain]
    assert find(load_set(name), "Deployment", "torchserve")["spec"]["progressDeadlineSeconds"] > MODEL["startupTimeout"]


@pytest.mark.parametrize("name", ["cpu", "gpu", "everything"])
def test_an_update_takes_none_away_before_the_next_is_ready(name: str) -> None:
    for part in ("gateway", "torchserve"):
        strategy = find(load_set(name), "Deployment", part)["spec"]["strategy"]
        first = (
            "maxUnavailable" if (name, part) == ("gpu", "torchserve") else "maxSurge"
        )  # no GPU may be left for one more
        assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0, first: 1}}


def test_the_proxy_leaves_the_judging_to_the_gateway() -> None:
    [ingress] = [each for each in load_set("everything") if each["kind"] == "Ingress"]
    annotations = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
    assert annotations["proxy-buffering"] == annotations["proxy-request-buffering"] == "off"
    assert int(annotations["proxy-body-size"].removesuffix("m")) > default(HandlerSettings, "max_upload_mb")
    assert float(annotations["proxy-read-timeout"]) > default(GatewaySettings, "stylize_timeout_s")


RESULT_BYTES = 256 * 2**10  # photos drawn at 1024 px take 70 to 280 kB


def test_redis_has_room_for_a_busy_hour_and_a_copy_of_what_changes() -> None:
    redis, settings = (
        container(load_set("cpu"), "redis/redis"),
        variables(container(load_set("cpu"), "gateway/gateway")),
    )
    day = json.loads((ROOT / "benchmarks" / "results" / "day.json").read_text())
    busiest_per_s = max(day["series"]["load"]) / day["drawing_s"]
    [most] = [word.split()[1] for word in redis["args"] if word.startswith("--maxmemory ")]
    capacity = quantity(most.removesuffix("gb") + "Gi")
    limit = quantity(redis["resources"]["limits"]["memory"])
    results = busiest_per_s * int(settings["ANIMEGAN_GATEWAY_KEEP_S"]) * RESULT_BYTES
    assert capacity > 1.4 * int(settings["ANIMEGAN_GATEWAY_QUEUE_MB"]) * 2**20 + results
    assert limit > 1.25 * capacity
    [claim] = find(load_set("cpu"), "StatefulSet", "redis")["spec"]["volumeClaimTemplates"]
    assert quantity(claim["spec"]["resources"]["requests"]["storage"]) >= 3 * capacity


def test_sqlites_volume_has_room_for_the_queue() -> None:
    claim = find(load_set("one-node"), "PersistentVolumeClaim", "gateway")
    assert (
        quantity(claim["spec"]["resources"]["requests"]["storage"]) > 2 * default(GatewaySettings, "queue_mb") * 2**20
    )
    gateway = find(load_set("one-node"), "Deployment", "gateway")["spec"]
    assert (gateway["replicas"], gateway["strategy"]) == (1, {"type": "Recreate"})
    assert not any(
        "REDIS" in key or key.endswith("_STORE")
        for key in variables(container(load_set("one-node"), "gateway/gateway"))
    )


def test_redis_keeps_what_the_gateway_asks_it_to_keep(tmp_path: Path) -> None:
    assert kept_by_redis(container(load_set("cpu"), "redis/redis")["args"], tmp_path) == {
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory": str(3 * 2**30),
        "maxmemory-policy": "noeviction",
    }
