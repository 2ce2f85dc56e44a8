"""Row of the database's dashboard about the machine that it runs on."""

from __future__ import annotations

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Row
from exporter.pack.dashboards.panel import Limit, Panel, fixed, graph, limit_line, right

SIZE = "max(mlflow_db_storage_size_bytes)"
IN_A_DAY = "max(clamp_min(predict_linear(mlflow_db_storage_free_bytes[6h], 86400), 0))"


def quantile(part: str) -> str:
    """Return PromQL for the round trips of the database's probe, of the exporter that has the longest way."""
    buckets = 'rate(mlflow_probe_duration_seconds_bucket{probe="database"}[$__rate_interval])'
    return f"max(histogram_quantile({part}, sum by (instance, le) ({buckets})) >= 0)"


def storage() -> Panel:
    one = graph(
        "Storage used",
        "Share of the database's file system that is full. Above the upper line MlflowDatabaseStorageFilling fires; "
        "above the lower one too if it will be full within a day at this pace. Then enlarge it; never delete in "
        "pg_wal.",
        {
            "used": "max(1 - mlflow_db_storage_free_bytes / mlflow_db_storage_size_bytes)"
            " or max(1 - mlflow:db_host_storage_free:ratio)"
        },
        unit_="percentunit",
        limit=Limit("MlflowDatabaseStorageFilling", "level"),
        at_least=1,
    )
    pace = Limit("MlflowDatabaseStorageFilling", "pace").step() | {"color": colours.WARNING}
    one.json["fieldConfig"]["defaults"]["thresholds"]["steps"].insert(1, pace)
    return one


def host_row() -> Row:
    return Row(
        "Machine: empty where Postgres runs elsewhere, but for what the settings or the cloud's metrics say",
        [
            [
                graph(
                    "CPU used",
                    "CPU of Postgres' processes against its cores, and time that a quota held them back. Held back, it "
                    "reads low however busy it is: the load for each core above says. The line is for a machine whose "
                    "cores are not known: MlflowDatabaseCpuSaturated.",
                    {
                        "processes": "max(rate(mlflow_db_processes_cpu_seconds_total[$__rate_interval])"
                        " / mlflow_db_cpu_cores)",
                        "machine, by its cloud": "max(mlflow:db_host_cpu:ratio)",
                        "held back, s/s (right)": "max(rate(mlflow_db_cpu_throttled_seconds_total[$__rate_interval]))",
                    },
                    unit_="percentunit",
                    limit=Limit("MlflowDatabaseCpuSaturated", "host"),
                    at_least=1,
                    overrides=[right("held back, s/s (right)", "short", colours.NEAR)],
                ),
                graph(
                    "Memory",
                    "Memory of Postgres' processes and all indexes of MLflow's tables, against what the database has. "
                    "Indexes beyond half of the memory no longer stay cached: MlflowDatabaseIoBound is next. Processes "
                    "near the limit: the OOM killer is.",
                    {
                        "processes": "max(mlflow_db_processes_resident_memory_bytes)",
                        "all indexes": "sum(max by (table) (mlflow_db_table_index_bytes))",
                        "shared_buffers": 'max(mlflow_db_setting_bytes{name="shared_buffers"})',
                        "limit": "max(mlflow_db_memory_limit_bytes)",
                    },
                    overrides=[
                        limit_line(),
                        fixed("shared_buffers", colours.SERIES["recommended"]),
                    ],
                ),
                storage(),
            ],
            [
                graph(
                    "Storage free",
                    "Bytes that Postgres can still write, and what would be free in a day if the last six hours went "
                    "on. 0 in a day: enlarge it now. What grows is among the tables below, or a replication slot that "
                    "keeps the log of changes.",
                    {
                        "free": "max(mlflow_db_storage_free_bytes)",
                        "free in a day": f"{IN_A_DAY} <= {SIZE} or {SIZE} < {IN_A_DAY}",
                        "size": SIZE,
                    },
                    overrides=[fixed("size", colours.SERIES["recommended"])],
                ),
                graph(
                    "Open files and processes",
                    "Open files of the Postgres process that has most, of its limit, and Postgres' processes (right). "
                    "Postgres closes what it needs least and stops 10 short of the limit, so a high share is normal "
                    "there; fewer left than 5 is MlflowOpenFilesNearLimit.",
                    {
                        "open files": "max(mlflow_db_process_open_fds / mlflow_db_process_max_fds)",
                        "processes (right)": "max(mlflow_db_processes)",
                    },
                    unit_="percentunit",
                    overrides=[right("processes (right)", "short", "green")],
                ),
                graph(
                    "Round trip to the database",
                    "Round trips of the database's probe, of the exporter that is furthest away: the quickest tenth, "
                    "which is the way, and the median. Below 1 ms is normal. The quickest above the line while there "
                    "is little load: MlflowDatabaseRoundTripSlow (network-latency).",
                    {
                        "quickest tenth": quantile("0.1"),
                        "median": quantile("0.5"),
                    },
                    limit=Limit("MlflowDatabaseRoundTripSlow"),
                    unit_="s",
                    at_least=0.005,
                ),
            ],
        ],
    )
