"""Rows of the database's dashboard: its cache and its disk, and its log of changes."""

from __future__ import annotations

from exporter.pack.dashboards.dashboard import Row
from exporter.pack.dashboards.pages.database.load import active
from exporter.pack.dashboards.panel import Limit, fixed, graph, limit_line, right
from exporter.pack.dashboards.terms import SAMPLED

# The same hue for one process in all panels of I/O, the same shade for one operation.
IO = {
    "client read": "blue",
    "client write": "light-blue",
    "client extend": "super-light-blue",
    "client fsync": "dark-blue",
    "autovacuum read": "purple",
    "autovacuum write": "light-purple",
    "autovacuum extend": "super-light-purple",
    "autovacuum fsync": "dark-purple",
    "background read": "green",
    "background write": "light-green",
    "background extend": "super-light-green",
    "background fsync": "dark-green",
}
BACKENDS = {"client": "blue", "autovacuum": "purple", "background": "green"}


def change(name: str, by: str = "") -> str:
    """Return PromQL for a counter's change a second."""
    return f"max{f' by ({by})' if by else ''} (rate({name}[$__rate_interval]))"


def per(seconds: str, events: str) -> str:
    """Return PromQL for the seconds that each event took; nothing where there was none."""
    return f"max(rate({seconds}[$__rate_interval]) / (rate({events}[$__rate_interval]) > 0))"


def lasting(minutes: int, name: str) -> str:
    """Return PromQL for a counter's growth in so many minutes, as alerts look at it."""
    return f"max(increase({name}[{minutes}m]))"


def cache_row() -> Row:
    return Row(
        "Cache and disk",
        [
            [
                graph(
                    "Sessions that wait for the disk",
                    "Sessions that wait for a block of a table or index, on average. Normal is below 0.1, as what is "
                    "used often is in memory. Above the line: MlflowDatabaseIoBound; too little memory, a slow disk, "
                    "or spent burst credits (database-size).",
                    {"waiting": active('wait_class="data_io"')},
                    unit_="short",
                    limit=Limit("MlflowDatabaseIoBound"),
                    at_least=0.6,
                ),
                graph(
                    "Cache hit ratio",
                    "Share of blocks that were found in shared_buffers. 99 % and more is normal; a block that is not "
                    "may still be in the system's cache, so a low share alone is no harm: the time of a block says.",
                    {
                        "hits": "max(rate(mlflow_db_blocks_hit_total[$__rate_interval]) / "
                        "(rate(mlflow_db_blocks_hit_total[$__rate_interval])"
                        " + rate(mlflow_db_blocks_read_total[$__rate_interval]) > 0))"
                    },
                    unit_="percentunit",
                    most=1,
                ),
                graph(
                    "Blocks not in the cache, a second",
                    "Blocks of 8 KiB that Postgres asked of the system, a second, from its cache or the disk. Steady "
                    "thousands beside slow searches are whole-table reads (database-indexes) or indexes beyond memory "
                    "(database-size).",
                    {"blocks": change("mlflow_db_blocks_read_total")},
                    unit_="short",
                ),
            ],
            [
                graph(
                    "Time to read a block",
                    "Mean time of those reads. 0.001 to 0.03 ms is the system's cache, 0.1 to 1 ms a good disk; more "
                    "is a slow disk or a starved CPU. Above 1 ms MlflowDatabaseIoBound counts. 0 while nothing is "
                    "read, empty while track_io_timing is off.",
                    {
                        "a read": "max(rate(mlflow_db_block_read_seconds_total[$__rate_interval])"
                        " / clamp_min(rate(mlflow_db_blocks_read_total[$__rate_interval]), 0.01))"
                    },
                    unit_="s",
                    at_least=0.001,
                ),
                graph(
                    "Time in reads and writes",
                    "Seconds in a second that sessions of MLflow's database spend in reads and writes of blocks. "
                    "Writes are small, as checkpoints write and sessions only add blocks to tables that grow. More of "
                    "either than 0.5: MlflowDatabaseIoBound is near.",
                    {
                        "reading": change("mlflow_db_block_read_seconds_total"),
                        "writing": change("mlflow_db_block_write_seconds_total"),
                    },
                ),
                graph(
                    "Temporary files",
                    "Bytes written by sorts and hashes that do not fit into work_mem, and files of them (right). A "
                    "few while somebody searches large experiments are normal; steady ones: raise work_mem for "
                    "MLflow's role.",
                    {
                        "written": change("mlflow_db_temp_bytes_total"),
                        "files/s (right)": change("mlflow_db_temp_files_total"),
                    },
                    unit_="Bps",
                    overrides=[right("files/s (right)", "ops", "green")],
                ),
                graph(
                    "Syncs of tables",
                    "Syncs of tables and indexes, a second. The background does them at checkpoints. By clients it "
                    "means that the checkpointer cannot keep up: a slow disk, or a shared_buffers of some MB. Needs "
                    "Postgres 16.",
                    {"{{backend}}": change("mlflow_db_io_fsyncs_total", "backend")},
                    overrides=[fixed(name, colour) for name, colour in BACKENDS.items()],
                ),
            ],
            [
                graph(
                    "Bytes read and written",
                    "Bytes of tables and indexes between Postgres and the system, by who moves them. Normal are "
                    "writes of the background and reads of autovacuum. Reads of clients lead: too little cache or "
                    "whole-table reads. Needs Postgres 16.",
                    {"{{backend}} {{operation}}": change("mlflow_db_io_bytes_total", "backend, operation")},
                    legend="side",
                    overrides=[fixed(name, colour) for name, colour in IO.items()],
                ),
                graph(
                    "Time in reads, writes and syncs",
                    "Seconds in a second that this took. Time of clients is what MLflow's calls wait for; time of the "
                    "others is not, unless it takes the disk from them. Needs Postgres 16 and track_io_timing.",
                    {"{{backend}} {{operation}}": change("mlflow_db_io_seconds_total", "backend, operation")},
                    legend="side",
                    overrides=[fixed(name, colour) for name, colour in IO.items()],
                ),
            ],
        ],
    )


