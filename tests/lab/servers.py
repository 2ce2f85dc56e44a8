"""The lab's servers: each real, on a free port, in a directory of its own, gone when its `with` block ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.lab import tools
from tests.lab.postgres import MAJORS, PASSWORDS, PgBouncer, Postgres
from tests.lab.process import Server, ServerError, alive, free_port, wait_for

__all__ = [
    "MAJORS",
    "PASSWORDS",
    "Alertmanager",
    "Exporter",
    "MlflowServer",
    "PgBouncer",
    "Postgres",
    "Prometheus",
    "Server",
    "ServerError",
    "alive",
    "free_port",
    "wait_for",
]


class HttpServer(Server):
    """A server that says over HTTP that it is ready."""

    ready_path = "/-/ready"
    prefix = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def ready(self) -> bool:
        answer = requests.get(self.url + self.ready_path, timeout=2)
        return answer.status_code == 200 and self.listens()

    def get(self, path: str, **params: str) -> requests.Response:
        answer = requests.get(self.url + path, params=params, timeout=30)
        answer.raise_for_status()
        return answer

    def listens(self) -> bool:
        """Say whether the port is one of its own processes', and not of somebody who was there before."""
        return bool(self.listeners())

    def listeners(self) -> list[psutil.Process]:
        """Return its processes that hold the listening socket."""
        return [process for process in self.family() if _holds(process, self.port)]


class MlflowServer(HttpServer):
    """`mlflow server` from its own environment; ready when each of its workers has started.

    Without `backend_uri` it takes MLflow's default, SQLite in its directory. `jobs` lets it start its job
    runner and consumers: nine processes more and several seconds.
    """

    name = "mlflow"
    ready_path = "/health"
    ready_within = 240.0

    def __init__(
        self,
        backend_uri: str = "",
        workers: int = 2,
        *,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        port: int = 0,
        jobs: bool = False,
        user: str = "",
    ) -> None:
        self.backend_uri = backend_uri
        self.workers = workers
        self.options = tuple(options)
        self.env = dict(env or {})
        self.jobs = jobs
        self.binary = tools.mlflow()
        if "--static-prefix" in self.options:
            self.prefix = self.options[self.options.index("--static-prefix") + 1]
        super().__init__(port, user=user)

    def command(self) -> list[str]:
        backend = ["--backend-store-uri", self.backend_uri] if self.backend_uri else []
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", str(self.workers)]
        return [str(self.binary), "server", *backend, *where, *self.options]

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in super().environment().items() if "MLFLOW" not in name}
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
        quiet["TMPDIR"] = str(self.directory)  # it leaves lock files there
        return inherited | quiet | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": str(self.jobs).lower()} | self.env

    def ready(self) -> bool:
        started = [self.log().count(words) for words in ("Application startup complete", "Booting worker")]
        return max(started) >= self.workers and super().ready()

    def worker_pids(self) -> list[int]:
        """Return the processes that answer requests: they hold the socket and no child of theirs does."""
        holding = self.listeners()
        parents = {process.ppid() for process in holding}
        return sorted(process.pid for process in holding if process.pid not in parents)

    def kill_worker(self) -> int:
        """End one worker by SIGKILL, as the OOM killer does; returns its pid."""
        pid = self.worker_pids()[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self) -> None:
        queues = self.queues()
        super().stop()
        for queue in queues:
            shutil.rmtree(queue, ignore_errors=True)

    def kill(self) -> None:
        queues = self.queues()
        super().kill()
        for queue in queues:
            shutil.rmtree(queue, ignore_errors=True)

    def queues(self) -> set[str]:
        """Return the job queues' directories in shared memory, which MLflow leaves behind."""
        found = set()
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                found.add(process.environ().get("_MLFLOW_HUEY_STORAGE_PATH", ""))
        return found - {""}


