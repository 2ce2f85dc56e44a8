"""Connections against their limits, and what holds them: open transactions and locks."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.collector import Reason, SourceError
from exporter.metric import Sample, gauge
from exporter.rights import MONITOR
from exporter.sources.facts import quoted
from exporter.sql import Answers, SqlCollector


class Connections(SqlCollector):
    name = "connections"
    queries = ("connections", "connection_limits")
    metrics = (
        gauge(
            "mlflow_db_connections",
            "Client connections to MLflow's database by state, ours included; `unknown` where our role may not see it.",
            "pg_stat_activity.state",
            labels=("state",),
        ),
        gauge(
            "mlflow_db_connections_used",
            "Client connections to all databases of the server: what counts against the limit.",
            "pg_stat_activity",
        ),
        gauge("mlflow_db_connections_limit", "Connections that the server takes.", "max_connections"),
        gauge(
            "mlflow_db_connections_reserved",
            "Connections of the limit that ordinary roles do not get.",
            "superuser_reserved_connections + reserved_connections",
        ),
        gauge(
            "mlflow_db_database_connections_limit",
            "Connections that MLflow's database takes; absent where it has no limit of its own.",
            "pg_database.datconnlimit",
        ),
        gauge(
            "mlflow_db_role_connections",
            "Client connections of the role that owns MLflow's tables; absent where there are no such tables.",
            "pg_stat_activity.usesysid",
            labels=("usename",),
        ),
        gauge(
            "mlflow_db_role_connections_limit",
            "Connections that the owner of MLflow's tables may have; absent where the role has no limit.",
            "pg_roles.rolconnlimit",
            labels=("usename",),
        ),
    )


class Transactions(SqlCollector):
    """Read ages and waits, which are only true where no session of the database is hidden from our role."""

    name = "transactions"
    queries = ("transactions",)
    metrics = (
        gauge(
            "mlflow_db_oldest_transaction_seconds",
            "Age of the oldest open transaction in MLflow's database, 0 where none is open.",
            "pg_stat_activity.xact_start",
            "seconds",
        ),
        gauge(
            "mlflow_db_oldest_idle_in_transaction_seconds",
            "Longest time that a session has been idle in a transaction, 0 where none is; pg_dump's, which wait "
            "for each other, count once they are 12 hours old.",
            "pg_stat_activity.state_change",
            "seconds",
        ),
        gauge(
            "mlflow_db_lock_waiters",
            "Sessions in MLflow's database that wait for a lock.",
            "pg_stat_activity.wait_event_type",
        ),
        gauge(
            "mlflow_db_longest_lock_wait_seconds",
            "Longest time that one of them has waited, 0 where none waits; before Postgres 14 since its query began.",
            "pg_locks.waitstart",
            "seconds",
        ),
        gauge(
            "mlflow_db_lock_blockers",
            "Sessions that hold what the first 50 of them wait for.",
            "pg_blocking_pids()",
        ),
    )

    def collect(self, session: Answers) -> Iterable[Sample]:
        (row,) = session.rows("transactions")
        if row["hidden"]:
            role = quoted(session.facts.role)
            raise SourceError(
                Reason.PERMISSION,
                f"{row['hidden']} sessions of other roles are hidden from role {role}",
                MONITOR.format(role=role),
            )
        return self.samples(row)
