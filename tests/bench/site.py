"""A site that works: Postgres with many tracked statements, MLflow with its workers under a bounded load."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self, TypeVar

from tests.bench import statements
from tests.bench.exporters import (
    PASSWORD,
    BlackboxExporter,
    PostgresExporter,
    ProcessExporter,
    Target,
    ours,
    probe,
    role,
)
from tests.lab.load import Load
from tests.lab.process import wait_for
from tests.lab.servers import MlflowServer, Postgres, Server

S = TypeVar("S", bound=Server)

MAJOR = 17
SETTINGS = {"log_connections": "on", "max_connections": "700", "pg_stat_statements.max": "5000"}
RATE = 20  # calls a second: a fifth of a core
# Left below the limit, so that a statement that is new meanwhile evicts none.
SPARE = 60


class Site:
    """Postgres, MLflow and load; `us()` and `peers()` start exporters beside them, which end with it."""

    def __init__(self, tracked: int = 5000, workers: int = 4) -> None:
        self.tracked, self.workers = tracked, workers
        self.text_bytes = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.postgres = stack.enter_context(Postgres(MAJOR, SETTINGS))
            uri = self.postgres.create_mlflow()
            self.mlflow = stack.enter_context(MlflowServer(uri, self.workers))
            self.load = stack.enter_context(Load(self.mlflow.url, clients=4, rate=RATE))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def us(self, name: str = "us", *args: str) -> Target:
        own = role(self.postgres, name.replace(" ", "_"), "exporter")
        exporter = self._begin(ours(self.mlflow, self.postgres.dsn(own, "mlflow", PASSWORD), *args))
        return Target(name, exporter.port, "/metrics", exporter.pid, own, self.postgres)

    def peers(self) -> list[Target]:
        own = role(self.postgres, "postgres_exporter", "pg_monitor")
        reads = self._begin(PostgresExporter(self.postgres.dsn(own, "mlflow", PASSWORD)))
        watches, probes = self._begin(ProcessExporter()), self._begin(BlackboxExporter())
        health = probe(f"{self.mlflow.url}/health")
        return [
            Target(reads.name, reads.port, "/metrics", reads.pid, own, self.postgres),
            Target(watches.name, watches.port, "/metrics", watches.pid),
            Target(probes.name, probes.port, health, probes.pid),
        ]

    def fill(self) -> None:
        """Let so many statements be tracked, less what is to spare; once everybody has sent those of his own."""
        wait_for(lambda: sum(self.load.succeeded.values()) > 3 * RATE, "the load runs")
        self.text_bytes = statements.fill(self.postgres, self.tracked - SPARE)

    def _begin(self, server: S) -> S:
        self._stack.enter_context(server)
        return server
