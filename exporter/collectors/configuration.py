"""The settings of Postgres that decide how MLflow's writing and reading goes, and what memory would allow."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from exporter.collectors.database_host import Capacity
from exporter.host import cgroup, postmaster
from exporter.host.postmaster import Session
from exporter.metric import Sample, gauge
from exporter.sql import Answers, SqlCollector

MIB = 2**20
GIB = 2**30

AS_FOR_MLFLOW = (
    "as it is for the owner of MLflow's tables in MLflow's database where role or database have their own, read once "
    "a minute; what a connection changes for itself is not seen. Absent where this Postgres has no such setting, where "
    "-1 means no limit, and where only the exporter's own role has another value"
)

SETTING = gauge(
    "mlflow_db_setting",
    f"Setting without a unit, 1 for on or given and 0 for off or empty, {AS_FOR_MLFLOW}; fsync and full_page_writes "
    "also where Postgres has no disk of its own to write to (Neon, Aurora).",
    "pg_settings, pg_db_role_setting",
    labels=("name",),
)
BYTES = gauge(
    "mlflow_db_setting_bytes",
    f"Setting that is a size, {AS_FOR_MLFLOW}.",
    "pg_settings, pg_db_role_setting",
    "bytes",
    ("name",),
)
SECONDS = gauge(
    "mlflow_db_setting_seconds",
    f"Setting that is a time, 0 for a timeout that is off, {AS_FOR_MLFLOW}.",
    "pg_settings, pg_db_role_setting",
    "seconds",
    ("name",),
)
INFO = gauge(
    "mlflow_db_setting_info",
    f"Always 1; the value of a setting that is a word, {AS_FOR_MLFLOW}.",
    "pg_settings, pg_db_role_setting",
    labels=("name", "value"),
)
PENDING = gauge(
    "mlflow_db_settings_pending_restart",
    "Settings that were changed and wait for a restart of Postgres, read once a minute.",
    "pg_settings.pending_restart",
)
LOW = gauge(
    "mlflow_db_setting_recommended_min_bytes",
    "Least value that the setting should have with the database's memory, cores and size, made once a minute; absent "
    "where its memory, or for work_mem its cores, are not known.",
    "mlflow_db_memory_limit_bytes, mlflow_db_cpu_cores, pg_database_size()",
    "bytes",
    ("name",),
)
HIGH = gauge(
    "mlflow_db_setting_recommended_max_bytes",
    "Greatest value that the setting should have, likewise; absent as well where more would do no harm.",
    "mlflow_db_memory_limit_bytes, mlflow_db_cpu_cores",
    "bytes",
    ("name",),
)


def recommended(
    memory_bytes: int | None, cores: float | None, database_bytes: int | None
) -> dict[str, tuple[float, float | None]]:
    """Return the least and the greatest value, in bytes, of the settings that can be computed.

    None is unknown; a greatest value of None is no bound. Other settings have no such range: what is right for
    max_connections follows from the pools, for checkpoint_timeout and the timeouts from what an operator wants, for
    random_page_cost from the disk; wal_buffers are best left to Postgres, which takes 1/32 of shared_buffers.
    """
    if memory_bytes is None:
        return {}
    # Buffers beyond the database's own size hold nothing, so a small database is not advised to take a quarter of
    # a large machine; 128 MiB is Postgres' default.
    useful = memory_bytes if database_bytes is None else max(database_bytes, 128 * MIB)
    buffers = min(memory_bytes / 4, useful)
    ranges: dict[str, tuple[float, float | None]] = {
        # Above two fifths the same blocks are kept twice, here and in the system's cache, and sessions lack it.
        "shared_buffers": (buffers, memory_bytes * 0.4),
        # Allocates nothing: it tells the planner how much of an index is likely in some cache. More than the
        # machine can cache makes index scans look cheaper than they are.
        "effective_cache_size": (min(memory_bytes / 2, useful), memory_bytes * 0.75),
        # The first change of a block after a checkpoint writes the whole block: a cycle through all buffers makes
        # WAL of their size, and a checkpoint is forced halfway to this limit. More only makes crash recovery
        # longer: beyond 16 GiB it takes many minutes.
        "max_wal_size": (min(16 * GIB, max(GIB, 2 * buffers)), None),
    }
    if cores is not None:
        # Each sort or hash of each session may take it. A sort burns CPU, so few more run at a time than there are
        # cores: four each, sixteen at least, as some wait. Together they get a sixteenth to a quarter of memory,
        # which shared_buffers and the system's cache leave. A page of run search over a large experiment spills
        # 30 MB at the default of 4 MiB.
        sorts = max(16, 4 * cores)
        ranges["work_mem"] = (max(4 * MIB, memory_bytes / 16 / sorts), max(8 * MIB, memory_bytes / 4 / sorts))
    return ranges


class Configuration(SqlCollector):
    """Read the settings, and recommend where the machine is known: told, or found to be ours."""

    name = "configuration"
    queries = ("settings", "settings_pending", "database_host")
    every = 60.0
    metrics = (SETTING, BYTES, SECONDS, INFO, PENDING, LOW, HIGH)

    def __init__(self, capacity: Capacity | None = None, proc: Path = Path("/proc")) -> None:
        self._capacity = capacity or Capacity()
        self._proc = proc

    def collect(self, session: Answers) -> Iterable[Sample]:
        yield from super().collect(session)
        size = session.rows("settings_pending")[0]["database_bytes"]
        assert isinstance(size, int)
        memory, cores = self._machine(session)
        for name, (low, high) in recommended(memory, cores, size).items():
            yield LOW(low, name)
            if high is not None:
                yield HIGH(high, name)

    def _machine(self, session: Answers) -> tuple[int | None, float | None]:
        told = self._capacity
        (row,) = session.rows("database_host")
        pid, started, server_started = row["pid"], row["started"], row["server_started"]
        assert isinstance(pid, int) and isinstance(started, float) and isinstance(server_started, float)
        here = postmaster.find(self._proc, Session(pid, started, server_started))
        memory = told.memory or (postmaster.memory_limit(self._proc, here.pid) if here else None)
        return memory, told.cores or (cgroup.cores(self._proc, here.pid) if here else None)
