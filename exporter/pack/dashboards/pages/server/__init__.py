"""MLflow / Tracking server: what its users get, and what each replica and worker uses of what it has."""

from __future__ import annotations

from exporter.pack.dashboards.dashboard import Dashboard, Row
from exporter.pack.dashboards.pages.server.connections import database, queue
from exporter.pack.dashboards.pages.server.files import files
from exporter.pack.dashboards.pages.server.processes import processes
from exporter.pack.dashboards.pages.server.replicas import replicas
from exporter.pack.dashboards.pages.server.resources import cpu, group, memory
from exporter.pack.dashboards.pages.server.users import requests, tiles


def dashboard() -> Dashboard:
    return Dashboard(
        "server",
        "Tracking server",
        "What users get of the tracking server, and what each replica and worker uses of its CPU, memory, connections "
        "and files.",
        [
            Row("", [tiles(), requests(), [replicas()]]),
            Row("CPU", cpu()),
            Row("Memory", memory()),
            Row("Connections of clients", queue()),
            Row("Connections to the database", [database()]),
            Row("Processes", processes()),
            Row("Open files", files(), closed=True),
            Row("Limits of the container", [group()], closed=True),
        ],
    )
