"""The manifests of scaling and monitoring."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from animegan_gateway.queue.jobs import State
from animegan_gateway.queue.stores.redis_store import RedisStore
from animegan_service.bell import Bell
from harness.deployment.manifests import (
    FOLDER,
    Manifest,
    find,
    load_set,
)
from harness.servers import ROOT
from harness.stores import redis_server, submit_job
from tools import prometheus_rule


def test_both_autoscalers_aim_at_the_same() -> None:
    hpa = find(load_set("cpu"), "HorizontalPodAutoscaler", "torchserve")["spec"]
    keda = find(load_set("everything"), "ScaledObject", "torchserve")["spec"]
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
    triggers = find(load_set("everything"), "ScaledObject", "torchserve")["spec"]["triggers"]
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
                await submit_job(store)
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
    process = subprocess.run(
        ["promtool", "test", "rules", folder / "test.yml"], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr


def test_the_adapter_serves_what_the_autoscaler_asks_for(tmp_path: Path) -> None:
    rules = yaml.safe_load((FOLDER / "prometheus-adapter" / "values.yaml").read_text())["rules"]["external"]
    hpa = find(load_set("cpu"), "HorizontalPodAutoscaler", "torchserve")["spec"]
    by_name = {rule["name"]["as"]: rule for rule in rules}
    assert list(by_name) == [metric["external"]["metric"]["name"] for metric in hpa["metrics"]]
    where = 'namespace="animegan"'
    recording_rules = [
        {
            "record": name,
            "expr": rule["metricsQuery"]
            .replace("<<.Series>>", rule["seriesQuery"].partition("{")[0])
            .replace("<<.LabelMatchers>>", where),
        }
        for name, rule in by_name.items()
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
        {"groups": [{"name": "adapter", "rules": recording_rules}]},
        {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": expected}]},
        tmp_path,
    )


def test_the_operators_rules_are_generated() -> None:
    assert prometheus_rule.FILE.read_text() == prometheus_rule.render()


def test_the_operator_scrapes_under_the_names_that_the_rules_ask_for() -> None:
    configuration = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    jobs = {
        relabeling["replacement"]
        for each in load_set("everything")
        if each["kind"] == "ServiceMonitor"
        for endpoint in each["spec"]["endpoints"]
        for relabeling in endpoint["relabelings"]
        if relabeling["targetLabel"] == "job"
    }
    assert jobs == {job["job_name"] for job in configuration["scrape_configs"]}
    intervals = {
        endpoint["interval"]
        for each in load_set("everything")
        if each["kind"] == "ServiceMonitor"
        for endpoint in each["spec"]["endpoints"]
    }
    assert intervals == {configuration["global"]["scrape_interval"]}


def test_a_pod_near_its_limit_is_an_alert(tmp_path: Path) -> None:
    rules = {
        "groups": [
            *find(load_set("everything"), "PrometheusRule", "animegan-container-memory")["spec"]["groups"],
            *find(load_set("everything"), "PrometheusRule", "animegan")["spec"]["groups"],
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
