"""MLflow / Causes: each cause of the scaling guide, with what shows it and what mends it."""

from __future__ import annotations

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Dashboard, Row
from exporter.pack.dashboards.pages.causes.of_database import (
    CONNECTIONS,
    DATABASE_CONFIGURATION,
    DATABASE_INDEXES,
    DATABASE_SIZE,
    READ_LOAD,
)
from exporter.pack.dashboards.pages.causes.of_server import (
    AVAILABILITY,
    EXPORTER,
    LOGGING_PATTERN,
    NETWORK_LATENCY,
    OPEN_FILES,
    SERVER_RESOURCES,
    SQLITE_BACKEND,
)
from exporter.pack.dashboards.pages.causes.row import alerts
from exporter.pack.dashboards.panel import above, graph

FIRING = alerts(
    "Every alert that was pending or fired. The one that came first is nearest to the cause; what people were told "
    "may be less, as a cheap explanation silences an expensive one.",
    height=9,
)

PRESSURES = graph(
    "Pressure of each cause",
    "The highest pressure of each cause: at 1 an alert's condition holds. Open the row of the one that is highest, or "
    "of the one that rose first.",
    {"{{cause}}": "max by (cause) (mlflow:pressure:ratio)"},
    unit_="none",
    at_least=1.2,
    line=above(colours.WARNING, 1),
    legend="side",
    height=9,
)

CAUSES = Dashboard(
    "causes",
    "Causes",
    "Every cause of a slow tracking server, in the order of the scaling guide, with its evidence and what mends it.",
    [
        Row("", [[FIRING, PRESSURES]]),
        AVAILABILITY,
        SQLITE_BACKEND,
        DATABASE_SIZE,
        READ_LOAD,
        DATABASE_CONFIGURATION,
        LOGGING_PATTERN,
        SERVER_RESOURCES,
        NETWORK_LATENCY,
        DATABASE_INDEXES,
        OPEN_FILES,
        CONNECTIONS,
        EXPORTER,
    ],
)
