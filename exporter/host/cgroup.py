"""Reads the limits of the control groups that a process is in, versions 1 and 2, as far up as can be seen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter.host.processes import natural, read

# What version 1 shows for no limit is the greatest number of whole pages.
UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class Group:
    """The control group of a process for one controller.

    `levels` are its folder and those of the groups around it. `nameless` says that it is the top of the
    hierarchy by its name: the machine's own, or, inside a container of version 1, perhaps the container's.
    """

    version: int
    levels: tuple[Path, ...]
    nameless: bool

    @property
    def own(self) -> Path:
        return self.levels[0]


@dataclass(frozen=True, slots=True)
class Memory:
    """`used` is without file cache that can be dropped, in the group that has the limit if one has."""

    limit: int | None = None
    used: int | None = None
    oom_kills: int | None = None


@dataclass(frozen=True, slots=True)
class Cpu:
    """`throttled` is in seconds, of the group at `folder`, which has the least quota; None without a quota."""

    cores: float | None = None
    throttled: float | None = None
    folder: Path | None = None


def group(proc: Path, pid: int, controller: str) -> Group | None:
    """Return where the controller's files for this process are; None where that cannot be told for sure."""
    for line in (read(proc / str(pid) / "cgroup") or b"").decode(errors="replace").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if controller in names.split(","):
            return _located(proc, pid, 1, (controller, names), path)
    unified = read(proc / str(pid) / "cgroup") or b""
    for line in unified.decode(errors="replace").splitlines():
        if line.startswith("0::"):
            return _located(proc, pid, 2, ("",), line[3:])
    return None


def memory(group: Group) -> Memory:
    names = ("memory.max", "memory.current", "inactive_file", "memory.events")
    if group.version == 1:
        names = (
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
            "memory.oom_control",
        )
    limits = [(_number(folder / names[0]), folder) for folder in group.levels]
    limit, folder = min(
        ((value, folder) for value, folder in limits if value is not None and value < UNLIMITED),
        default=(None, group.own),
    )
    if limit is None and group.nameless and group.version == 1:
        return Memory()  # what it counts is perhaps the machine's
    used = _number(folder / names[1])
    droppable = _keyed(folder / "memory.stat").get(names[2])
    return Memory(
        limit,
        max(used - droppable, 0) if used is not None and droppable is not None else None,
        _keyed(group.own / names[3]).get("oom_kill"),
    )


def cpu(group: Group) -> Cpu:
    quotas = [(cores, folder) for folder in group.levels if (cores := _quota(group.version, folder))]
    if not quotas:
        return Cpu()
    cores, folder = min(quotas)
    stat = _keyed(folder / "cpu.stat")
    micro, nano = stat.get("throttled_usec"), stat.get("throttled_time")
    if micro is not None:
        return Cpu(cores, micro / 1e6, folder)
    return Cpu(cores, nano / 1e9 if nano is not None else None, folder)


def cores(proc: Path, pid: int) -> float | None:
    """Return the CPUs that the process may use: its quota or its machine's; None where a quota is unreadable."""
    try:
        allowed = len(os.sched_getaffinity(pid))
    except OSError:
        return None
    found = group(proc, pid, "cpu")
    if found is None:
        return None if grouped(proc, pid) else allowed
    return min(allowed, cpu(found).cores or allowed)


def grouped(proc: Path, pid: int) -> bool:
    """Say whether the process is in control groups whose limits there may be, although we cannot find them."""
    return bool((read(proc / str(pid) / "cgroup") or b"").strip())


def _located(proc: Path, pid: int, version: int, names: tuple[str, ...], path: str) -> Group | None:
    """Find the folder that lists the process.

    The path is relative to our own control group namespace, the folders are the process's or, where those are
    not ours to read, our own: any part of the path may be missing at its front. Only the folder that names
    the process is taken, so that a wrong one gives nothing instead of somebody else's limits.
    """
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for root in (proc / str(pid) / "root", proc / "self" / "root"):
        for mount in (root / "sys/fs/cgroup" / name for name in names):
            for skipped in range(len(parts) + 1):
                folder = mount.joinpath(*parts[skipped:])
                if str(pid).encode() in (read(folder / "cgroup.procs") or b"").split():
                    levels = (folder, *(one for one in folder.parents if one.is_relative_to(mount)))
                    return Group(version, levels, nameless=not parts)
    return None


def _quota(version: int, folder: Path) -> float | None:
    if version == 2:
        words = (read(folder / "cpu.max") or b"").split()
        quota, period = map(natural, words) if len(words) == 2 else (None, None)
    else:
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    # `max` and -1 are no quota.
    return quota / period if quota is not None and period else None


def _number(path: Path) -> int | None:
    return natural((read(path) or b"").strip())


def _keyed(path: Path) -> dict[str, int]:
    return dict(_pairs(read(path) or b""))


def _pairs(text: bytes) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and (value := natural(words[1])) is not None:
            yield words[0].decode(errors="replace"), value
