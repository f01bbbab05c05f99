"""Write deploy/kubernetes/components/prometheus-operator/rules.yaml: `python -m tools.prometheus_rule`.

It has the rules of `deploy/prometheus`, as the Prometheus Operator takes them.
"""

from __future__ import annotations

from typing import Any

import yaml

from animegan_cli.checkout import ROOT

DEPLOY = ROOT / "deploy"
FILE = DEPLOY / "kubernetes" / "components" / "prometheus-operator" / "rules.yaml"

_HEAD = """\
# Generated from deploy/prometheus/rules by `python -m tools.prometheus_rule`; a test fails when they differ.
"""


class _Dumper(yaml.SafeDumper):
    """Expressions over several lines stay so."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def render() -> str:
    """Return the PrometheusRule as YAML."""
    files = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    rule: dict[str, Any] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "animegan", "namespace": "animegan"},
        "spec": {"groups": groups},
    }
    return _HEAD + yaml.dump(rule, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=200)


if __name__ == "__main__":
    FILE.write_text(render())
    print(f"Written: {FILE}")
