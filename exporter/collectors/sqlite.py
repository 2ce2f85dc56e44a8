"""The SQLite backend store: one file that one writer at a time may lock."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.collector import Collector
from exporter.metric import Sample, gauge
from exporter.sources.sqlite import SqliteReading

FILE = gauge("mlflow_db_sqlite_file_bytes", "Bytes of the SQLite file.", "stat()", "bytes")
WAL = gauge(
    "mlflow_db_sqlite_wal_bytes", "Bytes of its write-ahead log; absent where it has none.", "stat()", "bytes"
)
WAIT = gauge(
    "mlflow_db_sqlite_lock_wait_seconds",
    "Seconds that one read of ours waited for the file's lock, given up after 0.5 s.",
    "a read of sqlite_master",
    "seconds",
)
LOCKED = gauge(
    "mlflow_db_sqlite_locked",
    "1 where that read was given up because a writer held the lock, else 0.",
    "a read of sqlite_master",
)


class Sqlite(Collector[SqliteReading]):
    name = "sqlite"
    metrics = (FILE, WAL, WAIT, LOCKED)

    def collect(self, session: SqliteReading) -> Iterable[Sample]:
        yield FILE(session.file_bytes)
        if session.wal_bytes is not None:
            yield WAL(session.wal_bytes)
        yield WAIT(session.waited)
        yield LOCKED(float(session.locked))
