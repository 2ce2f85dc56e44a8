"""Each replica in a row of a table."""

from __future__ import annotations

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.panel import Column, Limit, Panel, above, table
from exporter.pack.dashboards.terms import REPLICA

UP = {0: ("DOWN", colours.CRITICAL), 1: ("UP", colours.OK)}


def replicas() -> Panel:
    near = (above(colours.NEAR, 0.7),)
    by = "by (instance)"
    return table(
        "Replicas",
        "One row for each replica: what it is, and how much of each resource it uses, its worst worker where there are "
        "several. Normal: all UP, the same version, as many workers alive as configured, bars alike. One that stands "
        "out has the trouble; the same in all is load.",
        {
            "up": REPLICA,
            "info": "max by (instance, version, server, backend) (mlflow_server_info)",
            "uptime": f"max {by} (time() - mlflow_server_start_timestamp_seconds)",
            "alive": f"max {by} (mlflow_server_workers_alive and max_over_time(mlflow_server_up[1d]) == 1)",
            "configured": f"max {by} (mlflow_server_workers_configured)",
            "cores": f"max {by} (mlflow_server_cpu_cores)",
            "cpu": f"max {by} (rate(mlflow_server_worker_cpu_seconds_total[$__rate_interval]))",
            "memory": f"sum {by} (mlflow_server_resident_memory_bytes)",
            # -1 where there is no limit: a column cannot be left out.
            "limit": f"max {by} (mlflow_server_memory_usage_bytes / mlflow_server_memory_limit_bytes)"
            f" or 0 * sum {by} (mlflow_server_resident_memory_bytes) - 1",
            "files": f"max {by} (mlflow_server_worker_open_fds / mlflow_server_worker_max_fds)",
            "pool": f"max {by} (mlflow_server_worker_database_connections"
            " / mlflow_server_worker_database_pool_capacity)",
            "queue": f"max {by} (mlflow_server_accept_queue_length)",
        },
        [
            Column("instance", "Replica"),
            Column("Value #A", "State", width=60, maps=UP, filled=True),
            Column("Value #C", "Uptime", "s", 80, 1),
            Column("Value #D", "Workers", "none", 72, 0),
            Column("Value #E", "Of", "none", 40, 0),
            Column("Value #F", "Cores", "none", 58),
            Column(
                "Value #G",
                "Worker CPU",
                "percentunit",
                95,
                0,
                1,
                (*near, Limit("MlflowServerCpuSaturated").step()),
            ),
            Column("Value #H", "Memory", "bytes", 80, 0),
            Column(
                "Value #I",
                "Of limit",
                "percentunit",
                95,
                0,
                1,
                (*near, Limit("MlflowServerMemoryNearLimit").step()),
                {-1: ("none", colours.NONE)},
            ),
            Column(
                "Value #J",
                "Open files",
                "percentunit",
                95,
                0,
                1,
                (*near, Limit("MlflowOpenFilesNearLimit").step()),
            ),
            Column("Value #K", "Pool", "percentunit", 95, 0, 1, near),
            Column("Value #L", "Queue", "none", 65, 0, steps=(Limit("MlflowServerRequestsQueueing").step(),)),
            Column("version", "MLflow", width=68),
            Column("server", "Server", width=75),
            Column("backend", "Backend", width=90),
        ],
        height=6,
    )
