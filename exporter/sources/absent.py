"""The database that cannot be watched: it says why, scrape by scrape, in the place of the one that could."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.collector import Query, Reason, SourceError

NAMES = {"file": "a directory of files", "other": "of a kind that is not known"}
EXPORTERS = {
    "mysql": "mysqld_exporter",
    "mariadb": "mysqld_exporter",
    "mssql": "sql_exporter, with a configuration for SQL Server,",
}


@dataclass(frozen=True, slots=True)
class Absence:
    reason: Reason
    detail: str
    remedy: str

    @classmethod
    def of_dialect(cls, dialect: str) -> Absence:
        """Name what the server runs on, and what watches that."""
        if dialect in EXPORTERS:
            remedy = f"Run {EXPORTERS[dialect]} beside this one; processes, open files and probes work as they are."
        else:
            remedy = "Move the store to Postgres: MLflow's docs say how; or set database.dsn."
        return cls(
            Reason.UNSUPPORTED,
            f"the backend store is {NAMES.get(dialect, dialect)}; only Postgres and SQLite are read",
            remedy,
        )


NOT_FOUND = Absence(
    Reason.UNREACHABLE,
    "no database is known: no tracking server was found, and database.dsn is not set",
    "Start the tracking server on this machine, or set database.dsn.",
)
NOT_CHOSEN = Absence(
    Reason.UNREACHABLE,
    "no database is known: several tracking servers run here, and none of them is chosen",
    "Set server.port to the one to watch, or database.dsn.",
)
NO_FILE = Absence(
    Reason.UNSUPPORTED,
    "the SQLite backend store is in memory, or its file is not within the exporter's reach",
    "Run the exporter where it sees the tracking server's files; a store in memory cannot be watched.",
)
UNREADABLE = Absence(
    Reason.PERMISSION,
    "the tracking server's backend store could not be read from its environment",
    "Run the exporter as the tracking server's user, or set database.dsn.",
)


class AbsentSource:
    """Fail each reading with the reason why there is nothing to read."""

    name = "postgres"

    def __init__(self, absence: Absence) -> None:
        self._absence = absence

    def open(self, queries: Sequence[Query], deadline: float) -> None:
        raise SourceError(self._absence.reason, self._absence.detail, self._absence.remedy)

    def settle(self) -> None:
        """Do nothing: there is nothing under way."""

    def close(self) -> None:
        """Do nothing: there is nothing open."""
