"""Counters of statements against what a script knows that it ran, on real servers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests

from exporter.collector import Reason, SourceError
from exporter.collectors.statements import Statements
from exporter.metric import check
from exporter.rights import MONITOR
from exporter.secret import Secret
from exporter.sources.conninfo import Target
from exporter.sources.postgres import PostgresSource
from tests.lab.servers import MAJORS, MlflowServer, Postgres

pytestmark = pytest.mark.integration

Values = dict[tuple[str, ...], float]
HISTORY = ("mlflow_db_statement_read_calls_total", "metric_history", "metrics")
NESTED = ("mlflow_db_statement_read_calls_total", "nested", "")


class Scraper:
    """A source and the collector, which here may read texts at any time."""

    def __init__(self, dsn: str) -> None:
        self.source = PostgresSource(Target.from_dsn(Secret(dsn), Secret(""), "", ()))
        self.collector = Statements(clock=lambda: 0.0)

    def __call__(self) -> Values:
        session = self.source.open(Statements.wanted(), time.monotonic() + 10)
        try:
            samples = check(self.collector.collect(session), frozenset(self.collector.metrics))
        finally:
            self.source.settle()
        return {(sample.metric.name, *sample.labels): sample.value for sample in samples}  # type: ignore[misc]


@contextmanager
def scraping(dsn: str) -> Iterator[Scraper]:
    scraper = Scraper(dsn)
    try:
        yield scraper
    finally:
        scraper.source.close()


def history(columns: int) -> bytes:
    """Return a statement as MLflow's get-history; each number of columns is one of its own to Postgres."""
    wanted = ", ".join(["metrics.key"] * columns)
    return f"SELECT {wanted} FROM metrics WHERE metrics.run_uuid = 'x'".encode()


