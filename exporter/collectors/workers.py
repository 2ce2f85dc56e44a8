"""Each HTTP worker by its slot, which a replacement takes over: a pid would make a new series each time."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.collector import Collector
from exporter.host import processes
from exporter.host.growth import CpuGrowth
from exporter.metric import Sample, counter, gauge
from exporter.sources.host import HostSession

LABELS = ("worker",)
CPU = counter(
    "mlflow_server_worker_cpu_seconds_total",
    "CPU seconds, user and system, used in this worker's slot since the exporter first saw it; a replaced "
    "worker continues its predecessor's count.",
    "/proc/PID/stat",
    "seconds",
    LABELS,
)
RESIDENT = gauge(
    "mlflow_server_worker_resident_memory_bytes",
    "Resident memory of the worker, shared pages included; absent while the slot is empty.",
    "/proc/PID/stat",
    "bytes",
    LABELS,
)
THREADS = gauge(
    "mlflow_server_worker_threads",
    "Threads of the worker; absent while the slot is empty.",
    "/proc/PID/stat",
    labels=LABELS,
)
OPEN_FDS = gauge(
    "mlflow_server_worker_open_fds",
    "Open file descriptors of the worker; absent while the slot is empty, and for another user's server where "
    "Linux is older than 6.2.",
    "/proc/PID/fd",
    labels=LABELS,
)
MAX_FDS = gauge(
    "mlflow_server_worker_max_fds",
    "Soft limit of the worker's open file descriptors; absent while the slot is empty or without a limit.",
    "/proc/PID/limits",
    labels=LABELS,
)
POOL_CAPACITY = gauge(
    "mlflow_server_worker_database_pool_capacity",
    "Connections that one SQLAlchemy engine of the worker may open: pool size plus overflow; a worker has up to "
    "three engines. Absent where the server's environment cannot be read or the pool has no limit.",
    "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE, MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW",
    labels=LABELS,
)


class Workers(Collector[HostSession]):
    name = "workers"
    metrics = (CPU, RESIDENT, THREADS, OPEN_FDS, MAX_FDS, POOL_CAPACITY)

    def __init__(self) -> None:
        self._growth = CpuGrowth()
        self._used: dict[int, float] = {}
        self._key = ""

    def collect(self, session: HostSession) -> Iterable[Sample]:
        present = {slot: stat for slot, worker in session.workers if (stat := session.stat(worker))}
        grown = self._growth.since(present.values(), session.now)
        if session.sighting.key and session.sighting.key != self._key:
            # Started anew, perhaps with fewer workers: slots that no longer exist end here.
            self._key = session.sighting.key
            size = max(session.sighting.workers_configured or 0, 1 + max(present, default=-1))
            self._used = {slot: used for slot, used in self._used.items() if slot < size}
        for slot, stat in present.items():
            self._used[slot] = self._used.get(slot, 0.0) + grown[stat.identity]
        yield from (CPU(used, str(slot)) for slot, used in self._used.items())
        for slot, stat in present.items():
            worker = str(slot)
            yield RESIDENT(stat.resident_bytes, worker)
            yield THREADS(stat.threads, worker)
            if (fds := processes.open_fds(session.proc, stat.pid)) is not None:
                yield OPEN_FDS(fds, worker)
            if (limit := processes.max_fds(session.proc, stat.pid)) is not None:
                yield MAX_FDS(limit, worker)
            if session.sighting.pool_capacity is not None:
                yield POOL_CAPACITY(session.sighting.pool_capacity, worker)
