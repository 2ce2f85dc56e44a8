"""`explain` and the plan metric on real servers: with and without the index, without rights, behind a pooler."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import requests

from exporter.collector import Query, Reason, SourceError
from exporter.collectors.plans import Plans
from exporter.rights import MONITOR
from exporter.secret import Secret
from exporter.sources.conninfo import Target
from exporter.sources.postgres import PostgresSession, PostgresSource
from tests.lab import tools
from tests.lab.postgres import MAJORS, PgBouncer, Postgres
from tests.lab.servers import MlflowServer

pytestmark = pytest.mark.integration

Start = Callable[[int], Postgres]

EXPERIMENTS, RUNS = 200, 200_000
INDEX = "CREATE INDEX ix_runs_experiment_id_start_time ON runs (experiment_id, start_time)"
# As MLflow's own, without the columns.
SEARCH = (
    "SELECT DISTINCT runs.run_uuid, runs.start_time FROM runs WHERE runs.experiment_id IN ({}) AND "
    "runs.lifecycle_stage IN ({}) ORDER BY runs.start_time DESC, runs.run_uuid LIMIT {} OFFSET {}"
)


def fill(server: Postgres, dbname: str) -> None:
    """Add many runs of many experiments, as in a database that is some years old."""
    with contextlib.closing(server.connect(dbname=dbname)) as session:
        session.execute("SET session_replication_role = replica")
        session.execute(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage, workspace)"
            f" SELECT n, 'experiment-' || n, 'active', 'default' FROM generate_series(1, {EXPERIMENTS}) n"
        )
        session.execute(
            "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, lifecycle_stage,"
            " experiment_id, artifact_uri) SELECT md5(n::text), 'run', 'LOCAL', 'alice', 'FINISHED',"
            f" 1700000000000 + n, 'active', 1 + n % {EXPERIMENTS}, 'x' FROM generate_series(1, {RUNS}) n"
        )
        session.execute("SELECT setval(pg_get_serial_sequence('experiments', 'experiment_id'), 1000)")
        session.execute("ANALYZE")


def search(session: Any, experiment: int = 1) -> None:
    session.execute(SEARCH.format(experiment, "'active'", 20, 0))


@contextlib.contextmanager
def source_of(dsn: str) -> Iterator[PostgresSource]:
    source = PostgresSource(Target.from_dsn(Secret(dsn), Secret(""), "", ()))
    try:
        yield source
    finally:
        source.close()


def collected(source: PostgresSource) -> dict[tuple[str, ...], float]:
    session = source.open(Plans.wanted(), time.monotonic() + 10)
    try:
        return {sample.labels: float(str(sample.value)) for sample in Plans().collect(session)}
    finally:
        source.settle()


def explain(dsn: str, *args: str, seconds: str = "200ms") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exporter", "explain", "--for", seconds, *args],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PYTHONPATH": str(tools.ROOT), "PATH": "/usr/bin:/bin", "MLFLOW_EXPORTER_DATABASE_DSN": dsn},
    )


def flat(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stdout.split())


@pytest.fixture
def database(postgres: Start, request: pytest.FixtureRequest) -> Iterator[tuple[Postgres, str]]:
    """Return a Postgres (15, or the parameter's major) and the name of a filled database of this test's own."""
    server = postgres(getattr(request, "param", 15))
    name = f"plans_{abs(hash(request.node.name)) % 10**8}"
    server.create_mlflow(name)
    fill(server, name)
    server.execute("SELECT pg_stat_statements_reset()", dbname=name)
    yield server, name
    server.drop(name)


@pytest.mark.parametrize("database", MAJORS, indirect=True)
def test_the_plan_metric_follows_the_index_on_every_major(database: tuple[Postgres, str]) -> None:
    server, name = database
    with server.connect("mlflow", name) as session, source_of(server.dsn("exporter", name)) as source:
        search(session)
        assert collected(source) == {("search_runs", "runs"): 1.0}
        server.execute(INDEX, dbname=name)
        assert collected(source) == {("search_runs", "runs"): 0.0}


@pytest.fixture(scope="module")
def tracking(postgres: Start) -> Iterator[tuple[MlflowServer, Postgres]]:
    """Return a real tracking server with many runs."""
    server = postgres(15)
    uri = server.create_mlflow("explained")
    fill(server, "explained")
    with MlflowServer(uri, workers=1) as mlflow:
        yield mlflow, server
    server.drop("explained")


class Searches:
    """Clients that search one experiment after the other, as fast as they are answered."""

    def __init__(self, mlflow: MlflowServer, clients: int, page: int) -> None:
        self.ended = threading.Event()
        self.answered: list[int] = []
        self.url, self.page = f"{mlflow.url}/api/2.0/mlflow/runs/search", page
        self.threads = [threading.Thread(target=self.search, args=(number,)) for number in range(clients)]

    def __enter__(self) -> None:
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()
        assert set(self.answered) == {200}

    def search(self, number: int) -> None:
        with requests.Session() as session:
            while not self.ended.is_set():
                number = number % EXPERIMENTS + 1
                message = {"experiment_ids": [str(number)], "max_results": self.page}
                self.answered.append(session.post(self.url, json=message, timeout=60).status_code)


def test_explain_names_the_index_then_that_it_is_used_and_that_none_helps_a_load_of_python(
    tracking: tuple[MlflowServer, Postgres],
) -> None:
    mlflow, server = tracking
    dsn, port = server.dsn("exporter", "explained"), ("--server.port", str(mlflow.port))
    server.execute("SELECT pg_stat_statements_reset()", dbname="explained")
    with Searches(mlflow, clients=2, page=1):
        done = explain(dsn, *port, seconds="3s")
    assert done.returncode == 0, done.stderr
    assert "1. search_runs on runs" in done.stdout
    assert "reads runs WHOLLY, 200,000 rows" in done.stdout
    assert "CREATE INDEX CONCURRENTLY ix_runs_experiment_id_start_time" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80

    server.execute(INDEX, dbname="explained")
    with Searches(mlflow, clients=2, page=1):
        done = explain(dsn, *port, seconds="3s")
    assert "reads runs by ix_runs_experiment_id_start_time" in done.stdout
    assert "The index on (experiment_id, start_time) is used" in flat(done)
    assert "the average above still holds slower calls of before" in flat(done)
    assert "CREATE INDEX" not in done.stdout

    with Searches(mlflow, clients=4, page=1000):
        report = json.loads(explain(dsn, *port, "--json", seconds="5s").stdout)
    assert "an index will not help" in report["where"]["says"]
    assert report["where"]["share"] < 0.2


def test_explain_says_who_writes_and_spells_out_hostile_names(
    tracking: tuple[MlflowServer, Postgres],
) -> None:
    mlflow, server = tracking
    api = f"{mlflow.url}/api/2.0/mlflow"
    tags = {
        "mlflow.user": "mallory\x1b[2J",
        "mlflow.source.name": "train.py",
        "mlflow.source.git.commit": "deadbeef",
    }

    def post(path: str, message: dict[str, Any]) -> Any:
        answer = requests.post(f"{api}/{path}", json=message, timeout=60)
        answer.raise_for_status()
        return answer.json()

    experiment = post("experiments/create", {"name": f"evil\u202e\x1b]0;{'x' * 200}"})["experiment_id"]
    given = [{"key": key, "value": value} for key, value in tags.items()]
    run = post(
        "runs/create", {"experiment_id": experiment, "start_time": round(time.time() * 1000), "tags": given}
    )
    run_id = run["run"]["info"]["run_id"]
    ended = threading.Event()

    def log() -> None:
        step = 0
        while not ended.is_set():
            step += 1
            post(
                "runs/log-metric",
                {"run_id": run_id, "key": "loss", "value": 1, "timestamp": step, "step": step},
            )

    writer = threading.Thread(target=log)
    writer.start()
    try:
        done = explain(server.dsn("exporter", "explained"), "--server.port", str(mlflow.port), seconds="2s")
    finally:
        ended.set()
        writer.join()
    assert all(sign.isprintable() or sign == "\n" for sign in done.stdout)
    line = next(line for line in done.stdout.splitlines() if "train.py" in line)
    assert "evil\\u202e" in line
    assert "mallory" in line
    assert "deadbeef" in line
    assert run_id in done.stdout
    assert "127.0.0.1" in done.stdout


def test_without_rights_on_the_tables_the_one_grant_is_named_and_it_mends_it(
    database: tuple[Postgres, str],
) -> None:
    server, name = database
    server.execute("CREATE ROLE planner LOGIN PASSWORD 'planner' IN ROLE pg_monitor")
    try:
        with server.connect("mlflow", name) as session:
            search(session)
        dsn = server.dsn("planner", name, "planner")
        done = explain(dsn)
        assert done.returncode == 0, done.stderr
        grant = 'GRANT SELECT ON "public"."runs" TO "planner";'
        assert grant in done.stdout
        with source_of(dsn) as source, pytest.raises(SourceError) as raised:
            collected(source)
        assert (raised.value.reason, raised.value.remedy) == (Reason.PERMISSION, grant)
        server.execute(grant, dbname=name)
        with source_of(dsn) as source:
            assert collected(source) == {("search_runs", "runs"): 1.0}
        # Searching for writers needs more of the documented rights.
        assert "NOT READ: writers" in explain(dsn).stdout
    finally:
        server.execute("DROP OWNED BY planner", dbname=name)
        server.execute("DROP ROLE planner")


def test_a_role_that_may_not_see_other_roles_statements_is_told_what_to_grant(
    database: tuple[Postgres, str],
) -> None:
    server, name = database
    with server.connect("mlflow", name) as session:
        search(session)
    server.execute("CREATE ROLE blind LOGIN PASSWORD 'blind'")
    try:
        dsn, grant = (
            server.dsn("blind", name, "blind"),
            MONITOR.format(role='"blind"'),
        )
        assert grant in explain(dsn).stdout
        with source_of(dsn) as source, pytest.raises(SourceError) as raised:
            collected(source)
        assert (raised.value.reason, raised.value.remedy) == (Reason.PERMISSION, grant)
    finally:
        server.execute("DROP ROLE blind")


@pytest.mark.parametrize("major", [13, 17])
def test_a_standby_plans_its_own_statements(major: int) -> None:
    with Postgres(major) as server:
        server.create_mlflow()
        fill(server, "mlflow")
        server.stop()
        signal = server.data / "standby.signal"
        signal.touch()
        server.own(signal)
        server.start()
        with server.connect("mlflow", "mlflow") as session:
            search(session)
        with source_of(server.dsn("exporter", "mlflow")) as source:
            assert collected(source) == {("search_runs", "runs"): 1.0}


def test_writes_are_named_as_refused_for_a_role_that_only_reads(database: tuple[Postgres, str]) -> None:
    server, name = database
    with server.connect("mlflow", name) as session:
        session.execute("UPDATE runs SET name = 'x' WHERE runs.run_uuid = 'y'")
        search(session)
    assert "permission: to plan it takes the right to change the table" in flat(
        explain(server.dsn("exporter", name))
    )


def test_without_the_extension_it_says_how_to_get_it_and_shows_the_rest(
    database: tuple[Postgres, str],
) -> None:
    server, name = database
    server.execute("DROP EXTENSION pg_stat_statements", dbname=name)
    done = explain(server.dsn("exporter", name))
    assert done.returncode == 0, done.stderr
    assert "CREATE EXTENSION pg_stat_statements" in done.stdout
    assert "TOP WRITERS" in done.stdout


def test_without_a_database_or_a_server_it_names_the_reason_and_ends_with_1(postgres: Start) -> None:
    server = postgres(15)
    gone = explain("postgresql://exporter@127.0.0.1:1/mlflow")
    wrong = explain(server.dsn("exporter", "explained", "wrong-Zq84"))
    for done, reason in ((gone, "unreachable"), (wrong, "permission")):
        assert done.returncode == 1, done.stderr
        assert done.stdout.startswith(f"NOTHING COULD BE READ\nNOT READ: database\n  {reason}: ")
        assert "wrong-Zq84" not in done.stdout + done.stderr
    assert json.loads(explain("postgresql://exporter@127.0.0.1:1/mlflow", "--json").stdout)["problems"]


def plans_of(session: PostgresSession, *texts: str) -> list[Any]:
    (row,) = session.ask("explain", list(texts))
    answers: list[Any] = json.loads(str(row["mlflow_db_plans"]))
    return answers


@pytest.mark.parametrize("database", [13, 15, 17], indirect=True)
def test_a_pooler_in_transaction_mode_keeps_nothing_of_it_whatever_happens(
    database: tuple[Postgres, str],
) -> None:
    server, name = database
    plain = SEARCH.format("$1", "$2", "$3", "$4")
    slow = " UNION ALL ".join(f"SELECT runs.run_uuid FROM runs WHERE runs.name = '{n}'" for n in range(1500))

    with PgBouncer(server, {"default_pool_size": "1"}) as pooler:

        def left() -> list[Any]:
            # The one server connection, which ours was on a moment ago.
            with contextlib.closing(psycopg.connect(pooler.dsn("exporter", name), autocommit=True)) as client:
                return client.execute(
                    "SELECT (SELECT count(*) FROM pg_prepared_statements), current_setting('plan_cache_mode'),"
                    " current_setting('transaction_read_only'), current_setting('mlflow_exporter.texts', true)"
                ).fetchall()

        with source_of(pooler.dsn("exporter", name)) as source:
            session = source.open([], time.monotonic() + 10)
            good, bad, denied = plans_of(session, plain, "SELECT nothing FROM runs", "SELECT * FROM webhooks")
            assert good[0]["Plan"]["Node Type"] == "Limit"
            assert (bad["sqlstate"], denied["sqlstate"]) == ("42703", "42501")
            assert left() in ([(0, "auto", "off", "")], [(0, "auto", "off", None)])
            # Cut short at some point of it, wherever that is on this machine.
            for milliseconds in (1, 3, 10, 30, 60, 100):
                source.settle()
                query = Query("explain", ([slow, plain],), milliseconds / 1000)
                cut = source.open([query], time.monotonic() + 10)
                with contextlib.suppress(SourceError):
                    cut.rows("explain")
                assert left() in ([(0, "auto", "off", "")], [(0, "auto", "off", None)])
            with server.connect("mlflow", name) as holder, holder.transaction():
                holder.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
                (waited,) = plans_of(source.open([], time.monotonic() + 10), plain)
                assert waited["sqlstate"] == "55P03"
            assert left() in ([(0, "auto", "off", "")], [(0, "auto", "off", None)])
