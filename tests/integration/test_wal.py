"""WAL, checkpoints, I/O and vacuum grow when what they count is made to happen, on every major."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import psycopg
import pytest

from exporter.collectors.vacuum import Autovacuum, Vacuum
from exporter.collectors.wal import Wal
from tests.integration.reading import figures
from tests.lab.postgres import MAJORS, Postgres
from tests.lab.process import wait_for

pytestmark = pytest.mark.integration

Start = Callable[[int], Postgres]

WRITE = """insert into metrics (key, value, timestamp, step, is_nan, run_uuid)
           select 'k', 1, n, n, false, 'r' from generate_series(%s::int, %s::int) n"""


def with_run(server: Postgres) -> None:
    """Create database `writes` with a run `r` in it."""
    server.create_mlflow("writes")
    run = "insert into runs (run_uuid, experiment_id, lifecycle_stage) values ('r', 0, 'active')"
    server.execute(run, dbname="writes")


@pytest.fixture(params=MAJORS)
def server(postgres: Start, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Return a Postgres of each major with database `writes` and a run `r` in it."""
    chosen = postgres(request.param)
    with_run(chosen)
    yield chosen
    chosen.drop("writes")


def read(server: Postgres, role: str = "exporter") -> dict[str, float]:
    collectors = (Wal(), Vacuum(), Autovacuum())
    return figures(server.dsn(role, "writes"), *collectors)


def test_every_figure_is_there_for_either_role_where_its_version_has_it(server: Postgres) -> None:
    for role in ("exporter", "mlflow"):
        names = {name.partition(" ")[0] for name in read(server, role)}
        declared = {
            metric.name.removeprefix("mlflow_db_")
            for one in (Wal, Vacuum, Autovacuum)
            for metric in one.metrics
        }
        absent = {"wal_write_seconds_total", "wal_sync_seconds_total"}  # track_wal_io_timing is off
        absent |= {"table_vacuum_age_seconds", "table_analyze_age_seconds"}  # it never was
        if server.major < 14:
            absent |= {name for name in declared if name.startswith("wal_")} - {"wal_bytes_total"}
        if server.major < 16:
            absent |= {name for name in declared if name.startswith("io_")}
        assert names == declared - absent


def test_writes_make_wal_and_a_checkpoint_command_is_a_requested_one(server: Postgres) -> None:
    requested = "checkpoints_requested_total"
    at_first = read(server)[requested]
    server.execute("CHECKPOINT")
    wait_for(lambda: read(server)[requested] == at_first + 1, "the first checkpoint")
    before = read(server)
    server.execute(WRITE, 1, 20_000, dbname="writes")
    server.execute("CHECKPOINT")
    growing = {requested, "checkpoint_buffers_written_total", "wal_bytes_total"}
    if server.major >= 14:
        growing |= {"wal_writes_total"}
    grown: dict[str, float] = {}

    def counted() -> bool:
        # Postgres counts what a process did a little later.
        now = read(server)
        grown.update({name: now[name] - before[name] for name in growing})
        return all(grown.values()) and grown["wal_bytes_total"] > 20_000 * 50

    wait_for(counted, f"growth of {', '.join(sorted(growing))}")
    assert grown[requested] == 1


def test_extending_a_table_is_the_clients_io_and_a_checkpoints_writes_are_the_backgrounds(
    server: Postgres,
) -> None:
    before = read(server)
    server.execute(WRITE, 1, 20_000, dbname="writes")
    server.execute("CHECKPOINT")
    if server.major < 16:
        assert not [name for name in before if name.startswith("io_")]
        return
    wait_for(
        lambda: read(server)["io_bytes_total client extend"] > before["io_bytes_total client extend"],
        "the extension of the table",
    )
    after = read(server)
    grown = {name: after[name] - before[name] for name in before if name.startswith("io_")}
    assert grown["io_bytes_total client extend"] % 8192 == 0
    assert 2 * 10**6 < grown["io_bytes_total client extend"] < 2 * 10**7
    assert grown["io_bytes_total background write"] > 10**6
    assert grown["io_seconds_total background write"] > 0