@pytest.mark.parametrize("major", [13, 15, 18])
def test_ten_thousand_calls_are_never_counted_too_high_and_too_low_only_by_what_was_pushed_out(
    major: int,
) -> None:
    settings = {"pg_stat_statements.max": "100", "pg_stat_statements.track": "all"}
    with Postgres(major, settings) as server:
        server.create_mlflow()
        server.execute(
            "create function twice() returns void language plpgsql as $$ begin"
            f" execute $q${history(1).decode()}$q$; execute $q${history(1).decode()}$q$; end $$",
            dbname="mlflow",
            user="mlflow",
        )
        ran: Counter[str] = Counter()
        lost = 0
        with (
            server.connect("mlflow", "mlflow") as client,
            server.connect(dbname="mlflow") as admin,
            scraping(server.dsn("exporter", "mlflow")) as scrape,
        ):

            def run(statement: bytes, times: int = 1) -> None:
                for _ in range(times):
                    client.execute(statement)
                ran["top"] += times

            scrape()
            last = scrape()

            # Forty statements fit: nothing may be missing.
            for _ in range(20):
                for columns in range(1, 41):
                    run(history(columns), 4)
                last = rising(last, scrape())
                assert last[HISTORY] == ran["top"]

            # A function runs one of them too, inside its own time.
            for _ in range(10):
                run(history(1), 20)
                for _ in range(15):
                    client.execute("SELECT twice()")
                    ran["nested"] += 2
                last = rising(last, scrape())
            if major < 14:  # it cannot tell the twins, and adds them up in one
                ran["top"] += ran.pop("nested")
            assert last[HISTORY] == ran["top"]
            assert last.get(NESTED, 0) == ran["nested"]

            # A reset costs what ran since the last reading, and no more.
            for number in range(10):
                run(history(1), 30)
                admin.execute("select pg_stat_statements_reset()")
                lost += 30
                # Before 14 a reset shows only in a count that fell.
                run(history(2), 70 - number if major < 14 else 70 + number // 2)
                last = rising(last, scrape())
                assert ran["top"] - lost == last[HISTORY]

            # New statements push each other out, and not those in use.
            evicted = last.get(("mlflow_db_statements_evicted_total",), 0.0)
            for start in range(41, 1_400, 68):
                for columns in range(1, 21):
                    run(history(columns), 10)
                at_risk = range(start, start + 68)
                for columns in at_risk:
                    run(history(columns))
                lost += len(at_risk)
                last = rising(last, scrape())
                assert ran["top"] - lost <= last[HISTORY] <= ran["top"]

        assert ran.total() >= 10_000
        assert last["mlflow_db_statements_tracked",] <= last["mlflow_db_statements_limit",] == 100
        if major >= 14:
            assert last["mlflow_db_statements_evicted_total",] > evicted


def rising(before: Values, now: Values) -> Values:
    """Return the second of two scrapes, in which no counter of a class may be lower or gone."""
    fallen = {
        name: (value, now.get(name))
        for name, value in before.items()
        if name[0].startswith("mlflow_db_statement_") and now.get(name, -1.0) < value
    }
    assert not fallen
    return now


def test_a_role_without_pg_monitor_is_told_so_and_a_grant_does_not_bring_old_counts(
    postgres: Callable[[int], Postgres],
) -> None:
    server = postgres(15)
    server.create_mlflow("hidden")
    server.execute("create role onlooker login password 'p'")
    try:
        with (
            server.connect("mlflow", "hidden") as client,
            scraping(f"postgresql://onlooker:p@127.0.0.1:{server.port}/hidden") as scrape,
        ):
            client.execute(history(1))
            with pytest.raises(SourceError) as raised:
                scrape()
            assert raised.value.reason is Reason.PERMISSION
            assert raised.value.remedy == MONITOR.format(role='"onlooker"')
            for _ in range(100):
                client.execute(history(1))
            server.execute("grant pg_monitor to onlooker")
            scrape()
            client.execute(history(1))
            found = scrape()
            assert found[HISTORY] == 1
            assert found["mlflow_db_statements_hidden",] == 0
    finally:
        server.drop("hidden")
        server.execute("drop role onlooker")


def test_as_mlflows_own_role_its_statements_are_counted_and_those_of_others_said_to_be_hidden(
    postgres: Callable[[int], Postgres],
) -> None:
    server = postgres(15)
    server.create_mlflow("own")
    try:
        with server.connect("mlflow", "own") as client, scraping(server.dsn("mlflow", "own")) as scrape:
            server.execute("select 1 as by_superuser, now()", dbname="own")
            client.execute(history(1))
            scrape()
            client.execute(history(1))
            found = scrape()
            assert found[HISTORY] == 1
            assert found["mlflow_db_statements_hidden",] >= 1
    finally:
        server.drop("own")


def test_without_the_extension_the_remedy_is_to_create_it(postgres: Callable[[int], Postgres]) -> None:
    server = postgres(15)
    server.create_database("bare")
    try:
        with scraping(server.dsn("exporter", "bare")) as scrape, pytest.raises(SourceError) as raised:
            scrape()
        assert raised.value.reason is Reason.UNSUPPORTED
        assert raised.value.remedy.startswith("CREATE EXTENSION pg_stat_statements;")
    finally:
        server.drop("bare")


@pytest.mark.parametrize("version", ["1.8", "1.9"])
def test_of_an_extension_that_an_upgrade_left_behind_the_remedy_is_to_update_it(
    postgres: Callable[[int], Postgres], version: str
) -> None:
    server = postgres(15)
    server.create_mlflow("upgraded")
    try:
        server.execute("DROP EXTENSION pg_stat_statements", dbname="upgraded")
        server.execute(f"CREATE EXTENSION pg_stat_statements VERSION '{version}'", dbname="upgraded")
        with scraping(server.dsn("exporter", "upgraded")) as scrape:
            with pytest.raises(SourceError) as raised:
                scrape()
            assert raised.value.reason is Reason.UNSUPPORTED
            assert raised.value.remedy.startswith("ALTER EXTENSION pg_stat_statements UPDATE;")
            server.execute("ALTER EXTENSION pg_stat_statements UPDATE", dbname="upgraded")
            assert ("mlflow_store_points_logged_total",) in scrape()
    finally:
        server.drop("upgraded")


@pytest.mark.parametrize("role", ["exporter", "mlflow"])
@pytest.mark.parametrize("major", MAJORS)
def test_costs_are_those_of_the_servers_own_view_whatever_its_columns_are_called(
    major: int, role: str
) -> None:
    # Few buffers, so that blocks are read; a small work_mem, so that a sort goes to a file.
    with Postgres(major, {"shared_buffers": "1MB", "work_mem": "64kB"}) as server:
        server.create_mlflow()
        with (
            server.connect("mlflow", "mlflow") as client,
            scraping(server.dsn(role, "mlflow")) as scrape,
        ):
            before = [scrape(), scrape()][-1]
            client.execute(
                "INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage, status, source_type)"
                " SELECT md5(n::text), 0, 'active', 'RUNNING', 'LOCAL' FROM generate_series(1, 20000) n"
            )
            search = "SELECT DISTINCT runs.run_uuid, runs.status FROM runs WHERE runs.experiment_id = 0"
            for _ in range(3):
                client.execute(f"{search} ORDER BY runs.run_uuid, runs.status".encode())
            scrape()
            client.execute(f"{search} ORDER BY runs.run_uuid, runs.status".encode())
            after = scrape()
        columns = ["shared_blks_hit", "shared_blks_read", "temp_blks_read + temp_blks_written", "wal_bytes"]
        columns.append("shared_blk_read_time" if major >= 17 else "blk_read_time")
        ((hit, read, temp, _, waited),) = view(server, columns, "SELECT DISTINCT runs%")
        ((_, _, _, wal, _),) = view(server, columns, "INSERT INTO runs%")

    def increase(what: str, operation: str) -> float:
        name = (f"mlflow_db_statement_{what}_total", operation)
        return after[name] - before[name]

    assert increase("read_blocks_hit", "search_runs") == hit > 0
    assert increase("read_blocks_read", "search_runs") == read > 0
    assert increase("read_temp_blocks", "search_runs") == temp > 0
    assert increase("write_wal_bytes", "create_run") == wal > 1_000_000
    assert increase("read_io_seconds", "search_runs") >= waited / 1000 > 0
    texts = [labels for name, *labels in after if name == "mlflow_db_slow_statement_info"]
    (shown,) = (labels for labels in texts if labels[1] == "search_runs")
    assert shown[2:] == ["runs", search.replace("= 0", "= $1") + " ORDER BY runs.run_uuid, runs.status"]
    assert after["mlflow_db_slow_statement_calls_total", shown[0]] == 1
    assert after["mlflow_db_slow_statement_seconds_total", shown[0]] > 0


def view(server: Postgres, columns: list[str], text: str) -> list[tuple[float, ...]]:
    """Return the sums of these columns of pg_stat_statements over the statements of that form."""
    sums = ", ".join(f"sum({column})::float8" for column in columns)
    return server.execute(f"select {sums} from pg_stat_statements where query like '{text}'", dbname="mlflow")


def test_calls_agree_with_the_requests_that_a_tracking_server_was_sent_with_psycopg3(
    mlflow: MlflowServer,
) -> None:
    check_calls(mlflow, "psycopg3")


def test_calls_agree_with_the_requests_that_a_tracking_server_was_sent_with_psycopg2(
    postgres: Callable[[int], Postgres],
) -> None:
    uri = postgres(15).create_mlflow("psycopg2").replace("postgresql://", "postgresql+psycopg2://")
    with MlflowServer(uri, workers=1) as server:
        check_calls(server, "psycopg2")


def check_calls(mlflow: MlflowServer, driver: str) -> None:
    def post(path: str, **body: object) -> dict[str, dict[str, dict[str, str]]]:
        answer = requests.post(f"{mlflow.url}/api/2.0/mlflow/{path}", json=body, timeout=30)
        answer.raise_for_status()
        found: dict[str, dict[str, dict[str, str]]] = answer.json()
        return found

    experiment = str(post("experiments/create", name=f"statements-{time.time_ns()}")["experiment_id"])
    with scraping(mlflow.backend_uri.replace("postgresql+psycopg2://", "postgresql://")) as scrape:
        scrape()
        before = scrape()
        runs = [post("runs/create", experiment_id=experiment)["run"]["info"]["run_id"] for _ in range(3)]
        for step in range(20):
            post("runs/log-metric", run_id=runs[0], key="loss", value=1.0, timestamp=step, step=step)
        for batch in range(4):
            points = [{"key": f"m{n}", "value": 1.0, "timestamp": batch, "step": batch} for n in range(50)]
            post("runs/log-batch", run_id=runs[1], metrics=points)
        for number in range(5):
            post("runs/log-parameter", run_id=runs[2], key=f"p{number}", value="v")
            post("runs/search", experiment_ids=[experiment], max_results=10)
        single = scrape()
        for batch in range(3):
            params = [{"key": f"b{batch}-{number}", "value": "v"} for number in range(20)]
            post("runs/log-batch", run_id=runs[2], params=params)
        after = scrape()

    def increase(what: str, *labels: str) -> float:
        name = (f"mlflow_db_statement_{what}_total", *labels)
        return after[name] - before[name]

    assert increase("write_calls", "create_run", "runs") == 3
    assert increase("write_rows", "log_metrics", "metrics") == 20 + 4 * 50
    assert increase("read_calls", "log_metrics", "latest_metrics") == 20 + 4
    assert increase("write_rows", "log_params", "params") == 5 + 3 * 20
    assert increase("read_calls", "search_runs", "runs") == 5
    assert increase("read_calls", "fetch_runs", "tags") >= 5
    assert increase("write_seconds", "log_metrics", "metrics") > 0
    assert {labels[0] for name, *labels in after if name == "mlflow_db_driver_info"} == {driver}

    def per_call(what: str, calls: str, since: Values, until: Values) -> float:
        first, second = ((f"mlflow_store_{name}_total",) for name in (what, calls))
        return (until[first] - since[first]) / (until[second] - since[second])

    assert per_call("points_logged", "log_calls", before, after) == (20 + 4 * 50) / (20 + 4)
    assert per_call("params_logged", "log_param_calls", before, single) == 1
    assert per_call("params_logged", "log_param_calls", single, after) == 20
