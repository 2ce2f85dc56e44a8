"""A /proc of a machine with tracking servers, line for line as a real MLflow 3.17 on Linux 6 shows it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

PYTHON = "/opt/mlflow/bin/python3"
URI = "postgresql://mlflow:hunter2@db.example:5432/mlflow"

TRACKER = (PYTHON, "-B", "-c", "from multiprocessing.resource_tracker import main;main(6)")
FORKED = (
    PYTHON,
    "-B",
    "-c",
    "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=7, pipe_handle=9)",
    "--multiprocessing-fork",
)
TCP_HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
)

# Above any real pid, so that no process here is ever the one that runs the test.
FIRST_PID = 5_000_000


def uvicorn(
    port: int, workers: int, *options: str, app: str = "mlflow.server.fastapi_app:app"
) -> tuple[str, ...]:
    log = ("--log-config", "/opt/mlflow/lib/python3.11/site-packages/mlflow/server/uvicorn_log_config.yaml")
    where = ("--host", "127.0.0.1", "--port", str(port), "--workers", str(workers))
    return (PYTHON, "-m", "uvicorn", *options, *log, *where, app)


def gunicorn(port: int, workers: int) -> tuple[str, ...]:
    where = ("-b", f"127.0.0.1:{port}", "-w", str(workers))
    return (PYTHON, "-m", "gunicorn", "--timeout", "60", *where, "mlflow.server:app")


def environment(boot: str = "b007", uri: str = URI, **more: str) -> dict[str, str]:
    marks = {"_MLFLOW_SERVER_BOOT_ID": boot, "_MLFLOW_SERVER_FILE_STORE": uri, "_MLFLOW_SGI_NAME": "uvicorn"}
    return {"PATH": "/usr/bin", **marks, **more}


class ProcTree:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.next = FIRST_PID
        self.inodes = 20_000
        self.tcp = ""
        self.parents: dict[int, int] = {}
        (root / "net").mkdir(parents=True)
        (root / "self").symlink_to(str(self.process(["exporter"], parent=1)))
        (root / "stat").write_text("cpu  1 2 3\nbtime 1795215273\nprocesses 3\n")

    def process(
        self,
        argv: Sequence[str],
        parent: int = 1,
        environ: Mapping[str, str] | None = None,
        *,
        pid: int = 0,
        sockets: Sequence[int] | None = (),
        started: int = 95_105,
        uid: int = 0,
    ) -> int:
        """Add a process and return its pid; `environ` and `sockets` are None where they cannot be read."""
        pid = pid or self.next
        self.next = max(self.next, pid) + 1
        folder = self.root / str(pid)
        (folder / "task" / str(pid)).mkdir(parents=True)
        (folder / "task" / str(pid) / "children").write_text("")
        (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in argv))
        (folder / "status").write_text(f"Name:\tpython3\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
        (folder / "limits").write_text(
            "Limit    Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n"
        )
        (folder / "cwd").symlink_to("/srv/mlflow")
        (folder / "net").mkdir()
        if environ is not None:
            words = [f"{name}={value}" for name, value in environ.items()]
            (folder / "environ").write_bytes(b"".join(word.encode() + b"\0" for word in words))
        if sockets is not None:
            (folder / "fd").mkdir()
            for number, inode in enumerate(sockets, 3):
                (folder / "fd" / str(number)).symlink_to(f"socket:[{inode}]")
        self.parents[pid] = parent
        self.used(pid, 0, started)
        self._adopt(parent)
        self._write_tcp()
        return pid

    def used(self, pid: int, ticks: int, started: int = 95_105, state: str = "S") -> None:
        """Set the CPU time of a process, in ticks."""
        rest = "4194304 58913 78 0 0 {user} 0 0 0 20 0 7 0 {started} 791699456 61035 18446744073709551615"
        line = f"{pid} (python3) {state} {self.parents[pid]} 1011 5022 0 -1 " + rest.format(
            user=ticks, started=started
        )
        (self.root / str(pid) / "stat").write_text(line + " 0" * 26 + "\n")

    def end(self, pid: int) -> None:
        shutil.rmtree(self.root / str(pid))
        parent = self.parents.pop(pid)
        self._adopt(parent)
        for orphan in [child for child, above in self.parents.items() if above == pid]:
            started = int((self.root / str(orphan) / "stat").read_text().rpartition(")")[2].split()[19])
            self.parents[orphan] = 1
            self.used(orphan, 0, started)

    def listen(self, port: int, *, address: str = "0100007F", uid: int = 0, queue: int = 0) -> int:
        """Add a listening socket and return its inode."""
        return self._row(f"{address}:{port:04X} 00000000:0000 0A 00000000:{queue:08X}", uid)

    def connect(self, local_port: int, remote_port: int, remote: str = "0100007F") -> int:
        """Add one end of an established connection and return its inode."""
        return self._row(f"0100007F:{local_port:04X} {remote}:{remote_port:04X} 01 00000000:00000000", 0)

    def server(
        self, port: int = 5000, workers: int = 4, uid: int = 0, *, readable: bool = True, boot: str = "b007"
    ) -> dict[str, list[int]]:
        """Add a uvicorn server with its job runner and two consumers; returns the pids by role."""
        inode = self.listen(port, uid=uid)
        environ = environment(boot, _MLFLOW_HUEY_STORAGE_PATH="/dev/shm/tmp1") if readable else None
        held = (inode,) if readable else None
        command = (
            PYTHON,
            "/opt/mlflow/bin/mlflow",
            "server",
            "--backend-store-uri",
            URI,
            "--port",
            str(port),
        )
        cli = self.process(command, environ={} if readable else None, uid=uid, started=94_799)
        supervisor = self.process(uvicorn(port, workers), cli, environ, sockets=held, uid=uid)
        tracker = self.process(TRACKER, supervisor, environ, uid=uid)
        pids = [self.process(FORKED, supervisor, environ, sockets=held, uid=uid) for _ in range(workers)]
        runner = self.process((PYTHON, "-m", "mlflow.server.jobs._job_runner"), cli, environ, uid=uid)
        huey = (
            PYTHON,
            "-m",
            "huey.bin.huey_consumer",
            "mlflow.server.jobs._huey_consumer.huey_instance",
            "-w",
            "5",
        )
        consumers = [self.process(huey, runner, environ, uid=uid) for _ in range(2)]
        return {
            "parent": [cli],
            "supervisor": [supervisor],
            "resource_tracker": [tracker],
            "worker": pids,
            "job_runner": [runner],
            "consumer": consumers,
        }

    def _row(self, start: str, uid: int) -> int:
        self.inodes += 1
        rest = f"00:00000000 00000000 {uid:5}        0 {self.inodes} 1 00000000daf015f4 100 0 0 10 0"
        self.tcp += f"   0: {start} {rest}\n"
        self._write_tcp()
        return self.inodes

    def _write_tcp(self) -> None:
        for pid in self.parents:
            (self.root / str(pid) / "net" / "tcp").write_text(TCP_HEAD + self.tcp)

    def _adopt(self, parent: int) -> None:
        if parent in self.parents:
            mine = sorted(child for child, above in self.parents.items() if above == parent)
            words = "".join(f"{child} " for child in mine)
            (self.root / str(parent) / "task" / str(parent) / "children").write_text(words)
