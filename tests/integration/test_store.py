"""The workload of a store whose contents are known, and what it costs to be told of a large one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from exporter.collector import Reason, SourceError
from exporter.collectors.store import StoreCounts, StoreEstimates, StoreLogging
from exporter.collectors.tables import Tables
from exporter.metric import check
from exporter.secret import Secret
from exporter.sources.conninfo import Target
from exporter.sources.postgres import PostgresSource
from exporter.sql import SqlCollector
from tests.lab.bigdata import fill
from tests.lab.postgres import MAJORS, Postgres

pytestmark = pytest.mark.integration

Values = dict[str, float]
POINTS = "fastest_run_points_per_second"

# A run that started 100 s ago and has logged `count` points of one key since then, evenly; steps rise by `stride`.
RUN = """
insert into runs (run_uuid, experiment_id, status, lifecycle_stage, start_time)
select '{run}', 0, 'RUNNING', 'active', (extract(epoch from now()) * 1000)::bigint - 100000"""
METRICS = """
insert into metrics (key, value, timestamp, run_uuid, step, is_nan)
select 'loss', random(), start_time + n * 100000::bigint / {count}, run_uuid, (n - 1) * {stride}, false
from runs, generate_series(1, {count}) n where run_uuid = '{run}'"""
LATEST = """
insert into latest_metrics (key, value, timestamp, run_uuid, step, is_nan)
select key, value, timestamp, run_uuid, step, is_nan
from metrics where run_uuid = '{run}' order by timestamp desc limit 1"""


class Store:
    """A migrated database with a role that may read what is documented, and what the exporter says of it."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.server = server
        self.name = name

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.server.execute(statement, dbname=self.name)

    def logs(self, run: str, count: int, stride: int = 1) -> None:
        self.run(*(text.format(run=run, count=count, stride=stride) for text in (RUN, METRICS, LATEST)))

    def read(self, collector: type[SqlCollector]) -> Values:
        source = PostgresSource(
            Target.from_dsn(Secret(self.server.dsn("exporter", self.name)), Secret(""), "", ())
        )
        try:
            session = source.open(collector.wanted(), time.monotonic() + 10)
            samples = check(collector().collect(session), frozenset(collector.metrics))
        finally:
            source.close()
        return {
            "_".join((sample.metric.name.removeprefix("mlflow_store_"), *sample.labels)): float(sample.value)  # type: ignore[arg-type]
            for sample in samples
        }


@pytest.fixture
def store(postgres: Callable[[int], Postgres], request: pytest.FixtureRequest) -> Iterator[Store]:
    """Return a database on the Postgres of the test's major, 15 where it names none."""
    server = postgres(getattr(request, "param", 15))
    server.create_mlflow("stored")
    yield Store(server, "stored")
    server.drop("stored")


@pytest.mark.parametrize("store", MAJORS, indirect=True)
def test_runs_and_experiments_count_by_what_became_of_them(store: Store) -> None:
    store.run(
        "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (1, 'a', 'active'), (2, 'b', 'deleted')",
        "INSERT INTO runs (run_uuid, experiment_id, status, lifecycle_stage) VALUES"
        " ('a', 0, 'RUNNING', 'active'), ('b', 0, 'RUNNING', 'active'), ('c', 0, 'FINISHED', 'active'),"
        " ('d', 0, 'RUNNING', 'deleted'), ('e', 0, 'FAILED', 'deleted'), ('f', 0, 'KILLED', 'deleted')",
    )
    assert store.read(StoreCounts) == {
        "experiments": 2,  # with Default
        "deleted_experiments": 1,
        "running_runs": 2,
        "deleted_runs": 3,
    }


@pytest.mark.parametrize("store", MAJORS, indirect=True)
def test_the_fastest_run_and_the_one_with_most_params_are_found(store: Store) -> None:
    store.logs("slow", 50)
    store.logs("fast", 500)
    store.run(
        "INSERT INTO params (key, value, run_uuid) SELECT 'p' || n, 'x', 'slow' FROM generate_series(1, 70) n"
    )
    found = store.read(StoreLogging)
    assert found["logging_runs"] == 2
    assert found[POINTS] == pytest.approx(5, rel=0.01)
    assert found["max_params_per_run"] == 70


@pytest.mark.parametrize("stride", [0, 100], ids=["without steps", "each hundredth step"])
def test_points_are_counted_not_steps(store: Store, stride: int) -> None:
    store.logs("sparse", 50, stride)
    assert store.read(StoreLogging)[POINTS] == pytest.approx(0.5)


