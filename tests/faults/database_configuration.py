"""The database is configured badly: commits that wait for the disk, a log of changes without room, and findings.

Each is one setting, or one disk, of an otherwise healthy database that is written to properly; each fix is one
statement of the runbook, with a restart where the setting asks for one.
"""

from __future__ import annotations

from tests.faults import Fault, Lab, Needs
from tests.lab.load import Load
from tests.lab.process import wait_for
from tests.lab.shapes import Import, PointsTogether


def slow_commits(lab: Lab) -> None:
    """Let the disk take thirty writes a second, two for each sync.

    Sessions in COMMIT: 0.1 before (of a machine with much else to do), 1.0 to 1.2 with syncs of 75 ms, 0 after.
    """
    lab.group("postgres").io(lab.postgres.data, writes=30)
    lab.begin(Load(lab.url, 4, rate=15, client=PointsTogether))


def commit_without_waiting(lab: Lab) -> None:
    """Set it for the role, and end its connections of before while they are idle: the pools make new ones."""
    lab.sql("ALTER ROLE mlflow SET synchronous_commit = off")
    ((now,),) = lab.sql("SELECT clock_timestamp()")
    before = "FROM pg_stat_activity WHERE usename = 'mlflow' AND backend_start < %s"

    def gone() -> bool:
        lab.sql(f"SELECT pg_terminate_backend(pid) {before} AND state = 'idle'", now)
        return not lab.sql(f"SELECT 1 {before}", now)

    wait_for(gone, "MLflow's connections are new ones")


def small_max_wal_size(lab: Lab) -> None:
    """Write 2.4 MB of the log a second: a checkpoint every 5 s, where none but timed ones were."""
    lab.configure_postgres(max_wal_size="32MB", min_wal_size="32MB")
    lab.begin(Import(lab.postgres))


def large_max_wal_size(lab: Lab) -> None:
    lab.configure_postgres(max_wal_size="4GB", min_wal_size="")


def many_writes(lab: Lab) -> None:
    """Write as much through buffers of 32 kB: full 348 times a second, at 99 % of all writes of the log."""
    lab.begin(Import(lab.postgres))


def automatic_wal_buffers(lab: Lab) -> None:
    lab.configure_postgres(restart=True, wal_buffers="-1")


def fsync_off(lab: Lab) -> None:
    lab.configure_postgres(fsync="off")


def fsync_on(lab: Lab) -> None:
    lab.configure_postgres(fsync="")
    lab.sql("CHECKPOINT")


def autovacuum_off(lab: Lab) -> None:
    """Do what weeks of training do to the last value of each metric: each row dead once, five times the share."""
    lab.configure_postgres(autovacuum="off")
    lab.sql("UPDATE latest_metrics SET value = value + 1")


def autovacuum_on(lab: Lab) -> None:
    lab.configure_postgres(autovacuum="")
    lab.sql("VACUUM (ANALYZE) latest_metrics")


def findings(lab: Lab) -> None:
    """Hide the statements and set a giant's work_mem; the pools are too large from the start."""
    lab.sql("DROP EXTENSION pg_stat_statements")
    lab.configure_postgres(work_mem="8GB")


def settle(lab: Lab) -> None:
    """Mend what needs no restart of the tracking server, which smaller pools do."""
    lab.sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    lab.configure_postgres(work_mem="")


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
        many_writes,
        automatic_wal_buffers,
        Needs(settings={"wal_buffers": "32kB"}),
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
        Needs(mlflow_env={"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "50"}),
        shows=frozenset(
            {
                "MlflowConnectionBudgetTooLarge",
                "MlflowDatabaseSettingUnsuitable",
                "MlflowStatementsNotTracked",
            }
        ),
        stays=frozenset({"MlflowConnectionBudgetTooLarge"}),
    ),
)
