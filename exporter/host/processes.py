"""Reads single processes from /proc: what a process that is gone, or somebody else's, gives is None.

Raises OSError where the exporter itself has no descriptor or memory left: nobody is gone for that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter.exhausted import unless_ours

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")

# A process chooses the size of its own command line and environment; the exporter's memory is not its to fill.
LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Stat:
    """One reading of `/proc/PID/stat`. `started` is in clock ticks since boot: with the pid it is an identity."""

    pid: int
    parent: int
    started: int
    cpu_seconds: float
    resident_bytes: int
    threads: int

    @property
    def identity(self) -> tuple[int, int]:
        return (self.pid, self.started)


def stat(proc: Path, pid: int) -> Stat | None:
    """Return the process's figures; None for one that is gone, or dead and not yet reaped."""
    text = read(proc / str(pid) / "stat")
    if text is None:
        return None
    # The name, in parentheses, may hold any byte, so that the fields are counted from the last parenthesis.
    fields = text.rpartition(b")")[2].split()
    try:
        if fields[0] in (b"Z", b"X", b"x"):
            return None
        return Stat(
            pid=pid,
            parent=int(fields[1]),
            started=int(fields[19]),
            cpu_seconds=(int(fields[11]) + int(fields[12])) / TICKS,
            resident_bytes=int(fields[21]) * PAGE,
            threads=int(fields[17]),
        )
    except (IndexError, ValueError):
        return None


def lives(proc: Path, identity: tuple[int, int]) -> bool:
    found = stat(proc, identity[0])
    return found is not None and found.identity == identity


def pids(proc: Path) -> Iterator[int]:
    """Yield all process ids: the one thing here whose cost grows with the host."""
    try:
        with os.scandir(proc) as entries:
            for entry in entries:
                if entry.name.isascii() and entry.name.isdigit():
                    yield int(entry.name)
    except OSError as error:
        unless_ours(error)


def children(proc: Path, pid: int) -> tuple[int, ...]:
    """Return the ids of the children, sorted; empty where the process is gone."""
    folder = f"{proc}/{pid}/task"
    found: set[int] = set()
    try:
        # Each thread lists the children that it has forked.
        for task in os.listdir(folder):  # noqa: PTH208 - Path objects cost more than the reading
            listed = read(f"{folder}/{task}/children")
            if listed is not None:
                found.update(int(word) for word in listed.split() if word.isdigit())
            elif int(task) == pid and stat(proc, pid):
                return _children_by_parent(proc, pid)
    except OSError as error:
        unless_ours(error)
    except ValueError:
        pass
    return tuple(sorted(found))


def _children_by_parent(proc: Path, pid: int) -> tuple[int, ...]:
    """Walk all processes: for kernels without CONFIG_PROC_CHILDREN, such as gVisor's."""
    return tuple(sorted(one for one in pids(proc) if (found := stat(proc, one)) and found.parent == pid))


def command(proc: Path, pid: int) -> tuple[str, ...]:
    """Return the command line's arguments; empty where there is none."""
    return tuple(_words(read(proc / str(pid) / "cmdline") or b""))


def environ(proc: Path, pid: int) -> dict[str, str] | None:
    """Return the environment that the process was started with; None where this user may not see it."""
    text = read(proc / str(pid) / "environ")
    if text is None:
        return None
    return {name: value for name, equals, value in (word.partition("=") for word in _words(text)) if equals}


def owner(proc: Path, pid: int) -> int | None:
    """Return the effective user id."""
    return _effective(proc, pid, b"Uid:")


def group(proc: Path, pid: int) -> int | None:
    """Return the effective group id."""
    return _effective(proc, pid, b"Gid:")


def _effective(proc: Path, pid: int, kind: bytes) -> int | None:
    for line in (read(proc / str(pid) / "status") or b"").splitlines():
        if line.startswith(kind):
            words = line.split()
            return int(words[2]) if len(words) > 2 and words[2].isdigit() else None
    return None


def cwd(proc: Path, pid: int) -> str:
    """Return the current directory, as the process sees it; empty where this user may not see it."""
    try:
        return str((proc / str(pid) / "cwd").readlink())
    except OSError:
        return ""


def namespace(proc: Path, pid: int | str, kind: str) -> int | None:
    """Return the inode of the namespace of that kind (`net`, `mnt`)."""
    try:
        return (proc / str(pid) / "ns" / kind).stat().st_ino
    except OSError:
        return None


def open_fds(proc: Path, pid: int) -> int | None:
    folder = proc / str(pid) / "fd"
    try:
        return len(os.listdir(folder))  # noqa: PTH208 - Path objects for thousands of entries
    except PermissionError:
        # Since Linux 6.2 the directory's size is the count, for everybody; before, it is 0.
        return _size(folder) or None
    except OSError as error:
        unless_ours(error)
        return None


def max_fds(proc: Path, pid: int) -> int | None:
    """Return the soft limit of open files; None where it is unlimited or unreadable."""
    for line in (read(proc / str(pid) / "limits") or b"").splitlines():
        if line.startswith(b"Max open files"):
            words = line.split()
            return int(words[3]) if len(words) > 3 and words[3].isdigit() else None
    return None


def sockets(proc: Path, pid: int) -> frozenset[int] | None:
    """Return the inodes of the open sockets; None where this user may not see them."""
    folder = proc / str(pid) / "fd"
    found: set[int] = set()
    try:
        for name in os.listdir(folder):  # noqa: PTH208 - Path objects for thousands of entries
            try:
                target = os.readlink(f"{folder}/{name}")  # noqa: PTH115 - as above
            except FileNotFoundError:
                continue  # closed since it was listed
            if target.startswith("socket:[") and target[8:-1].isdigit():
                found.add(int(target[8:-1]))
    except OSError as error:
        unless_ours(error)
        return None
    return frozenset(found)


def boot_time(proc: Path) -> float | None:
    """Return the Unix time at which the system booted, which `Stat.started` counts from."""
    for line in (read(proc / "stat") or b"").splitlines():
        if line.startswith(b"btime "):
            word = line.split()[-1]
            return float(word) if word.isdigit() else None
    return None


def read(path: Path | str, longest: int = LONGEST) -> bytes | None:
    """Return the file, or its first `longest` bytes; None where it is gone or not ours to read."""
    # Plain descriptors, since a scrape reads hundreds of these files: half the time of a file object.
    try:
        # Non-blocking: below /proc/PID/root a name may be a pipe that somebody made to hold us.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        unless_ours(error)
        return None
    try:
        parts: list[bytes] = []
        left = longest
        while left and (part := os.read(file, min(left, 1 << 16))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    except OSError as error:
        unless_ours(error)
        return None
    finally:
        os.close(file)


def _words(text: bytes) -> list[str]:
    return [word.decode(errors="replace") for word in text.rstrip(b"\0").split(b"\0")] if text else []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
