"""MLflow / Workload: what jobs and people do with the server, how they do it, and what grows of it."""

from __future__ import annotations

from exporter.pack import RUNBOOKS
from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Dashboard, Row
from exporter.pack.dashboards.limits import threshold
from exporter.pack.dashboards.panel import (
    Column,
    Limit,
    Panel,
    above,
    fixed,
    graph,
    limit_line,
    stat,
    table,
    words,
)
from exporter.pack.dashboards.terms import SERVER, leading

INTERVAL = "[$__rate_interval]"

# Rows of a table as Postgres estimates them, once for each database.
ROWS = f"max by ({SERVER}, table) (mlflow_db_table_rows)"

# How many points a call carries below which calls are wasted; the alerts compare with it beside their own threshold.
FEW = 2


def total(name: str, window: str = INTERVAL) -> str:
    """Return PromQL for a counter's rate over all servers, once for each database."""
    return f"sum(max by ({SERVER}) (rate({name}{window})))"


def inserted(table_: str) -> str:
    return total(f'mlflow_db_table_rows_inserted_total{{table="{table_}"}}')


def called(operation: str, table_: str) -> str:
    name = f'mlflow_db_statement_read_calls_total{{operation="{operation}", table="{table_}"}}'
    return total(name)


def gauge(name: str) -> str:
    return f"sum(max by ({SERVER}) ({name}))"


def each_call(things: str, calls: str) -> str:
    """Return PromQL for what a call carries, over the five minutes that the alerts look at: calls are few."""
    done, made = (f"sum(max by ({SERVER}) (increase({name}[5m])))" for name in (things, calls))
    return f"{done} / ({made} > 0)"


POINTS = total("mlflow_store_points_logged_total")
CALLS = total("mlflow_store_log_calls_total")
PARAMS = total("mlflow_store_params_logged_total")


def tiles() -> list[Panel]:
    return [
        stat(
            "Points a second",
            "Points of metrics a second. What it was last week at this time is normal; 100 a second are 3 GB of "
            "database a day.",
            inserted("metrics"),
            unit_="short",
            absent_="unknown",
        ),
        stat(
            "Points a call",
            "Points that a logging call carries. 3 and more is normal. Below 2 with more than 20 calls a second: "
            "MlflowPointsLoggedOneByOne.",
            each_call("mlflow_store_points_logged_total", "mlflow_store_log_calls_total"),
            unit_="short",
            steps=[above(colours.NEAR, 0), above(colours.OK, FEW)],
            absent_="unknown",
        ),
        stat(
            "Logging calls",
            "Calls a second that log metrics. A worker answers about 80, each takes 12 ms of its CPU.",
            CALLS,
            unit_="reqps",
            absent_="unknown",
        ),
        stat(
            "Searches",
            "Searches of runs a second: people at the UI, and scripts that poll. Each answer costs the server 20 to "
            "500 ms of CPU.",
            called("search_runs", "runs"),
            unit_="reqps",
            absent_="unknown",
        ),
        stat(
            "Runs a minute",
            "Runs started in a minute. A sweep of many short runs multiplies it.",
            f"60 * {inserted('runs')}",
            unit_="short",
            decimals=1,
            absent_="unknown",
        ),
        stat(
            "Runs that log",
            "Runs that logged a metric in the last 10 minutes, read every 5 minutes. None while points are logged: "
            "short runs, or ones that are not RUNNING.",
            gauge("mlflow_store_logging_runs"),
            absent_="unknown",
        ),
    ]


