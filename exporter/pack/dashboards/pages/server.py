"""MLflow / Tracking server: what its users get, and what each replica and worker uses of what it has."""

from __future__ import annotations

from typing import Any

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Dashboard, Row
from exporter.pack.dashboards.limits import threshold
from exporter.pack.dashboards.panel import (
    Column,
    Limit,
    Panel,
    Queries,
    above,
    fixed,
    graph,
    limit_line,
    stat,
    states,
    table,
)
from exporter.pack.dashboards.terms import API, PACE, REPLICA, api, failed_steps

UP = {0: ("DOWN", colours.CRITICAL), 1: ("UP", colours.OK)}

# A worker's slot has the same hue on every panel, and that of another replica a shade of it.
WORKER = "{{instance}} #{{worker}}"
SLOTS = ("blue", "green", "purple", "yellow", "#4EC5B1", "#B392D6", "dark-blue", "dark-green")

UNEXPOSED = "MLflow runs without --expose-prometheus"

# Where nearly all exporters stand.
AT_SERVER = {
    "matcher": {"id": "byRegexp", "options": "/ server$/"},
    "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colours.SERIES["api"]}}],
}
# Thin and dashed; grey where they are not of that place.
TAILS = {
    "matcher": {"id": "byRegexp", "options": "/^p95/"},
    "properties": [
        {"id": "color", "value": {"mode": "fixed", "fixedColor": "#8E8E8E"}},
        {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [4, 4]}},
        {"id": "custom.lineWidth", "value": 1},
    ],
}


def workers(title: str, text: str, query: str, **options: Any) -> Panel:
    """Return a graph with a line for each worker, with a table beside it that names the highest first."""
    slots = [
        {
            "matcher": {"id": "byRegexp", "options": f"/#{slot}$/"},
            "properties": [{"id": "color", "value": {"mode": "shades", "fixedColor": colour}}],
        }
        for slot, colour in enumerate(SLOTS)
    ]
    return graph(title, text, {WORKER: query}, legend="side", overrides=slots, **options)


def instances(title: str, text: str, queries: Queries, **options: Any) -> Panel:
    """Return a graph with a line for each replica in the palette's order: by name a single one may be red."""
    named = {"{{instance}}": queries} if isinstance(queries, str) else queries
    made = graph(title, text, named, **options)
    made.json["fieldConfig"]["defaults"]["color"] = {"mode": "palette-classic"}
    return made


def exposed(title: str, text: str, query: str, **options: Any) -> Panel:
    """Return a graph of what MLflow itself counts, in a colour that says nothing of good or bad."""
    made = graph(title, text, {"{{tracking_server}}": query}, absent_=UNEXPOSED, **options)
    made.json["fieldConfig"]["defaults"]["color"] = {"mode": "shades", "fixedColor": "blue"}
    return made


