"""What is monitored: the rules, the alerts and their runbook, the dashboard; each expression asked of a real system."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from animegan.errors import OutOfMemory
from animegan_agent.settings import Settings as AgentSettings
from animegan_cli.serving.torchserve import address, read_properties
from animegan_gateway.settings import Settings as GatewaySettings
from docs.pages import tables
from docs.test_readme import anchors
from harness.monitoring.monitors import FOLDER, Prometheus, running_prometheus, targets
from harness.pictures import encoded, photo
from harness.servers import ROOT, Server
from tools import dashboard
from tools.panels import ROWS

RULES = [
    rule
    for file in sorted(FOLDER.glob("rules/*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
RECORDING_RULES = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
TESTS = sorted((ROOT / "tests" / "deploy" / "rules").glob("*.test.yml"))
PANELS = {
    f"{row.title}: {panel.title}, {query.legend or 'now'}": query.expr
    for row in ROWS
    for panel in row.all
    for query in panel.queries
}
EXPRESSIONS = {**PANELS, **RECORDING_RULES, **{name: rule["expr"] for name, rule in ALERTS.items()}}
OF_PROMETHEUS = {"up", "ALERTS"}
OF_ALERTS = {"alertname", "alertstate"}
NOT_SEEN_HERE = {OutOfMemory.code, "5.."}
RUNBOOK, PAGE = "docs/operations/runbook.md", "docs/operations/monitoring.md"

WINDOW = "30s"  # for $__rate_interval: all that the test does is within it
DATA_WITHIN_S = 45
LAST_PHASE = 'animegan_phase_seconds_count{phase="encode"}'
# Metrics that are there only in a container with a limit on its memory.
LIMITED = {"animegan_agent_memory_used_bytes", "animegan_agent_memory_limit_bytes"}
OF_LIMITED = {"animegan:memory_used:ratio"}


def tool(name: str) -> str:
    """Debian's prometheus has prometheus and promtool, its prometheus-alertmanager has amtool."""
    path = shutil.which(name)
    return path or pytest.skip(f"{name} is not installed")


def run(*words: str | Path) -> str:
    process = subprocess.run(words, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def selectors(expression: str) -> Iterator[promql_parser.VectorSelector]:
    """Return the selectors of the expression. Raises where it is not PromQL."""
    nodes: list[promql_parser.VectorSelector] = []

    def visit(part: promql_parser.Expr) -> None:
        if isinstance(part, promql_parser.MatrixSelector):
            part = part.vector_selector
        if isinstance(part, promql_parser.VectorSelector):
            nodes.append(part)

    promql_parser.walk(promql_parser.parse(expression.replace("$__rate_interval", WINDOW)), visit)
    yield from nodes


def names(expression: str) -> set[str]:
    """The metrics that the expression asks for."""
    return {str(selector.name) for selector in selectors(expression)}


# ---- Files -----------------------------------------------------------------------------------------------------------


def test_prometheus_takes_the_configuration() -> None:
    run(tool("promtool"), "check", "config", FOLDER / "prometheus.yml")


def test_alertmanager_takes_the_example_and_it_names_alerts_there_are() -> None:
    run(tool("amtool"), "check-config", FOLDER / "alertmanager.example.yml")
    example = yaml.safe_load((FOLDER / "alertmanager.example.yml").read_text())
    matchers = [
        matcher for rule in example["inhibit_rules"] for matcher in (*rule["source_matchers"], *rule["target_matchers"])
    ]
    alerts = {name for matcher in matchers for name in matcher.split(maxsplit=2)[2].strip('"').split("|")}
    assert alerts <= ALERTS.keys()


def test_the_services_of_compose_are_asked_at_their_ports() -> None:
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in configuration["scrape_configs"]}
    torchserve = address(read_properties(ROOT / "config" / "config.properties"), "metrics_address").port
    agent, gateway = (each.model_fields["metrics_port"].default for each in (AgentSettings, GatewaySettings))
    assert targets == {
        "animegan-gateway": [f"gateway:{gateway}"],
        "animegan-torchserve": [f"torchserve:{torchserve}"],
        "animegan-agent": [f"torchserve:{agent}"],
    }


def test_every_job_that_an_expression_names_is_scraped() -> None:
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    jobs = {job["job_name"] for job in configuration["scrape_configs"]}
    mentions = {
        matcher.value
        for expression in EXPRESSIONS.values()
        for selector in selectors(expression)
        for matcher in selector.matchers.matchers
        if matcher.name == "job"
    }
    assert mentions <= jobs
    assert mentions


