"""MLflow / Database: what Postgres does for MLflow, what it waits for, and which of its limits is near."""

from __future__ import annotations

from dataclasses import replace

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Dashboard, Row
from exporter.pack.dashboards.pages.database.disk import cache_row, log_row
from exporter.pack.dashboards.pages.database.host import host_row
from exporter.pack.dashboards.pages.database.indexes import indexes_row
from exporter.pack.dashboards.pages.database.load import active, connections_row, load_row, locks_row
from exporter.pack.dashboards.pages.database.replication import replication_row, sqlite_row
from exporter.pack.dashboards.pages.database.settings import settings_row
from exporter.pack.dashboards.pages.database.tables import tables_row, vacuum_row
from exporter.pack.dashboards.panel import Limit, Panel, above, stat
from exporter.pack.dashboards.terms import SERVER


def version() -> Panel:
    one = stat(
        "Version",
        "Postgres' version and role. Two of them: exporters read a primary and a replica. A role that has changed is a "
        "failover; MLflow can only write to a primary. With SQLite only its own row at the end has data.",
        {
            "{{version}} {{role}}": "max by (version, role) (mlflow_db_info)"
            ' or label_replace(max(mlflow_server_info{backend="sqlite"}), "version", "SQLite", "", "")'
        },
    )
    one.json["options"]["textMode"] = "name"
    return one


def tiles() -> list[Panel]:
    return [
        stat(
            "Database",
            "UP while Postgres answers at least one exporter. DOWN: MlflowDatabaseDown and its runbook; the rest is "
            "empty then, or as it was last read.",
            f"min(max by ({SERVER}) (mlflow_db_up))",
            maps={0: ("DOWN", colours.CRITICAL), 1: ("UP", colours.OK)},
            filled=True,
        ),
        version(),
        stat(
            "Uptime",
            "Time since Postgres started. Yellow in the first ten minutes: its cache is still cold. Nobody restarted "
            "it: look in its log for a crash, and in the kernel's for the OOM killer.",
            "time() - max(mlflow_db_start_timestamp_seconds)",
            unit_="s",
            steps=[above(colours.NEAR, 0), above(colours.NONE, 600)],
        ),
        stat(
            "Size",
            "Bytes of MLflow's whole database. A jump is a job that logs far more than others, or indexes that were "
            "made; the tables below say which.",
            "max(mlflow_db_size_bytes)",
        ),
        stat(
            "Connections",
            "Connections of all databases against what ordinary roles get of max_connections. At 100 % MLflow answers "
            "503; MlflowConnectionsNearLimit, cause connections.",
            "max(mlflow_db_connections_used / (mlflow_db_connections_limit - mlflow_db_connections_reserved))",
            unit_="percentunit",
            decimals=0,
            steps=[above(colours.OK, 0), Limit("MlflowConnectionsNearLimit").step()],
        ),
        stat(
            "Load",
            "Sessions at work or waiting, on average, in all databases. Normal is below the number of cores, as the "
            "first graph shows; above it sessions queue.",
            active('wait_class!="client"'),
            unit_="short",
            decimals=2,
        ),
        stat(
            "Cache hits",
            "Share of blocks that were found in shared_buffers. 99 % and more is normal for MLflow; less while "
            "sessions wait for data_io means too little memory (database-size) or whole-table reads "
            "(database-indexes).",
            "max(rate(mlflow_db_blocks_hit_total[$__rate_interval]) / (rate(mlflow_db_blocks_hit_total"
            "[$__rate_interval]) + rate(mlflow_db_blocks_read_total[$__rate_interval]) > 0))",
            unit_="percentunit",
            decimals=1,
        ),
        stat(
            "Restart due",
            "Settings that were changed and wait for a restart of Postgres. Not 0: somebody believes that they are in "
            "force, and the next restart brings a surprise.",
            "max(mlflow_db_settings_pending_restart)",
            steps=[above(colours.OK, 0), above(colours.NEAR, 1)],
        ),
    ]


def dashboard() -> Dashboard:
    return Dashboard(
        "database",
        "Database",
        "What Postgres does for MLflow, what it waits for, and which of its limits is near.",
        [
            Row("", [tiles()]),
            load_row(),
            connections_row(),
            locks_row(),
            *(
                replace(row, closed=True)
                for row in (cache_row(), log_row(), host_row(), tables_row(), indexes_row(), vacuum_row())
            ),
            settings_row(),
            replication_row(),
            sqlite_row(),
        ],
    )
