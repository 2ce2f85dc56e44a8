"""The exporters that are measured: ours as a user starts it, and the three that it is to replace, as theirs do."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import yaml

from tests.lab import tools
from tests.lab.postgres import Postgres
from tests.lab.servers import Exporter, HttpServer, MlflowServer


@dataclass(frozen=True, eq=False)
class Target:
    """What is scraped: where, of which process, and as which role it reads which Postgres."""

    name: str
    port: int
    path: str
    pid: int
    role: str = ""
    postgres: Postgres | None = field(default=None, repr=False)


class Peer(HttpServer):
    """A Go program of Debian's, below `.tools/peers` or on PATH; `BENCH_` and its name in capitals names another."""

    package = ""
    ready_path = "/"

    def __init__(self) -> None:
        self.binary = self.find()
        super().__init__()

    @classmethod
    def find(cls) -> Path:
        chosen = os.environ.get("BENCH_" + cls.name.upper())
        unpacked = tools.TOOLS / "peers/usr/bin" / cls.package
        return Path(chosen) if chosen else unpacked if unpacked.exists() else tools.program(cls.package)

    @classmethod
    def version(cls) -> str:
        said = cls.says("--version").splitlines()[0]
        # Debian's process-exporter has its version in the place of the revision.
        found = re.search(r"version (\d\S*)", said) or re.search(r"revision: ([^-)]+)", said)
        return found[1] if found else said

    @classmethod
    def says(cls, option: str) -> str:
        done = subprocess.run([cls.find(), option], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    def listen(self) -> list[str]:
        return [str(self.binary), f"--web.listen-address=127.0.0.1:{self.port}"]

    def written(self, settings: object) -> str:
        """Return the path of a configuration file with these settings."""
        file = self.directory / "config.yml"
        file.write_text(yaml.safe_dump(settings))
        return str(file)


class PostgresExporter(Peer):
    """With its default collectors and statements, without their texts."""

    name = "postgres_exporter"
    package = "prometheus-postgres-exporter"

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        super().__init__()
        self.statements = "--collector.stat_statements" in self.says("--help")  # not before 0.13

    def command(self) -> list[str]:
        return [*self.listen(), "--log.level=error", *["--collector.stat_statements"] * self.statements]

    def environment(self) -> dict[str, str]:
        return super().environment() | {"DATA_SOURCE_NAME": f"{self.dsn}?sslmode=disable"}


class ProcessExporter(Peer):
    """Of MLflow's and Postgres' processes, without the proportional memory of its default, which is dear."""

    name = "process_exporter"
    package = "prometheus-process-exporter"
    GROUPS = (
        {"name": "mlflow", "cmdline": ["mlflow"]},
        {"name": "postgres", "comm": ["postgres"]},
    )

    def command(self) -> list[str]:
        file = self.written({"process_names": [dict(group) for group in self.GROUPS]})
        return [*self.listen(), f"--config.path={file}", "--gather-smaps=false"]


class BlackboxExporter(Peer):
    """One HTTP probe, which it makes when it is scraped."""

    name = "blackbox_exporter"
    package = "prometheus-blackbox-exporter"
    ready_path = "/-/healthy"

    def command(self) -> list[str]:
        http = {"prober": "http", "timeout": "5s"}
        return [*self.listen(), f"--config.file={self.written({'modules': {'http_2xx': http}})}"]


def probe(of: str) -> str:
    """Return the path by which a blackbox exporter probes that URL."""
    return "/probe?" + urlencode({"module": "http_2xx", "target": of})


def ours(server: MlflowServer, dsn: str, *args: str) -> Exporter:
    """Return our exporter with its defaults; told the server's port, as others may run one on this machine."""
    return Exporter(["--server.port", str(server.port), *args], {"MLFLOW_EXPORTER_DATABASE_DSN": dsn})