def test_grafana_finds_its_data_and_its_dashboard() -> None:
    folder = dashboard.FILE.parents[1] / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    every = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == every
    [provider] = yaml.safe_load((folder / "dashboards" / "animegan.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


# ---- Rules and alerts ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_the_rules_do_what_their_tests_say(file: Path) -> None:
    run(tool("promtool"), "test", "rules", file)


def test_each_alert_is_seen_to_fire_and_not_to_fire() -> None:
    fires: set[str] = set()
    quiet: set[str] = set()
    for file in TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for case in test.get("alert_rule_test", ()):
                (fires if case.get("exp_alerts") else quiet).add(case["alertname"])
    assert fires == quiet == ALERTS.keys()


def test_each_recording_rule_is_tested_and_used() -> None:
    tested = {
        name
        for file in TESTS
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test.get("promql_expr_test", ())
        for name in names(case["expr"])
    }
    series = {
        name for key, expression in EXPRESSIONS.items() if key not in RECORDING_RULES for name in names(expression)
    }
    assert RECORDING_RULES.keys() == tested
    assert RECORDING_RULES.keys() - series == set()


def test_each_alert_has_its_section_in_the_runbook_and_points_to_it() -> None:
    heads = [line.removeprefix("## ") for line in (ROOT / RUNBOOK).read_text().splitlines() if line.startswith("## ")]
    assert [head for head in heads if head.startswith("Animegan")] == list(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"{RUNBOOK}#{name.lower()}"
        assert name.lower() in anchors(ROOT / RUNBOOK)
        assert rule["labels"]["severity"] in ("critical", "warning")


# ---- The dashboard ---------------------------------------------------------------------------------------------------


def test_the_dashboard_is_generated() -> None:
    assert dashboard.FILE.read_text() == dashboard.render()


def test_no_panel_covers_another() -> None:
    occupancy: set[tuple[int, int]] = set()
    for panel in dashboard._dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & occupancy, panel["title"]
        assert max(x for x, _ in cells) < dashboard.COLUMNS
        occupancy |= cells


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_is_promql_of_metrics_that_are_documented(name: str) -> None:
    families = {family(metric) for metric in names(EXPRESSIONS[name])}
    assert families
    assert families - read_documentation() - RECORDING_RULES.keys() - OF_PROMETHEUS == set()


def family(metric: str) -> str:
    """The family that a series of a histogram or a summary belongs to."""
    for suffix in ("_bucket", "_sum", "_count"):
        metric = metric.removesuffix(suffix)
    return metric


def read_documentation() -> set[str]:
    """The metrics of the page's tables."""
    return {name for rows in tables(PAGE) for row in rows if re.fullmatch(r"\w+", name := row[0].strip("`"), re.ASCII)}


# ---- A real system ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prometheus(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that has seen a few jobs: good, fitted, damaged, and refused at the door."""
    tool("prometheus")
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), targets(server)) as running:
        until(lambda: set(running.targets().values()) == {"up"}, "every target to be up")
        good, wide = encoded(photo(64, 48)), encoded(photo(640, 480))
        requests.post(f"{server.page}/v1/stylize", files={"image": good}, timeout=120).raise_for_status()
        # A histogram begins with its first picture, and a rate with a second sample.
        until(lambda: running.query(f"count_over_time({LAST_PHASE}[1m]) >= 2"), "what rates begin with")
        for picture, options, status in (
            (good, {}, 200),
            (good, {"style": "gouache"}, 200),
            (wide, {"max_side": "64"}, 200),
            (wide[:2000], {}, 400),
            (b"no picture", {}, 415),
        ):
            answer = requests.post(f"{server.page}/v1/stylize", files={"image": picture}, data=options, timeout=120)
            assert answer.status_code == status, answer.text
        yield running


def until(condition: Any, what: str) -> None:
    """Return once the condition holds, and fail where it does not come to hold soon."""
    deadline = time.monotonic() + DATA_WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.2)


@pytest.mark.server
def test_every_panel_shows_something(prometheus: Prometheus) -> None:
    missing, deadline = dict(PANELS), time.monotonic() + DATA_WITHIN_S
    while missing and time.monotonic() < deadline:
        for name, expression in [*missing.items()]:
            if prometheus.query(expression.replace("$__rate_interval", WINDOW)) or names(expression) <= OF_LIMITED:
                del missing[name]
        time.sleep(0.2)
    assert missing == {}


@pytest.mark.server
def test_every_rule_can_be_evaluated_and_no_alert_fires(prometheus: Prometheus) -> None:
    until(lambda: all(rule["lastEvaluation"] > "0002" for rule in prometheus.rules()), "the rules")
    rules = prometheus.rules()
    assert {rule["name"] for rule in rules} == ALERTS.keys() | RECORDING_RULES.keys()
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


@pytest.mark.server
def test_every_label_that_an_expression_names_has_that_value(prometheus: Prometheus) -> None:
    for name, expression in EXPRESSIONS.items():
        for selector in selectors(expression):
            for matcher in selector.matchers.matchers:
                if matcher.name not in OF_ALERTS:
                    values = {*prometheus.values(matcher.name), *NOT_SEEN_HERE}
                    assert set(matcher.value.split("|")) <= values, name


@pytest.mark.server
def test_every_metric_that_is_exposed_is_documented_and_the_other_way_round(server: Server) -> None:
    metrics = set()
    for at in targets(server).values():
        text = requests.get(f"http://{at}/metrics", timeout=30).text
        for family in text_string_to_metric_families(text):
            name = (
                f"{family.name}_total" if family.type == "counter" and f"{family.name}_total" in text else family.name
            )
            metrics.add(name)
    metrics = {name for name in metrics if not name.endswith("_created")}
    assert metrics - read_documentation() == set()
    assert read_documentation() - metrics <= LIMITED
