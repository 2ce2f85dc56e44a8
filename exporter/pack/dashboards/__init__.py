"""The dashboards: built from the metrics' declarations and the alerts' rules, as files for Grafana."""

from __future__ import annotations

import json

from exporter.pack.dashboards.dashboard import Dashboard
from exporter.pack.dashboards.pages.causes import CAUSES
from exporter.pack.dashboards.pages.database import DATABASE
from exporter.pack.dashboards.pages.exporter import MONITORING
from exporter.pack.dashboards.pages.overview import OVERVIEW
from exporter.pack.dashboards.pages.probes import PROBES
from exporter.pack.dashboards.pages.queries import QUERIES
from exporter.pack.dashboards.pages.server import SERVER
from exporter.pack.dashboards.pages.workload import WORKLOAD

DASHBOARDS = (OVERVIEW, CAUSES, SERVER, DATABASE, QUERIES, WORKLOAD, PROBES, MONITORING)


def files() -> dict[str, str]:
    """Return each dashboard's JSON by the name of its file."""
    return {f"{one.name}.json": text(one) for one in DASHBOARDS}


def text(one: Dashboard) -> str:
    return json.dumps(one.json(), indent=1, ensure_ascii=False) + "\n"
