"""Dashboards as Grafana's classic JSON: variables, links, annotations, and the places of panels in rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.panel import DATASOURCE, Panel
from exporter.pack.dashboards.promql import ALERTS, SERVER

Json = dict[str, Any]

COLUMNS = 24
SCHEMA = 39  # Grafana 10; later ones bring it up to date when they load it
TAG = "mlflow-tracking"


@dataclass(frozen=True)
class Row:
    """A heading and lines of panels below it; without a title the lines stand alone. `closed` rows load when opened."""

    title: str
    lines: Sequence[Sequence[Panel]]
    closed: bool = False


@dataclass(frozen=True)
class Dashboard:
    """`name` is that of its file, and with `mlflow-` before it its address in Grafana.

    `fleet` lets several tracking servers be chosen; on the others a line would be of one and its limit of another.
    """

    name: str
    title: str
    text: str
    rows: Sequence[Row]
    since: str = "now-6h"
    fleet: bool = False

    @property
    def panels(self) -> list[Panel]:
        return [panel for row in self.rows for line in row.lines for panel in line]

    def json(self) -> Json:
        return {
            "uid": f"mlflow-{self.name}",
            "title": f"MLflow / {self.title}",
            "description": self.text,
            "tags": [TAG],
            "editable": False,
            "graphTooltip": 1,
            "schemaVersion": SCHEMA,
            "version": 1,
            "time": {"from": self.since, "to": "now"},
            "timepicker": {},
            "refresh": "1m",
            "timezone": "browser",
            "templating": {"list": variables(self.fleet)},
            "annotations": {"list": marks()},
            "links": links(),
            "panels": placed(self.rows),
            "__inputs": [],
            "__requires": [{"type": "grafana", "id": "grafana", "name": "Grafana", "version": "10.0.0"}],
        }


def variables(fleet: bool) -> list[Json]:
    """Return data source, job, tracking server and instance, each narrowed by those before it."""
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
        "refresh": 1,
        "regex": "",
        "includeAll": False,
        "multi": False,
        "current": {},
        "options": [],
    }
    return [
        source,
        variable("job", "Job", "mlflow_exporter_build_info", ".+"),
        # Any value, and none: a job with one server need not name it.
        variable(
            "tracking_server",
            "Tracking server",
            'mlflow_exporter_build_info{job=~"$job"}',
            ".*",
            several=fleet,
        ),
        variable("instance", "Instance", f"mlflow_exporter_build_info{{{SERVER}}}", ".+"),
    ]


def variable(name: str, label: str, series: str, every: str, *, several: bool = True) -> Json:
    query = f"label_values({series}, {name})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": f"variable-{name}"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "regex": "",
        "hide": 0,
        "multi": several,
        "includeAll": several,
        "allValue": every,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]} if several else {},
        "options": [],
    }


def marks() -> list[Json]:
    """Return what is drawn over all graphs: alerts that began to fire, and starts of the server and of Postgres."""
    target = f'{SERVER}, instance=~"$instance"'
    return [
        annotation(
            "Alerts",
            colours.CRITICAL,
            f'ALERTS{{{ALERTS}, alertstate="firing", severity!="info"}}',
            "{{alertname}}",
        ),
        annotation(
            "MLflow started",
            colours.INFO,
            f"mlflow_server_start_timestamp_seconds{{{target}}} * 1000",
            "MLflow started",
            at_value=True,
        ),
        annotation(
            "Postgres started",
            "purple",
            f"mlflow_db_start_timestamp_seconds{{{target}}} * 1000",
            "Postgres started",
            at_value=True,
        ),
    ]


def annotation(name: str, colour: str, expr: str, title: str, *, at_value: bool = False) -> Json:
    """Return one kind of mark; `at_value` puts it where the value, in milliseconds, says."""
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": colour,
        "expr": expr,
        "step": "60s",
        "titleFormat": title,
        "textFormat": "{{tracking_server}} {{instance}}",
        "useValueForTime": at_value,
    }


def links() -> list[Json]:
    """Return the menu of all these dashboards, with what is selected and the time kept."""
    return [
        {
            "title": "MLflow dashboards",
            "type": "dashboards",
            "tags": [TAG],
            "asDropdown": False,
            "includeVars": True,
            "keepTime": True,
            "targetBlank": False,
            "icon": "external link",
            "tooltip": "",
            "url": "",
        }
    ]


def placed(rows: Sequence[Row]) -> list[Json]:
    """Return the panels with their places and ids; those of closed rows are inside them."""
    ids = count(1)
    found: list[Json] = []
    y = 0
    for row in rows:
        inside = []
        heading = y
        y += bool(row.title)
        number = next(ids) if row.title else 0
        for line in row.lines:
            inside += line_of(line, y, ids)
            y += max(panel.height for panel in line)
        if row.title:
            found.append(
                {
                    "id": number,
                    "type": "row",
                    "title": row.title,
                    "collapsed": row.closed,
                    "gridPos": {"x": 0, "y": heading, "w": COLUMNS, "h": 1},
                    "panels": inside if row.closed else [],
                }
            )
            if row.closed:
                y = heading + 1
        found += [] if row.closed else inside
    return found


def line_of(line: Sequence[Panel], y: int, ids: count[int]) -> list[Json]:
    """Return the panels of one line; those without a width share what the others leave."""
    left = COLUMNS - sum(panel.width for panel in line)
    sharing = [panel for panel in line if not panel.width]
    if left < 0 or (sharing and left < len(sharing)) or (left and not sharing):
        raise ValueError(f"{[panel.json['title'] for panel in line]} do not fill {COLUMNS} columns")
    placed, x = [], 0
    for panel in line:
        width = panel.width or left // len(sharing) + (panel is sharing[0]) * (left % len(sharing))
        placed.append(
            {"id": next(ids), **panel.json, "gridPos": {"x": x, "y": y, "w": width, "h": panel.height}}
        )
        x += width
    return placed
