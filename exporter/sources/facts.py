"""What is true of the Postgres server and of MLflow's schema in it, at the time of a scrape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.collector import Reason, SourceError

MONITOR = "GRANT pg_monitor TO {role};"


@dataclass(frozen=True, slots=True)
class Facts:
    """`store_schema` and `statements_schema` are empty where MLflow's tables or the extension are not there.

    `sees_all`: our role may see other roles' sessions and statements. `store_visible`: it may use MLflow's schema.
    """

    version_num: int
    version: str
    in_recovery: bool
    database: str
    role: str
    sees_all: bool
    store_schema: str
    store_visible: bool
    statements_schema: str

    @classmethod
    def from_row(cls, row: Mapping[str, object]) -> Facts:
        return cls(
            version_num=int(str(row["version_num"])),
            version=str(row["version"]),
            in_recovery=bool(row["in_recovery"]),
            database=str(row["database"]),
            role=str(row["role"]),
            sees_all=bool(row["sees_all"]),
            store_schema=str(row["store_schema"] or ""),
            store_visible=bool(row["store_visible"]),
            statements_schema=str(row["statements_schema"] or ""),
        )

    @property
    def major(self) -> int:
        return self.version_num // 10_000

    @property
    def search_path(self) -> str:
        """The only schemas in which our queries look; pg_catalog first, so that nobody's table hides a catalog."""
        schemas = [schema for schema in (self.statements_schema, self.store_schema) if schema]
        return ", ".join(["pg_catalog", *(quoted(schema) for schema in schemas)])

    def require_store(self) -> None:
        """Raise SourceError where MLflow's tables are not there or not within reach."""
        if not self.store_schema:
            raise SourceError(
                Reason.UNSUPPORTED,
                f"database {self.database} holds no MLflow tables",
                "Name MLflow's database in database.dsn, or start the tracking server once to make its tables.",
            )
        if not self.store_visible:
            raise SourceError(
                Reason.PERMISSION,
                f"role {self.role} may not use schema {self.store_schema}",
                f"GRANT USAGE ON SCHEMA {quoted(self.store_schema)} TO {quoted(self.role)};",
            )


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
