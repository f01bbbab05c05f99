"""Write `deploy/grafana/dashboards/animegan.json` from `panels`: `python -m tools.dashboard`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from typing import Any

from animegan_cli.checkout import ROOT
from tools.panels import ROWS, Panel, Query, Stat

FILE = ROOT / "deploy" / "grafana" / "dashboards" / "animegan.json"

COLUMNS = 24  # of Grafana's grid
STAT_HEIGHT, GRAPH_HEIGHT = 4, 8
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def render() -> str:
    """Return the dashboard as Grafana's JSON."""
    return json.dumps(_dashboard(), indent=2, ensure_ascii=False) + "\n"


def _dashboard() -> dict[str, Any]:
    datasource = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return {
        "uid": "animegan-serve",
        "title": "AnimeGAN Serve",
        "tags": ["animegan"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,  # one cross-hair over all panels
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "15s",
        "templating": {"list": [datasource]},
        "panels": _panels(),
    }


def _panels() -> list[dict[str, Any]]:
    """Yield each panel with its id and its place in the grid."""
    panels: list[dict[str, Any]] = []
    ids, top = count(1), 0

    def place(panel: dict[str, Any], left: int, width: int, height: int) -> None:
        panels.append({"id": next(ids), **panel, "gridPos": {"x": left, "y": top, "w": width, "h": height}})

    for row in ROWS:
        place({"type": "row", "title": row.title, "collapsed": False, "panels": []}, 0, COLUMNS, 1)
        top += 1
        for index, stat in enumerate(row.stats):
            width = COLUMNS // len(row.stats)
            place(_stat(stat), index * width, width, STAT_HEIGHT)
        top += STAT_HEIGHT if row.stats else 0
        for first in range(0, len(row.panels), 3):
            beside = row.panels[first : first + 3]
            for index, panel in enumerate(beside):
                place(_graph(panel), index * COLUMNS // 3, COLUMNS // 3, GRAPH_HEIGHT)
            top += GRAPH_HEIGHT
    return panels


def _stat(stat: Stat) -> dict[str, Any]:
    steps = [{"value": value, "color": colour} for value, colour in stat.steps]
    return {
        "type": "stat",
        "title": stat.title,
        "description": stat.about,
        "datasource": SOURCE,
        "targets": _targets(stat.queries),
        "fieldConfig": {
            "defaults": {"unit": stat.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "area",
        },
    }


def _graph(panel: Panel) -> dict[str, Any]:
    custom = {
        "lineWidth": 1,
        "fillOpacity": 30 if panel.stacked else 0,
        "showPoints": "never",
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
    }
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "targets": _targets(panel.queries),
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def _targets(queries: Sequence[Query]) -> list[dict[str, Any]]:
    return [
        {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query.expr, "legendFormat": query.legend}
        for index, query in enumerate(queries)
    ]


if __name__ == "__main__":
    FILE.write_text(render())
