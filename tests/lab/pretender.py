"""Processes that only look like a tracking server's, with any command line and environment, of another user."""

from __future__ import annotations

import json
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.lab.process import UNPRIVILEGED, free_port, wait_for

# Listens where its command line says and notes what it is sent; readable as one that its user has started.
SERVER = """
import ctypes, json, os, socket, sys
os.setgroups([]); os.setresgid({group}, {group}, {group}); os.setresuid({user}, {user}, {user})
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
listening = socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])))
print("ready", flush=True)
while True:
    connection, _ = listening.accept()
    with connection:
        connection.settimeout(1)
        try:
            print(json.dumps(connection.recv(65536).decode("latin-1")), flush=True)
            connection.sendall(b"HTTP/1.1 401 No\\r\\nWWW-Authenticate: Basic\\r\\nContent-Length: 0\\r\\n\\r\\n")
        except OSError:
            pass
"""


class Pretender:
    """One that listens on `port`; `requests` is what it was sent until now."""

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self._log = log

    def ready(self) -> bool:
        return "ready\n" in self._log.read_text()

    @property
    def requests(self) -> list[str]:
        lines = self._log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith('"')]


@contextmanager
def pretending(environment: Mapping[str, str], *words: str, user: str = UNPRIVILEGED) -> Iterator[Pretender]:
    """Run one with these variables, and with these words at the end of its command line."""
    entry = pwd.getpwnam(user)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "uvicorn.py").write_text(SERVER.format(user=entry.pw_uid, group=entry.pw_gid))
        port, log = free_port(), Path(folder, "log")
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "--port",
            str(port),
            "mlflow.server.fastapi_app:app",
            *words,
        ]
        variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": folder} | dict(environment)
        with log.open("w") as out, subprocess.Popen(command, env=variables, stdout=out) as process:
            pretender = Pretender(port, log)
            try:
                wait_for(pretender.ready, "a pretender that listens")
                yield pretender
            finally:
                process.kill()


@contextmanager
def crowd(
    count: int, words: Sequence[str], environment: Mapping[str, str], user: str = UNPRIVILEGED
) -> Iterator[None]:
    """Run so many processes that wait, with these words behind `uvicorn` on their command line."""
    command = ["uvicorn", "-c", "read line", *words]  # a shell takes them for its script's
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            one = subprocess.Popen(
                command, executable="/bin/sh", env=dict(environment), stdin=subprocess.PIPE, user=user
            )
            processes.append(one)
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()