def tiles() -> list[Panel]:
    return [
        stat(
            "Replicas away",
            "Replicas that were seen in the last week and do not run or listen now. The table below says which; all of "
            "them: MlflowServerDown.",
            f"count({REPLICA} == 0) or 0 * count({REPLICA})",
            unit_="short",
            steps=[above(colours.WARNING, 1)],
            base=colours.OK,
            filled=True,
        ),
        stat(
            "API",
            "Whether the API probe's calls are answered rightly. FAILS: users' calls fail too, even while /health is "
            "green; see MlflowApiFailing. LOGIN: the probe has none, and the API is not known.",
            api(),
            maps=API,
            base=colours.UNKNOWN,
            filled=True,
            unit_="short",
        ),
        stat(
            "Requests",
            "Requests a second that MLflow itself counts. Needs a server that runs with --expose-prometheus.",
            "sum(mlflow:http_requests:rate5m)",
            unit_="reqps",
            absent_="not exposed",
        ),
        stat(
            "Failed",
            "Share of the requests that failed in 5 minutes, by MLflow's own count. Normal is 0; 0.5 % is what a month "
            "allows.",
            "max(mlflow:http_errors:ratio_rate5m)",
            unit_="percentunit",
            steps=failed_steps(),
            absent_="not exposed",
        ),
        stat(
            "Slow",
            "Share of the requests that took more than 1 s in 5 minutes, by MLflow's own count. Normal is below 1 %.",
            "max(mlflow:http_slow:ratio_rate5m)",
            unit_="percentunit",
            steps=[
                above(colours.OK, 0),
                above(colours.NEAR, threshold("MlflowApiLatencyBudgetBurn")),
                Limit("MlflowApiLatencyBudgetBurn", scale=PACE).step(),
            ],
            absent_="not exposed",
        ),
        stat(
            "Worker CPU",
            "CPU of the busiest worker, of the one core that Python can use. Near 100 % its requests wait, even while "
            "other workers and the machine are idle: MlflowServerCpuSaturated.",
            "max(rate(mlflow_server_worker_cpu_seconds_total[$__rate_interval]))",
            unit_="percentunit",
            decimals=0,
            steps=[Limit("MlflowServerCpuSaturated").step()],
            base=colours.OK,
        ),
        stat(
            "Fullest pool",
            "Database connections of the worker that holds most, of what one of its engines may open. At 100 % its "
            "calls wait, and end in 400 after 30 s: MlflowConnectionPoolExhausted.",
            "max(mlflow_server_worker_database_connections / mlflow_server_worker_database_pool_capacity)",
            unit_="percentunit",
            decimals=0,
            steps=[above(colours.OK, 0), Limit("MlflowConnectionPoolExhausted").step()],
            absent_="no pool",
        ),
        stat(
            "Queue",
            "Connections that no worker has accepted yet, of the replica with most of them. 0 to 3 are normal under "
            "any load: MlflowServerRequestsQueueing.",
            "max(mlflow_server_accept_queue_length)",
            steps=[Limit("MlflowServerRequestsQueueing").step()],
            base=colours.OK,
        ),
    ]


def requests() -> list[Panel]:
    quantile = (
        "histogram_quantile({}, sum by (vantage, le) (rate(mlflow_probe_duration_seconds_bucket"
        '{{probe="api"}}[$__rate_interval]))) >= 0'
    )
    return [
        instances(
            "API probe",
            "What half and 95 % of the probe's calls to the API take at most, by where the exporter stands. A call "
            "takes 10 to 60 ms on a healthy server; gaps are failures. Probes and network shows which part is slow.",
            {
                "p50 {{vantage}}": quantile.format(0.5),
                "p95 {{vantage}}": quantile.format(0.95),
            },
            unit_="s",
            overrides=[TAILS, AT_SERVER],
        ),
        exposed(
            "Request rate",
            "Requests a second that MLflow itself counts, those of the probes included. Normal is what it was last "
            "week at this time; a fall to the probes' own few means that nobody reaches the server. Empty without "
            "--expose-prometheus.",
            "mlflow:http_requests:rate5m",
            unit_="reqps",
        ),
        exposed(
            "Failed requests",
            "Share that failed: 5xx, 429, 400 after a long wait, or quick 400s in masses. Normal is 0. At the line a "
            "month's budget of 0.5 % lasts two days: MlflowApiErrorBudgetBurn. Empty without --expose-prometheus.",
            "mlflow:http_errors:ratio_rate5m",
            unit_="percentunit",
            limit=Limit("MlflowApiErrorBudgetBurn", scale=PACE),
            at_least=0.1,
        ),
        exposed(
            "Slow requests",
            "Share that took more than 1 s. Normal is below 1 %, where searches are small. At the line a month's "
            "budget of 1 % lasts two days: MlflowApiLatencyBudgetBurn. Empty without --expose-prometheus.",
            "mlflow:http_slow:ratio_rate5m",
            unit_="percentunit",
            limit=Limit("MlflowApiLatencyBudgetBurn", scale=PACE),
            at_least=0.2,
        ),
    ]


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