def test_a_run_whose_clock_is_ahead_does_not_hide_the_others(store: Store) -> None:
    store.logs("right", 500)
    store.logs("ahead", 500)
    store.run(
        *(
            f"UPDATE {table} SET timestamp = timestamp + 3600000 WHERE run_uuid = 'ahead'"
            for table in ("metrics", "latest_metrics")
        )
    )
    found = store.read(StoreLogging)
    assert found["logging_runs"] == 1
    assert found[POINTS] == pytest.approx(5)


def test_of_a_flood_of_points_the_last_ones_are_enough(store: Store) -> None:
    store.logs("flood", 200_000)
    assert store.read(StoreLogging)[POINTS] == pytest.approx(2_000, rel=0.01)


def test_runs_that_ended_or_have_been_silent_are_not_those_that_log(store: Store) -> None:
    store.logs("ended", 500)
    store.logs("silent", 500)
    store.logs("deleted", 500)
    store.run(
        "UPDATE runs SET status = 'FINISHED' WHERE run_uuid = 'ended'",
        "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = 'deleted'",
        "UPDATE latest_metrics SET timestamp = timestamp - 660000 WHERE run_uuid = 'silent'",
    )
    assert store.read(StoreLogging) == {"logging_runs": 0, "max_params_per_run": 0}


def test_a_store_without_running_runs_has_no_speed(store: Store) -> None:
    assert store.read(StoreLogging) == {"logging_runs": 0}


def test_the_largest_are_estimated_once_they_were_analysed_and_only_where_they_stand_out(
    store: Store,
) -> None:
    fill(store.server, store.name, runs=20_000, metrics=100_000, points=100)
    store.run(
        "INSERT INTO metrics SELECT key, value, timestamp, md5('1'), step, is_nan FROM metrics LIMIT 20000"
    )
    store.run("ANALYZE metrics")
    found = store.read(StoreEstimates)
    assert found["largest_experiment_runs"] == pytest.approx(8_000, rel=0.1)
    assert found["largest_run_points"] == pytest.approx(20_000, rel=0.1)
    store.run("DELETE FROM metrics WHERE run_uuid = md5('1')", "ANALYZE metrics")
    assert store.read(StoreEstimates).keys() == {"largest_experiment_runs"}


def test_without_its_rights_it_names_all_of_them_at_once(store: Store) -> None:
    store.run("REVOKE SELECT ON runs, metrics, latest_metrics, params, experiments FROM exporter")
    for collector, table in ((StoreCounts, "experiments"), (StoreLogging, "runs")):
        with pytest.raises(SourceError) as caught:
            store.read(collector)
        assert caught.value.reason is Reason.PERMISSION
        assert f"table {table}" in caught.value.detail or collector is StoreLogging
    store.run(caught.value.remedy.replace("the exporter's role", "exporter"))
    assert store.read(StoreCounts)["experiments"] == 1
    assert store.read(StoreLogging) == {"logging_runs": 0}


def test_a_query_that_takes_longer_than_its_collector_allows_is_a_timeout_of_that_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.run("CREATE VIEW slow AS SELECT r.* FROM runs r, pg_sleep(60)")
    store.run("ALTER TABLE runs RENAME TO all_runs", "ALTER VIEW slow RENAME TO runs")
    store.run("GRANT SELECT ON runs TO exporter")
    monkeypatch.setattr(StoreCounts, "timeout", 0.3)
    started = time.monotonic()
    with pytest.raises(SourceError) as caught:
        store.read(StoreCounts)
    assert caught.value.reason is Reason.TIMEOUT
    assert time.monotonic() - started < 5


def test_updates_without_a_new_index_entry_are_told_apart(store: Store) -> None:
    store.logs("updated", 50)
    with store.server.connect("mlflow", store.name) as session:
        for _ in range(3):
            session.execute("UPDATE latest_metrics SET value = value + 1")
        session.execute("UPDATE runs SET run_uuid = 'renamed' WHERE run_uuid = 'nobody'")
    deadline = time.monotonic() + 10  # statistics arrive when the session has ended, before 15 a moment later
    name = "mlflow_db_table_rows_hot_updated_total_"
    while (found := store.read(Tables)).get(f"{name}latest_metrics") != 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found["mlflow_db_table_rows_updated_total_latest_metrics"] == 3
    assert f"{name}runs" not in found
