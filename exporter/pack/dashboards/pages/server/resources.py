"""Rows of the CPU and memory of workers and replicas, and of the limits of their container."""

from __future__ import annotations

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.limits import threshold
from exporter.pack.dashboards.pages.server.lines import instances, workers
from exporter.pack.dashboards.panel import Limit, Panel, fixed, graph, limit_line


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
