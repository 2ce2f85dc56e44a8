"""A real primary with a streaming replica, seen from both ends, and slots that keep WAL."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import pq

from exporter import collectors
from exporter.collector import Reason
from exporter.collectors.replication import Replication, Standbys
from exporter.rights import MONITOR
from exporter.sql import SqlCollector
from tests.integration.reading import failures, figures
from tests.lab.postgres import Postgres
from tests.lab.process import wait_for
from tests.lab.replica import Standby

pytestmark = pytest.mark.integration

WRITE = """insert into experiment_tags (key, value, experiment_id)
           select 'k' || random(), repeat('x', 1000), 0 from generate_series(1, %s::int)"""
CONFLICTS = {
    f"replica_conflicts_total {why}" for why in ("bufferpin", "deadlock", "lock", "snapshot", "tablespace")
}


@pytest.fixture(scope="module", params=[13, 18])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Postgres, Standby]]:
    with Postgres(request.param) as primary:
        primary.create_mlflow()
        with Standby(primary) as replica:
            yield primary, replica


def read(server: Postgres, role: str = "exporter") -> dict[str, float]:
    return figures(server.dsn(role, "mlflow"), Standbys(), Replication())


def at_rest(server: Postgres, lag: str, role: str = "exporter") -> dict[str, float]:
    """Return a reading without that lag: even an idle primary writes a little WAL of its own now and then."""
    seen: dict[str, float] = {}

    def level() -> bool:
        seen.clear()
        seen.update(read(server, role))
        return seen.get(lag) == 0

    wait_for(level, f"a {lag} of 0")
    return seen


def caught_up(pair: tuple[Postgres, Standby]) -> None:
    primary, replica = pair
    wait_for(lambda: read(replica)["replica_receiving"] == 1, "a replica that receives")
    at_rest(primary, "standby_lag_bytes")


def write(server: Postgres, rows: int = 100) -> None:
    server.execute(WRITE, rows, dbname="mlflow")


def test_a_replica_that_has_replayed_all_is_not_behind_at_either_end(pair: tuple[Postgres, Standby]) -> None:
    primary, replica = pair
    caught_up(pair)
    assert at_rest(primary, "standby_lag_bytes") == {
        "standbys": 1,
        "synchronous_standbys": 0,
        "standby_lag_bytes": 0,
        "standby_lag_seconds": 0,
        "replication_slots": 0,
        "replication_slots_inactive": 0,
        "replication_slots_lost": 0,
    }
    for role in ("exporter", "mlflow"):
        own = at_rest(replica, "replica_lag_bytes", role)
        assert own.keys() >= CONFLICTS
        assert {name: value for name, value in own.items() if name not in CONFLICTS} == {
            "standbys": 0,
            "synchronous_standbys": 0,
            "replication_slots": 0,
            "replication_slots_inactive": 0,
            "replication_slots_lost": 0,
            "replica_receiving": 1,
            "replica_lag_seconds": 0,
            "replica_lag_bytes": 0,
        }


def test_an_idle_primary_does_not_make_its_replica_late(pair: tuple[Postgres, Standby]) -> None:
    primary, replica = pair
    write(primary)
    caught_up(pair)
    age = "select extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8"
    wait_for(lambda: replica.execute(age)[0][0] > 2, "a last transaction two seconds old")
    at_rest(replica, "replica_lag_seconds")


def test_a_paused_replay_falls_behind_at_both_ends_and_catches_up(pair: tuple[Postgres, Standby]) -> None:
    primary, replica = pair
    caught_up(pair)
    replica.execute("select pg_wal_replay_pause()")
    try:
        write(primary)
        wait_for(lambda: read(replica)["replica_lag_bytes"] > 100_000, "WAL that waits for replay")
        wait_for(lambda: read(replica)["replica_lag_seconds"] > 1, "a replica a second behind")
        assert read(primary)["standby_lag_bytes"] > 100_000
        assert read(replica)["replica_receiving"] == 1
    finally:
        replica.execute("select pg_wal_replay_resume()")
    at_rest(primary, "standby_lag_bytes")
    at_rest(replica, "replica_lag_seconds")


def test_a_query_cancelled_for_recovery_is_a_conflict_of_its_kind(pair: tuple[Postgres, Standby]) -> None:
    primary, replica = pair
    write(primary)
    caught_up(pair)
    before = read(replica)["replica_conflicts_total snapshot"]
    with replica.connect("mlflow", "mlflow") as reader, pytest.raises(psycopg.Error):
        reader.execute("begin isolation level repeatable read")
        reader.execute("select count(*) from experiment_tags")
        primary.execute("delete from experiment_tags", dbname="mlflow")
        primary.execute("vacuum experiment_tags", dbname="mlflow")
        caught_up(pair)
        reader.execute("select count(*) from experiment_tags")
    wait_for(lambda: read(replica)["replica_conflicts_total snapshot"] == before + 1, "the conflict")


def test_a_standby_that_commits_wait_for_is_counted(pair: tuple[Postgres, Standby]) -> None:
    primary, _ = pair
    try:
        primary.configure({"synchronous_standby_names": "second"})
        primary.execute("select pg_reload_conf()")
        wait_for(lambda: read(primary)["synchronous_standbys"] == 1, "a synchronous standby")
    finally:
        primary.configure({"synchronous_standby_names": ""})
        primary.execute("select pg_reload_conf()")
    wait_for(lambda: read(primary)["synchronous_standbys"] == 0, "an asynchronous standby")


@pytest.mark.parametrize("program", ["pg_basebackup", "pg_receivewal"])
def test_who_only_stores_wal_is_no_standby(pair: tuple[Postgres, Standby], program: str) -> None:
    primary, _ = pair
    caught_up(pair)
    dsn = f"{primary.dsn()}?replication=true&application_name={program}"
    connection = pq.PGconn.connect(dsn.encode())
    try:
        ((lsn,),) = primary.execute("select pg_current_wal_lsn()")
        assert connection.exec_(f"START_REPLICATION {lsn}".encode()).status == pq.ExecStatus.COPY_BOTH
        there = "select count(*) from pg_stat_replication where application_name = %s and state = 'streaming'"
        wait_for(lambda: primary.execute(there, program) == [(1,)], "a second receiver")
        assert read(primary)["standbys"] == 1
        assert at_rest(primary, "standby_lag_bytes")["standby_lag_seconds"] == 0
    finally:
        connection.finish()


@pytest.mark.parametrize("major", [13, 18])
def test_who_decodes_wal_is_no_standby(major: int) -> None:
    with Postgres(major, {"wal_level": "logical"}, prepared=False) as server:
        server.execute("create publication changes for all tables")
        server.execute("select pg_create_logical_replication_slot('changes', 'pgoutput')")
        server.execute("create database subscriber")
        options = (
            "with (create_slot = false, slot_name = 'changes', copy_data = false, synchronous_commit = off)"
        )
        subscribe = f"create subscription changes connection '{server.dsn()}' publication changes {options}"
        server.execute(subscribe, dbname="subscriber")
        there = "select count(*) from pg_stat_replication where state = 'streaming'"
        wait_for(lambda: server.execute(there) == [(1,)], "a subscriber")
        assert figures(server.dsn(), Standbys()) == {"standbys": 0, "synchronous_standbys": 0}


def test_a_role_without_pg_monitor_is_told_what_to_grant_and_still_sees_slots_and_the_replicas_own_lag(
    pair: tuple[Postgres, Standby],
) -> None:
    primary, replica = pair
    caught_up(pair)
    failed = failures(primary.dsn("mlflow", "mlflow"), Standbys(), Replication())
    assert failed == {
        "standbys": (
            Reason.PERMISSION,
            MONITOR.format(role='"mlflow"'),
        )
    }
    assert failures(replica.dsn("mlflow", "mlflow"), Standbys(), Replication()) == {}


def test_every_collector_of_the_database_works_on_a_replica(pair: tuple[Postgres, Standby]) -> None:
    _, replica = pair
    chosen = [one() for one in collectors.POSTGRES if issubclass(one, SqlCollector)]
    assert failures(replica.dsn("exporter", "mlflow"), *chosen) == {}


def test_a_replica_without_its_primary_receives_nothing_and_ages(pair: tuple[Postgres, Standby]) -> None:
    primary, replica = pair
    write(primary)
    caught_up(pair)
    primary.stop()
    try:
        wait_for(lambda: read(replica)["replica_receiving"] == 0, "the loss of the primary")
        wait_for(lambda: read(replica)["replica_lag_seconds"] > 1, "data older than a second")
    finally:
        primary.start()
    caught_up(pair)


@pytest.fixture(params=[13, 18])
def primary(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    with Postgres(request.param, {"min_wal_size": "32MB", "max_wal_size": "32MB"}) as server:
        server.create_mlflow()
        yield server


def test_a_forgotten_slot_keeps_wal_until_its_limit_ends_it(primary: Postgres) -> None:
    def retained() -> float:
        return read(primary)["replication_slot_retained_bytes"]

    primary.execute("select pg_create_physical_replication_slot('forgotten', true)")
    write(primary, 5000)
    wait_for(lambda: retained() > 5 * 10**6, "WAL kept for the slot")
    kept = read(primary, "mlflow")
    assert (kept["replication_slots"], kept["replication_slots_inactive"]) == (1, 1)
    assert kept["replication_slots_lost"] == 0
    before = retained()
    write(primary, 5000)
    assert retained() > before + 5 * 10**6
    primary.execute("alter system set max_slot_wal_keep_size = '1MB'")
    primary.execute("select pg_reload_conf()")

    def lost() -> bool:
        write(primary, 20_000)
        primary.execute("checkpoint")
        return read(primary)["replication_slots_lost"] == 1

    wait_for(lost, "a slot whose WAL is gone")
    assert "replication_slot_retained_bytes" not in read(primary)
    primary.execute("select pg_drop_replication_slot('forgotten')")
    assert read(primary)["replication_slots"] == 0