def cpu() -> list[list[Panel]]:
    return [
        [
            workers(
                "CPU by worker",
                "CPU seconds a second of each worker, of the one core that Python can use. Below 70 % is well, "
                "busy or not. Above the line, with /version slow too, requests wait for Python: "
                "MlflowServerCpuSaturated. One busy and the others idle is one client on one connection.",
                "max by (instance, worker) (rate(mlflow_server_worker_cpu_seconds_total[$__rate_interval]))",
                unit_="percentunit",
                limit=Limit("MlflowServerCpuSaturated"),
                width=14,
                at_least=1,
            ),
            instances(
                "/version, median",
                "What half of the probe's calls to /version take at most, and from where on that is slow: /version "
                "needs the server alone and no database. Above its bound while CPU is high, Python is what all wait "
                "for; below it CPU is well used.",
                {
                    "{{instance}}": "mlflow:server_version_seconds:median5m >= 0",
                    "slow": "min(mlflow:server_version_seconds:slow)",
                },
                unit_="s",
                # A server that is down counts as the slowest there is.
                log=True,
                overrides=[limit_line("slow")],
            ),
        ],
        [
            graph(
                "CPU by role",
                "Cores that the processes of each role use: workers answer requests, job_runner and consumers run "
                "scorers and other jobs. Normal is nearly all in workers; much in the others takes it from requests.",
                {
                    "{{role}}": "sum by (role) (rate(mlflow_server_cpu_seconds_total[$__rate_interval]))",
                },
                unit_="short",
                stacked=True,
                legend="side",
                width=14,
            ),
            instances(
                "CPU of what is allowed",
                "CPU of all processes, of the cores or the quota that a replica may use. Above the line it is used up "
                "even where no worker looks busy: MlflowServerCpuSaturated. Raise the limit, or add a replica.",
                {
                    "{{instance}}": "sum without (role) (rate(mlflow_server_cpu_seconds_total[$__rate_interval]))"
                    " / (mlflow_server_cpu_cores > 0)",
                },
                unit_="percentunit",
                most=1,
                limit=Limit("MlflowServerCpuSaturated"),
            ),
        ],
    ]


def memory() -> list[list[Panel]]:
    near = threshold("MlflowServerMemoryNearLimit")
    return [
        [
            workers(
                "Memory by worker",
                "Resident memory of each worker. 200 to 400 MB are normal. A step that stays is a big search or "
                "artifact, a straight line over days is a leak: end the workers one after the other (SIGTERM).",
                "max by (instance, worker) (mlflow_server_worker_resident_memory_bytes)",
                width=14,
            ),
            instances(
                "Memory and its limit",
                "Memory of the control group, file cache that can be dropped not counted, and its limit, where there "
                "is one; without a limit it may be the whole machine's. Above the orange line for 5 minutes is "
                "MlflowServerMemoryNearLimit; at the red one the kernel kills.",
                {
                    "{{instance}}": "max by (instance) (mlflow_server_memory_usage_bytes)",
                    "limit": "min(mlflow_server_memory_limit_bytes)",
                    "alert": f"{near:g} * min(mlflow_server_memory_limit_bytes)",
                },
                overrides=[
                    limit_line(),
                    fixed("alert", colours.WARNING, lineStyle={"fill": "dash", "dash": [8, 6]}, lineWidth=1),
                ],
            ),
        ],
        [
            graph(
                "Memory by role",
                "Resident memory by role; pages that processes share count in each. job_runner and consumers hold "
                "about 1.5 GB from the start (MLflow 3.10 and later): MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false frees "
                "it where jobs are not used.",
                {"{{role}}": "sum by (role) (mlflow_server_resident_memory_bytes)"},
                stacked=True,
                legend="side",
                width=14,
            ),
            instances(
                "OOM kills, 15 min",
                "Processes of the server's control group that the kernel has killed for lack of memory in 15 "
                "minutes. Normal is 0; one is an alert (MlflowServerOutOfMemory). A worker comes back in seconds, "
                "a job runner never.",
                "sum by (instance) (increase(mlflow_server_oom_kills_total[15m]))",
                unit_="short",
                limit=Limit("MlflowServerOutOfMemory"),
                at_least=1,
            ),
        ],
    ]


