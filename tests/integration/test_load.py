"""The sampled load against loads of a known size, and the sampler on servers in trouble."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import psycopg
import pytest
import requests

from exporter.collector import Reason
from exporter.samplers.load import LoadSampler, LoadSpec
from exporter.samplers.loop import Loop
from exporter.samplers.wait_classes import RULES, wait_class
from exporter.secret import Secret
from exporter.sources.conninfo import Target
from tests.lab.postgres import PgBouncer, Postgres
from tests.lab.process import wait_for
from tests.lab.servers import MlflowServer

pytestmark = pytest.mark.integration

Start = Callable[[int], Postgres]
Values = dict[tuple[str, ...], float]

TICKS = ("mlflow_exporter_sampler_ticks_total", "load")
SUCCESS = ("mlflow_exporter_collector_success", "load")
SECONDS = 8
SPIN = """do $$ declare stop timestamptz := clock_timestamp() + interval '60 s';
begin while clock_timestamp() < stop loop end loop; end $$"""


def values(loop: Loop) -> Values:
    return {(one.metric.name, *one.labels): float(str(one.value)) for one in loop.samples()}


@contextmanager
def sampled(dsn: str, interval: float = 1.0) -> Iterator[Loop]:
    loop = Loop(LoadSampler(LoadSpec(Target.from_dsn(Secret(dsn), Secret(""), "", ()), interval)))
    loop.start()
    try:
        yield loop
    finally:
        loop.close()


def works(loop: Loop) -> bool:
    return values(loop).get(SUCCESS) == 1.0


def grown(loop: Loop, seconds: float) -> tuple[Values, float]:
    """Return the average growth of each counter over about so many seconds, from tick to tick, and the seconds."""

    def after_a_tick() -> tuple[Values, float]:
        before = values(loop)[TICKS]
        wait_for(lambda: values(loop)[TICKS] > before and works(loop), "a sample that succeeds", 10)
        return values(loop), time.monotonic()

    first, began = after_a_tick()
    wait_for(
        lambda: time.monotonic() > began + seconds - loop.sampler.interval, "the time to pass", seconds + 5
    )
    last, ended = after_a_tick()
    return {key: (last[key] - first.get(key, 0.0)) / (ended - began) for key in last}, ended - began


def of(average: Values, metric: str) -> Values:
    """Return what is not zero of a load metric, by labels."""
    return {
        key[1:]: value for key, value in average.items() if key[0] == f"mlflow_db_{metric}_total" and value
    }


class Crowd:
    """Sessions that each run one statement until the crowd is sent home."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres
        self.stack = ExitStack()
        self.pool = self.stack.enter_context(ThreadPoolExecutor(32))
        self.connections: list[psycopg.Connection[tuple[object, ...]]] = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self.connections:
            with suppress(psycopg.Error):  # the server may be gone
                connection.cancel_safe(timeout=5)
        self.stack.close()
        for connection in self.connections:
            connection.close()

    def join(self, number: int, text: str, *params: object, dbname: str = "mlflow") -> None:
        for _ in range(number):
            connection = self.postgres.connect("mlflow", dbname)
            self.connections.append(connection)
            self.pool.submit(connection.execute, text.encode(), params or None)

    def at_work(self, number: int) -> None:
        query = "select count(*) from pg_stat_activity where usename = 'mlflow' and state = 'active'"
        wait_for(lambda: self.postgres.execute(query) == [(number,)], f"{number} sessions at work")


