"""One server process of the lab: its own directory, port, log and process group, and nothing left of it."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

import psutil

UNPRIVILEGED = "nobody"


class ServerError(Exception):
    """A server ended or did not become ready; the message holds the end of its log."""


def is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def free_port() -> int:
    """Return a port that nothing listens on, below the range that outgoing connections take theirs from.

    A port of that range could be taken by a client of ours while its server is being restarted.
    """
    while not is_free(port := random.SystemRandom().randrange(18000, 32000)):
        pass
    return port


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30.0, every: float = 0.05) -> None:
    """Poll the condition until it holds; raises TimeoutError naming `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(every)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let an interrupt or SIGTERM that comes meanwhile come at the end: half of a tidying would leave servers."""
    if threading.current_thread() is not threading.main_thread():  # no other thread is interrupted
        yield
        return
    held: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: held.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


def alive(process: psutil.Process) -> bool:
    """Say whether it runs; in a container without an init process the dead stay as zombies."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def reachable(path: Path) -> bool:
    """Say whether any user may enter all directories down to this path; a checkout below /root is not."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


class Server:
    """Run one program; subclasses say its command and when it is ready.

    A context manager: entering starts it, leaving ends all its processes and removes its directory.
    `user` is whom it runs as when we are root. `port` 0 takes a free one, and another if that one is lost to
    somebody else before the server has bound it for the first time; from then on others know it. `below` is where
    its directory is made, None for where temporary files are.
    """

    name = "server"
    ready_within = 30.0
    stop_within = 20.0
    stop_signal = signal.SIGTERM

    def __init__(self, port: int = 0, user: str = "", below: Path | None = None) -> None:
        self.port_is_known = bool(port)
        self.port = port or free_port()
        self.user = user if os.geteuid() == 0 else ""
        self.wrapper: list[str] = []  # a command that sets limits and becomes the one that follows it
        self.directory = Path(tempfile.mkdtemp(prefix=f"lab-{self.name}-", dir=below))
        self.log_file = self.directory / "log"
        self.started_at = 0  # offset in the log
        self.process: subprocess.Popen[bytes] | None = None
        self.own(self.directory)

    # What a subclass says.

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return os.environ | {"HOME": str(self.directory)}

    def ready(self) -> bool:
        """Say whether the server does its work now; exceptions of a refused connection mean no."""
        raise NotImplementedError

    # What everybody does with it.

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} is not running"
        return self.process.pid

    def start(self) -> None:
        """Start it and wait until it is ready; raises ServerError with the end of its log."""
        for attempt in range(5):
            if self._launch():
                self.port_is_known = True
                return
            lost_race = "ddress already in use" in self.log() and not self.port_is_known
            self.kill()
            if not lost_race or attempt == 4:
                break
            self.port = free_port()
        raise ServerError(f"{self.name} is not ready; the end of its log:\n{self.log()[-4000:]}")

    def stop(self) -> None:
        """End it as an operator would, and whatever it leaves by SIGKILL; it can be started again."""
        if self.process is None:
            return
        family = self.family()
        self.resume()  # the frozen cannot obey
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(self.stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(self.stop_within)
        self._reap(family)

    def kill(self) -> None:
        """End all its processes by SIGKILL; it can be started again."""
        if self.process is not None:
            self._reap(self.family())

    def pause(self) -> None:
        """Freeze all its processes, the parent first so that it starts no more."""
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def close(self) -> None:
        """End it and remove what it wrote."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        """Return what it has written since its last start."""
        if not self.log_file.exists():
            return ""
        return self.log_file.read_bytes()[self.started_at :].decode(errors="replace")

    def family(self) -> list[psutil.Process]:
        """Return its processes, the parent first: descendants, and orphans that are still in its group."""
        if self.process is None:
            return []
        found: dict[int, psutil.Process] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            found = {process.pid: process for process in (parent, *parent.children(recursive=True))}
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.getpgid(pid) == self.process.pid and pid not in found:
                    found[pid] = psutil.Process(pid)
        return list(found.values())

    def own(self, *paths: Path) -> None:
        """Give paths to the user that the server runs as."""
        if self.user:
            entry = pwd.getpwnam(self.user)
            for path in paths:
                os.chown(path, entry.pw_uid, entry.pw_gid)

    def run(self, command: Iterable[str | Path]) -> str:
        """Run a command as the server's user to its end; raises ServerError with its output."""
        done = subprocess.run(
            self._as_user([str(part) for part in command]),
            env=self.environment(),
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerError(f"{' '.join(done.args)}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _launch(self) -> bool:
        self.started_at = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, *self._as_user(self.command())],
                env=self.environment(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to handle, and the group is what we end
            )
        deadline = time.monotonic() + self.ready_within
        while time.monotonic() < deadline and self.running():
            if self._is_ready():
                return True
            time.sleep(0.05)
        return False

    def _is_ready(self) -> bool:
        try:
            return self.ready()
        except OSError:
            return False

    def _as_user(self, command: list[str]) -> list[str]:
        if not self.user:
            return command
        entry = pwd.getpwnam(self.user)
        identity = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
        if not (reachable(Path(command[0])) and reachable(self.directory)):
            # Postgres only refuses the user id 0, so it may keep the one right to pass closed directories.
            identity += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
            identity += ["--securebits=+no_setuid_fixup"]  # access(2) knows of that right only so
        return ["setpriv", *identity, "--", *command]

    def _reap(self, family: list[psutil.Process]) -> None:
        assert self.process is not None
        left = {process.pid: process for process in (*family, *self.family())}.values()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        wait_for(lambda: not any(map(alive, left)), f"all processes of {self.name} have ended")
        self.process = None
