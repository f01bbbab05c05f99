"""The threat model's table of ports is what the settings say, and by default all of it is on loopback."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from animegan_agent.settings import Settings as AgentSettings
from animegan_cli.serving.torchserve import read_properties
from animegan_gateway.settings import Settings as GatewaySettings

ROOT = Path(__file__).resolve().parents[2]


def test_what_listens_is_in_the_table_and_on_loopback() -> None:
    claims = {
        (int(port), process)
        for port, process in re.findall(r"^\| (\d+) \| (\w+) \|", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
    }
    properties = read_properties(ROOT / "config" / "config.properties")
    addresses = [urlsplit(properties[f"{name}_address"]) for name in ("inference", "management", "metrics")]
    listening = {("TorchServe", address.hostname, address.port) for address in addresses}
    for process, settings in (("gateway", GatewaySettings), ("agent", AgentSettings)):
        fields = settings.model_fields
        for prefix in ("", "metrics_"):
            listening.add((process, fields[f"{prefix}host"].default, fields[f"{prefix}port"].default))
    assert claims == {(port, process) for process, _, port in listening}
    assert {host for _, host, _ in listening} == {"127.0.0.1"}
    assert {properties[f"grpc_{name}_address"] for name in ("inference", "management")} == {"127.0.0.1"}
