"""Row of the processes: which run, which are missing, which were replaced."""

from __future__ import annotations

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.pages.server.lines import instances
from exporter.pack.dashboards.pages.server.replicas import UP
from exporter.pack.dashboards.panel import Limit, Panel, fixed, graph, states
from exporter.pack.dashboards.terms import REPLICA


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