def log_row() -> Row:
    return Row(
        "Log of changes (WAL) and checkpoints",
        [
            [
                graph(
                    "Sessions that wait in COMMIT",
                    "Sessions that wait until the log is safe on disk, on average. Normal is below 0.1. Above the "
                    "line, and more than all other load: MlflowCommitsWaitForWal; a disk that syncs slowly or a "
                    "synchronous standby.",
                    {
                        "in COMMIT": "max(sum without (operation, database) "
                        '(rate(mlflow_db_load_operation_seconds_total{operation="commit", database="mlflow"}'
                        f"[$__rate_interval])) / {SAMPLED})"
                    },
                    unit_="short",
                    limit=Limit("MlflowCommitsWaitForWal"),
                    at_least=0.4,
                ),
                graph(
                    "Time to sync or write the log",
                    "Mean time of one sync and of one write of the log. Below 2 ms a sync is normal, above 10 ms a "
                    "slow disk or spent IOPS that each commit waits for. Empty while track_wal_io_timing is off.",
                    {
                        "a sync": per("mlflow_db_wal_sync_seconds_total", "mlflow_db_wal_syncs_total"),
                        "a write": per("mlflow_db_wal_write_seconds_total", "mlflow_db_wal_writes_total"),
                    },
                    unit_="s",
                ),
                graph(
                    "Writes and syncs of the log",
                    "Writes and syncs of the log, a second. About one sync for each commit that changes something; "
                    "fewer where several share one. No syncs while jobs write: fsync is off, see MlflowFsyncOff.",
                    {
                        "writes": change("mlflow_db_wal_writes_total"),
                        "syncs": change("mlflow_db_wal_syncs_total"),
                    },
                ),
            ],
            [
                graph(
                    "Log made",
                    "Bytes of the log of changes, a second. It follows what jobs log; peaks after each checkpoint are "
                    "blocks that are written whole. Far more than usual: a bulk load, a migration, or mlflow gc.",
                    {"log": change("mlflow_db_wal_bytes_total")},
                ),
                graph(
                    "Log of 15 minutes",
                    "Log made in 15 minutes against max_wal_size. A checkpoint is forced once half of that was made "
                    "since the last one; above the line MlflowDatabaseWalTooSmall counts them. Twice the log of a "
                    "busy quarter of an hour is a good size.",
                    {
                        "log": lasting(15, "mlflow_db_wal_bytes_total"),
                        "max_wal_size": 'max(mlflow_db_setting_bytes{name="max_wal_size"})',
                    },
                    overrides=[limit_line("max_wal_size")],
                ),
                graph(
                    "Log writes from full buffers",
                    "Share of the log's writes that a session made because wal_buffers were full. Normal is 0. Above "
                    "the line, and more than 10 a second: MlflowDatabaseWalTooSmall; set wal_buffers to 16MB.",
                    {
                        "from full buffers": "max(rate(mlflow_db_wal_buffers_full_total[$__rate_interval])"
                        " / (rate(mlflow_db_wal_writes_total[$__rate_interval]) > 0))"
                    },
                    unit_="percentunit",
                    limit=Limit("MlflowDatabaseWalTooSmall", "wal-buffers"),
                    at_least=0.3,
                ),
            ],
            [
                graph(
                    "Checkpoints in 15 minutes",
                    "Checkpoints by their reason. Normal are one to three timed ones. Requested ones above the line, "
                    "and more than timed: MlflowDatabaseWalTooSmall, double max_wal_size. One alone is a backup or a "
                    "restart.",
                    {
                        "timed": lasting(15, "mlflow_db_checkpoints_timed_total"),
                        "requested": lasting(15, "mlflow_db_checkpoints_requested_total"),
                    },
                    limit=Limit("MlflowDatabaseWalTooSmall", "checkpoints"),
                    at_least=3,
                ),
                graph(
                    "Time of the checkpoints",
                    "Seconds that the checkpoints which ended in 15 minutes wrote, most of it pauses on purpose, and "
                    "synced. Writing for minutes is normal; syncs of many seconds are a disk that falls behind, and "
                    "commits wait with them.",
                    {
                        "writing": lasting(15, "mlflow_db_checkpoint_write_seconds_total"),
                        "syncing": lasting(15, "mlflow_db_checkpoint_sync_seconds_total"),
                    },
                    at_least=1,
                ),
                graph(
                    "Buffers written in the background",
                    "Blocks written by checkpoints and by the background writer, a second. Mostly checkpoints is "
                    "normal; a background writer that leads means that sessions need buffers faster than there are: "
                    "see shared_buffers.",
                    {
                        "checkpoints": change("mlflow_db_checkpoint_buffers_written_total"),
                        "background writer": change("mlflow_db_background_writer_buffers_written_total"),
                    },
                ),
            ],
        ],
    )