def queue() -> list[list[Panel]]:
    return [
        [
            instances(
                "Accept queue",
                "Connections that the kernel has established and no worker has accepted. 0 to 3 are normal under "
                "any load. Above the line workers hang or have no CPU, and clients wait without an answer: "
                "MlflowServerRequestsQueueing.",
                {
                    "{{instance}}": "max by (instance)"
                    " (max_over_time(mlflow_server_accept_queue_length[$__rate_interval]))"
                },
                limit=Limit("MlflowServerRequestsQueueing"),
                at_least=10,
            ),
            graph(
                "Connections refused",
                "Connections a second that a full accept queue refused (overflows), and all that a listener "
                "dropped, in the server's network namespace. Normal is 0. More: clients see timeouts of 1, 3 and "
                "7 s; see the queue beside it.",
                {
                    "overflows": "sum(rate(mlflow_host_tcp_listen_overflows_total[$__rate_interval]))",
                    "drops": "sum(rate(mlflow_host_tcp_listen_drops_total[$__rate_interval]))",
                },
                unit_="cps",
                overrides=[fixed("overflows", colours.CRITICAL), fixed("drops", colours.WARNING)],
                at_least=1,
            ),
        ],
        [
            workers(
                "HTTP connections by worker",
                "Connections that clients hold to each worker, idle ones and probes included. Normal is a like number "
                "in each. One with most of them has most of the work: clients that keep their connection stay with "
                "their worker.",
                "max by (instance, worker) (mlflow_server_worker_http_connections)",
            ),
            workers(
                "Threads by worker",
                "Threads of each worker. Up to about 50 are normal: each call of the API holds one of 40. A number "
                "that stays at its top means that calls wait for a thread; see where the time goes.",
                "max by (instance, worker) (mlflow_server_worker_threads)",
            ),
        ],
    ]


def database() -> list[Panel]:
    return [
        workers(
            "Connection pool by worker",
            "Connections to the database that each worker holds, of what one of its engines may open; with several "
            "engines it can be above 100 %. At the line and the API slow or failing, calls wait 30 s and get a "
            "400: MlflowConnectionPoolExhausted.",
            "max by (instance, worker) (mlflow_server_worker_database_connections"
            " / mlflow_server_worker_database_pool_capacity)",
            unit_="percentunit",
            limit=Limit("MlflowConnectionPoolExhausted"),
            width=14,
            at_least=1,
        ),
        graph(
            "Connections it may open",
            "What all replicas may open at most, by engine, against what the database takes from ordinary roles, and "
            "what is in use by all. Areas above the limit: a burst ends in `too many clients` "
            "(MlflowConnectionsRefused). Lower POOL_SIZE and MAX_OVERFLOW.",
            {
                "{{engine}}": "sum by (engine) (mlflow_server_database_connections_budget)",
                "limit": "max(mlflow_db_connections_limit - mlflow_db_connections_reserved)",
                "used": "max(mlflow_db_connections_used)",
            },
            stacked=True,
            overrides=[
                limit_line(),
                fixed("used", "text", fillOpacity=0, lineWidth=2, stacking={"mode": "none", "group": "used"}),
            ],
        ),
    ]


