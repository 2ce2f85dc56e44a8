"""A real Postgres on this machine: found by the process that serves us, its figures against other readers'."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from exporter.collectors.database_host import DatabaseHost
from exporter.lane import Lane
from exporter.secret import Secret
from exporter.sources.conninfo import Target
from exporter.sources.postgres import PostgresSource
from tests.lab.postgres import MAJORS, PgBouncer, Postgres

pytestmark = pytest.mark.integration

Start = Callable[[int], Postgres]


@contextmanager
def read_by(dsn: str) -> Iterator[Callable[[], dict[str, float]]]:
    """Return a reader of the collector's samples by the metric's name."""
    lane = Lane(PostgresSource(Target.from_dsn(Secret(dsn), Secret(""), "", ())), [DatabaseHost()])

    def values() -> dict[str, float]:
        deadline = time.monotonic() + 30  # for a busy machine
        (outcome,) = lane.read(lane.begin(deadline), deadline).outcomes.values()
        assert outcome.reason is None, outcome
        return {one.metric.name.removeprefix("mlflow_db_"): float(str(one.value)) for one in outcome.samples}

    try:
        yield values
    finally:
        lane.close()


@pytest.mark.parametrize("major", MAJORS)
def test_a_postgres_on_this_machine_is_found_with_all_that_it_has(postgres: Start, major: int) -> None:
    server = postgres(major)
    with read_by(server.dsn("exporter")) as values:
        values()
        found = values()
        family = [server.pid, *(child.pid for child in psutil.Process(server.pid).children())]
        disk = psutil.disk_usage(str(server.data))
        assert found["processes"] == pytest.approx(len(family), abs=1)  # an autovacuum worker comes and goes
        assert found["storage_free_bytes"] == pytest.approx(disk.free, rel=0.1)
        full = 1 - found["storage_free_bytes"] / found["storage_size_bytes"]
        assert full * 100 == pytest.approx(disk.percent, abs=1)  # what df says, however much is kept for root
        assert 0 < found["cpu_cores"] <= len(os.sched_getaffinity(0))
        assert 0 < found["memory_limit_bytes"] <= psutil.virtual_memory().total
        assert found["process_open_fds"] == pytest.approx(
            max(psutil.Process(pid).num_fds() for pid in family if psutil.pid_exists(pid)), abs=3
        )
        assert found["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        resident = sum(psutil.Process(pid).memory_info().rss for pid in family if psutil.pid_exists(pid))
        assert 1 << 20 < found["processes_resident_memory_bytes"] < resident


def test_the_cpu_of_a_session_that_has_ended_is_counted(postgres: Start) -> None:
    server = postgres(15)
    with read_by(server.dsn("exporter")) as values:
        before = values()["processes_cpu_seconds_total"]
        with server.connect("mlflow") as session:
            ((pid,),) = session.execute("select pg_backend_pid()").fetchall()
            session.execute("select count(*) from generate_series(1, 4000000)")
            times = psutil.Process(pid).cpu_times()
        session.close()
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
        grown = values()["processes_cpu_seconds_total"] - before
    used = times.user + times.system
    assert used > 0.1
    assert used <= grown + 0.02 <= used * 1.5 + 0.3  # the others have done a little too


def test_a_local_pooler_is_seen_through_to_the_postgres_behind_it(postgres: Start) -> None:
    server = postgres(15)
    with PgBouncer(server) as pooler, read_by(pooler.dsn("exporter", "postgres")) as values:
        assert values()["processes"] >= 5


def test_a_role_without_pg_monitor_sees_all_but_the_data_directory(postgres: Start) -> None:
    server = postgres(15)
    with read_by(server.dsn("mlflow", "postgres")) as values:
        assert {"processes", "cpu_cores", "memory_limit_bytes"} <= values().keys()