def logging() -> list[list[Panel]]:
    points, params = threshold("MlflowPointsLoggedOneByOne"), threshold("MlflowParamsLoggedOneByOne")
    fastest = threshold("MlflowRunLogsTooOften")
    return [
        [
            graph(
                "Logging calls",
                "Calls a second that log metrics. Above the line they fire MlflowPointsLoggedOneByOne if they carry "
                "fewer than two points each: ask the jobs' owners for one call an epoch. With more points to a call it "
                "is only much work: server-resources.",
                {"calls": CALLS},
                unit_="reqps",
                limit=Limit("MlflowPointsLoggedOneByOne"),
                at_least=1.2 * points,
            ),
            graph(
                "Points and parameters a call",
                "What a logging call carries, the mean of all jobs. 3 and more is normal; below the dashed line most "
                "calls bring one value, and one job in batches of a thousand hides many that do.",
                {
                    "points": each_call("mlflow_store_points_logged_total", "mlflow_store_log_calls_total"),
                    "parameters": each_call(
                        "mlflow_store_params_logged_total", "mlflow_store_log_param_calls_total"
                    ),
                    "two": f"vector({FEW})",
                },
                unit_="short",
                log=True,
                overrides=[
                    fixed("points", colours.TABLES["metrics"]),
                    fixed("parameters", colours.TABLES["params"]),
                    limit_line("two"),
                ],
            ),
            graph(
                "Parameters logged",
                "Parameters a second. Above the line they fire MlflowParamsLoggedOneByOne if they come in calls of one "
                "or two and runs have more than 20: mlflow.log_params({...}) sends them at once.",
                {"parameters": PARAMS},
                unit_="short",
                limit=Limit("MlflowParamsLoggedOneByOne"),
                at_least=1.2 * params,
                overrides=[fixed("parameters", colours.TABLES["params"])],
            ),
        ],
        [
            graph(
                "Points logged",
                "Points a second, as calls bring them and as they are in the table metrics: the second is more where "
                "others than MLflow write, or pg_stat_statements loses counts. Each takes 370 bytes with its indexes.",
                {"logged": POINTS, "inserted": inserted("metrics")},
                unit_="short",
                overrides=[
                    fixed("logged", colours.TABLES["metrics"]),
                    fixed("inserted", "#8E8E8E", lineStyle={"fill": "dash", "dash": [2, 4]}),
                ],
            ),
            graph(
                "Fastest run",
                "Points a second of one metric, of the run that logs most of them; read every 5 minutes. A chart draws "
                "320 points in all. Above the line MlflowRunLogsTooOften: `mlflow-exporter explain --for 30s` names "
                "the run.",
                {
                    "points": "max(mlflow_store_fastest_run_points_per_second) or 0 * max(mlflow_store_running_runs)"
                },
                unit_="short",
                limit=Limit("MlflowRunLogsTooOften"),
                at_least=1.2 * fastest,
                overrides=[fixed("points", colours.TABLES["metrics"])],
            ),
            graph(
                "Searches and charts",
                "Calls a second of people, the UI and scripts that poll. They are few where jobs are many; when they "
                "lead while jobs wait it is read-load.",
                {
                    "searches": called("search_runs", "runs"),
                    "charts": called("metric_history", "metrics"),
                    "lists of experiments": called("search_experiments", "experiments"),
                },
                unit_="reqps",
            ),
        ],
    ]


def runs() -> list[Panel]:
    each, rows = f"max by ({SERVER}, table)", "mlflow_db_table_rows_inserted_total"
    return [
        graph(
            "Runs that are running",
            "Runs in state RUNNING and those of them that log; read every 5 minutes. Many more that run than log: jobs "
            "that died without ending their run, which `mlflow.end_run` or an update of their status puts right.",
            {
                "running": gauge("mlflow_store_running_runs"),
                "logging": gauge("mlflow_store_logging_runs"),
            },
            overrides=[
                fixed("running", colours.TABLES["runs"]),
                fixed("logging", colours.TABLES["metrics"]),
            ],
        ),
        graph(
            "Runs started a minute",
            "Runs that jobs began. A sweep of many short ones shows here, and each costs some ten calls before its "
            "first point.",
            {"runs": f"60 * {inserted('runs')}"},
            unit_="short",
            overrides=[fixed("runs", colours.TABLES["runs"])],
        ),
        graph(
            "Rows written by table",
            "Rows a second that are inserted. metrics leads where jobs log; spans and trace_info where applications "
            "are traced.",
            {
                "{{table}}": leading(
                    f"sum by (table) ({each} (rate({rows}{INTERVAL})))",
                    f"{each} (increase({rows}[$__range] @ end()))",
                    by="table",
                )
            },
            unit_="short",
            stacked=True,
        ),
    ]


