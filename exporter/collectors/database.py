"""The database as a whole: what it is, how fast it answers, what it has done."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.collector import Collector
from exporter.metric import Metric, Sample, counter, gauge
from exporter.sql import Answers, SqlCollector

INFO = gauge(
    "mlflow_db_info",
    "Always 1; the version of Postgres and whether it is a primary or a replica.",
    "server_version, pg_is_in_recovery()",
    labels=("version", "role"),
)
ROUND_TRIP = gauge(
    "mlflow_db_round_trip_seconds",
    "Seconds from sending a scrape's queries to the first answer: the round trip and what the exporter itself did "
    "in that moment, so an upper bound; mlflow_probe_duration_seconds of the probe database is the measure.",
    "the exporter's kept connection",
    "seconds",
)
PRIVILEGED = gauge(
    "mlflow_db_monitor_privilege",
    "1 where the exporter's role may see the sessions and statements of all roles, 0 where not.",
    "pg_has_role(pg_read_all_stats)",
)


class Server(Collector[Answers]):
    name = "server_info"
    metrics = (INFO, ROUND_TRIP, PRIVILEGED)

    def collect(self, session: Answers) -> Iterable[Sample]:
        facts = session.facts
        yield INFO(1, facts.version, "replica" if facts.in_recovery else "primary")
        yield ROUND_TRIP(session.round_trip)
        yield PRIVILEGED(float(facts.sees_all))


def _stat(name: str, help: str, column: str, unit: str = "") -> Metric:
    return counter(f"mlflow_db_{name}_total", help, f"pg_stat_database.{column}", unit)


class Database(SqlCollector):
    name = "database"
    queries = ("database",)
    metrics = (
        gauge(
            "mlflow_db_backends", "Sessions connected to MLflow's database.", "pg_stat_database.numbackends"
        ),
        _stat("commits", "Transactions committed in MLflow's database.", "xact_commit"),
        _stat("rollbacks", "Transactions rolled back in MLflow's database.", "xact_rollback"),
        _stat("deadlocks", "Deadlocks found in MLflow's database.", "deadlocks"),
        _stat("conflicts", "Queries cancelled by recovery; grows on a replica only.", "conflicts"),
        _stat(
            "temp_files", "Temporary files made by queries: sorts and hashes beyond work_mem.", "temp_files"
        ),
        _stat("temp_bytes", "Bytes written to temporary files by queries.", "temp_bytes", "bytes"),
        _stat("blocks_hit", "Blocks found in Postgres' shared buffers.", "blks_hit"),
        _stat(
            "blocks_read", "Blocks asked of the operating system, from its cache or the disk.", "blks_read"
        ),
        _stat(
            "block_read_seconds",
            "Seconds spent reading blocks; absent while track_io_timing is off.",
            "blk_read_time",
            "seconds",
        ),
        _stat(
            "block_write_seconds",
            "Seconds spent writing blocks by sessions; absent while track_io_timing is off.",
            "blk_write_time",
            "seconds",
        ),
        _stat("rows_returned", "Rows read by scans, live ones of sequential scans included.", "tup_returned"),
        _stat("rows_fetched", "Rows fetched through indexes.", "tup_fetched"),
        _stat("rows_inserted", "Rows inserted, rolled back ones included.", "tup_inserted"),
        _stat("rows_updated", "Rows updated, rolled back ones included.", "tup_updated"),
        _stat("rows_deleted", "Rows deleted, rolled back ones included.", "tup_deleted"),
        gauge(
            "mlflow_db_start_timestamp_seconds",
            "Unix time at which Postgres started.",
            "pg_postmaster_start_time()",
            "timestamp_seconds",
        ),
        gauge(
            "mlflow_db_stats_reset_timestamp_seconds",
            "Unix time of the last reset of this database's statistics; absent where there was none.",
            "pg_stat_database.stats_reset",
            "timestamp_seconds",
        ),
    )
