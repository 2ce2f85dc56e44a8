"""MLflow's schema against what its own migrations make: the revision, and every index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exporter.collector import Collector
from exporter.metric import Sample, gauge
from exporter.schema import Audit, Found, audit, catalogue, found, searches_runs, serves
from exporter.sql import Answers

KNOWN = gauge(
    "mlflow_store_schema_known",
    "1 where the schema is that of an MLflow from 2.10 on which this exporter knows, 0 where not: then it is not said "
    "which indexes are missing or redundant. Read once a minute.",
    "alembic_version.version_num",
)
INFO = gauge(
    "mlflow_store_schema_info",
    "Always 1; the schema's Alembic revision and the first MLflow release with that schema, empty where unknown. "
    "Read once a minute.",
    "alembic_version.version_num",
    labels=("revision", "release"),
)
EXPECTED = gauge(
    "mlflow_db_indexes_expected",
    "Indexes that MLflow's migrations up to that revision make on the tables that grow. Absent for an unknown schema.",
    "pg_index",
)
MISSING = gauge(
    "mlflow_db_indexes_missing",
    "Expected indexes that are not there, nor a longer one in their place. Absent for an unknown schema. Read once a "
    "minute.",
    "pg_index",
)
MISSING_INFO = gauge(
    "mlflow_db_missing_index_info",
    "Always 1; an expected index that is missing. Absent where none is.",
    "pg_index",
    labels=("table", "columns"),
)
INVALID = gauge(
    "mlflow_db_indexes_invalid",
    "Indexes of MLflow's tables that Postgres keeps up to date but cannot use: left by a CREATE or REINDEX INDEX "
    "CONCURRENTLY that failed. Those being built are not counted. Read once a minute.",
    "pg_index.indisvalid",
)
INVALID_INFO = gauge(
    "mlflow_db_invalid_index_info",
    "Always 1; what an invalid index is on, and whether a valid one does all that it is there for (yes or no), as "
    "beside "
    "what an interrupted REINDEX CONCURRENTLY leaves. Absent where there is none, for 20 of them at most.",
    "pg_index.indisvalid",
    labels=("table", "columns", "replaced"),
)
REDUNDANT = gauge(
    "mlflow_db_indexes_redundant",
    "Indexes beside MLflow's own that serve no query which another one would not: the same columns, or the first of "
    "another's. Absent for an unknown schema. Read once a minute.",
    "pg_index",
)
REDUNDANT_BYTES = gauge(
    "mlflow_db_redundant_index_bytes",
    "Bytes of those, as of the last VACUUM or ANALYZE. Absent for an unknown schema.",
    "pg_class.relpages",
    "bytes",
)
RUNS_SEARCH = gauge(
    "mlflow_db_runs_search_index_present",
    "1 where a valid index of `runs` begins with experiment_id, 0 where none does: MLflow makes none, so searches read "
    "the runs of all experiments. Worth it where SQL is what takes the time. Read once a minute.",
    "pg_index",
)

INVALID_SHOWN = 20


class Schema(Collector[Answers]):
    name = "schema"
    queries = ("schema",)
    params = (catalogue().tables(),)
    every = 60.0
    metrics = (
        *(KNOWN, INFO, EXPECTED, MISSING, MISSING_INFO, INVALID, INVALID_INFO),
        *(REDUNDANT, REDUNDANT_BYTES, RUNS_SEARCH),
    )

    def collect(self, session: Answers) -> Iterable[Sample]:
        session.facts.require_store()
        rows = session.rows("schema")
        revision = str(rows[0]["revision"] or "") if rows else ""
        return report(revision, [found(row) for row in rows])


def report(revision: str, present: list[Found]) -> Iterator[Sample]:
    """Give the samples of a schema: its revision, and what is wrong with its indexes."""
    known = catalogue()
    release = known.release(revision)
    expected = known.expected(revision)
    wrong = audit(present, expected)
    yield KNOWN(float(release is not None))
    yield INFO(1, revision, release or "")
    yield RUNS_SEARCH(float(any(map(searches_runs, present))))
    yield INVALID(len(wrong.invalid))
    shown = {
        (one.definition.table, _columns(one.definition.columns), _replaced(one, present))
        for one in wrong.invalid
    }
    yield from (INVALID_INFO(1, *labels) for labels in sorted(shown)[:INVALID_SHOWN])
    if release is not None:
        yield EXPECTED(len(expected))
        yield from _of_known(wrong)


def _replaced(invalid: Found, present: Iterable[Found]) -> str:
    return "yes" if any(one.valid and serves(one.definition, invalid.definition) for one in present) else "no"


def _of_known(wrong: Audit) -> Iterator[Sample]:
    yield MISSING(len(wrong.missing))
    labels = {(index.table, _columns(index.columns)) for index in wrong.missing}
    yield from (MISSING_INFO(1, *one) for one in sorted(labels))
    yield REDUNDANT(len(wrong.redundant))
    yield REDUNDANT_BYTES(sum(one.bytes for one in wrong.redundant))


def _columns(columns: tuple[str, ...]) -> str:
    """Return them as a label; an operator's expressions are left out, since they may be any text."""
    return ", ".join(one if one.replace("_", "").isalnum() else "(expression)" for one in columns)
