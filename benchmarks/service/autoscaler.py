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
    """How fast replicas may change: the window that steadies, in s, and the type, value and period in s of policies."""

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
        """The HorizontalPodAutoscaler that ships."""
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
        """The ScaledObject that ships."""
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
    """`desired` is asked every `SYNC_S` for how many replicas there should be."""

    rules: Rules
    _said: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)

    def desired(self, now: float, replicas: int, waiting: int, running: int) -> int:
        """`now` in s; `replicas` is how many there are to be at present, at least one."""
        rules = self.rules
        asked = _replicas(waiting, rules.waiting, replicas)
        if rules.running is not None:
            asked = max(asked, _replicas(running, rules.running, replicas))
        wanted = self._steadied(now, replicas, asked)
        if wanted > replicas:
            wanted = min(wanted, max(self._bound(now, replicas, *policy, sign=1) for policy in rules.up.policies))
        elif wanted < replicas:
            wanted = max(wanted, min(self._bound(now, replicas, *policy, sign=-1) for policy in rules.down.policies))
        wanted = min(max(wanted, rules.least, 1), rules.most)
        if wanted != replicas:
            self._changes.append((now, wanted - replicas))
        return wanted

    def _steadied(self, now: float, replicas: int, asked: int) -> int:
        """Up to the least that was asked for within the window up, down to the most within the window down."""
        up_s, down_s = self.rules.up.window_s, self.rules.down.window_s
        self._said.append((now, asked))
        while self._said[0][0] < now - max(up_s, down_s):
            self._said.popleft()
        least = min(said for at, said in self._said if at >= now - up_s)
        most = max(said for at, said in self._said if at >= now - down_s)
        return min(max(replicas, least), most)

    def _bound(self, now: float, replicas: int, kind: str, value: int, period_s: float, *, sign: int) -> int:
        """How far a policy lets it go from where it was at the period's start."""
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
