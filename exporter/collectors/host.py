"""What the server shares with everything else on its machine: the file table and the queues of listeners."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.collector import Collector
from exporter.host.growth import Growth
from exporter.host.processes import namespace, read
from exporter.host.sockets import listen_failures
from exporter.metric import Sample, counter, gauge
from exporter.sources.host import HostSession

OPEN_FILES = gauge(
    "mlflow_host_open_files", "Open files of the whole machine; absent if unreadable.", "/proc/sys/fs/file-nr"
)
MAX_OPEN_FILES = gauge(
    "mlflow_host_max_open_files",
    "Open files that the machine allows in all; absent if unreadable.",
    "/proc/sys/fs/file-nr",
)
OVERFLOWS = counter(
    "mlflow_host_tcp_listen_overflows_total",
    "Connections refused because a listener's accept queue was full, in the server's network namespace, since "
    "the exporter first saw it; absent while no server runs.",
    "/proc/PID/net/netstat.ListenOverflows",
)
DROPS = counter(
    "mlflow_host_tcp_listen_drops_total",
    "Connection attempts dropped at a listener, overflows included, in the server's network namespace, since "
    "the exporter first saw it; absent while no server runs.",
    "/proc/PID/net/netstat.ListenDrops",
)


class Host(Collector[HostSession]):
    name = "host"
    metrics = (OPEN_FILES, MAX_OPEN_FILES, OVERFLOWS, DROPS)

    def __init__(self) -> None:
        self._overflows = Growth()
        self._drops = Growth()

    def collect(self, session: HostSession) -> Iterable[Sample]:
        words = (read(session.proc / "sys/fs/file-nr") or b"").split()
        if len(words) == 3 and all(word.isdigit() for word in words):
            allocated, free, limit = (int(word) for word in words)
            yield OPEN_FILES(allocated - free)
            yield MAX_OPEN_FILES(limit)
        head = session.sighting.head
        if head is None:
            return
        # Somebody else's namespace cannot be told: then each start of the server counts anew.
        space = namespace(session.proc, head, "net") or session.sighting.key
        failures = listen_failures(session.proc, head)
        if "ListenOverflows" in failures:
            yield OVERFLOWS(self._overflows.to(failures["ListenOverflows"], space))
        if "ListenDrops" in failures:
            yield DROPS(self._drops.to(failures["ListenDrops"], space))
