"""Finds the Postgres that answers us among the processes of this machine, and what that one may use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from exporter.host import cgroup, processes
from exporter.host.processes import TICKS, Stat, naturals, read

# The kernel tells the time of its boot in whole seconds, and a clock may have been set since.
TOLERANCE_SECONDS = 10.0

KILOBYTES = re.compile(rb"^(\w+):\s+(\d{1,20}) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Session:
    """What Postgres says of a session of ours: the process that serves it, and when it and the server started.

    Times are Unix times.
    """

    pid: int
    started: float
    server_started: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What Postgres' processes use. `memory` is None where the kernel does not tell shared from private."""

    processes: int
    cpu_seconds: float
    memory: int | None


@dataclass(frozen=True, slots=True)
class Storage:
    """A file system as `df` sees it, in bytes: what is kept for root is no part of its size."""

    size: int
    free: int


def find(proc: Path, session: Session, known: tuple[int, int] | None = None) -> Stat | None:
    """Return the postmaster, None where it does not run here or cannot be told.

    An address would prove nothing: a tunnel or a pooler is local too. The process with that id must call
    itself Postgres, have started when the session did, and be the child of one that started with the server.
    Times no longer agree once the clock was set; then it is the one that was `known` (by its identity) for a server
    that started at that very moment.
    """
    boot = processes.boot_time(proc)
    backend = processes.stat(proc, session.pid)
    if boot is None or backend is None:
        return None
    if not "".join(processes.command(proc, backend.pid)[:1]).startswith("postgres:"):
        return None
    parent = processes.stat(proc, backend.parent)
    if parent is None or parent.identity == known:
        return parent
    agree = _began(boot, backend, session.started) and _began(boot, parent, session.server_started)
    return parent if agree else None


def memory_limit(proc: Path, pid: int) -> int | None:
    """Return the bytes that the process may use: its group's limit or its machine's; None where unreadable."""
    machine = _kilobytes(proc / "meminfo").get(b"MemTotal")
    group = cgroup.group(proc, pid, "memory")
    if machine is None or (group is None and cgroup.grouped(proc, pid)):
        return None
    limit = cgroup.memory(group).limit if group else None
    return machine if limit is None else min(machine, limit)


def members(proc: Path, postmaster: Stat) -> list[Stat]:
    """Return the postmaster and its children; what they have started themselves is left out."""
    found = (processes.stat(proc, pid) for pid in processes.children(proc, postmaster.pid))
    return [postmaster, *(one for one in found if one and one.parent == postmaster.pid)]


def usage(proc: Path, present: Iterable[Stat], reaped: float) -> Usage:
    """Return what the processes use together; `reaped` are the CPU seconds of those that have ended."""
    present = list(present)
    private, shared = 0, 0
    for one in present:
        sizes = _kilobytes(f"{proc}/{one.pid}/status")
        if b"RssAnon" in sizes:
            private += sizes[b"RssAnon"]
            shared = max(shared, sizes.get(b"RssShmem", 0) + sizes.get(b"HugetlbPages", 0))
    return Usage(
        len(present), reaped + sum(one.cpu_seconds for one in present), private + shared if private else None
    )


def reaped_seconds(proc: Path, pid: int) -> float | None:
    """Return the CPU seconds of all children of the process that have ended; None where unreadable."""
    fields = (read(f"{proc}/{pid}/stat") or b"").rpartition(b")")[2].split()
    found = naturals(fields, (13, 14))
    return sum(found) / TICKS if found else None


def storage(proc: Path, pid: int, data_directory: str) -> Storage | None:
    """Return the room on the file system of the data directory, None where this user cannot see it.

    The directory is where the postmaster stands, which its own user and root may look at; others need the path
    that Postgres gives, which is trusted only where it is the postmaster's user's own: this process may see
    other file systems than we do.
    """
    try:
        return _room(proc / str(pid) / "cwd")
    except OSError:
        pass
    try:
        if data_directory and Path(data_directory).stat().st_uid == processes.owner(proc, pid):
            return _room(data_directory)
    except OSError:
        pass
    return None


def _room(path: Path | str) -> Storage:
    found = os.statvfs(path)
    used = found.f_blocks - found.f_bfree
    return Storage((used + found.f_bavail) * found.f_frsize, found.f_bavail * found.f_frsize)


def _began(boot: float, process: Stat, at: float) -> bool:
    return abs(boot + process.started / TICKS - at) <= TOLERANCE_SECONDS


def _kilobytes(path: Path | str) -> dict[bytes, int]:
    """Return the sizes that a file of `Name: 12 kB` lines has, in bytes."""
    return {name: int(size) * 1024 for name, size in KILOBYTES.findall(read(path) or b"")}
