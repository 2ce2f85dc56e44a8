"""MLflow's indexes on databases that its own migrations made: whole, broken, and with more than they need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from exporter.collector import Reason, SourceError
from exporter.collectors.schema import Schema
from exporter.metric import check
from exporter.schema import catalogue
from exporter.secret import Secret
from exporter.sources.conninfo import Target
from exporter.sources.postgres import PostgresSource
from tests.lab.bigdata import fill
from tests.lab.catalogue import RELEASES, walk
from tests.lab.postgres import MAJORS, Postgres

pytestmark = pytest.mark.integration

Values = dict[tuple[str, ...], float]


class Database:
    """A migrated database, and what the exporter says of its indexes."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.server = server
        self.name = name

    def run(self, statement: str) -> None:
        self.server.execute(statement, dbname=self.name)

    def read(self, role: str = "exporter") -> Values:
        source = PostgresSource(Target.from_dsn(Secret(self.server.dsn(role, self.name)), Secret(""), "", ()))
        try:
            session = source.open(Schema.wanted(), time.monotonic() + 5)
            samples = check(Schema().collect(session), frozenset(Schema.metrics))
        finally:
            source.close()
        return {
            (sample.metric.name.removeprefix("mlflow_"), *sample.labels): float(sample.value)  # type: ignore[arg-type]
            for sample in samples
        }


@pytest.fixture
def database(postgres: Callable[[int], Postgres], request: pytest.FixtureRequest) -> Iterator[Database]:
    """Return a migrated database on the Postgres of the test's major, 15 where it names none."""
    server = postgres(getattr(request, "param", 15))
    server.create_mlflow("indexed")
    yield Database(server, "indexed")
    server.drop("indexed")


def test_each_migration_makes_the_indexes_that_the_catalogue_has(
    postgres: Callable[[int], Postgres],
) -> None:
    known = catalogue()
    walked = []
    for revision, found in walk(postgres(15)):
        assert found == set(known.expected(revision)), revision
        walked.append(revision)
    assert walked == [revision for revision, _ in known.revisions][: len(walked)]
    assert len(walked) > 40
    assert {revision: release for revision, release in known.revisions if release} == RELEASES


@pytest.mark.parametrize("database", MAJORS, indirect=True)
def test_a_migrated_database_is_complete(database: Database) -> None:
    found = database.read()
    assert found[("store_schema_known",)] == 1
    assert found[("db_indexes_expected",)] > 50
    assert [found[(f"db_indexes_{what}",)] for what in ("missing", "invalid", "redundant")] == [0, 0, 0]
    assert found[("db_runs_search_index_present",)] == 0
    assert not [key for key in found if key[0].endswith("_index_info")]
    assert database.read("mlflow") == found


def test_a_dropped_index_is_missing_until_it_is_made_again_under_any_name(database: Database) -> None:
    database.run("DROP INDEX index_metrics_run_uuid_key_step")
    found = database.read()
    assert found[("db_indexes_missing",)] == 1
    assert found[("db_missing_index_info", "metrics", "run_uuid, key, step")] == 1
    database.run("CREATE INDEX by_hand ON metrics (run_uuid, key, step)")
    assert database.read()[("db_indexes_missing",)] == 0


def test_a_dropped_primary_key_is_missing(database: Database) -> None:
    database.run("ALTER TABLE latest_metrics DROP CONSTRAINT latest_metric_pk")
    assert database.read()[("db_missing_index_info", "latest_metrics", "key, run_uuid")] == 1


def test_a_concurrent_build_that_failed_leaves_an_invalid_index(database: Database) -> None:
    database.run("INSERT INTO runs (run_uuid, experiment_id) VALUES ('a', 0), ('b', 0)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.run("CREATE UNIQUE INDEX CONCURRENTLY broken ON runs (experiment_id)")
    found = database.read()
    assert found[("db_indexes_invalid",)] == 1
    assert found[("db_invalid_index_info", "runs", "experiment_id", "no")] == 1
    assert found[("db_runs_search_index_present",)] == 0
    assert found[("db_indexes_missing",)] == 0
    database.run("DROP INDEX broken")
    assert database.read()[("db_indexes_invalid",)] == 0


def test_an_index_that_is_being_built_is_not_invalid(database: Database) -> None:
    server = database.server
    with (
        server.connect("mlflow", database.name) as writer,
        server.connect("mlflow", database.name) as builder,
    ):
        with writer.transaction():
            writer.execute("INSERT INTO runs (run_uuid, experiment_id) VALUES ('a', 0)")
            builder.pgconn.send_query(b"CREATE INDEX CONCURRENTLY slow ON runs (experiment_id)")
            deadline = time.monotonic() + 10
            while database.read()[("db_indexes_expected",)] and not server.execute(
                "select 1 from pg_index x join pg_class c on c.oid = x.indexrelid"
                " where c.relname = 'slow' and not x.indisvalid",
                dbname=database.name,
            ):
                assert time.monotonic() < deadline
            assert database.read()[("db_indexes_invalid",)] == 0
        while builder.pgconn.get_result():
            pass
    assert database.read()[("db_runs_search_index_present",)] == 1


def test_the_advised_index_is_present_and_neither_missing_before_nor_redundant_after(
    database: Database,
) -> None:
    database.run("CREATE INDEX search ON runs (experiment_id, start_time)")
    found = database.read()
    assert found[("db_runs_search_index_present",)] == 1
    assert found[("db_indexes_redundant",)] == 0


def test_further_indexes_show_only_where_another_one_serves_the_same(database: Database) -> None:
    database.run("CREATE INDEX own ON runs (status)")
    database.run("CREATE INDEX part ON runs (status) WHERE status = 'RUNNING'")
    database.run("CREATE INDEX words ON params (value text_pattern_ops)")
    assert database.read()[("db_indexes_redundant",)] == 0
    database.run("CREATE INDEX twice ON metrics (run_uuid)")
    database.run("CREATE INDEX prefix ON spans (experiment_id)")
    found = database.read()
    assert found[("db_indexes_redundant",)] == 2
    assert found[("db_redundant_index_bytes",)] == 2 * 8192
    assert (found[("db_indexes_missing",)], found[("db_indexes_invalid",)]) == (0, 0)


def test_a_revision_of_another_release_makes_no_claim(database: Database) -> None:
    database.run("DROP INDEX index_metrics_run_uuid_key_step")
    database.run("UPDATE alembic_version SET version_num = '0123456789ab'")
    found = database.read()
    assert found[("store_schema_known",)] == 0
    assert ("db_indexes_missing",) not in found


def test_without_a_right_on_the_revision_the_exact_grant_is_named(database: Database) -> None:
    database.run("REVOKE SELECT ON alembic_version FROM exporter")
    with pytest.raises(SourceError) as caught:
        database.read()
    assert caught.value.reason is Reason.PERMISSION
    assert "alembic_version" in caught.value.detail
    database.run(caught.value.remedy.replace("the exporter's role", "exporter"))
    assert database.read()[("store_schema_known",)] == 1


def test_filling_a_database_for_a_measurement_leaves_its_indexes_as_they_were(database: Database) -> None:
    before = database.read()
    fill(database.server, database.name, runs=1000, metrics=20_000)
    assert database.read() == before
