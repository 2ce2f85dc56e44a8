"""A site that works: Postgres with many tracked statements, MLflow with its workers under a bounded load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Self, TypeVar

from tests.bench import statements
from tests.bench.exporters import (
    BlackboxExporter,
    PostgresExporter,
    ProcessExporter,
    Target,
    ours,
    probe,
)
from tests.lab.load import Load
from tests.lab.servers import MlflowServer, Postgres, Server

S = TypeVar("S", bound=Server)

MAJOR = 17
PASSWORD = "bench"
SETTINGS = {
    "log_connections": "on",
    "pg_stat_statements.max": "5000",
    "pg_stat_statements.track_planning": "on",
}
RATE = 20  # calls a second: a fifth of a core
# Left below the limit, so that a statement that is new meanwhile evicts none.
SPARE = 100


class Site:
    """Postgres, MLflow and load; exporters that are started beside them end with it, or with `meanwhile`."""

    def __init__(self, workers: int = 4, connections: int = 100) -> None:
        self.workers = workers
        self.settings = SETTINGS | {"max_connections": str(connections)}
        self.text_bytes = 0
        self._roles: set[str] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.postgres = stack.enter_context(Postgres(MAJOR, self.settings))
            uri = self.postgres.create_mlflow()
            self.mlflow = stack.enter_context(MlflowServer(uri, self.workers))
            with Load(
                self.mlflow.url, clients=2, runs=1
            ) as all_calls:  # so that none of its statements is new later
                all_calls.join()
            stack.enter_context(Load(self.mlflow.url, clients=4, rate=RATE))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def meanwhile(self) -> Iterator[ExitStack]:
        """End what is begun within at the end of it."""
        outer = self._stack
        try:
            with ExitStack() as self._stack:
                yield self._stack
        finally:
            self._stack = outer

    def us(self, *args: str, database: str = "mlflow", port: int = 0) -> Target:
        """Start ours; it finds the server, and is told a role of its own, of which database, at which port."""
        own = self.role("us", "exporter")
        exporter = self._begin(ours(self.mlflow, self.dsn(own, database, port), *args))
        return Target("us", exporter.port, "/metrics", exporter.pid, own, self.postgres)

    def reads(self, database: str = "mlflow", port: int = 0) -> Target:
        own = self.role("postgres_exporter", "pg_monitor")
        peer = self._begin(PostgresExporter(self.dsn(own, database, port)))
        return Target(peer.name, peer.port, "/metrics", peer.pid, own, self.postgres)

    def watches(self) -> Target:
        peer = self._begin(ProcessExporter())
        return Target(peer.name, peer.port, "/metrics", peer.pid)

    def probes(self, *paths: str) -> list[Target]:
        """Start one blackbox exporter, which probes each path when it is scraped for it."""
        peer = self._begin(BlackboxExporter())
        urls = [probe(self.mlflow.url + path) for path in paths]
        return [Target(peer.name, peer.port, url, peer.pid) for url in urls]

    def all(self) -> list[Target]:
        return [self.us(), self.reads(), self.watches(), *self.probes("/health")]

    def fill(self, tracked: int = 5000) -> None:
        """Let so many statements be tracked, less what is to spare; once everybody has sent those of his own."""
        self.text_bytes = statements.fill(self.postgres, tracked - SPARE)

    def role(self, name: str, of: str) -> str:
        """Create a role with the rights of another, where it is missing; returns its name."""
        if name not in self._roles:
            self.postgres.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' IN ROLE {of}")
            self._roles.add(name)
        return name

    def dsn(self, role: str, database: str = "mlflow", port: int = 0) -> str:
        own = self.postgres.dsn(role, database, PASSWORD)
        return own.replace(f":{self.postgres.port}/", f":{port or self.postgres.port}/")

    def _begin(self, server: S) -> S:
        self._stack.enter_context(server)
        return server
