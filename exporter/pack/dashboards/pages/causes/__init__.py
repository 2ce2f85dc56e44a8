"""MLflow / Causes: each cause of the scaling guide, with what shows it and what mends it."""

from __future__ import annotations

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Dashboard, Row
from exporter.pack.dashboards.pages.causes import of_database, of_server
from exporter.pack.dashboards.pages.causes.row import alerts
from exporter.pack.dashboards.panel import Panel, above, graph


def firing() -> Panel:
    return alerts(
        "Every alert that was pending or fired. The one that came first is nearest to the cause; what people were told "
        "may be less, as a cheap explanation silences an expensive one.",
        height=9,
    )


def pressures() -> Panel:
    return graph(
        "Pressure of each cause",
        "The highest pressure of each cause: at 1 an alert's condition holds. Open the row of the one that is "
        "highest, or of the one that rose first.",
        {"{{cause}}": "max by (cause) (mlflow:pressure:ratio)"},
        unit_="none",
        at_least=1.2,
        line=above(colours.WARNING, 1),
        legend="side",
        height=9,
    )


def dashboard() -> Dashboard:
    return Dashboard(
        "causes",
        "Causes",
        "Every cause of a slow tracking server, in the order of the scaling guide, with its evidence and "
        "what mends it.",
        [
            Row("", [[firing(), pressures()]]),
            of_server.availability(),
            of_server.sqlite_backend(),
            of_database.database_size(),
            of_database.read_load(),
            of_database.database_configuration(),
            of_server.logging_pattern(),
            of_server.server_resources(),
            of_server.network_latency(),
            of_database.database_indexes(),
            of_server.open_files(),
            of_database.connections(),
            of_server.exporter(),
        ],
    )
