"""sqlite-backend: MLflow's default store under somebody who holds its lock.

Made: a second program, like a forgotten shell or a copy, holds the file's lock. Fixed as the runbook says for now: end
it. (For good the store moves to Postgres, which every other fault here has.)
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from tests.faults import Fault, Lab, Needs


@contextlib.contextmanager
def forgotten_shell(lab: Lab) -> Iterator[None]:
    """Hold the lock that keeps out readers too."""
    file = lab.mlflow.directory / "mlflow.db"
    with contextlib.closing(sqlite3.connect(file, timeout=60, isolation_level=None)) as shell:
        shell.execute("BEGIN EXCLUSIVE")
        yield
        shell.execute("ROLLBACK")


def hold(lab: Lab) -> None:
    lab.begin(forgotten_shell(lab))


def end(lab: Lab) -> None:
    lab.end()


FAULTS = (
    Fault(
        "sqlite-backend",
        "lock held",
        frozenset({"MlflowSqliteLocked"}),
        hold,
        end,
        Needs(sqlite=True),
        shows=frozenset({"MlflowBackendIsSqlite"}),
        stays=frozenset({"MlflowBackendIsSqlite"}),
    ),
)
