"""compose.yaml: what it confines and publishes, that its figures agree, and a picture through it for real."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from PIL import Image

from animegan_agent.settings import Settings as AgentSettings
from animegan_gateway.__main__ import LAST_ANSWERS_S
from animegan_gateway.settings import Settings as GatewaySettings
from harness import MIB
from harness.deployment import networks
from harness.deployment.containers import Container, ContainerImage, podman, run
from harness.deployment.light_image import stand_in
from harness.deployment.manifests import kept_by_redis
from harness.deployment.networks import Network, own_network
from harness.pictures import encoded, photo
from harness.servers import ROOT, wait_until

pytestmark = pytest.mark.slow

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]

every_service = pytest.mark.parametrize("name", SERVICES)


def memory(text: str) -> int:
    """A size as compose and Redis write it, in bytes."""
    match = re.fullmatch(r"(\d+)(m|g)b?", text)
    assert match
    return int(match[1]) * {"m": MIB, "g": 1024 * MIB}[match[2]]


# ---- As it is written ------------------------------------------------------------------------------------------------


def test_both_files_are_compose() -> None:
    tool = Path(sys.prefix) / "bin" / "check-jsonschema"
    run(tool, "--builtin-schema", "vendor.compose-spec", COMPOSE, DEPLOY / "compose.cuda.yaml")


@every_service
def test_services_are_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp:exec,nosuid,nodev"], "else the compiled operators can't be loaded"
    assert memory(service["mem_limit"]) > 0
    assert service["memswap_limit"] == service["mem_limit"], "what swaps is slower than what draws in bands"
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & service.keys()
    assert all(":ro" in each or each.partition(":")[0] in DOCUMENT["volumes"] for each in service["volumes"])


def test_ports_are_published_on_loopback_and_three_of_them() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {
        "gateway": ["127.0.0.1:8000:8000"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_torchserve_and_redis_have_no_way_out() -> None:
    for network, members in (("inside", {"gateway", "torchserve", "prometheus"}), ("store", {"gateway", "redis"})):
        assert DOCUMENT["networks"][network] == {"internal": True}
        assert {name for name, service in SERVICES.items() if network in service["networks"]} == members
    for name in ("torchserve", "redis"):
        assert len(SERVICES[name]["networks"]) == 1


def test_what_is_mounted_is_there() -> None:
    for name, service in SERVICES.items():
        for source in [each.partition(":")[0] for each in service["volumes"]]:
            assert source in DOCUMENT["volumes"] or (DEPLOY / source).is_dir(), name
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/animegan.yml").read_text())["providers"][0]
    mounts = {each.split(":")[1] for each in SERVICES["grafana"]["volumes"]}
    assert provider["options"]["path"] in mounts
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (DEPLOY / "grafana/dashboards" / Path(home).name).is_file()
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"


def test_settings_are_known_and_no_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: dict[str, type[GatewaySettings | AgentSettings]] = {
        "ANIMEGAN_GATEWAY_": GatewaySettings,
        "ANIMEGAN_AGENT_": AgentSettings,
    }
    variables = {**SERVICES["gateway"]["environment"], **SERVICES["torchserve"]["environment"]}
    for name in ("ANIMEGAN_INFERENCE_HOST", "ANIMEGAN_METRICS_HOST"):  # of scripts/serve
        assert variables.pop(name) == "0.0.0.0"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in variables:
        [prefix] = [prefix for prefix in kinds if name.startswith(prefix)]
        field = name.removeprefix(prefix).lower()
        assert getattr(kinds[prefix].load(), field) != kinds[prefix].model_fields[field].default


def test_the_gateway_has_time_to_end() -> None:
    least_s = GatewaySettings.model_fields["drain_s"].default + LAST_ANSWERS_S
    grace_s = float(SERVICES["gateway"]["stop_grace_period"].removesuffix("s"))
    assert least_s < grace_s < least_s + 15
    assert SERVICES["gateway"]["depends_on"].keys() == {"redis", "torchserve"}, "so it ends first"


def test_redis_keeps_what_it_has_and_has_room(tmp_path: Path) -> None:
    redis = SERVICES["redis"]
    options = kept_by_redis(redis["command"], tmp_path)
    most = int(options.pop("maxmemory"))
    assert options == {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}
    assert most >= 2 * int(SERVICES["gateway"]["environment"]["ANIMEGAN_GATEWAY_QUEUE_MB"]) * MIB
    assert memory(redis["mem_limit"]) >= 1.25 * most


def test_a_gpu_is_an_override_of_torchserve_alone() -> None:
    override = yaml.safe_load((DEPLOY / "compose.cuda.yaml").read_text())
    assert override.keys() == {"services"}
    [(name, service)] = override["services"].items()
    assert name == "torchserve"
    assert service["image"] != SERVICES[name]["image"], "the gateway's image stays the small one"
    assert service["build"]["args"] == {"ANIMEGAN_LOCK": "cuda"}
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


# ---- As it runs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stack:
    """The services, but for Grafana; Redis and Prometheus are Debian's."""

    network: Network
    override: Path

    def compose(self, *words: str) -> str:
        tool = Path(sys.prefix) / "bin" / "podman-compose"
        files = ("--file", str(COMPOSE), "--file", str(self.override))
        return self.network.call(run, tool, "--in-pod", "false", *files, *words).stdout

    def container(self, service: str) -> Container:
        return Container(f"{DOCUMENT['name']}_{service}_1")

    def get(self, url: str, **more: Any) -> requests.Response:
        return self.network.call(requests.get, url, timeout=60, **more)

    def query(self, expression: str) -> list[Any]:
        """The values of Prometheus's series."""
        answer = self.get("http://127.0.0.1:9090/api/v1/query", params={"query": expression})
        return [float(each["value"][1]) for each in answer.json()["data"]["result"]]


