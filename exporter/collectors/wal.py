"""What writing costs Postgres: WAL, checkpoints, and who does the I/O."""

from __future__ import annotations

from exporter.metric import Metric, counter
from exporter.sql import SqlCollector


def _wal(stem: str, help: str, source: str, unit: str = "") -> Metric:
    return counter(f"mlflow_db_wal_{stem}_total", help, source, unit)


# Writes and syncs are in pg_stat_wal to 17 and in pg_stat_io since.
WAL = (
    _wal(
        "bytes",
        "Bytes of WAL made; before Postgres 14 where the server stands in its WAL, and then absent on a replica.",
        "pg_stat_wal.wal_bytes, pg_current_wal_lsn()",
        "bytes",
    ),
    _wal(
        "buffers_full",
        "Times that a session had to write WAL itself because wal_buffers were full; absent before Postgres 14.",
        "pg_stat_wal.wal_buffers_full",
    ),
    _wal(
        "writes",
        "Writes of WAL buffers to disk; absent before Postgres 14.",
        "pg_stat_wal.wal_write, pg_stat_io.writes",
    ),
    _wal(
        "syncs",
        "Syncs of WAL files, none while fsync is off; absent before Postgres 14.",
        "pg_stat_wal.wal_sync, pg_stat_io.fsyncs",
    ),
    _wal(
        "write_seconds",
        "Seconds spent in those writes; absent before Postgres 14 and while track_wal_io_timing is off.",
        "pg_stat_wal.wal_write_time, pg_stat_io.write_time",
        "seconds",
    ),
    _wal(
        "sync_seconds",
        "Seconds spent in those syncs, which a starved CPU makes longer as well as a slow disk; absent before "
        "Postgres 14 and while track_wal_io_timing is off.",
        "pg_stat_wal.wal_sync_time, pg_stat_io.fsync_time",
        "seconds",
    ),
)


def _checkpoint(stem: str, help: str, column: str, unit: str = "") -> Metric:
    return counter(f"mlflow_db_{stem}_total", help, column, unit)


CHECKPOINTS = (
    _checkpoint(
        "checkpoints_timed",
        "Checkpoints begun because checkpoint_timeout had passed, skipped ones of an idle server included.",
        "pg_stat_checkpointer.num_timed, pg_stat_bgwriter.checkpoints_timed",
    ),
    _checkpoint(
        "checkpoints_requested",
        "Checkpoints begun for another reason: max_wal_size reached, a base backup, a new database, a CHECKPOINT.",
        "pg_stat_checkpointer.num_requested, pg_stat_bgwriter.checkpoints_req",
    ),
    _checkpoint(
        "checkpoint_write_seconds",
        "Seconds that checkpoints took to write, most of it deliberate pauses that spread the load.",
        "pg_stat_checkpointer.write_time, pg_stat_bgwriter.checkpoint_write_time",
        "seconds",
    ),
    _checkpoint(
        "checkpoint_sync_seconds",
        "Seconds that checkpoints took to sync files to disk.",
        "pg_stat_checkpointer.sync_time, pg_stat_bgwriter.checkpoint_sync_time",
        "seconds",
    ),
    _checkpoint(
        "checkpoint_buffers_written",
        "Buffers written by checkpoints.",
        "pg_stat_checkpointer.buffers_written, pg_stat_bgwriter.buffers_checkpoint",
    ),
    _checkpoint(
        "background_writer_buffers_written",
        "Buffers written by the background writer.",
        "pg_stat_bgwriter.buffers_clean",
    ),
)

WHO = (
    "`client` sessions with their parallel workers, `autovacuum`, or `background` (checkpointer, background writer, "
    "recovery); absent before Postgres 16"
)
# Temporary tables and WAL are left out.
IO = (
    counter(
        "mlflow_db_io_bytes_total",
        f"Bytes of tables and indexes read, written and extended between Postgres and the system by {WHO}.",
        "pg_stat_io",
        "bytes",
        ("backend", "operation"),
    ),
    counter(
        "mlflow_db_io_seconds_total",
        f"Seconds of that I/O and of syncs by {WHO} and while track_io_timing is off.",
        "pg_stat_io",
        "seconds",
        ("backend", "operation"),
    ),
    counter(
        "mlflow_db_io_fsyncs_total",
        f"Syncs of tables and indexes by {WHO}. A client syncs only where the checkpointer cannot keep up.",
        "pg_stat_io.fsyncs",
        labels=("backend",),
    ),
)


class Wal(SqlCollector):
    name = "wal"
    queries = ("wal", "checkpoints", "io")
    metrics = (*WAL, *CHECKPOINTS, *IO)