class Exporter(HttpServer):
    """The exporter as a user starts it; `args` follow `serve`."""

    name = "exporter"

    def __init__(
        self, args: Sequence[str] = (), env: Mapping[str, str] | None = None, port: int = 0, user: str = ""
    ) -> None:
        self.args = tuple(args)
        self.env = dict(env or {})
        super().__init__(port, user=user)

    def command(self) -> list[str]:
        listen = ["--web.listen", f"127.0.0.1:{self.port}"]
        return [sys.executable, "-m", "exporter", "serve", *listen, *self.args]

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in super().environment().items() if "MLFLOW" not in name}
        return inherited | {"PYTHONPATH": str(tools.ROOT)} | self.env

    def scrape(self, timeout: float = 10.0) -> str:
        """Return the exposition, asked for as Prometheus does with that scrape timeout."""
        header = {"X-Prometheus-Scrape-Timeout-Seconds": str(timeout)}
        answer = requests.get(self.url + "/metrics", headers=header, timeout=timeout)
        answer.raise_for_status()
        return answer.text

    def samples(self) -> list[Sample]:
        return [
            sample for family in text_string_to_metric_families(self.scrape()) for sample in family.samples
        ]

    def values(self, name: str, **labels: str) -> list[float]:
        """Scrape, and return the values of the series of that name that have these labels."""
        wanted = labels.items()
        return [
            found.value for found in self.samples() if found.name == name and wanted <= found.labels.items()
        ]

    def reload(self) -> None:
        os.kill(self.pid, signal.SIGHUP)


class DebianServer(HttpServer):
    """A server whose unpacked program looks for its pages and templates in `.tools` of its directory."""

    def start(self) -> None:
        link = self.directory / ".tools"
        if not link.is_symlink():
            link.symlink_to(tools.TOOLS)
        super().start()


class Prometheus(DebianServer):
    """A Prometheus with the given configuration; `config` is a dict as its YAML file has it."""

    name = "prometheus"

    def __init__(self, config: Mapping[str, Any], port: int = 0, options: Sequence[str] = ()) -> None:
        self.config = config
        self.options = tuple(options)
        self.binary = tools.program("prometheus")
        super().__init__(port)

    def command(self) -> list[str]:
        file = self.directory / "prometheus.yml"
        file.write_text(yaml.safe_dump(dict(self.config)))
        where = [f"--config.file={file}", f"--storage.tsdb.path={self.data}"]
        return [str(self.binary), *where, f"--web.listen-address=127.0.0.1:{self.port}", *self.options]

    @property
    def data(self) -> Path:
        """Where its series are."""
        return self.directory / "data"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the instant vector's elements: `metric` (labels) and `value` (time, text)."""
        result: list[dict[str, Any]] = self.get("/api/v1/query", query=expression).json()["data"]["result"]
        return result

    def value(self, expression: str) -> float | None:
        """Return the value of the only element, None where there is none."""
        found = self.query(expression)
        assert len(found) <= 1, f"{expression}: {len(found)} elements"
        return float(found[0]["value"][1]) if found else None

    def targets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/api/v1/targets").json()["data"]["activeTargets"]
        return found


class Alertmanager(DebianServer):
    """An Alertmanager with the given configuration, on its own: no cluster.

    Templates are those of the configuration; relative paths are below `alerts/`, as in the shipped one.
    """

    name = "alertmanager"

    def __init__(self, config: Mapping[str, Any], port: int = 0) -> None:
        self.config = config
        self.binary = tools.program("alertmanager", "prometheus-alertmanager")
        super().__init__(port)

    def command(self) -> list[str]:
        file = self.directory / "alertmanager.yml"
        templates = [str(tools.ROOT / "alerts" / pattern) for pattern in self.config.get("templates", ())]
        file.write_text(yaml.safe_dump({**self.config, "templates": templates}))
        where = [
            f"--config.file={file}",
            f"--storage.path={self.directory / 'data'}",
            "--cluster.listen-address=",
        ]
        return [str(self.binary), *where, f"--web.listen-address=127.0.0.1:{self.port}"]


def scrape_config(targets: Mapping[str, str], seconds: float, rules: Path | None = None) -> dict[str, Any]:
    """Return a Prometheus configuration that scrapes `host:port` targets by job name."""
    return {
        "global": {
            "scrape_interval": f"{round(seconds * 1000)}ms",
            "scrape_timeout": f"{round(seconds * 1000)}ms",
        },
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [target], "labels": {"tracking_server": "lab"}}]}
            for job, target in targets.items()
        ],
        "rule_files": [f"{rules}/*.yml"] if rules else [],
    }


def _holds(process: psutil.Process, port: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(
            one.status == psutil.CONN_LISTEN and one.laddr.port == port
            for one in process.net_connections("tcp")
        )
    return False