@pytest.fixture(scope="module")
def stack(image: ContainerImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if lacking := networks.missing():
        pytest.skip(f"no containers here: {lacking}")
    override = tmp_path_factory.mktemp("compose") / "override.yaml"
    images = {"gateway": image, "torchserve": image, "redis": stand_in(), "prometheus": stand_in()}
    services: dict[str, dict[str, Any]] = {
        name: {"image": each.name, "volumes": [*each.volumes]} for name, each in images.items()
    }
    services["prometheus"] |= {"entrypoint": ["prometheus"], "user": "65534:65534"}
    override.write_text(yaml.safe_dump({"services": services}))
    with own_network() as network:
        result = Stack(network, override)
        try:
            yield result
        finally:
            result.compose("down", "--volumes")


@pytest.mark.server
def test_a_picture_goes_through_it_and_prometheus_has_seen_that(stack: Stack) -> None:
    # As the page says: a key first, then all of it.
    key = stack.compose("run", "--rm", "gateway", "keys", "add", "me").split()[-1]
    assert key.startswith("ag_")
    stack.compose("up", "--detach", "redis", "torchserve", "gateway", "prometheus")
    for name in ("redis", "prometheus", "torchserve", "gateway"):
        stack.container(name).wait_until_healthy()

    answer = stack.network.call(
        requests.post,
        "http://127.0.0.1:8000/v1/stylize",
        files={"image": encoded(photo(96, 64))},
        headers={"Authorization": f"Bearer {key}"},
        timeout=120,
    )
    assert answer.ok, answer.text
    with Image.open(io.BytesIO(answer.content)) as anime:
        assert anime.size == (96, 64)
    assert stack.get("http://127.0.0.1:8000/v1/jobs/x").status_code == 401

    values = {
        "sum(up)": 3,
        'animegan_gateway_jobs_ended_total{state="done"}': 1,
        'sum(animegan_pictures_total{result="ok"})': 1,
        "animegan_agent_ready": 1,
        "animegan_agent_memory_limit_bytes": memory(SERVICES["torchserve"]["mem_limit"]),
    }
    for expression, value in values.items():
        wait_until(partial(has_value, stack, expression, value), expression)


def has_value(stack: Stack, expression: str, value: float) -> bool:
    return stack.query(expression) == [value]


@pytest.mark.server
def test_what_was_asked_of_podman_is_so(stack: Stack) -> None:
    for name in ("redis", "torchserve", "gateway", "prometheus"):
        about = json.loads(podman("inspect", stack.container(name).name).stdout)[0]
        assert about["HostConfig"]["Memory"] == memory(SERVICES[name]["mem_limit"]), name
        assert about["HostConfig"]["ReadonlyRootfs"] is True
        assert about["EffectiveCaps"] in (None, [])
        assert "no-new-privileges" in about["HostConfig"]["SecurityOpt"]
        assert any(about["HostConfig"]["PortBindings"].values()) == ("ports" in SERVICES[name])
    torchserve = stack.container("torchserve")
    assert "is left out" not in torchserve.logs(), "the operators are compiled ones"
    # No way out.
    assert "default" not in torchserve.run("cat", "/proc/net/route").stdout
    lookup = "import socket; socket.create_connection(('198.51.100.1', 80), 2)"
    assert "unreachable" in torchserve.run("python", "-c", lookup, check=False).stderr


@pytest.mark.server
def test_it_ends_when_it_is_asked_to(stack: Stack) -> None:
    stack.compose("stop")
    assert '"event": "drained"' in stack.container("gateway").logs()
    assert {stack.container(name).state()["ExitCode"] for name in SERVICES.keys() - {"grafana"}} == {0}