@pytest.fixture
def database(postgres: Start, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Return that major's shared Postgres with a database `mlflow` of this test's own."""
    server = postgres(getattr(request, "param", 15))
    server.create_mlflow()
    yield server
    server.drop("mlflow")


@pytest.mark.parametrize("database", [15, 18], indirect=True)
def test_the_load_of_known_sessions_is_sampled_within_a_tenth(database: Postgres) -> None:
    with (
        database.connect("mlflow", "mlflow") as holder,
        Crowd(database) as crowd,
        sampled(database.dsn("exporter", "mlflow")) as loop,
    ):
        # Rolled back when the connection closes; the crowd is cancelled before.
        holder.execute("begin")
        holder.execute("lock table runs in access exclusive mode")
        holder.execute("lock table metrics in access exclusive mode")
        crowd.join(3, "select pg_sleep(60)")
        crowd.join(2, SPIN)
        # As psycopg 3 and psycopg2 send it: parameters apart, and in the text.
        crowd.join(
            2, "SELECT DISTINCT runs.run_uuid AS runs_run_uuid FROM runs WHERE runs.name = %s::VARCHAR", "x"
        )
        crowd.join(
            1, "INSERT INTO metrics (key, run_uuid) VALUES ('search_runs', 'SELECT DISTINCT runs.run_uuid')"
        )
        crowd.join(1, "select pg_sleep(60)", dbname="postgres")
        crowd.at_work(9)
        average, seconds = grown(loop, SECONDS)
    assert seconds >= SECONDS - 1
    assert average["mlflow_db_load_sampled_seconds_total",] == pytest.approx(1, rel=0.05)
    assert of(average, "load_seconds") == {
        ("cpu", "mlflow"): pytest.approx(2, rel=0.1),
        ("lock", "mlflow"): pytest.approx(3, rel=0.1),
        ("other", "mlflow"): pytest.approx(3, rel=0.1),
        ("other", "other"): pytest.approx(1, rel=0.1),
    }
    assert of(average, "load_operation_seconds") == {
        ("search_runs", "mlflow"): pytest.approx(2, rel=0.1),
        ("log_metrics", "mlflow"): pytest.approx(1, rel=0.1),
        ("other", "mlflow"): pytest.approx(5, rel=0.1),
        ("other", "other"): pytest.approx(1, rel=0.1),
    }


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg2"])
def test_requests_that_wait_in_the_database_are_seen_by_operation_with_either_driver(
    database: Postgres, driver: str
) -> None:
    uri = database.dsn("mlflow", "mlflow").replace("postgresql", driver, 1)
    with MlflowServer(uri, workers=1) as server, sampled(database.dsn("exporter", "mlflow"), 0.2) as loop:

        def post(path: str, message: dict[str, object]) -> dict[str, dict[str, dict[str, str]]]:
            answer = requests.post(f"{server.url}/api/2.0/mlflow/{path}", json=message, timeout=60)
            answer.raise_for_status()
            found: dict[str, dict[str, dict[str, str]]] = answer.json()
            return found

        run = post("runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
        point = {"run_id": run, "key": "loss", "value": 1.0, "timestamp": 1, "step": 1}
        post("runs/log-metric", point)
        with database.connect("mlflow", "mlflow") as holder, ThreadPoolExecutor(4) as clients:
            holder.execute("begin")
            holder.execute("lock table metrics in access exclusive mode")
            holder.execute("lock table params in access exclusive mode")
            waiting = [
                clients.submit(post, "runs/log-metric", point | {"step": step, "key": f"k{step}"})
                for step in (2, 3)
            ]
            param: dict[str, object] = {"run_id": run, "key": "rate", "value": "1"}
            waiting.append(clients.submit(post, "runs/log-parameter", param))
            query = (
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = 'mlflow'"
            )
            wait_for(lambda: database.execute(query) == [(3,)], "three requests that wait for a lock")
            average, _ = grown(loop, 2)
            holder.execute("rollback")
            for request in waiting:
                request.result(60)
    operations = of(average, "load_operation_seconds")
    assert operations["log_metrics", "mlflow"] == pytest.approx(2, rel=0.1)
    assert operations["log_params", "mlflow"] == pytest.approx(1, rel=0.1)
    assert sum(operations.values()) == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("major", [17, 18])
def test_every_wait_that_the_server_knows_has_the_class_of_its_type(postgres: Start, major: int) -> None:
    events = postgres(major).execute("select type, name from pg_wait_events")
    by_type: dict[str, set[str]] = {}
    for kind, event in events:
        by_type.setdefault(kind, set()).add(wait_class(kind, event))
    assert by_type["IO"] == {"data_io", "temp_io", "wal_io", "other"}
    assert by_type["LWLock"] <= {"lwlock", "wal_io", "data_io"}
    assert by_type["IPC"] == {"ipc", "data_io"}
    assert (by_type["Lock"], by_type["BufferPin"], by_type["Client"]) == ({"lock"}, {"lock"}, {"client"})
    # No rule is for a name that no such server has, but for what 13 and 18 alone have.
    names = [(kind, event.lower()) for kind, event in events]
    unused = {
        start
        for kind, start, _ in RULES
        if kind and not any(k == kind and n.startswith(start) for k, n in names)
    }
    assert unused <= {"bufferio", "aio", "aiouringcompletion"}


def test_a_role_that_sees_only_its_own_sessions_says_nothing_of_the_others(database: Postgres) -> None:
    with (
        Crowd(database) as crowd,
        database.connect("postgres", "postgres"),
        sampled(database.dsn("mlflow", "mlflow"), 0.1) as loop,
    ):
        crowd.join(2, "select pg_sleep(60)")
        crowd.at_work(2)
        average, _ = grown(loop, 2)
        assert of(average, "load_seconds") == {("other", "mlflow"): pytest.approx(2, rel=0.1)}
        assert "other" not in {key[-1] for key in average if key[0] == "mlflow_db_load_seconds_total"}
        with database.connect("postgres", "mlflow"):
            permission = ("mlflow_exporter_collector_errors_total", "load", "permission")
            wait_for(lambda: values(loop).get(permission, 0) > 2, "a hidden session to be noticed")
            before = of(values(loop), "load_seconds")
            wait_for(lambda: values(loop)[permission] > 5, "more samples that fail")
            assert of(values(loop), "load_seconds") == before
        wait_for(lambda: works(loop), "the hidden session to be gone")


def test_behind_a_pooler_the_load_of_its_clients_is_seen_and_not_taken_for_ours(database: Postgres) -> None:
    """PgBouncer leaves our application_name on the server connection that a client without one gets next."""
    with (
        PgBouncer(database, {"default_pool_size": "3"}) as pooler,
        sampled(pooler.dsn(), 0.1) as loop,
        ThreadPoolExecutor(2) as pool,
    ):
        wait_for(lambda: works(loop), "a sample through the pooler")
        clients = [psycopg.connect(pooler.dsn(), autocommit=True, prepare_threshold=None) for _ in range(2)]
        try:
            done = [pool.submit(client.execute, "select pg_sleep(5)") for client in clients]
            query = "select application_name from pg_stat_activity where wait_event = 'PgSleep'"
            wait_for(lambda: len(database.execute(query)) == 2, "two clients at work")
            assert ("mlflow-exporter",) in database.execute(query)
            average, _ = grown(loop, 2)
            for one in done:
                one.result(30)
        finally:
            for client in clients:
                client.close()
    assert of(average, "load_seconds") == {("other", "mlflow"): pytest.approx(2, rel=0.1)}


def test_parallel_workers_are_load_of_their_leaders_operation(database: Postgres) -> None:
    database.execute(
        "create table wide as select g as id from generate_series(1, 400000) g",
        dbname="mlflow",
        user="mlflow",
    )
    forced = "; ".join(
        f"set {name} = {value}"
        for name, value in {
            "max_parallel_workers_per_gather": 2,
            "min_parallel_table_scan_size": 0,
            "parallel_setup_cost": 0,
            "parallel_tuple_cost": 0,
        }.items()
    )
    join = "select count(*) as id from wide a join wide b on a.id % 400 = b.id % 400"
    text = f"SELECT DISTINCT runs.id AS runs_id FROM ({join}) runs"
    with Crowd(database) as crowd, sampled(database.dsn("exporter", "mlflow"), 0.1) as loop:
        crowd.join(1, f"{forced}; {text}")
        crowd.at_work(3)
        average, _ = grown(loop, 2)
    assert sum(of(average, "load_seconds").values()) == pytest.approx(3, rel=0.1)


def test_a_session_in_its_commit_is_the_operation_commit() -> None:
    with Postgres(15) as own:
        own.create_mlflow()
        # A standby that never comes: what a slow disk makes of a commit, for as long as the test likes.
        own.configure({"synchronous_standby_names": "nobody"})
        own.execute("select pg_reload_conf()")
        with (
            own.connect("mlflow", "mlflow") as session,
            sampled(own.dsn("exporter", "mlflow"), 0.1) as loop,
            ThreadPoolExecutor(1) as pool,
        ):
            shown = "show synchronous_standby_names"
            wait_for(lambda: session.execute(shown).fetchall() == [("nobody",)], "the setting")
            session.execute("begin")
            session.execute("insert into experiment_tags (key, value, experiment_id) values ('a', 'b', 0)")
            commit = pool.submit(session.execute, "COMMIT")
            query = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'"
            wait_for(lambda: own.execute(query) == [(1,)], "a commit that waits")
            average, _ = grown(loop, 2)
            session.cancel_safe(timeout=5)
            commit.result(10)
    assert of(average, "load_operation_seconds") == {("commit", "mlflow"): pytest.approx(1, rel=0.1)}
    assert of(average, "load_seconds") == {("ipc", "mlflow"): pytest.approx(1, rel=0.1)}


def test_a_pipeline_that_waits_for_python_is_no_work_of_the_database(database: Postgres) -> None:
    """What psycopg 3 does between two rows of executemany: active, and waiting for the next message."""
    with (
        database.connect("mlflow", "mlflow") as session,
        sampled(database.dsn("exporter", "mlflow"), 0.1) as loop,
    ):
        session.pgconn.enter_pipeline_mode()
        session.pgconn.send_query_params(b"INSERT INTO metrics (key) SELECT 'x' WHERE false", None)
        session.pgconn.send_flush_request()
        session.pgconn.flush()
        query = "select wait_event from pg_stat_activity where usename = 'mlflow' and state = 'active'"
        wait_for(lambda: database.execute(query) == [("ClientRead",)], "the server to wait for more")
        average, _ = grown(loop, 2)
        session.close()
    assert of(average, "load_seconds") == {("client", "mlflow"): pytest.approx(1, rel=0.1)}
    assert of(average, "load_operation_seconds") == {}


def ours(server: Postgres) -> int:
    ((count,),) = server.execute(
        "select count(*) from pg_stat_activity where application_name = 'mlflow-exporter'"
    )
    return int(count)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "sampler-load"]


def test_a_server_that_freezes_and_dies_costs_one_session_one_thread_and_only_the_time_it_was_away() -> None:
    def failures(loop: Loop, reason: Reason) -> float:
        return values(loop).get(("mlflow_exporter_collector_errors_total", "load", reason), 0.0)

    before = len(threads())
    with Postgres(15) as own:
        own.create_mlflow()
        with sampled(own.dsn("exporter", "mlflow")) as loop:
            wait_for(lambda: works(loop), "the first sample")
            own.pause()
            wait_for(lambda: failures(loop, Reason.TIMEOUT) >= 2, "samples that fail while it is frozen")
            assert not works(loop)
            own.resume()
            wait_for(lambda: works(loop), "samples after the thaw", 5)
            assert ours(own) == 1
            own.kill()
            wait_for(lambda: failures(loop, Reason.UNREACHABLE) >= 2, "samples that fail without a server")
            own.start()
            wait_for(lambda: works(loop), "samples from the new server", 10)
            assert ours(own) == 1
            assert len(threads()) == before + 1
        wait_for(lambda: ours(own) == 0, "the session to be given back")
        wait_for(lambda: len(threads()) == before, "the thread to end")
