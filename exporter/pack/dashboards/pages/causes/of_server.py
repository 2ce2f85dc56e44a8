"""Rows of the causes that show at the server, its files, its network and its watchers."""

from __future__ import annotations

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Row
from exporter.pack.dashboards.pages.causes.row import row
from exporter.pack.dashboards.panel import Limit, graph, limit_line, states
from exporter.pack.dashboards.terms import UP, api_failed, median


def availability() -> Row:
    return row(
        "availability",
        "**Shows:** nobody gets a page, or calls fail. The other rows say why.\n\n"
        "**Now:** start what is down; the last lines of its log say why it ended. If only the API fails, take the row "
        "with the highest pressure.\n\n"
        "**For good:** a supervisor that restarts it, two replicas, pinned versions.",
        [
            states(
                "Who answers",
                "Whether each probe's last attempt was answered. /health is green while every call fails. Database "
                "well and api not: the server or its pools; neither: the database.",
                {"{{probe}} {{vantage}}": "min by (probe, vantage) (mlflow_probe_success)"},
                {1: ("answers", "green"), 0: ("fails", "red")},
            ),
            graph(
                "API probes that fail",
                "Share of the API probe's attempts without a right answer, by place, its own login left out. Normal "
                "is 0; above the line users are hurt.",
                {"{{vantage}}": api_failed()},
                unit_="percentunit",
                limit=Limit("MlflowApiFailing"),
                most=1,
            ),
            graph(
                "Requests that fail",
                "Share of all requests that failed, by MLflow's own count, where it runs with --expose-prometheus: "
                "5xx, and 400 that came slowly. Normal is 0.",
                {
                    "5 min": "max(mlflow:http_errors:ratio_rate5m)",
                    "1 h": "max(mlflow:http_errors:ratio_rate1h)",
                },
                unit_="percentunit",
            ),
        ],
    )


def sqlite_backend() -> Row:
    return row(
        "sqlite-backend",
        "**Shows:** the file is locked; calls wait up to 20 s and are lost.\n\n"
        "**Now:** `fuser -v mlflow.db` in the server's directory, and end whatever else has it open.\n\n"
        "**For good:** move to Postgres, a quarter of an hour for a small file.",
        [
            graph(
                "Wait for the lock",
                "How long the exporter's own attempt waited for the file's lock, at most 0.5 s. Normal is 0. Empty "
                "with Postgres.",
                {"wait": "max(mlflow_db_sqlite_lock_wait_seconds)"},
            ),
            graph(
                "Size of the files",
                "The database's file and its log. A log that only grows is never brought into the file, as somebody "
                "reads all the time. Empty with Postgres.",
                {"file": "max(mlflow_db_sqlite_file_bytes)", "log (-wal)": "max(mlflow_db_sqlite_wal_bytes)"},
            ),
        ],
    )


def logging_pattern() -> Row:
    return row(
        "logging-pattern",
        "**Shows:** many logging calls with one point each; the server's CPU goes into calls.\n\n"
        "**Now:** `mlflow-exporter explain --for 30s` names the runs, their user and source.\n\n"
        "**For good:** `mlflow.log_metrics` once a step, asynchronous logging, `log_params` once a run.",
        [
            graph(
                "Logging calls",
                "Calls that log points, a second. About 80 a second are what a worker can do; above the line it pays "
                "to bring points together.",
                {"calls": "max(rate(mlflow_store_log_calls_total[$__rate_interval]))"},
                limit=Limit("MlflowPointsLoggedOneByOne"),
            ),
            graph(
                "Points a call",
                "Points that a logging call brings on average. One by one is 1; a job that logs a step's metrics "
                "together brings as many as it has metrics. Normal is 3 and more.",
                {
                    "points a call": "max(rate(mlflow_store_points_logged_total[$__rate_interval])"
                    " / (rate(mlflow_store_log_calls_total[$__rate_interval]) > 0))"
                },
                unit_="none",
            ),
            graph(
                "Parameters",
                "Parameters logged a second, and calls that log them. As many calls as parameters: one by one.",
                {
                    "parameters": "max(rate(mlflow_store_params_logged_total[$__rate_interval]))",
                    "calls": "max(rate(mlflow_store_log_param_calls_total[$__rate_interval]))",
                },
                limit=Limit("MlflowParamsLoggedOneByOne"),
            ),
            graph(
                "Fastest run",
                "Points a second of a single metric that the fastest run logs. A chart draws 320 points, so that "
                "above the line nearly all are stored for nobody. Read every 5 minutes.",
                {"points/s": "max(mlflow_store_fastest_run_points_per_second)"},
                unit_="cps",
                limit=Limit("MlflowRunLogsTooOften"),
            ),
        ],
    )


