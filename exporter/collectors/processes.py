"""All processes of the server by what they are for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from exporter.collector import Collector
from exporter.host.growth import CpuGrowth
from exporter.metric import Sample, counter, gauge
from exporter.sources.host import HostSession

LABELS = ("role",)
PROCESSES = gauge(
    "mlflow_server_processes",
    "Processes of the server by role: parent, supervisor, worker, job_runner, consumer, job, resource_tracker "
    "or other; a role without processes is absent.",
    "/proc/PID/stat",
    labels=LABELS,
)
CPU = counter(
    "mlflow_server_cpu_seconds_total",
    "CPU seconds, user and system, used by the processes of the role since the exporter first saw one; it stays "
    "when they end, without what each used after the last scrape that saw it.",
    "/proc/PID/stat",
    "seconds",
    LABELS,
)
RESIDENT = gauge(
    "mlflow_server_resident_memory_bytes",
    "Resident memory of the processes of the role; pages that they share count in each. A role without "
    "processes is absent.",
    "/proc/PID/stat",
    "bytes",
    LABELS,
)


class Processes(Collector[HostSession]):
    name = "processes"
    metrics = (PROCESSES, CPU, RESIDENT)

    def __init__(self) -> None:
        self._growth = CpuGrowth()
        self._used: defaultdict[str, float] = defaultdict(float)

    def collect(self, session: HostSession) -> Iterable[Sample]:
        present = [(one.role, stat) for one in session.sighting.processes if (stat := session.stat(one))]
        grown = self._growth.since([stat for _, stat in present], session.now)
        members: Counter[str] = Counter()
        resident: Counter[str] = Counter()
        for role, stat in present:
            members[role] += 1
            resident[role] += stat.resident_bytes
            self._used[role] += grown[stat.identity]
        yield from (PROCESSES(number, role) for role, number in members.items())
        yield from (RESIDENT(size, role) for role, size in resident.items())
        yield from (CPU(used, role) for role, used in self._used.items())
