"""What is true of the Postgres server and of MLflow's schema in it, at the time of a scrape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from exporter.collector import Reason, SourceError
from exporter.rights import EXTENSION, GRANTS, MONITOR, filled


@dataclass(frozen=True, slots=True)
class Facts:
    """`store_schema` and `statements_schema` are empty where MLflow's tables or the extension are not there.

    `sees_all`: our role may see other roles' sessions and statements. `store_visible`, `statements_visible`: it may
    use those schemas. `neighbours` is how many other databases are on the same server.
    """

    version_num: int
    version: str
    in_recovery: bool
    database: str
    role: str
    superuser: bool
    sees_all: bool
    io_timing: bool
    neighbours: int
    store_oid: int
    store_schema: str
    store_visible: bool
    statements_schema: str
    statements_visible: bool

    @classmethod
    def from_row(cls, row: Mapping[str, object]) -> Facts:
        return cls(
            version_num=int(str(row["version_num"])),
            version=str(row["version"]),
            in_recovery=bool(row["in_recovery"]),
            database=str(row["database"]),
            role=str(row["role"]),
            superuser=bool(row["superuser"]),
            sees_all=bool(row["sees_all"]),
            io_timing=bool(row["io_timing"]),
            neighbours=int(str(row["neighbours"])),
            store_oid=int(str(row["store_oid"] or 0)),
            store_schema=str(row["store_schema"] or ""),
            store_visible=bool(row["store_visible"]),
            statements_schema=str(row["statements_schema"] or ""),
            statements_visible=bool(row["statements_visible"]),
        )

    @property
    def major(self) -> int:
        return self.version_num // 10_000

    def filled(self, text: bytes) -> bytes:
        """Put this server's schemas into a query, which may name them `{store}.runs` or `{statements}.…`.

        `{store_oid}` is for questions to the catalogs (0 where there is none), `{store_literal}` the quoted name as
        a string. Raises SourceError where the query needs a schema that is not there or not for us.
        """
        if b"{store}" in text or b"{store_literal}" in text:
            self.require_store()
        if b"{statements}" in text:
            self.require_statements()
        literal = "'" + quoted(self.store_schema).replace("'", "''") + "'"
        for placeholder, value in (
            (b"{store_oid}", str(self.store_oid)),
            (b"{store_literal}", literal),
            (b"{store}", quoted(self.store_schema)),
            (b"{statements}", quoted(self.statements_schema)),
        ):
            text = text.replace(placeholder, value.encode())
        return text

    def exact(self, error: SourceError) -> SourceError:
        """Return an error whose remedy names our own role and MLflow's schema where it says `{role}` and `{store}`."""
        names = {"role": quoted(self.role), "store": quoted(self.store_schema)}
        return SourceError(error.reason, error.detail, filled(error.remedy, names))

    def remarks(self) -> Iterator[tuple[str, str]]:
        """Give what is no failure and still limits what is seen, each with what mends it (or empty)."""
        if not self.sees_all:
            yield (
                f"role {self.role} sees its own sessions and statements only",
                MONITOR.format(role=quoted(self.role)),
            )
        if not self.io_timing:
            yield (
                "track_io_timing is off, so no I/O time is known",
                "ALTER SYSTEM SET track_io_timing = on; SELECT pg_reload_conf();",
            )
        if self.in_recovery:
            yield "the database is a replica: what its primary writes and runs is not seen here", ""
        if self.neighbours:
            yield (
                f'{self.neighbours} more databases share this Postgres: their load is shown as database="other", '
                "and its cores, memory and connections are theirs too",
                "",
            )

    def require_store(self) -> None:
        """Raise SourceError where MLflow's tables are not there or not within reach."""
        if not self.store_schema:
            raise SourceError(
                Reason.UNSUPPORTED,
                f"database {self.database} holds no MLflow tables",
                "Name MLflow's database in database.dsn, or start the tracking server once to make its tables.",
            )
        if not self.store_visible:
            raise self._no_usage(self.store_schema)

    def require_statements(self) -> None:
        """Raise SourceError where pg_stat_statements is not in this database or not within reach."""
        if not self.statements_schema:
            raise SourceError(
                Reason.UNSUPPORTED, f"database {self.database} has no extension pg_stat_statements", EXTENSION
            )
        if not self.statements_visible:
            raise self._no_usage(self.statements_schema)

    def require_planning(self) -> None:
        """Raise SourceError where to plan MLflow's texts could run functions of its schema with great rights."""
        self.require_store()
        if self.superuser:
            raise SourceError(
                Reason.UNSUPPORTED,
                f"role {self.role} is a superuser, and planning may run what MLflow's schema defines",
                f"Give the exporter a role of its own: {GRANTS}.",
            )

    def _no_usage(self, schema: str) -> SourceError:
        return SourceError(
            Reason.PERMISSION,
            f"role {self.role} may not use schema {schema}",
            f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {quoted(self.role)};",
        )


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