def test_a_table_that_is_only_inserted_into_shows_what_has_come_since_vacuum_and_analyze(
    server: Postgres,
) -> None:
    # Autovacuum comes once a minute, and must not come now.
    server.execute("alter table metrics set (autovacuum_enabled = off)", dbname="writes")
    server.execute(WRITE, 1, 500, dbname="writes")
    wait_for(
        lambda: read(server)["table_rows_inserted_since_vacuum metrics"] == 500,
        "the rows since the last vacuum",
    )
    before = read(server)
    assert before["table_rows_changed_since_analyze metrics"] == 500
    assert "table_vacuum_age_seconds metrics" not in before
    server.execute("VACUUM ANALYZE metrics", dbname="writes")
    wait_for(lambda: read(server)["table_rows_inserted_since_vacuum metrics"] == 0, "the vacuum")
    after = read(server)
    assert after["table_rows_changed_since_analyze metrics"] == 0
    assert 0 <= after["table_vacuum_age_seconds metrics"] < 60
    assert 0 <= after["table_analyze_age_seconds metrics"] < 60
    assert "table_vacuum_age_seconds runs" not in after


def test_used_transaction_ids_raise_the_age_of_the_oldest_database(server: Postgres) -> None:
    before = read(server)["transaction_id_age_ratio"]
    with server.connect(dbname="writes") as session:
        for _ in range(200):
            session.execute("select txid_current()")
    assert read(server)["transaction_id_age_ratio"] >= before + 200 / 2**31


@pytest.mark.parametrize("major", [14, 17, 18])
def test_syncs_are_counted_always_and_timed_where_that_is_on(major: int) -> None:
    with Postgres(major, {"fsync": "on"}) as own:
        with_run(own)
        before = read(own)
        with own.connect("mlflow", "writes") as session:
            for number in range(50):
                session.execute(WRITE.encode(), (number, number))
        wait_for(
            lambda: read(own)["wal_syncs_total"] >= before["wal_syncs_total"] + 50, "the sync of each commit"
        )
        assert "wal_sync_seconds_total" not in read(own)
        own.configure({"track_wal_io_timing": "on"})
        own.execute("SELECT pg_reload_conf()")
        with own.connect("mlflow", "writes") as session:
            for number in range(50, 60):
                session.execute(WRITE.encode(), (number, number))
        wait_for(lambda: read(own).get("wal_sync_seconds_total", 0.0) > 0, "the time of syncs")
        # The fix that the guide asks for: commits no longer wait for a sync.
        own.execute("ALTER ROLE mlflow SET synchronous_commit = off")
        with own.connect("mlflow", "writes") as session:
            before = read(own)
            for number in range(100, 300):
                session.execute(WRITE.encode(), (number, number))
        wait_for(
            lambda: read(own)["wal_bytes_total"] > before["wal_bytes_total"] + 200 * 100,
            "the WAL of the commits",
        )
        assert read(own)["wal_syncs_total"] < before["wal_syncs_total"] + 100


def test_a_small_max_wal_size_forces_checkpoints() -> None:
    with Postgres(17, {"max_wal_size": "32MB", "min_wal_size": "32MB", "wal_buffers": "64kB"}) as own:
        with_run(own)
        before = read(own)
        for batch in range(4):
            own.execute(WRITE, batch * 50_000, batch * 50_000 + 49_999, dbname="writes")
        wait_for(
            lambda: read(own)["checkpoints_requested_total"] > before["checkpoints_requested_total"],
            "a forced checkpoint",
        )
        wait_for(
            lambda: read(own)["wal_buffers_full_total"] > before["wal_buffers_full_total"], "full WAL buffers"
        )
        assert read(own)["checkpoints_timed_total"] == before["checkpoints_timed_total"]


@pytest.mark.parametrize("role", ["exporter", "mlflow"])
def test_a_running_autovacuum_is_seen_by_either_role(role: str) -> None:
    # A worker that sleeps between blocks for long enough to be seen, as on a large table.
    slow = {
        "autovacuum_naptime": "1s",
        "autovacuum_vacuum_cost_limit": "1",
        "autovacuum_vacuum_cost_delay": "100ms",
    }
    with Postgres(15, slow | {"autovacuum_vacuum_threshold": "10"}) as own:
        with_run(own)
        assert read(own, role)["autovacuum_workers"] in (0, 1, 2, 3)
        own.execute(WRITE, 1, 20_000, dbname="writes")
        own.execute("delete from metrics", dbname="writes")
        wait_for(lambda: read(own, role)["autovacuum_workers"] > 0, "an autovacuum worker", 60)
        own.configure({"autovacuum": "off"})
        own.execute("SELECT pg_reload_conf()")
        with suppress(psycopg.Error):
            own.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'autovacuum worker'"
            )
        wait_for(lambda: read(own, role)["autovacuum_workers"] == 0, "its end")
