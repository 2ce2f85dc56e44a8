"""A pid namespace: what runs in it sees no other processes, and pids can be given out again at will."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from typing import Self

import psutil

from tests.lab.cgroup import NotMadeError
from tests.lab.process import wait_for
from tests.lab.servers import Exporter


class Pids:
    """A pid namespace with a /proc of its own, in a user namespace of ours where we are not root.

    Servers join it by their `wrapper`; leaving ends whatever is left in it.
    """

    def __enter__(self) -> Self:
        ours = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        # The first process of the namespace adopts orphans: a shell reaps them.
        first = ["sh", "-c", "while :; do sleep 1000 & wait $!; done"]
        self._unshare = subprocess.Popen(
            ["unshare", *ours, "--pid", "--fork", "--mount-proc", "--kill-child", "--", *first],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._join = ["--user", "--preserve-credentials"] if ours else []
        try:
            wait_for(self._ready, "a pid namespace", 5)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._unshare.kill()  # and with it its child, with whom all the namespace ends
        self._unshare.communicate()

    @property
    def wrapper(self) -> list[str]:
        """Return the command that runs the command that follows it in the namespace."""
        return ["nsenter", "--target", str(self._first), *self._join, "--pid", "--mount", "--"]

    def run(self, *command: str) -> str:
        """Run a command there to its end; raises NotMadeError where it fails."""
        done = subprocess.run(
            [*self.wrapper, *command], capture_output=True, text=True, timeout=20, check=False
        )
        if done.returncode:
            raise NotMadeError(f"{command[0]}: {done.stderr.strip()}")
        return done.stdout

    def take(self, pid: int) -> None:
        """Start a process there that gets this pid, which must be free, and sleeps."""
        sleeps = "{ sleep 1000 >/dev/null 2>&1 & }"
        script = f"echo {pid - 1} > /proc/sys/kernel/ns_last_pid && {sleeps}; test $! = {pid} || kill $!"
        for _ in range(9):  # this very shell may have it, or somebody's thread that started in between
            self.run("sh", "-c", script)
            if "sleep" in self.run("sh", "-c", f"cat /proc/{pid}/comm || :"):
                return
        raise NotMadeError(f"pid {pid} cannot be had")

    def inner(self, pid: int) -> int:
        """Return the pid that a process of ours has there."""
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            (line,) = (line for line in file if line.startswith("NSpid:"))
        return int(line.split()[-1])

    def _ready(self) -> bool:
        if self._unshare.poll() is not None:
            assert self._unshare.stderr is not None
            raise NotMadeError(self._unshare.stderr.read().decode().strip())
        with contextlib.suppress(IndexError, psutil.NoSuchProcess, NotMadeError):
            self._first = psutil.Process(self._unshare.pid).children()[0].pid
            return self.run("ls", "/proc/1/exe").strip() == "/proc/1/exe"
        return False


class InnerExporter(Exporter):
    """An exporter in a pid namespace; its `pid` is ours of it, and not that of the command that joined."""

    def __init__(self, pids: Pids, args: Sequence[str] = ()) -> None:
        super().__init__(args)
        self.wrapper = pids.wrapper

    @property
    def pid(self) -> int:
        (child,) = psutil.Process(super().pid).children()
        return child.pid
