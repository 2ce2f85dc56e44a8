"""Row of open files."""

from __future__ import annotations

from exporter.pack.dashboards.pages.server.lines import instances, workers
from exporter.pack.dashboards.panel import Limit, Panel


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
