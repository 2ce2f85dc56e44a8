"""A Docker Engine of our own: its data, its socket and its network go with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.compose.install import ENGINE
from tests.lab.process import undisturbed, wait_for

GROUPS = Path("/sys/fs/cgroup")


class EngineError(Exception):
    """A command of Docker failed; the message has what it said."""


class Engine:
    """Debian's dockerd, in a network and a mount namespace that this process must have to itself already."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="engine-"))
        self.log = self.directory / "log"
        self._socket = f"unix://{self.directory}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._groups = [one for one in (GROUPS, *GROUPS.glob("*")) if not (one / "docker").exists()]

    def __enter__(self) -> Self:
        try:
            programs = self.directory / "bin"
            programs.mkdir()
            for name in (
                "iptables",
                "ip6tables",
            ):  # which of two kinds it is, Debian's alternatives would say
                (programs / name).symlink_to(ENGINE / "usr/sbin/xtables-legacy-multi")
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all containers and the engine, and remove what they leave."""
        with undisturbed():
            if self._process:
                with contextlib.suppress(EngineError):
                    if left := self.docker("ps", "--all", "--quiet").split():
                        self.docker("rm", "--force", "--volumes", *left)
                self.stop()
            for group in self._groups:
                with contextlib.suppress(OSError):
                    (group / "docker").rmdir()
            shutil.rmtree(self.directory)

    def start(self) -> None:
        where = {
            "data-root": self.directory / "data",
            "exec-root": self.directory / "exec",
            "pidfile": self.directory / "pid",
        }
        options = [f"--{name}={value}" for name, value in where.items()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["dockerd", "--host", self._socket, *options],
                env=self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt of the terminal ends us, and we end it
            )
        wait_for(self._answers, f"the engine answers, see {self.log.read_text()[-500:]}", 60)

    def stop(self) -> None:
        """Stop the engine as a machine that goes down does; containers end with it."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    def environment(self) -> dict[str, str]:
        libraries = [
            str(folder) for base in ("usr/lib", "lib") for folder in ENGINE.glob(f"{base}/*-linux-gnu")
        ]
        programs = [self.directory / "bin", *(ENGINE / folder for folder in ("usr/bin", "usr/sbin", "sbin"))]
        return {
            "PATH": ":".join([*map(str, programs), "/usr/sbin:/usr/bin:/sbin:/bin"]),
            "LD_LIBRARY_PATH": ":".join(libraries),
            "XTABLES_LIBDIR": f"{libraries[0]}/xtables",
            "PYTHONPATH": str(ENGINE / "usr/lib/python3/dist-packages"),
            "DOCKER_HOST": self._socket,
            "DOCKER_CONFIG": str(self.directory / "config"),
            "HOME": str(self.directory),
        }

    def docker(self, *arguments: str, check: bool = True) -> str:
        return self._run(["docker", *arguments], {}, check)

    def compose(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        return self._run(
            ["/usr/bin/python3", str(ENGINE / "usr/bin/docker-compose"), *arguments], env or {}, True
        )

    def load(self, root: Path, image: str) -> None:
        """Make an image of a directory."""
        files = subprocess.Popen(["tar", "--create", "--directory", root, "."], stdout=subprocess.PIPE)
        with files, contextlib.closing(files.stdout or os.fdopen(0)) as archive:
            command = [str(ENGINE / "usr/bin/docker"), "import", "-", image]
            subprocess.run(command, env=self.environment(), stdin=archive, check=True, capture_output=True)

    def _answers(self) -> bool:
        try:
            self.docker("version")
        except EngineError:
            assert self._process
            if self._process.poll() is not None:
                raise
            return False
        return True

    def _run(self, command: list[str], env: Mapping[str, str], check: bool) -> str:
        done = subprocess.run(
            command, env={**self.environment(), **env}, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise EngineError(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout
