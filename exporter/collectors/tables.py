"""MLflow's tables and indexes: how large, how read, how changed."""

from __future__ import annotations

from exporter.metric import Metric, counter, gauge
from exporter.sql import SqlCollector

# What grows with use, and of that what users wait for.
TABLES = (
    *("experiments", "runs", "metrics", "latest_metrics", "params", "tags", "inputs", "logged_models"),
    *("trace_info", "trace_tags", "trace_request_metadata", "spans", "assessments", "model_versions"),
)
BUSIEST = ("experiments", "runs", "metrics", "latest_metrics", "params", "tags", "trace_info", "spans")


def _table(stem: str, help: str, column: str) -> Metric:
    return counter(f"mlflow_db_table_{stem}_total", help, f"pg_stat_user_tables.{column}", labels=("table",))


class Tables(SqlCollector):
    name = "tables"
    queries = ("tables",)
    params = (list(TABLES),)
    needs_store = True
    metrics = (
        gauge(
            "mlflow_db_table_rows",
            "Rows of the table as Postgres estimates them; absent before the first ANALYZE.",
            "pg_class.reltuples",
            labels=("table",),
        ),
        gauge(
            "mlflow_db_table_dead_rows",
            "Dead rows of the table that vacuum has yet to remove, estimated.",
            "pg_stat_user_tables.n_dead_tup",
            labels=("table",),
        ),
        _table(
            "sequential_scans", "Scans of the whole table; each process of a parallel one counts.", "seq_scan"
        ),
        _table(
            "sequential_rows_read",
            "Live rows read by scans of the whole table; the exporter itself reads `runs` so every 5 minutes.",
            "seq_tup_read",
        ),
        _table(
            "rows_inserted",
            "Rows inserted, rolled back ones included: of runs those started, of metrics the points logged, of params "
            "the parameters.",
            "n_tup_ins",
        ),
        _table("rows_updated", "Rows updated, rolled back ones included.", "n_tup_upd"),
        _table(
            "rows_hot_updated",
            "Rows updated without a new entry in any index, of those; absent for a table that was never updated.",
            "n_tup_hot_upd",
        ),
        _table("rows_deleted", "Rows deleted, rolled back ones included.", "n_tup_del"),
    )


class Indexes(SqlCollector):
    name = "indexes"
    queries = ("indexes",)
    params = (list(BUSIEST),)
    needs_store = True
    metrics = (
        counter(
            "mlflow_db_index_scans_total",
            "Scans of the index.",
            "pg_stat_user_indexes.idx_scan",
            labels=("table", "index"),
        ),
    )


class Sizes(SqlCollector):
    """Read sizes once a minute: each costs a look at the file system, and they do not change in seconds."""

    name = "sizes"
    queries = ("sizes",)
    params = (list(TABLES),)
    needs_store = True
    every = 60.0
    metrics = (
        gauge(
            "mlflow_db_table_bytes",
            "Bytes of the table and its TOAST on disk, read once a minute.",
            "pg_table_size()",
            "bytes",
            ("table",),
        ),
        gauge(
            "mlflow_db_table_index_bytes",
            "Bytes of all the table's indexes on disk, read once a minute.",
            "pg_indexes_size()",
            "bytes",
            ("table",),
        ),
    )


class DatabaseSize(SqlCollector):
    name = "database_size"
    queries = ("database_size",)
    every = 60.0
    metrics = (
        gauge(
            "mlflow_db_size_bytes",
            "Bytes of the whole database on disk, read once a minute.",
            "pg_database_size()",
            "bytes",
        ),
    )