def largest() -> list[Panel]:
    deleted = gauge("mlflow_store_deleted_runs")
    return [
        stat(
            "Experiments",
            "Experiments that are not deleted. Thousands make the UI's list slow, one for each run is a mistake of a "
            "script.",
            gauge("mlflow_store_experiments"),
            absent_="unknown",
        ),
        stat(
            "Largest experiment",
            "Runs of the experiment that has most, as ANALYZE estimates it. From 100,000 on its page and its searches "
            "are slow: MlflowSearchScansRuns, database-indexes.",
            "max(mlflow_store_largest_experiment_runs)",
            steps=[above(colours.NEAR, 100_000)],
            absent_="none stands out",
        ),
        stat(
            "Largest run",
            "Points of the run that has most, as ANALYZE estimates it. A chart draws 320 of a curve; from a million on "
            "its charts are slow to open: logging-pattern.",
            "max(mlflow_store_largest_run_points)",
            steps=[above(colours.NEAR, 1_000_000)],
            absent_="none stands out",
        ),
        stat(
            "Most parameters",
            "Parameters of the running run that has most, counted up to 1,001. Each makes all searches of its "
            "experiment larger; a whole configuration belongs into one artifact.",
            "max(mlflow_store_max_params_per_run)",
            steps=[above(colours.NEAR, 200)],
            absent_="none runs",
        ),
        stat(
            "Deleted runs",
            "Share of all runs that are deleted and still there, with all their points. Searches read past them until "
            "`mlflow gc --older-than 30d` removes them; the runbook of connections says how to run it.",
            f'clamp_max({deleted} / sum(max by ({SERVER}) (mlflow_db_table_rows{{table="runs"}})), 1)',
            unit_="percentunit",
            decimals=1,
            steps=[above(colours.OK, 0), above(colours.NEAR, 0.2)],
            absent_="no estimate yet",
        ),
        stat(
            "To be removed",
            "Runs and experiments that users have deleted and `mlflow gc` has yet to remove. They take their space in "
            "all tables until then.",
            {"runs": deleted, "experiments": gauge("mlflow_store_deleted_experiments")},
            absent_="unknown",
        ),
    ]


