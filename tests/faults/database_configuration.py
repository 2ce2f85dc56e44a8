"""The database is configured badly: commits that wait for the disk, a log of changes without room, and findings.

Each is one setting, or one disk, of an otherwise healthy database under jobs that log properly; each fix is one
statement of the runbook, with a restart where the setting asks for one.
"""

from __future__ import annotations

from functools import partial

from tests.faults import Fault, Lab, Needs
from tests.lab.load import Load
from tests.lab.shapes import PointsTogether

FOREVER = 1e9  # the load ends with the stack


def batches(lab: Lab, rate: float, keys: int) -> None:
    lab.begin(Load(lab.url, 4, seconds=FOREVER, rate=rate, client=partial(PointsTogether, keys=keys)))


def slow_commits(lab: Lab) -> None:
    """Let the disk take sixty writes a second, two for each sync."""
    lab.group("postgres").io(lab.postgres.data, writes=60)
    batches(lab, rate=15, keys=10)


def commit_without_waiting(lab: Lab) -> None:
    lab.sql("ALTER ROLE mlflow SET synchronous_commit = off")
    lab.restart_mlflow()  # a role's settings are for its new connections


def small_max_wal_size(lab: Lab) -> None:
    lab.configure_postgres(max_wal_size="32MB", min_wal_size="32MB")
    batches(lab, rate=15, keys=100)


def large_max_wal_size(lab: Lab) -> None:
    lab.configure_postgres(max_wal_size="4GB", min_wal_size="")


def small_wal_buffers(lab: Lab) -> None:
    lab.configure_postgres(restart=True, wal_buffers="32kB")
    batches(lab, rate=15, keys=100)


def automatic_wal_buffers(lab: Lab) -> None:
    lab.configure_postgres(restart=True, wal_buffers="")


def fsync_off(lab: Lab) -> None:
    lab.configure_postgres(fsync="off")


def fsync_on(lab: Lab) -> None:
    lab.configure_postgres(fsync="")
    lab.sql("CHECKPOINT")


def autovacuum_off(lab: Lab) -> None:
    """Do what weeks of training do to the last value of each metric."""
    lab.configure_postgres(autovacuum="off")
    lab.sql("UPDATE latest_metrics SET value = value + 1")


def autovacuum_on(lab: Lab) -> None:
    lab.configure_postgres(autovacuum="")
    lab.sql("VACUUM (ANALYZE) latest_metrics")


def findings(lab: Lab) -> None:
    """Give the pools 120 connections where the database takes 97, hide its statements, set a giant's work_mem."""
    lab.sql("DROP EXTENSION pg_stat_statements")
    lab.configure_postgres(work_mem="8GB")
    lab.restart_mlflow(env={"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "50"})


def settle(lab: Lab) -> None:
    lab.sql("CREATE EXTENSION pg_stat_statements")
    lab.configure_postgres(work_mem="")
    small = {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "3", "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "3"}
    lab.restart_mlflow(env=small)


FAULTS = (
    Fault(
        "database-configuration",
        "commits wait for the disk",
        frozenset({"MlflowCommitsWaitForWal"}),
        slow_commits,
        commit_without_waiting,
        Needs(groups=frozenset({"postgres"})),
    ),
    Fault(
        "database-configuration",
        "small max_wal_size",
        frozenset({"MlflowDatabaseWalTooSmall"}),
        small_max_wal_size,
        large_max_wal_size,
    ),
    Fault(
        "database-configuration",
        "small wal_buffers",
        frozenset({"MlflowDatabaseWalTooSmall"}),
        small_wal_buffers,
        automatic_wal_buffers,
    ),
    Fault(
        "database-configuration",
        "fsync off",
        frozenset({"MlflowFsyncOff"}),
        fsync_off,
        fsync_on,
    ),
    Fault(
        "database-configuration",
        "autovacuum off",
        frozenset({"MlflowAutovacuumBehind"}),
        autovacuum_off,
        autovacuum_on,
        Needs(data="million"),
    ),
    Fault(
        "database-configuration",
        "findings only",
        frozenset(),
        findings,
        settle,
        shows=frozenset(
            {
                "MlflowConnectionBudgetTooLarge",
                "MlflowDatabaseSettingUnsuitable",
                "MlflowStatementsNotTracked",
            }
        ),
    ),
)
