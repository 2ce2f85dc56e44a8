"""The dashboards, one a file or a folder: what they show and say, in the order of their rows."""

from __future__ import annotations

from exporter.pack.dashboards.pages.causes import CAUSES
from exporter.pack.dashboards.pages.database import DATABASE
from exporter.pack.dashboards.pages.exporter import MONITORING
from exporter.pack.dashboards.pages.overview import OVERVIEW
from exporter.pack.dashboards.pages.probes import PROBES
from exporter.pack.dashboards.pages.queries import QUERIES
from exporter.pack.dashboards.pages.server import SERVER
from exporter.pack.dashboards.pages.workload import WORKLOAD

DASHBOARDS = (OVERVIEW, CAUSES, SERVER, DATABASE, QUERIES, WORKLOAD, PROBES, MONITORING)
