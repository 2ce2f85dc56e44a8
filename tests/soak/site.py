"""What is soaked: a real MLflow on a real Postgres, and the exporter with settings that can change while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import yaml

from tests.lab.process import undisturbed
from tests.lab.servers import PASSWORDS, Exporter, MlflowServer, Postgres
from tests.lab.tools import ROOT

MAJOR = 17
# So few that strange statements push others out within seconds, as they do at a busy site in days.
STATEMENTS = 1000
LEAK = ROOT / "tests/soak/leak"


class Site:
    """The servers; entering starts them, leaving ends and removes them. `leak` is what the exporter shall lose."""

    def __init__(self, leak: str = "") -> None:
        self.postgres = Postgres(MAJOR, {"pg_stat_statements.max": str(STATEMENTS)})
        self.exporter = Exporter(env={"PYTHONPATH": f"{LEAK}:{ROOT}", "SOAK_LEAK": leak} if leak else {})
        self.mlflow: MlflowServer
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._stack.enter_context(self.postgres)
            self.mlflow = self._stack.enter_context(MlflowServer(self.postgres.create_mlflow(), 2))
            self.password(PASSWORDS["exporter"])
            self.configure({})
            self.exporter.args = ("--config", str(self._settings))
            self._stack.enter_context(self.exporter)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        with undisturbed(), self._stack:
            pass

    @property
    def _settings(self) -> Path:
        return self.exporter.directory / "exporter.yml"

    @property
    def _password(self) -> Path:
        return self.exporter.directory / "password"

    def configure(self, own: Mapping[str, Any]) -> None:
        """Write the settings file anew, with these sections instead of the usual ones."""
        database = {
            "dsn": f"postgresql://exporter@127.0.0.1:{self.postgres.port}/mlflow",
            "password_file": str(self._password),
        }
        usual = {
            "server": {"port": self.mlflow.port},
            "database": database,
            "probes": {"interval": 2, "timeout": 1},
        }
        self._settings.write_text(yaml.safe_dump({**usual, **own}))

    def spoil(self) -> None:
        """Write a settings file with a fault in it."""
        self._settings.write_text("probes: {interval: never}\n")

    def password(self, secret: str) -> None:
        """Write the exporter's password for the database where it reads it."""
        self._password.write_text(secret)

    def sql(self, query: str, *params: object, user: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement in MLflow's database."""
        return self.postgres.execute(query, *params, dbname="mlflow", user=user)
