"""Kubernetes' HorizontalPodAutoscaler on external metrics with AverageValue targets, as its controller computes it.

The rules are read from `deploy/kubernetes`, so that what is simulated is what ships.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

COMPONENTS = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes" / "components"
SYNC_S, TOLERANCE = 15.0, 0.1  # the controller's defaults


@dataclass(frozen=True)
class Direction:
    """Limits of one direction: the stabilisation window in s; type, value and period in s of the policies."""

    window_s: float
    policies: tuple[tuple[str, int, float], ...]

    @classmethod
    def read(cls, rules: dict[str, Any]) -> Direction:
        return cls(
            rules["stabilizationWindowSeconds"],
            tuple((each["type"], each["value"], each["periodSeconds"]) for each in rules["policies"]),
        )


@dataclass(frozen=True)
class Rules:
    """Bounds of the replicas, and targets: jobs that wait, and that are drawn, for each.

    `running` None leaves the second out. `look_s`: how often somebody looks. Where `cooldown_s` is None that is
    Prometheus, whose last look is what the controller sees; else KEDA, which lets the controller see how things are,
    starts the first replica, and takes the last one after `cooldown_s` without a job.
    """

    least: int
    most: int
    waiting: float
    running: float | None
    up: Direction
    down: Direction
    look_s: float
    cooldown_s: float | None = None

    @classmethod
    def hpa(cls) -> Rules:
        """Return the rules of the HorizontalPodAutoscaler that ships."""
        spec = yaml.safe_load((COMPONENTS / "hpa" / "hpa.yaml").read_text())["spec"]
        external = [metric["external"] for metric in spec["metrics"]]
        targets = {each["metric"]["name"]: float(each["target"]["averageValue"]) for each in external}
        monitors = (COMPONENTS / "prometheus-operator" / "monitors.yaml").read_text()
        [interval] = {
            endpoint["interval"]
            for monitor in yaml.safe_load_all(monitors)
            for endpoint in monitor["spec"]["endpoints"]
        }
        return cls(
            spec["minReplicas"],
            spec["maxReplicas"],
            targets["animegan_waiting_jobs"],
            targets["animegan_running_jobs"],
            Direction.read(spec["behavior"]["scaleUp"]),
            Direction.read(spec["behavior"]["scaleDown"]),
            look_s=float(interval.removesuffix("s")),
        )

    @classmethod
    def keda(cls) -> Rules:
        """Return the rules of the ScaledObject that ships."""
        spec = next(yaml.safe_load_all((COMPONENTS / "keda" / "scaled-object.yaml").read_text()))["spec"]
        triggers = {trigger["name"]: trigger["metadata"] for trigger in spec["triggers"]}
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        return cls(
            spec["minReplicaCount"],
            spec["maxReplicaCount"],
            float(triggers["waiting"]["listLength"]),
            float(triggers["running"]["streamLength"]),
            Direction.read(behavior["scaleUp"]),
            Direction.read(behavior["scaleDown"]),
            look_s=spec["pollingInterval"],
            cooldown_s=spec["cooldownPeriod"],
        )


@dataclass
class Autoscaler:
    """An autoscaler of Kubernetes; `desired` is to be called every `SYNC_S`."""

    rules: Rules
    _recommendations: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)

    def desired(self, now: float, replicas: int, waiting: int, running: int) -> int:
        """Return how many replicas there should be; `now` in s; `replicas`: the present number, at least one."""
        rules = self.rules
        recommendation = _replicas(waiting, rules.waiting, replicas)
        if rules.running is not None:
            recommendation = max(recommendation, _replicas(running, rules.running, replicas))
        target = self._stabilize(now, replicas, recommendation)
        if target > replicas:
            target = min(target, max(self._bound(now, replicas, *policy, sign=1) for policy in rules.up.policies))
        elif target < replicas:
            target = max(target, min(self._bound(now, replicas, *policy, sign=-1) for policy in rules.down.policies))
        target = min(max(target, rules.least, 1), rules.most)
        if target != replicas:
            self._changes.append((now, target - replicas))
        return target

    def _stabilize(self, now: float, replicas: int, recommendation: int) -> int:
        """Return the replicas, raised to the window's least recommendation or lowered to the window's most."""
        up_s, down_s = self.rules.up.window_s, self.rules.down.window_s
        self._recommendations.append((now, recommendation))
        while self._recommendations[0][0] < now - max(up_s, down_s):
            self._recommendations.popleft()
        least = min(each for at, each in self._recommendations if at >= now - up_s)
        most = max(each for at, each in self._recommendations if at >= now - down_s)
        return min(max(replicas, least), most)

    def _bound(self, now: float, replicas: int, kind: str, value: int, period_s: float, *, sign: int) -> int:
        """Return the replicas that a policy allows, counted from those at the period's start."""
        start = replicas - sum(by for at, by in self._changes if at > now - period_s and by * sign > 0)
        if kind == "Pods":
            return start + sign * value
        share = start * (1 + sign * value / 100)
        return math.ceil(share) if sign > 0 else int(share)


def _replicas(jobs: int, target: float, replicas: int) -> int:
    """Return the number of workers that one metric asks for."""
    if abs(jobs / (target * replicas) - 1) <= TOLERANCE:
        return replicas
    return math.ceil(jobs / target)
