"""Reads single processes from /proc: what a process that is gone, or somebody else's, gives is None.

Raises OSError where the exporter itself has no descriptor or memory left: nobody is gone for that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.exhausted import unless_ours

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")

# A process chooses the size of its own command line and environment; the exporter's memory is not its to fill. Of
# many small words a text becomes twenty times as large.
LONGEST = 1 << 20
LONGEST_COMMAND = 1 << 14
MOST_WORDS = 256
LONGEST_VALUE = 1 << 12


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
    text = read(f"{proc}/{pid}/stat")
    if text is None:
        return None
    # The name, in parentheses, may hold any byte, so that the fields are counted from the last parenthesis.
    fields = text.rpartition(b")")[2].split()
    if fields[:1] in ([b"Z"], [b"X"], [b"x"]):
        return None
    found = naturals(fields, (1, 19, 11, 12, 21, 17))
    if found is None:
        return None
    parent, started, user, system, resident, threads = found
    return Stat(pid, parent, started, (user + system) / TICKS, resident * PAGE, threads)


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
                found.update(child for word in listed.split() if (child := natural(word)) is not None)
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
    """Return the command line's arguments, the first 256 of 16 kB in all; empty where there is none."""
    text = read(f"{proc}/{pid}/cmdline", LONGEST_COMMAND) or b""
    words = text.rstrip(b"\0").split(b"\0", MOST_WORDS)[:MOST_WORDS] if text else []
    return tuple(word.decode(errors="replace") for word in words)


def environ(proc: Path, pid: int, names: Iterable[str]) -> dict[str, str] | None:
    """Return these variables of the environment that the process was started with.

    None where this user may not see it. A variable of more than 4 kB counts as not set.
    """
    text = read(f"{proc}/{pid}/environ")
    if text is None:
        return None
    text = b"\0" + text + b"\0"
    found = {}
    for name in names:
        start = text.find(f"\0{name}=".encode())
        if start >= 0:
            value = text[start + len(name) + 2 : start + len(name) + 3 + LONGEST_VALUE]
            if b"\0" in value:
                found[name] = value[: value.index(b"\0")].decode(errors="replace")
    return found


def owner(proc: Path, pid: int) -> int | None:
    """Return the effective user id."""
    return _effective(proc, pid, b"Uid:")


def group(proc: Path, pid: int) -> int | None:
    """Return the effective group id."""
    return _effective(proc, pid, b"Gid:")


def _effective(proc: Path, pid: int, kind: bytes) -> int | None:
    for line in (read(f"{proc}/{pid}/status") or b"").splitlines():
        if line.startswith(kind):
            words = line.split()
            return natural(words[2]) if len(words) > 2 else None
    return None


def cwd(proc: Path, pid: int) -> str:
    """Return the current directory, as the process sees it; empty where this user may not see it."""
    try:
        return os.readlink(f"{proc}/{pid}/cwd")  # noqa: PTH115 - as in `children`
    except OSError:
        return ""


def namespace(proc: Path, pid: int | str, kind: str) -> int | None:
    """Return the inode of the namespace of that kind (`net`, `mnt`)."""
    try:
        return os.stat(f"{proc}/{pid}/ns/{kind}").st_ino  # noqa: PTH116 - as in `children`
    except OSError:
        return None


def shares(proc: Path, pid: int, kind: str) -> bool | None:
    """Say whether the process is in the namespace of that kind that we are in; None where it cannot be told."""
    ours, its = (namespace(proc, one, kind) for one in ("self", pid))
    return ours == its if ours and its else None


def open_fds(proc: Path, pid: int) -> int | None:
    folder = f"{proc}/{pid}/fd"
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
    for line in (read(f"{proc}/{pid}/limits") or b"").splitlines():
        if line.startswith(b"Max open files"):
            words = line.split()
            return natural(words[3]) if len(words) > 3 else None
    return None


def sockets(proc: Path, pid: int) -> frozenset[int] | None:
    """Return the inodes of the open sockets; None where this user may not see them."""
    folder = f"{proc}/{pid}/fd"
    found: set[int] = set()
    try:
        for name in os.listdir(folder):  # noqa: PTH208 - Path objects for thousands of entries
            try:
                target = os.readlink(f"{folder}/{name}")  # noqa: PTH115 - as above
            except FileNotFoundError:
                continue  # closed since it was listed
            if target.startswith("socket:[") and (inode := natural(target[8:-1])) is not None:
                found.add(inode)
    except OSError as error:
        unless_ours(error)
        return None
    return frozenset(found)


def hidden(proc: Path) -> str:
    """Return the option of the mount by which other users' processes are hidden from this one; empty without."""
    lines = (read(proc / "self" / "mounts") or b"").decode(errors="replace").splitlines()
    mounts = [words[3] for line in lines if (words := line.split())[1:3] == [str(proc), "proc"]]
    # The last covers those before it.
    options = mounts[-1].split(",") if mounts else []
    return next((one for one in options if one.startswith("hidepid=") and one[8:] not in ("0", "off")), "")


def boot_time(proc: Path) -> float | None:
    """Return the Unix time at which the system booted, which `Stat.started` counts from."""
    for line in (read(proc / "stat") or b"").splitlines():
        if line.startswith(b"btime "):
            return natural(line.split()[-1])
    return None


def natural(word: bytes | str) -> int | None:
    """Return a number as the kernel writes it; None for anything else: below /proc/PID/root others write files too."""
    # Not more digits than the kernel's longest: Python reads 4,300, and those are too many for a float.
    return int(word) if len(word) <= 20 and word.isascii() and word.isdigit() else None


def naturals(words: Sequence[bytes], places: Iterable[int]) -> list[int] | None:
    """Return the numbers at these places; None where one is missing or none."""
    found = [natural(words[at]) if at < len(words) else None for at in places]
    return [one for one in found if one is not None] if None not in found else None


def read(path: Path | str, longest: int = LONGEST) -> bytes | None:
    """Return the file, or its first `longest` bytes; None where it is gone or not ours to read."""
    # Plain descriptors, since a scrape reads hundreds of these files: half the time of a file object.
    try:
        # Non-blocking: below /proc/PID/root a name may be a pipe that somebody made to hold us.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError:  # no path has a NUL
        return None
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


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - as in `children`
    except OSError:
        return 0
