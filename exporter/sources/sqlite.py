"""MLflow's default backend store, one SQLite file: its size, and how long a reader waits for its lock."""

from __future__ import annotations

import stat
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from exporter.collector import Query, Reason, SourceError
from exporter.exhausted import without_descriptor

# MLflow itself waits 20 s for the lock; waiting as long would only add a reader to the queue.
LOCK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class SqliteReading:
    """`wal_bytes` is None where the file has no write-ahead log; `waited` is in seconds, `locked` when in vain."""

    file_bytes: int
    wal_bytes: int | None
    waited: float
    locked: bool


class SqliteSource:
    """Look at the file and read one page of it; opened read-only, and closed again at once."""

    name = "sqlite"

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def open(self, queries: Sequence[Query], deadline: float) -> SqliteReading:
        try:
            status = self._path.stat()
        except PermissionError:
            raise self._error(
                Reason.PERMISSION, "cannot be read", "Run the exporter as MLflow's user."
            ) from None
        except OSError as error:
            raise self._error(Reason.UNREACHABLE, f"{error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):  # a pipe would hold this thread for ever
            raise self._error(Reason.UNSUPPORTED, "is not a file")
        waited, locked = self._read_one_page(min(LOCK_SECONDS, max(0.0, deadline - time.monotonic())))
        return SqliteReading(status.st_size, self._wal_bytes(), waited, locked)

    def settle(self) -> None:
        """Do nothing: `open` leaves nothing under way."""

    def close(self) -> None:
        """Do nothing: `open` leaves nothing open."""

    def _wal_bytes(self) -> int | None:
        try:
            return self._path.with_name(self._path.name + "-wal").stat().st_size
        except OSError:
            return None

    def _read_one_page(self, patience: float) -> tuple[float, bool]:
        import sqlite3  # noqa: PLC0415 - 0.9 MiB of memory, for nothing where the store is Postgres

        started = time.monotonic()
        try:
            # mode=ro: a missing file is not created, and no journal is rolled back by us.
            uri = f"file:{quote(str(self._path))}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=patience)) as connection:
                # A number in the file's header, read under the lock; a SELECT would take in all of the schema first,
                # and that may be of any size.
                connection.execute("pragma schema_version").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return time.monotonic() - started, True
            if ours := without_descriptor():  # SQLite says "unable to open" only
                raise ours from None
            raise self._error(Reason.BAD_ANSWER, str(error)) from None
        except sqlite3.DatabaseError as error:
            raise self._error(Reason.BAD_ANSWER, str(error)) from None
        return time.monotonic() - started, False

    def _error(self, reason: Reason, what: str, remedy: str = "") -> SourceError:
        return SourceError(reason, f"{self._path}: {what}", remedy)