def processes() -> list[list[Panel]]:
    missing = (
        "sum(clamp_min(min_over_time(mlflow_server_workers_configured[2m])"
        " - max_over_time(mlflow_server_workers_alive[2m])"
        " + min_over_time(mlflow_server_workers_orphaned[2m]), 0))"
    )
    return [
        [
            states(
                "Replicas and job runners",
                "When each replica ran and listened, and its job runner, where jobs are on. DOWN for half a minute is "
                "a restart. A job runner that has died does not come back by itself: restart that replica "
                "(MlflowServerProcessMissing).",
                {"{{instance}}": REPLICA, "{{instance}} jobs": "mlflow_server_job_runner_alive"},
                UP,
                width=12,
            ),
            instances(
                "Uptime",
                "Time since each replica's supervisor started; it falls to 0 at each restart. Restarts that nobody "
                "made: look for exit code 137 (memory) and at the end of the server's log.",
                "max by (instance) (time() - mlflow_server_start_timestamp_seconds)",
                unit_="s",
                width=12,
            ),
        ],
        [
            graph(
                "Processes by role",
                "Processes of all replicas by role. Normal is a flat line: a parent and a supervisor a replica, its "
                "workers, and with jobs on a job_runner and consumers.",
                {"{{role}}": "sum by (role) (mlflow_server_processes)"},
                stacked=True,
                legend="side",
                width=12,
            ),
            graph(
                "Workers",
                "Workers that are alive and that the replicas were told to run. Fewer for some seconds is a worker "
                "that is replaced. Orphaned ones outlived their supervisor: nobody replaces them and they hold the "
                "port, so end them before a start.",
                {
                    "alive": "sum(mlflow_server_workers_alive)",
                    "configured": "sum(mlflow_server_workers_configured)",
                    "orphaned": "sum(mlflow_server_workers_orphaned)",
                },
                overrides=[
                    fixed("alive", colours.OK),
                    fixed(
                        "configured",
                        colours.SERIES["recommended"],
                        lineStyle={"fill": "dash", "dash": [8, 6]},
                    ),
                    fixed("orphaned", colours.WARNING),
                ],
                width=12,
            ),
        ],
        [
            graph(
                "Missing processes",
                "Workers and job runners that were there at no moment of the last 2 minutes. Normal is 0; one for "
                "5 minutes is MlflowServerProcessMissing. Restart that replica.",
                {
                    "workers": missing,
                    "job runners": "sum(1 - max_over_time(mlflow_server_job_runner_alive[2m]))",
                },
                limit=Limit("MlflowServerProcessMissing"),
                overrides=[
                    fixed("workers", colours.ROLES["worker"]),
                    fixed("job runners", colours.ROLES["job_runner"]),
                ],
                at_least=1,
            ),
            instances(
                "Workers replaced, 15 min",
                "Workers that ended and were replaced within 15 minutes. Normal is 0, with a max-requests option "
                "some. Two are MlflowServerWorkersRestarting: each death fails the requests that the worker had.",
                {
                    "{{instance}}": "sum by (instance) (increase(mlflow_server_worker_replacements_total[15m]))"
                },
                unit_="short",
                limit=Limit("MlflowServerWorkersRestarting"),
                at_least=2,
            ),
        ],
    ]


def files() -> list[list[Panel]]:
    near = Limit("MlflowOpenFilesNearLimit")
    return [
        [
            workers(
                "Open files by worker",
                "Open files and sockets of each worker, of its own limit. A few per cent are normal. Above the line is "
                "MlflowOpenFilesNearLimit: at 100 % it accepts nobody and spins at full CPU. Raise LimitNOFILE.",
                "max by (instance, worker) (mlflow_server_worker_open_fds / mlflow_server_worker_max_fds)",
                unit_="percentunit",
                most=1,
                limit=near,
                width=14,
            ),
            instances(
                "Open files of the host",
                "Open files of the whole machine, of what it allows. A few per cent are normal. Above the line all that"
                " runs on it is about to fail, sshd too: MlflowOpenFilesNearLimit, and raise fs.file-max.",
                "max by (instance) (mlflow_host_open_files / mlflow_host_max_open_files)",
                unit_="percentunit",
                most=1,
                limit=near,
            ),
        ],
        [
            workers(
                "Number of open files",
                "Open files and sockets of each worker. It follows its connections; a line that climbs for hours while "
                "these are flat is a leak.",
                "max by (instance, worker) (mlflow_server_worker_open_fds)",
                width=14,
            ),
            instances(
                "Number on the host",
                "Open files of the whole machine. It follows what runs there; a line that climbs for days is a leak of "
                "somebody (`lsof | awk '{print $1}' | sort | uniq -c | sort -n`).",
                "max by (instance) (mlflow_host_open_files)",
            ),
        ],
    ]


def group() -> list[Panel]:
    return [
        instances(
            "CPU throttled",
            "Seconds a second that a control group was held back by its quota, summed over CPUs. Normal is below "
            "0.1; more makes calls slow while CPU looks low. Raise the CPU limit. Empty without a quota.",
            "max by (instance) (rate(mlflow_server_cpu_throttled_seconds_total[$__rate_interval]))",
            unit_="short",
            absent_="No CPU quota",
        ),
        instances(
            "Memory of the limit",
            "Memory of the control group, of its limit. Above the line for 5 minutes is "
            "MlflowServerMemoryNearLimit: raise the limit, fewer workers, smaller searches. Empty without a limit.",
            "max by (instance) (mlflow_server_memory_usage_bytes / mlflow_server_memory_limit_bytes)",
            unit_="percentunit",
            most=1,
            limit=Limit("MlflowServerMemoryNearLimit"),
            absent_="No memory limit",
        ),
    ]


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
