"""What the server may use: its control group's limits, and what happened at them."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.collector import Collector
from exporter.host import cgroup
from exporter.host.growth import Growth
from exporter.metric import Sample, counter, gauge
from exporter.sources.host import HostSession

MEMORY_LIMIT = gauge(
    "mlflow_server_memory_limit_bytes",
    "Least memory limit of the server's control group and those around it; absent where there is none or it "
    "cannot be read.",
    "memory.max",
    "bytes",
)
MEMORY_USAGE = gauge(
    "mlflow_server_memory_usage_bytes",
    "Memory of the control group that the limit is for (without a limit the server's own), without file cache "
    "that can be dropped; other processes of the group included. Absent where it cannot be told from the "
    "machine's.",
    "memory.current - memory.stat.inactive_file",
    "bytes",
)
OOM_KILLS = counter(
    "mlflow_server_oom_kills_total",
    "Processes of the server's control group killed for lack of memory since the exporter first saw the group; "
    "absent where it cannot be read.",
    "memory.events.oom_kill",
)
CORES = gauge(
    "mlflow_server_cpu_cores",
    "CPU cores that the server may use: the least quota of its control group and those around it, or the CPUs that "
    "it is allowed; absent where a quota cannot be read.",
    "cpu.max, sched_getaffinity()",
    "cores",
)
THROTTLED = counter(
    "mlflow_server_cpu_throttled_seconds_total",
    "Seconds that the control group with the least quota was held back, summed over CPUs, since the exporter first "
    "saw it; absent without a quota.",
    "cpu.stat.throttled_usec",
    "seconds",
)


class Limits(Collector[HostSession]):
    name = "limits"
    metrics = (MEMORY_LIMIT, MEMORY_USAGE, OOM_KILLS, CORES, THROTTLED)

    def __init__(self) -> None:
        self._kills = Growth()
        self._throttled = Growth()

    def collect(self, session: HostSession) -> Iterable[Sample]:
        head = session.sighting.head
        if head is None:
            return
        if group := cgroup.group(session.proc, head, "memory"):
            memory = cgroup.memory(group)
            if memory.limit is not None:
                yield MEMORY_LIMIT(memory.limit)
            if memory.used is not None:
                yield MEMORY_USAGE(memory.used)
            if memory.oom_kills is not None:
                yield OOM_KILLS(self._kills.to(memory.oom_kills, group.own))
        if (cores := cgroup.cores(session.proc, head)) is not None:
            yield CORES(cores)
        if group := cgroup.group(session.proc, head, "cpu"):
            cpu = cgroup.cpu(group)
            if cpu.throttled is not None:
                yield THROTTLED(self._throttled.to(cpu.throttled, cpu.folder))
