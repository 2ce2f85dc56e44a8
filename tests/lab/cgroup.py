"""A control group of our own for one server: CPU quota, memory limit and block I/O throttle, version 1 or 2."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from pathlib import Path
from typing import Self

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpu", "memory", "blkio")
UNIFIED = ("cpu", "memory", "io")  # the same of version 2
PERIOD = 100_000  # microseconds: the kernel's default
NEVER = 1 << 62


class NotMadeError(Exception):
    """What was asked for cannot be had on this machine; the message says why."""


class Group:
    """Limits that can be set and lifted while the server runs; `with` makes the group and removes it.

    A server joins by `server.wrapper = group.wrapper()` before it starts, so that all it allocates counts.
    """

    def __init__(self, name: str, root: Path = ROOT) -> None:
        leaf = f"mlflow-lab-{name}-{secrets.token_hex(4)}"
        self.version = 2 if (root / "cgroup.controllers").exists() else 1
        self._root = root
        where = {one: root / one for one in CONTROLLERS} if self.version == 1 else {"": root}
        self._folders = {controller: folder / leaf for controller, folder in where.items()}

    def __enter__(self) -> Self:
        try:
            if self.version == 2:
                self._enable()
            for folder in self._folders.values():
                folder.mkdir()
        except OSError as error:
            self.remove()
            raise NotMadeError(f"no control group can be made here: {error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def folders(self) -> list[Path]:
        """Return the directories that are the group."""
        return list(self._folders.values())

    def wrapper(self) -> list[str]:
        """Return the command that puts itself into the group and then becomes the command that follows it."""
        into = " && ".join(f"echo $$ > {folder}/cgroup.procs" for folder in self._folders.values())
        return ["sh", "-c", f'{into} && exec "$@"', "sh"]

    def cpu(self, cores: float | None) -> None:
        """Allow that many cores' time, None for all."""
        quota = round(cores * PERIOD) if cores else None
        if self.version == 2:
            self._write("", "cpu.max", f"{quota or 'max'} {PERIOD}")
        else:
            self._write("cpu", "cpu.cfs_quota_us", str(quota or -1))

    def memory(self, limit: int | None) -> None:
        """Allow that many bytes and no swap, None for no limit."""
        if self.version == 2:
            self._write("", "memory.max", str(limit or "max"))
            if self._has("", "memory.swap.max"):
                self._write("", "memory.swap.max", "0" if limit else "max")
            return
        names = ["memory.limit_in_bytes"]
        if self._has("memory", "memory.memsw.limit_in_bytes"):  # of both together: never below that of memory
            names.insert(1 if limit else 0, "memory.memsw.limit_in_bytes")
        for name in names:
            self._write("memory", name, str(limit or -1))

    def memory_used(self) -> int:
        """Return the bytes in use without file cache that can be dropped."""
        names = ("memory.current", "inactive_file") if self.version == 2 else MEMORY_1
        folder = self._folders["" if self.version == 2 else "memory"]
        try:
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return int((folder / names[0]).read_text()) - int(stat[names[1]])
        except OSError as error:
            raise NotMadeError(f"the memory of a group cannot be read here: {error}") from error

    def io(self, path: Path, reads: int | None = None, writes: int | None = None) -> None:
        """Allow that many reads and writes a second on the disk below the path, None for no limit."""
        device = _disk(path)
        if self.version == 2:
            self._write("", "io.max", f"{device} riops={reads or 'max'} wiops={writes or 'max'}")
        else:
            self._write("blkio", "blkio.throttle.read_iops_device", f"{device} {reads or 0}")
            self._write("blkio", "blkio.throttle.write_iops_device", f"{device} {writes or 0}")

    def remove(self) -> None:
        """Remove it; whatever still runs in it goes to the group above, for a killed server's last moment."""
        for folder in self._folders.values():
            deadline = time.monotonic() + 5
            while folder.exists():
                with contextlib.suppress(OSError):
                    for pid in (folder / "cgroup.procs").read_text().split():
                        with contextlib.suppress(OSError):
                            (folder.parent / "cgroup.procs").write_text(pid)
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)

    def _enable(self) -> None:
        """Let groups below the root have the controllers; one that this machine lacks is missed when it is set."""
        switch = self._root / "cgroup.subtree_control"
        enabled = switch.read_text().split()
        for name in (one for one in UNIFIED if one not in enabled):
            try:
                switch.write_text(f"+{name}")
            except OSError as error:
                if error.errno != errno.EBUSY:
                    continue
                # What a container sees as the root is none: only without processes of its own may it have groups
                # with limits. They stay in a group beside ours, as there is no way back while ours are there.
                self._make_room()
                switch.write_text(f"+{name}")

    def _make_room(self) -> None:
        others = self._root / "mlflow-lab-others"
        others.mkdir(exist_ok=True)
        for pid in (self._root / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # ended meanwhile, or the kernel's own
                (others / "cgroup.procs").write_text(pid)

    def _has(self, controller: str, name: str) -> bool:
        """Say whether there is that file: without accounting of swap some are missing."""
        return (self._folders[controller] / name).exists()

    def _write(self, controller: str, name: str, value: str) -> None:
        try:
            (self._folders[controller] / name).write_text(value)
        except OSError as error:
            raise NotMadeError(f"{name} cannot be set here: {error}") from error


MEMORY_1 = ("memory.usage_in_bytes", "total_inactive_file")


def _disk(path: Path) -> str:
    """Return major:minor of the whole disk: a throttle on a partition does nothing."""
    number = path.stat().st_dev
    found = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not found.exists():
        raise NotMadeError(f"{path} is on no block device")
    if (found / "partition").exists():
        return (found.resolve().parent / "dev").read_text().strip()
    return f"{os.major(number)}:{os.minor(number)}"