def growth() -> list[list[Panel]]:
    each = f"max by ({SERVER}, table)"
    bytes_ = f"({each} (mlflow_db_table_bytes) + {each} (mlflow_db_table_index_bytes))"
    at_end = f"{each} (mlflow_db_table_bytes @ end()) + {each} (mlflow_db_table_index_bytes @ end())"
    inserted_, deleted = (
        f"increase(mlflow_db_table_rows_{what}_total[1d])" for what in ("inserted", "deleted")
    )
    return [
        [
            table(
                "Tables",
                "What grows. Rows are Postgres' estimates, of the last day what was inserted less what was deleted, of "
                "30 days the difference of the estimates, as far back as Prometheus has them. metrics is the largest "
                "nearly everywhere: fewer points (logging-pattern), and `mlflow gc` for deleted runs.",
                {
                    "rows": f"{ROWS} > 0",
                    "day": f"{each} ({inserted_} - {deleted}) and on ({SERVER}, table) {ROWS} > 0",
                    "month": f"{each} (delta(mlflow_db_table_rows[30d:1h])) and on ({SERVER}, table) {ROWS} > 0",
                    "size": f"{each} (mlflow_db_table_bytes) and on ({SERVER}, table) {ROWS} > 0",
                    "indexes": f"{each} (mlflow_db_table_index_bytes) and on ({SERVER}, table) {ROWS} > 0",
                    "row": f"{bytes_} / ({ROWS} > 0)",
                    "share": f"{bytes_} / on ({SERVER}) group_left () max by ({SERVER}) (mlflow_db_size_bytes) "
                    f"and on ({SERVER}, table) {ROWS} > 0",
                },
                [
                    Column("tracking_server", "Server", width=100),
                    Column("table", "Table"),
                    Column("Value #A", "Rows", "short", 110),
                    Column("Value #B", "Last day", "short", 110),
                    Column("Value #C", "Last 30 days", "short", 120),
                    Column("Value #D", "Size", "bytes", 110),
                    Column("Value #E", "Indexes", "bytes", 110),
                    Column("Value #F", "Bytes a row", "bytes", 120),
                    Column("Value #G", "Share of the database", "percentunit", 230, 1, bar=1),
                ],
                sort="Share of the database",
                height=9,
            ),
        ],
        [
            graph(
                "Size of tables",
                "Bytes of each table with its indexes. A slope is normal and is what storage has to bear; a step is a "
                "bulk load or a new index. It falls only by `mlflow gc` and VACUUM FULL or pg_repack afterwards.",
                {"{{table}}": leading(f"sum by (table) ({bytes_})", at_end, by="table")},
                unit_="bytes",
                stacked=True,
            ),
            graph(
                "Rows of tables",
                "Rows as Postgres estimates them at each VACUUM or ANALYZE, so in steps, on a logarithmic scale. From "
                "a million runs on searches need the index of MlflowSearchScansRuns.",
                {"{{table}}": f"sum by (table) ({ROWS}) > 0"},
                log=True,
            ),
            graph(
                "Deleted, not removed",
                "Runs and experiments that users have deleted and that are still in all tables. They only grow until "
                "`mlflow gc` runs; once a week by cron is enough.",
                {
                    "deleted runs": gauge("mlflow_store_deleted_runs"),
                    "deleted experiments": gauge("mlflow_store_deleted_experiments"),
                },
            ),
        ],
    ]


def versions() -> list[Panel]:
    return [
        table(
            "Versions",
            "MLflow as it runs, the revision of its schema in the database, and the first release that has it. A "
            "schema of an older release than MLflow is an upgrade that was not finished: `mlflow db upgrade`. Not "
            "known: newer than this exporter, so that missing indexes are not looked for.",
            {
                "schema": f"max by ({SERVER}, revision, release) (mlflow_store_schema_info)",
                "known": f"max by ({SERVER}) (mlflow_store_schema_known)",
                "server": f"max by ({SERVER}, version, server, backend) (mlflow_server_info)",
                "driver": f"max by ({SERVER}, driver) (mlflow_db_driver_info)",
            },
            [
                Column("tracking_server", "Server", width=90),
                Column("version", "MLflow", width=85),
                Column("server", "Web server", width=100),
                Column("backend", "Backend", width=100),
                Column("driver", "Driver", width=95),
                Column("revision", "Schema", width=120),
                Column("release", "Since release", width=110),
                Column(
                    "Value #B",
                    "Known",
                    "none",
                    75,
                    maps={0: ("NO", colours.NEAR), 1: ("yes", colours.OK)},
                ),
            ],
            width=16,
            height=6,
        ),
        words(
            "What is not here: artifacts",
            "MLflow's tables do not say how many artifacts there are, nor how large. Look at the store itself: the "
            "bucket's own metrics, or `du` on a file share. Uploads through the server keep workers busy and show as "
            "`PUT .../mlflow-artifacts/...` in its access log; many small ones are "
            "[logging-pattern](" + RUNBOOKS + "/logging-pattern.md) too.",
            width=8,
            height=6,
        ),
    ]


def dashboard() -> Dashboard:
    return Dashboard(
        "workload",
        "Workload",
        "What jobs and people do with the server, how they do it, and what grows of it.",
        [
            Row("", [tiles(), *logging(), runs()]),
            Row("What there is", [largest(), *growth()]),
            Row("Versions", [versions()]),
        ],
        since="now-24h",
    )
