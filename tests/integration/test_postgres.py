"""Every query on every major with the documented rights; test_survives_*.py has Postgres in each kind of trouble."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from exporter import collectors
from exporter.collector import Reason
from exporter.collectors import DATABASE_UP
from exporter.lane import Lane, Reading
from exporter.rights import MONITOR
from exporter.secret import Secret
from exporter.sources.conninfo import Target
from exporter.sources.postgres import PostgresSource
from tests.lab.postgres import MAJORS, PgBouncer, Postgres
from tests.lab.process import wait_for

pytestmark = pytest.mark.integration

Start = Callable[[int], Postgres]

# Long enough for a server that has just started on a busy machine: what is about time says its own.
PATIENT = 30.0

# What a server does not have to tell: nothing was analysed, no limit or quota was set, no statistics were reset; and no
# view of evictions before 14.
OPTIONAL = {
    "mlflow_db_table_rows",
    "mlflow_db_database_connections_limit",
    "mlflow_db_role_connections_limit",
    "mlflow_db_stats_reset_timestamp_seconds",
    "mlflow_db_statements_evicted_total",
    "mlflow_db_missing_index_info",
    "mlflow_db_invalid_index_info",
    "mlflow_db_table_rows_hot_updated_total",  # nothing was updated
    "mlflow_store_fastest_run_points_per_second",  # nothing was logged
    "mlflow_store_largest_experiment_runs",
    "mlflow_store_largest_run_points",
    "mlflow_store_max_params_per_run",
    "mlflow_db_cpu_throttled_seconds_total",
    "mlflow_db_plan_sequential_scan",  # MLflow has run no statement yet
    "mlflow_db_driver_info",
    "mlflow_db_slow_statement_calls_total",
    "mlflow_db_slow_statement_info",
    "mlflow_db_slow_statement_seconds_total",
    "mlflow_db_wal_sync_seconds_total",  # track_wal_io_timing is off
    "mlflow_db_wal_write_seconds_total",
    "mlflow_db_table_analyze_age_seconds",
    "mlflow_db_table_vacuum_age_seconds",
    "mlflow_db_standby_lag_bytes",  # neither standby nor slot, and itself no replica
    "mlflow_db_standby_lag_seconds",
    "mlflow_db_replication_slot_retained_bytes",
    "mlflow_db_replica_conflicts_total",
    "mlflow_db_replica_lag_bytes",
    "mlflow_db_replica_lag_seconds",
    "mlflow_db_replica_receiving",
}
# What only later majors count.
SINCE = {
    14: {
        "mlflow_db_wal_buffers_full_total",
        "mlflow_db_wal_syncs_total",
        "mlflow_db_wal_writes_total",
    },
    16: {"mlflow_db_io_bytes_total", "mlflow_db_io_fsyncs_total", "mlflow_db_io_seconds_total"},
}


@contextmanager
def lane_to(dsn: str) -> Iterator[Lane]:
    target = Target.from_dsn(Secret(dsn), Secret(""), "", ())
    lane = Lane(PostgresSource(target), [one() for one in collectors.POSTGRES], DATABASE_UP)
    try:
        yield lane
    finally:
        lane.close()


def read(lane: Lane, seconds: float = PATIENT) -> Reading:
    deadline = time.monotonic() + seconds
    return lane.read(lane.begin(deadline), deadline)


def settled(lane: Lane, seconds: float = PATIENT) -> Reading:
    """Read once the lane's thread is free: after a reading that was cut off it may still be draining."""
    deadline = time.monotonic() + PATIENT
    while (run := lane.begin(time.monotonic() + seconds)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return lane.read(run, time.monotonic() + seconds)


def reasons(reading: Reading) -> dict[str, Reason]:
    return {name: outcome.reason for name, outcome in reading.outcomes.items() if outcome.reason}


def value(lane: Lane, reading: Reading, metric: str, *labels: str) -> float:
    (found,) = (
        sample.value
        for sample in lane.samples(reading)
        if sample.metric.name == metric and sample.labels == labels
    )
    assert isinstance(found, float | int)
    return found


def ours(server: Postgres) -> int:
    """Count the exporter's sessions as the server sees them."""
    ((count,),) = server.execute(
        "select count(*) from pg_stat_activity where application_name = 'mlflow-exporter'"
    )
    return int(count)


@pytest.fixture
def database(postgres: Start, request: pytest.FixtureRequest) -> Iterator[tuple[Postgres, str]]:
    """Return the shared Postgres 15 and the name of a database of this test's own."""
    server = postgres(15)
    name = f"db_{abs(hash(request.node.name)) % 10**8}"
    server.create_mlflow(name)
    yield server, name
    server.drop(name)


@pytest.mark.parametrize("major", MAJORS)
def test_every_query_answers_for_a_role_with_pg_monitor_and_the_documented_grants(
    postgres: Start, major: int
) -> None:
    server = postgres(major)
    server.create_mlflow("matrix")
    try:
        with lane_to(server.dsn("exporter", "matrix")) as lane:
            readings = [read(lane), read(lane)]
            assert [reasons(reading) for reading in readings] == [{}, {}]
            given = {sample.metric.name for sample in lane.samples(readings[-1])}
            missing = {metric.name for metric in lane.metrics} - given
            later = {name for first, names in SINCE.items() if major < first for name in names}
            assert missing <= OPTIONAL | later
            assert not given & later
            assert value(lane, readings[-1], "mlflow_db_up") == 1.0
    finally:
        server.drop("matrix")


def test_mlflows_own_role_is_enough_for_everything(database: tuple[Postgres, str]) -> None:
    server, name = database
    with server.connect("mlflow", name) as session, lane_to(server.dsn("mlflow", name)) as lane:
        session.execute("select run_uuid from runs")
        read(lane)
        session.execute("select run_uuid from runs")
        assert reasons(read(lane)) == {}


def test_without_pg_monitor_hidden_sessions_are_unknown_and_what_needs_them_says_what_to_grant(
    database: tuple[Postgres, str],
) -> None:
    server, name = database
    server.execute("CREATE ROLE nosy LOGIN PASSWORD 'nosy'")
    try:
        with server.connect("mlflow", name), lane_to(server.dsn("nosy", name, "nosy")) as lane:
            reading = read(lane)
            assert value(lane, reading, "mlflow_db_connections", "unknown") == 1.0
            assert value(lane, reading, "mlflow_db_monitor_privilege") == 0.0
            failed = reading.outcomes["transactions"]
            assert failed.reason is Reason.PERMISSION
            assert failed.remedy == MONITOR.format(role='"nosy"')
    finally:
        server.execute("DROP ROLE nosy")


def test_a_missing_extension_is_unsupported_and_names_the_statement_that_adds_it(
    database: tuple[Postgres, str],
) -> None:
    server, name = database
    server.execute("DROP EXTENSION pg_stat_statements", dbname=name)
    with lane_to(server.dsn("exporter", name)) as lane:
        outcome = read(lane).outcomes["statements"]
        assert outcome.reason is Reason.UNSUPPORTED
        assert outcome.remedy.startswith("CREATE EXTENSION pg_stat_statements")
        # Put it where no search path leads to: found all the same, without a restart of ours.
        server.execute("CREATE SCHEMA monitoring", dbname=name)
        server.execute("GRANT USAGE ON SCHEMA monitoring TO exporter", dbname=name)
        server.execute("CREATE EXTENSION pg_stat_statements SCHEMA monitoring", dbname=name)
        # What reads it rarely notices at its next turn.
        assert reasons(read(lane)).keys() <= {"plans"}


@pytest.mark.parametrize(
    ("setting", "off"), [("pg_stat_statements.track", "none"), ("compute_query_id", "off")]
)
def test_tracking_that_is_switched_off_is_unsupported_and_names_the_setting(
    database: tuple[Postgres, str], setting: str, off: str
) -> None:
    server, name = database
    server.execute(f"ALTER DATABASE {name} SET {setting} = '{off}'")
    with lane_to(server.dsn("exporter", name)) as lane:
        outcome = read(lane).outcomes["statements"]
    assert outcome.reason is Reason.UNSUPPORTED
    assert outcome.remedy.startswith(f"{setting} = ")


def test_a_database_without_mlflows_tables_says_so(postgres: Start) -> None:
    server = postgres(15)
    with lane_to(server.dsn("exporter", "postgres")) as lane:
        reading = read(lane)
    of_store = {one.name for one in collectors.POSTGRES if getattr(one, "needs_store", False)}
    assert reasons(reading).keys() == {"schema", "statements", "plans"} | of_store
    assert "holds no MLflow tables" in reading.outcomes["tables"].detail


def test_mlflows_tables_in_a_schema_of_their_own_are_found(database: tuple[Postgres, str]) -> None:
    server, name = database
    server.execute("ALTER SCHEMA public RENAME TO tracking", dbname=name)
    server.execute("REVOKE USAGE ON SCHEMA tracking FROM PUBLIC", dbname=name)
    with lane_to(server.dsn("exporter", name)) as lane:
        assert reasons(read(lane))["tables"] is Reason.PERMISSION
        server.execute("GRANT USAGE ON SCHEMA tracking TO exporter", dbname=name)
        assert "tables" not in reasons(read(lane))


def test_lock_waits_connections_and_open_transactions_are_seen_as_they_are(
    database: tuple[Postgres, str],
) -> None:
    server, name = database
    with (
        server.connect("mlflow", name) as holder,
        server.connect("mlflow", name) as waiter,
        lane_to(server.dsn("exporter", name)) as lane,
    ):
        with holder.transaction():
            holder.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
            waiting = threading.Thread(target=waiter.execute, args=("select count(*) from runs",))
            waiting.start()
            wait_for(
                lambda: server.execute("select 1 from pg_stat_activity where wait_event_type = 'Lock'") != [],
                "a session that waits for the lock",
            )
            reading = read(lane)
        waiting.join(10)
        assert value(lane, reading, "mlflow_db_lock_waiters") == 1
        assert value(lane, reading, "mlflow_db_lock_blockers") == 1
        assert value(lane, reading, "mlflow_db_connections", "idle in transaction") == 1
        assert value(lane, reading, "mlflow_db_connections", "active") == 2  # the waiter, and we who look
        assert value(lane, reading, "mlflow_db_oldest_transaction_seconds") > 0
        assert value(lane, reading, "mlflow_db_oldest_idle_in_transaction_seconds") > 0


def test_a_dump_that_waits_for_its_workers_is_an_open_transaction_and_not_a_forgotten_one(
    database: tuple[Postgres, str],
) -> None:
    server, name = database
    with (
        server.connect("mlflow", name) as leader,
        lane_to(server.dsn("exporter", name)) as lane,
    ):
        leader.execute("SET application_name = 'pg_dump'")
        with leader.transaction():
            leader.execute("LOCK TABLE runs IN ACCESS SHARE MODE")
            reading = read(lane)
        assert value(lane, reading, "mlflow_db_connections", "idle in transaction") == 1
        assert value(lane, reading, "mlflow_db_oldest_transaction_seconds") > 0
        assert value(lane, reading, "mlflow_db_oldest_idle_in_transaction_seconds") == 0


@pytest.fixture
def own(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Return a Postgres that the test may break, with database `mlflow`."""
    with Postgres(15, getattr(request, "param", {})) as server:
        server.create_mlflow()
        yield server


@pytest.mark.parametrize(
    "own", [{"max_connections": "8", "superuser_reserved_connections": "1"}], indirect=True
)
def test_a_server_without_a_free_slot_is_still_read_over_the_kept_connection(own: Postgres) -> None:
    with lane_to(own.dsn("exporter", "mlflow")) as lane:
        read(lane)
        taken = [own.connect("mlflow", "mlflow") for _ in range(6)]
        try:
            with pytest.raises(psycopg.OperationalError, match="remaining connection slots"):
                own.connect("mlflow", "mlflow")
            reading = read(lane)
            assert reasons(reading) == {}
            assert value(lane, reading, "mlflow_db_connections_used") == 7
            assert value(lane, reading, "mlflow_db_connections_limit") == 8
            assert value(lane, reading, "mlflow_db_connections_reserved") == 1
            assert value(lane, reading, "mlflow_db_role_connections", "mlflow") == 6
        finally:
            for connection in taken:
                connection.close()


def test_a_wrong_password_is_a_permission_and_its_remedy_names_the_setting(postgres: Start) -> None:
    server = postgres(15)
    with lane_to(server.dsn("exporter", "postgres", "wrong-Zq84")) as lane:
        outcome = read(lane).outcomes["database"]
    assert outcome.reason is Reason.PERMISSION
    assert "database.password_file" in outcome.remedy
    assert "wrong-Zq84" not in outcome.detail + outcome.remedy


def test_behind_a_transaction_pooler_all_is_read_and_its_clients_can_write(own: Postgres) -> None:
    """A session SET of ours would make their transactions read-only: they share our server connections."""
    failures: list[str] = []

    def insert(pooler: PgBouncer, count: int) -> None:
        # psycopg prepares statements after five uses, which no PgBouncer before 1.21 can follow.
        connection = psycopg.connect(pooler.dsn(), autocommit=True, prepare_threshold=None)
        with connection:
            for number in range(count):
                try:
                    connection.execute(
                        "insert into experiment_tags (key, value, experiment_id) values (%s, 'x', 0)"
                        " on conflict (key, experiment_id) do update set value = excluded.value",
                        (f"k{number % 50}",),
                    )
                except psycopg.Error as error:
                    failures.append(str(error))

    with PgBouncer(own, {"default_pool_size": "2"}) as pooler, lane_to(pooler.dsn()) as lane:
        writers = [threading.Thread(target=insert, args=(pooler, 1250)) for _ in range(4)]
        for writer in writers:
            writer.start()
        readings = []
        while any(writer.is_alive() for writer in writers):
            readings.append(read(lane))
        for writer in writers:
            writer.join()
    assert failures == []
    assert len(readings) > 5
    assert [reasons(reading) for reading in readings if reasons(reading)] == []


def test_a_hung_scrape_long_after_the_last_one_keeps_the_connection(
    own: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lane_to(own.dsn("exporter", "mlflow")) as lane:
        read(lane)
        ((pid,),) = own.execute("select pid from pg_stat_activity where application_name = 'mlflow-exporter'")
        # As if the last scrape were longer ago than a silent socket is kept.
        monkeypatch.setattr("exporter.sources.postgres.SILENCE_SECONDS", 1.0)
        until = time.monotonic() + 1.2
        wait_for(lambda: time.monotonic() > until, "time to pass")
        own.pause()
        assert reasons(read(lane, 0.4))["database"] is Reason.TIMEOUT
        own.resume()
        assert reasons(settled(lane)) == {}
        assert own.execute("select pid from pg_stat_activity where application_name = 'mlflow-exporter'") == [
            (pid,)
        ]


def test_functions_that_mlflows_owner_defines_do_not_run_as_our_role(database: tuple[Postgres, str]) -> None:
    """He owns the database and its schema: each of these would be found before or instead of Postgres' own."""
    server, name = database
    server.execute("CREATE TABLE seen (who text)", dbname=name, user="mlflow")
    server.execute("GRANT INSERT ON seen TO public", dbname=name, user="mlflow")
    body = "LANGUAGE plpgsql AS $$ begin insert into seen values (current_user); return {}; end $$"
    server.execute("CREATE SCHEMA evil", dbname=name, user="mlflow")
    server.execute("GRANT USAGE ON SCHEMA evil TO public", dbname=name, user="mlflow")
    for schema in ("evil", "public"):
        for function, result in (
            ("set_config(text, text, boolean) returns text", "$2"),
            ("unnest(text[]) returns setof text", ""),
            ("current_setting(text) returns text", "'on'"),
        ):
            server.execute(
                f"CREATE FUNCTION {schema}.{function} {body.format(result).replace('return ;', 'return;')}",
                dbname=name,
                user="mlflow",
            )
    server.execute(f"ALTER DATABASE {name} SET search_path = evil, public, pg_catalog")
    with lane_to(server.dsn("exporter", name)) as lane:
        assert reasons(read(lane)) == {}
        assert reasons(read(lane)) == {}
    assert server.execute("SELECT * FROM public.seen", dbname=name) == []


def test_what_limits_the_answers_without_being_a_failure_is_remarked_once(
    database: tuple[Postgres, str], caplog: pytest.LogCaptureFixture
) -> None:
    server, name = database
    caplog.set_level("INFO", "exporter.sources.postgres")
    server.execute("CREATE DATABASE neighbour")
    server.execute(f"ALTER DATABASE {name} SET track_io_timing = off")
    try:
        with lane_to(server.dsn("mlflow", name)) as lane:
            read(lane)
            read(lane)
            assert isinstance(lane.source, PostgresSource)
            remarks = dict(lane.source.remarks)
    finally:
        server.drop("neighbour")
    assert remarks["role mlflow sees its own sessions and statements only"] == MONITOR.format(role='"mlflow"')
    assert remarks["track_io_timing is off, so no I/O time is known"].startswith(
        "ALTER SYSTEM SET track_io_timing = on"
    )
    assert any("more databases share this Postgres" in remark for remark in remarks)
    assert len([one for one in caplog.records if "track_io_timing" in one.getMessage()]) == 1


def test_remedies_are_exact(database: tuple[Postgres, str]) -> None:
    server, name = database
    server.execute("CREATE SCHEMA hidden", dbname=name)
    server.execute("ALTER EXTENSION pg_stat_statements SET SCHEMA hidden", dbname=name)
    with lane_to(server.dsn("exporter", name)) as lane:
        assert read(lane).outcomes["statements"].remedy == 'GRANT USAGE ON SCHEMA "hidden" TO "exporter";'
    server.execute("DROP EXTENSION pg_stat_statements", dbname=name)
    server.execute(
        "CREATE EXTENSION pg_stat_statements VERSION '1.8'", dbname=name
    )  # as pg_upgrade leaves it
    with lane_to(server.dsn("exporter", name)) as lane:
        assert (
            read(lane).outcomes["statements"].remedy.startswith("ALTER EXTENSION pg_stat_statements UPDATE;")
        )
    server.execute("ALTER ROLE exporter CONNECTION LIMIT 0")
    try:
        with lane_to(server.dsn("exporter", name)) as lane:
            remedy = read(lane).outcomes["database"].remedy
            assert remedy.startswith('ALTER ROLE "exporter" CONNECTION LIMIT …;  -- 4 more')
    finally:
        server.execute("ALTER ROLE exporter CONNECTION LIMIT -1")