def server_resources() -> Row:
    return row(
        "server-resources",
        "**Shows:** workers at 100 % of a core, memory near its limit, connections that nobody accepts.\n\n"
        "**Now:** stop the script with the heaviest requests (pages of thousands of runs); restart a worker that is "
        "stuck or has eaten the memory.\n\n"
        "**For good:** `--workers` up to the number of cores, more replicas, smaller pages.",
        [
            graph(
                "CPU of each worker",
                "Cores that each worker uses. Python uses one at most: at 1 its requests wait for each other. Normal "
                "is below 0.5.",
                {
                    "{{worker}}": "max by (worker) (rate(mlflow_server_worker_cpu_seconds_total[$__rate_interval]))"
                },
                limit=Limit("MlflowServerCpuSaturated", "cpu"),
            ),
            graph(
                "/version, median",
                "The answer that needs no database. When it takes several times as long as usual while a worker's CPU "
                "is used up, Python is the bottleneck.",
                {"version": median("version"), "slow": "max(mlflow:server_version_seconds:slow)"},
                unit_="s",
                overrides=(limit_line("slow"),),
            ),
            graph(
                "Memory",
                "Memory of the server's control group against its limit; without a limit there is no line and no "
                "alert. At the limit the kernel kills a process.",
                {
                    "used": "max(mlflow_server_memory_usage_bytes)",
                    "limit": "max(mlflow_server_memory_limit_bytes)",
                },
                overrides=(limit_line(),),
            ),
            graph(
                "Waiting to be accepted",
                "Connections that the kernel holds because no worker takes them. Normal is 0; above the line clients "
                "wait before anything sees their request.",
                {"connections": "max(mlflow_server_accept_queue_length)"},
                limit=Limit("MlflowServerRequestsQueueing"),
            ),
        ],
        [
            graph(
                "Workers",
                "Workers that are alive, of those that were configured, and orphans that still hold the port. Normal "
                "is as many as were configured and no orphan.",
                {
                    "alive": "sum(mlflow_server_workers_alive)",
                    "configured": "sum(mlflow_server_workers_configured)",
                    "orphaned": "sum(mlflow_server_workers_orphaned)",
                },
                overrides=(limit_line("configured"),),
            ),
            graph(
                "Workers replaced and killed",
                "Workers that ended and were replaced, and processes killed for lack of memory, in 15 minutes. Normal "
                "is 0.",
                {
                    "replaced": "sum(increase(mlflow_server_worker_replacements_total[15m]))",
                    "killed": "sum(increase(mlflow_server_oom_kills_total[15m]))",
                },
                unit_="short",
            ),
        ],
    )


def network_latency() -> Row:
    return row(
        "network-latency",
        "**Shows:** a round trip of milliseconds, to the database or from the clients, while nothing is busy.\n\n"
        "**Now:** measure both ways: `ping` and the runbook's two commands; undo the last change of the network.\n\n"
        "**For good:** server and database in one zone; jobs log in batches and asynchronously.",
        [
            graph(
                "To the database",
                "The fastest tenth of the database probe's attempts: one statement on a session that stands, which is "
                "mostly the way. "
                "Normal is below 2 ms in one zone; each call to MLflow pays it ten times.",
                {
                    "round trip": "max(histogram_quantile(0.1, sum by (instance, le) (rate("
                    'mlflow_probe_duration_seconds_bucket{probe="database"}[$__rate_interval])))) >= 0'
                },
                unit_="s",
                limit=Limit("MlflowDatabaseRoundTripSlow"),
            ),
            graph(
                "From the clients",
                "What connecting takes a probe at another vantage than the server's, or its wait for /health. Empty "
                "without such a probe (`probes.vantage`).",
                {"{{path}} {{phase}}": "max by (path, phase) (mlflow:path_phase_seconds:mean5m)"},
                unit_="s",
                limit=Limit("MlflowClientNetworkSlow"),
            ),
            graph(
                "Where the time goes",
                "Median of each probe. A slow way to the database lifts api by ten round trips and database by one, "
                "and leaves health and version where they were.",
                {probe: median(probe) for probe in colours.PROBES},
                unit_="s",
            ),
        ],
    )


def open_files() -> Row:
    return row(
        "open-files",
        "**Shows:** a worker, Postgres or the machine nears its limit of open files; at the limit connections fail.\n\n"
        "**Now:** `prlimit --pid PID --nofile=65536:65536` for each worker; no restart.\n\n"
        "**For good:** `LimitNOFILE=65536` in the unit; find the leak if they only grow.",
        [
            graph(
                "Used of the limit",
                "Open files of the fullest worker and of the machine, against their limits. Normal is below 0.3, and "
                "flat. Postgres' processes, which fill theirs by themselves, are on Database.",
                {
                    "server": "max(mlflow_server_worker_open_fds / mlflow_server_worker_max_fds)",
                    "machine": "max(mlflow_host_open_files / mlflow_host_max_open_files)",
                },
                unit_="percentunit",
                limit=Limit("MlflowOpenFilesNearLimit"),
                most=1,
            ),
            graph(
                "Open files of each worker",
                "Open file descriptors by worker. Load comes and goes; what only grows is a leak.",
                {"{{worker}}": "max by (worker) (mlflow_server_worker_open_fds)"},
            ),
            graph(
                "What they are",
                "Connections of the fullest worker: from clients, and to the database. Files that are neither are "
                "libraries, logs and artifacts.",
                {
                    "from clients": "max(mlflow_server_worker_http_connections)",
                    "to the database": "max(mlflow_server_worker_database_connections)",
                },
            ),
        ],
    )


def exporter() -> Row:
    return row(
        "exporter",
        "**Shows:** nothing is known to be wrong with MLflow, and nothing would be known if it were.\n\n"
        "**Now:** `mlflow-exporter check` on its machine: each part that cannot read, why, and what mends it.\n\n"
        "**For good:** a role with pg_monitor for the exporter, its own unit with Restart=always.",
        [
            states(
                "Exporters",
                "Whether Prometheus can scrape each exporter. AWAY: its process, its port, or the network.",
                {"{{instance}}": f"min by (instance) ({UP})"},
                {1: ("scraped", "green"), 0: ("AWAY", "red")},
            ),
            states(
                "Collectors that cannot read",
                "Each collector that failed in this time. The dashboard Exporter has the reasons; `check` says what "
                "to do.",
                {
                    "{{collector}}": "min by (collector) (mlflow_exporter_collector_success)"
                    " and on (collector)"
                    " (min by (collector) (min_over_time(mlflow_exporter_collector_success[$__range] @ end())) == 0)"
                },
                {1: ("reads", "green"), 0: ("blind", "red")},
                absent_="Every collector has read all the time",
            ),
        ],
    )
