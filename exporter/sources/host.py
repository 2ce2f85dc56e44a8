"""The source `host`: what /proc says of the tracking server's processes and of the machine they run on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from exporter.collector import Query, Reason, SourceError
from exporter.discovery import Discovery, ServerProcess, Sighting
from exporter.host import processes, sockets
from exporter.host.processes import TICKS, Stat
from exporter.host.sockets import Tables


class HostSession:
    """One scrape's view: the sighting, and readings that several collectors share.

    `now` is in clock ticks since boot, from before the processes were listed.
    """

    def __init__(self, proc: Path, sighting: Sighting, now: float, deadline: float) -> None:
        self.proc = proc
        self.sighting = sighting
        self.now = now
        self._deadline = deadline
        self._stats: dict[tuple[int, int], Stat | None] = {}

    @property
    def workers(self) -> tuple[tuple[int, ServerProcess], ...]:
        """The server's own workers with their slots."""
        return tuple((one.slot, one) for one in self.sighting.processes if one.slot is not None)

    def stat(self, process: ServerProcess) -> Stat | None:
        """Return the process's figures, read once a scrape; None where it has ended since it was sighted."""
        if process.identity not in self._stats:
            stat = processes.stat(self.proc, process.pid)
            same = stat is not None and stat.identity == process.identity
            self._stats[process.identity] = stat if same else None
        return self._stats[process.identity]

    def tcp(self) -> Tables | None:
        """Return the TCP sockets of the server's network namespace; None without a server or where unreadable."""
        head = self.sighting.head
        return sockets.tables(self.proc, head) if head else None

    def check_time(self) -> None:
        """Raise SourceError when the scrape's deadline has passed: for readings that grow with the load."""
        if time.monotonic() > self._deadline:
            raise SourceError(Reason.TIMEOUT, "the scrape's deadline passed while open files were listed")


class HostSource:
    name = "host"

    def __init__(self, discovery: Discovery) -> None:
        self._discovery = discovery

    def open(self, queries: Sequence[Query], deadline: float) -> HostSession:
        """Look at the processes; `queries` are for databases. Raises SourceError where there is no /proc."""
        proc = self._discovery.proc
        if not (proc / "self" / "stat").exists():
            raise SourceError(
                Reason.UNSUPPORTED, f"{proc} is not there", "Run the exporter on Linux, with /proc mounted."
            )
        now = time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS
        return HostSession(proc, self._discovery.look(now=True), now, deadline)

    def settle(self) -> None:
        """Nothing is left under way."""

    def close(self) -> None:
        """Nothing is held."""
