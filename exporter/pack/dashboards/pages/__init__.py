"""The dashboards, one a file or a folder: what they show and say, in the order of their rows."""

from __future__ import annotations

import json

from exporter.pack.dashboards.dashboard import Dashboard
from exporter.pack.dashboards.pages import (
    causes,
    database,
    exporter,
    overview,
    probes,
    queries,
    server,
    workload,
)


def dashboards() -> tuple[Dashboard, ...]:
    """Return all of them, with the thresholds that are in force now."""
    pages = (overview, causes, server, database, queries, workload, probes, exporter)
    return tuple(page.dashboard() for page in pages)


def files() -> dict[str, str]:
    """Return each dashboard's JSON by the name of its file."""
    return {
        f"{one.name}.json": json.dumps(one.json(), indent=1, ensure_ascii=False) + "\n"
        for one in dashboards()
    }
