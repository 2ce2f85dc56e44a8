"""What the database may use of its machine, and what its processes do use where they run beside the exporter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from exporter.collector import Collector
from exporter.host import cgroup, postmaster, processes
from exporter.host.growth import Growth
from exporter.host.postmaster import Session
from exporter.host.processes import Stat
from exporter.metric import Sample, counter, gauge
from exporter.sql import Answers

CORES = gauge(
    "mlflow_db_cpu_cores",
    "CPU cores that the database may use: the setting database.cores, else, where Postgres runs on this machine, its "
    "control group's quota or the CPUs that it is allowed; absent elsewhere and where a quota cannot be read.",
    "cpu.max, sched_getaffinity()",
    "cores",
)
MEMORY_LIMIT = gauge(
    "mlflow_db_memory_limit_bytes",
    "Memory that the database may use: the setting database.memory, else, where Postgres runs on this machine, its "
    "control group's limit or the machine's memory; absent elsewhere and where a limit cannot be read.",
    "memory.max, /proc/meminfo",
    "bytes",
)
STORAGE_SIZE = gauge(
    "mlflow_db_storage_size_bytes",
    "Size of the database's storage: the setting database.storage, else of the file system with the data directory, "
    "without what is kept for root; absent where Postgres does not run on this machine or its directory cannot be "
    "seen.",
    "statvfs()",
    "bytes",
)
STORAGE_FREE = gauge(
    "mlflow_db_storage_free_bytes",
    "Bytes that Postgres can still write on the file system with its data directory (the log of changes and "
    "tablespaces may lie on others); absent as the size is, and where the size comes from the settings.",
    "statvfs()",
    "bytes",
)
PROCESSES = gauge(
    "mlflow_db_processes",
    "Processes of Postgres; absent, as all that is said of them, where it does not run on this machine.",
    "/proc/PID/task/TID/children",
)
CPU = counter(
    "mlflow_db_processes_cpu_seconds_total",
    "CPU seconds of Postgres' processes, ended ones included, since the exporter first saw its start. Held back by a "
    "quota they read low however busy it is: see mlflow_db_load_seconds_total and mlflow_db_cpu_cores.",
    "/proc/PID/stat",
    "seconds",
)
THROTTLED = counter(
    "mlflow_db_cpu_throttled_seconds_total",
    "Seconds that the control group with Postgres' quota was held back, summed over CPUs, since the exporter first "
    "saw it; absent without a quota and where Postgres does not run on this machine.",
    "cpu.stat.throttled_usec",
    "seconds",
)
RESIDENT = gauge(
    "mlflow_db_processes_resident_memory_bytes",
    "Memory of Postgres' processes: what is private to each, and once, of their shared memory, what the process that "
    "has touched most of it has; the file cache is not in it.",
    "/proc/PID/status.RssAnon, RssShmem, HugetlbPages",
    "bytes",
)
OPEN_FDS = gauge(
    "mlflow_db_process_open_fds",
    "Open file descriptors of the Postgres process that has most; absent where the exporter's user may not see it.",
    "/proc/PID/fd",
)
MAX_FDS = gauge(
    "mlflow_db_process_max_fds",
    "Limit of open file descriptors of that process; absent where it is not seen or has none.",
    "/proc/PID/limits",
)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the settings say of the database's machine, in cores and bytes; None is for us to find out."""

    cores: float | None = None
    memory: int | None = None
    storage: int | None = None


class DatabaseHost(Collector[Answers]):
    name = "database_host"
    queries = ("database_host",)
    metrics = (
        CORES,
        MEMORY_LIMIT,
        STORAGE_SIZE,
        STORAGE_FREE,
        PROCESSES,
        CPU,
        THROTTLED,
        RESIDENT,
        OPEN_FDS,
        MAX_FDS,
    )

    def __init__(self, capacity: Capacity | None = None, proc: Path = Path("/proc")) -> None:
        self._capacity = capacity or Capacity()
        self._proc = proc
        self._throttled = Growth()
        self._server: tuple[int, int] | None = None
        self._known: dict[float, tuple[int, int]] = {}  # the postmaster by when its server started
        self._cpu_first = 0.0  # of this start of Postgres, as the next
        self._cpu_here = 0.0
        self._cpu_before = 0.0  # of earlier starts

    def collect(self, session: Answers) -> Iterable[Sample]:
        (row,) = session.rows("database_host")
        pid, started, server_started = row["pid"], row["started"], row["server_started"]
        assert isinstance(pid, int) and isinstance(started, float) and isinstance(server_started, float)
        known = self._known.get(server_started)
        here = postmaster.find(self._proc, Session(pid, started, server_started), known)
        if here is not None:
            self._known = {server_started: here.identity}
        yield from self._limits(here, str(row["data_directory"] or ""))
        if here is not None:
            yield from self._used(here)

    def _limits(self, here: Stat | None, data_directory: str) -> Iterable[Sample]:
        told = self._capacity
        cores = told.cores or (cgroup.cores(self._proc, here.pid) if here else None)
        memory = told.memory or (postmaster.memory_limit(self._proc, here.pid) if here else None)
        if cores is not None:
            yield CORES(cores)
        if memory is not None:
            yield MEMORY_LIMIT(memory)
        if told.storage is not None:
            yield STORAGE_SIZE(told.storage)
        elif here and (found := postmaster.storage(self._proc, here.pid, data_directory)):
            yield STORAGE_SIZE(found.size)
            yield STORAGE_FREE(found.free)

    def _used(self, here: Stat) -> Iterable[Sample]:
        # First those that have ended: one that ends meanwhile is then missed for now, never counted twice.
        reaped = postmaster.reaped_seconds(self._proc, here.pid)
        present = postmaster.members(self._proc, here)
        usage = postmaster.usage(self._proc, present, reaped or 0.0)
        yield PROCESSES(usage.processes)
        if reaped is not None:
            yield CPU(self._grown(here, usage.cpu_seconds))
        if usage.memory is not None:
            yield RESIDENT(usage.memory)
        group = cgroup.group(self._proc, here.pid, "cpu")
        throttling = cgroup.cpu(group) if group else cgroup.Cpu()
        if throttling.throttled is not None:
            yield THROTTLED(self._throttled.to(throttling.throttled, throttling.folder))
        yield from self._open_files(present)

    def _open_files(self, present: Iterable[Stat]) -> Iterable[Sample]:
        counted = ((processes.open_fds(self._proc, one.pid), one.pid) for one in present)
        known = [(count, pid) for count, pid in counted if count is not None]
        if known:
            count, pid = max(known)
            yield OPEN_FDS(count)
            if (limit := processes.max_fds(self._proc, pid)) is not None:
                yield MAX_FDS(limit)

    def _grown(self, here: Stat, seconds: float) -> float:
        """Return the total since the first reading; it stands still where one that just ended is missed."""
        if self._server != here.identity:
            self._server = here.identity
            self._cpu_before += self._cpu_here
            self._cpu_first, self._cpu_here = seconds, 0.0
        self._cpu_here = max(self._cpu_here, seconds - self._cpu_first)
        return self._cpu_before + self._cpu_here
