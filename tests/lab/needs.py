"""What a fault asks of its stack, and what every stack of the lab has that is well."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import psutil

# A healthy site's: what the lab's Postgres does without for speed is a fault here.
HEALTHY = {
    "fsync": "on",
    "track_wal_io_timing": "on",
    "max_wal_size": "2GB",
    "shared_buffers": "256MB",
    # An eighth of the machine for as many sorts as may run at once: Postgres' own 4 MB are a finding.
    "work_mem": f"{psutil.virtual_memory().total // 8 // max(16, 4 * (os.cpu_count() or 1)) >> 10}kB",
}


@dataclass(frozen=True)
class Needs:
    """What a fault's stack has from its start, while all is still well.

    `settings` go to postgresql.conf. `data` `million` is a database with 1,000,000 runs in experiments 1 to 50,
    as many points, and RUNS_INDEX. `replicas` more servers, each with its exporter, use the same database.
    `options` and `mlflow_env` are the server's own, `nofile` its soft limit of open files. `background`
    is the load of a healthy team; `idle` is none. `proxy` stands before the database (for the server and its
    exporter) or before the server (for clients, with an exporter of vantage `clients` that only probes). `groups`
    are servers that start in a control group without limits. `role` is whom the exporter signs in as.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    data: Literal["small", "million"] = "small"
    workers: int = 2
    replicas: int = 0
    jobs: bool = False
    options: Sequence[str] = ()
    mlflow_env: Mapping[str, str] = field(default_factory=dict)
    nofile: int = 0
    sqlite: bool = False
    background: Literal["light", "idle"] = "light"
    proxy: Literal["", "database", "clients"] = ""
    groups: frozenset[Literal["postgres", "mlflow"]] = frozenset()
    replica: bool = False
    role: Literal["mlflow", "exporter"] = "mlflow"
