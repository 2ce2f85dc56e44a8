"""Whether vacuum and analyze keep up with MLflow's tables."""

from __future__ import annotations

from exporter.collectors.tables import BUSIEST
from exporter.metric import Metric, gauge
from exporter.sql import SqlCollector


def _table(stem: str, help: str, column: str, unit: str = "") -> Metric:
    return gauge(f"mlflow_db_table_{stem}", help, f"pg_stat_user_tables.{column}", unit, ("table",))


class Vacuum(SqlCollector):
    name = "vacuum"
    queries = ("vacuum",)
    params = (list(BUSIEST),)
    needs_store = True
    metrics = (
        _table(
            "vacuum_age_seconds",
            "Seconds since the table was last vacuumed, by hand or by autovacuum; absent where it never was.",
            "last_vacuum, last_autovacuum",
            "seconds",
        ),
        _table(
            "analyze_age_seconds",
            "Seconds since the planner's statistics of the table were last made; absent where they never were.",
            "last_analyze, last_autoanalyze",
            "seconds",
        ),
        _table(
            "rows_inserted_since_vacuum",
            "Rows inserted since the last vacuum: what a table without dead rows is vacuumed for, estimated.",
            "n_ins_since_vacuum",
        ),
        _table(
            "rows_changed_since_analyze",
            "Rows changed since the planner's statistics of the table were last made, estimated.",
            "n_mod_since_analyze",
        ),
    )


class Autovacuum(SqlCollector):
    name = "autovacuum"
    queries = ("autovacuum",)
    metrics = (
        gauge(
            "mlflow_db_autovacuum_workers",
            "Autovacuum workers at work in any database of the server; autovacuum_max_workers is their limit.",
            "pg_stat_activity.backend_type",
        ),
        gauge(
            "mlflow_db_transaction_id_age_ratio",
            "Part of the 2^31 transaction or multixact ids used since the oldest database of the server was "
            "frozen; near 1 Postgres stops taking writes.",
            "pg_database.datfrozenxid, pg_database.datminmxid",
            "ratio",
        ),
    )
