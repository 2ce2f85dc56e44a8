"""connections: pools and Postgres' limit are used up, and what holds connections: open transactions and locks.

Made: small pools of which each connection waits behind a lock; a neighbour that takes all that Postgres allows; a
transaction left open; a table lock kept. Fixed as the runbook says: the blocker ended, and the pool made larger; the
neighbour's idle connections ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg

from tests.faults import Fault, Lab, Needs
from tests.lab.load import Load

POOL = ("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW")
END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'neighbour'"


@contextlib.contextmanager
def neighbour(lab: Lab, statement: str = "SELECT 1", most: int = 1) -> Iterator[None]:
    """Keep connections with an open transaction after that statement, as many as Postgres gives."""
    dsn = f"{lab.postgres.dsn('mlflow', 'mlflow')}?application_name=neighbour"
    held = []
    try:
        for _ in range(most):
            held.append(psycopg.connect(dsn))
            held[-1].execute(statement.encode())
    except psycopg.OperationalError:
        if most == 1:
            raise
    yield
    for one in held:
        with contextlib.suppress(psycopg.Error):
            one.close()


def drain(lab: Lab) -> None:
    lab.begin(Load(lab.url, 12, rate=12, seed=100))
    lab.begin(neighbour(lab, "LOCK TABLE experiments"))


def unblock_and_enlarge(lab: Lab) -> None:
    end_neighbour(lab)
    lab.restart_mlflow(env=dict(zip(POOL, ("10", "10"), strict=True)))


def take_all(lab: Lab) -> None:
    lab.begin(neighbour(lab, "COMMIT", most=100))


def leave_open(lab: Lab) -> None:
    lab.begin(neighbour(lab))


def lock(lab: Lab) -> None:
    lab.begin(neighbour(lab, "LOCK TABLE experiments"))


def end_neighbour(lab: Lab) -> None:
    lab.sql(END)


FAULTS = (
    Fault(
        "connections",
        "pool drained behind a lock",
        frozenset({"MlflowConnectionPoolExhausted", "MlflowLockWaits"}),
        drain,
        unblock_and_enlarge,
        # An overflow of 0 is ignored by MLflow, which then takes 10.
        Needs(mlflow_env=dict(zip(POOL, ("1", "1"), strict=True))),
    ),
    Fault(
        "connections",
        "max_connections",
        frozenset({"MlflowConnectionsRefused", "MlflowConnectionsNearLimit"}),
        take_all,
        end_neighbour,
        Needs(settings={"max_connections": "40"}),
    ),
    # 300 s of the transaction's own clock come first.
    Fault(
        "connections",
        "idle in transaction",
        frozenset({"MlflowIdleInTransaction"}),
        leave_open,
        end_neighbour,
        within=420,
    ),
    Fault("connections", "table locked", frozenset({"MlflowLockWaits"}), lock, end_neighbour, ci=True),
)
