"""The lab itself: a test that stands on it must be able to believe it."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest
import requests

from tests.lab.load import Load
from tests.lab.servers import (
    MAJORS,
    Alertmanager,
    MlflowServer,
    PgBouncer,
    Postgres,
    Prometheus,
    ServerError,
    alive,
    wait_for,
)

pytestmark = pytest.mark.integration

Majors = Callable[[int], Postgres]


@pytest.mark.parametrize("major", MAJORS)
def test_each_major_has_a_migrated_database_that_the_monitoring_role_only_reads(
    postgres: Majors, major: int
) -> None:
    server = postgres(major)
    server.create_mlflow("lab_roles")

    assert server.execute("SELECT current_setting('server_version_num')::int / 10000") == [(major,)]
    assert server.execute("SELECT count(*) FROM runs", dbname="lab_roles", user="exporter") == [(0,)]
    ((statements,),) = server.execute(
        "SELECT count(*) FROM pg_stat_statements", dbname="lab_roles", user="exporter"
    )
    assert statements > 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        server.execute("DELETE FROM runs", dbname="lab_roles", user="exporter")


def test_postgres_lets_nobody_in_without_the_right_password(postgres: Majors) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres(15).dsn("mlflow", "postgres", password="wrong"))


def test_postgres_survives_a_freeze_a_crash_and_a_restart_on_the_same_port() -> None:
    with Postgres(15) as server:
        uri = server.create_mlflow()
        server.pause()
        with pytest.raises(psycopg.OperationalError, match="timeout"):
            psycopg.connect(uri, connect_timeout=2)
        server.resume()
        psycopg.connect(uri).close()
        for end in (server.kill, server.stop):
            end()
            with pytest.raises(psycopg.OperationalError, match="refused"):
                psycopg.connect(uri)
            server.start()
            psycopg.connect(uri).close()


def test_nothing_is_left_of_a_killed_postgres() -> None:
    with Postgres(15) as server:
        segment = (server.data / "postmaster.pid").read_text().splitlines()[6].split()[1]
        assert segment in _shared_memory()
        assert not [
            path for path in psutil.Process(server.pid).memory_maps() if path.path.startswith("/dev/shm")
        ]
        server.kill()
    assert segment not in _shared_memory()
    assert not server.directory.exists()


def test_pgbouncer_pools_with_the_roles_own_passwords(postgres: Majors) -> None:
    server = postgres(15)
    server.create_mlflow("lab_pooled")
    with PgBouncer(server) as pooler:
        with psycopg.connect(pooler.dsn("mlflow", "lab_pooled")) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("mlflow",)
        with psycopg.connect(pooler.dsn("postgres", "pgbouncer"), autocommit=True) as admin:
            rows = admin.execute(b"SHOW POOLS").fetchall()
    assert ("lab_pooled", "mlflow", "transaction") in [(row[0], row[1], row[-1]) for row in rows]


def test_the_load_counts_what_the_server_logged(mlflow: MlflowServer) -> None:
    before = len(mlflow.log())  # other tests use this server too
    with Load(mlflow.url, clients=3, runs=1) as load:
        load.join()

    def logged() -> str:
        return mlflow.log()[before:]

    assert load.succeeded == load.calls
    line = re.compile(r'"(?:GET|POST) /api/2\.0/mlflow/(\S+?)(?:\?\S*)? HTTP/1\.1" 200')
    wait_for(lambda: logged().count('"POST /api/2.0/mlflow/runs/search ') == 3, "access log is written")
    assert Counter(line.findall(logged())) == load.calls
    assert load.calls["runs/log-metric"] == 3 * 40


def test_a_bounded_load_ends_by_itself_and_keeps_its_rate(mlflow: MlflowServer) -> None:
    with Load(mlflow.url, clients=2, seconds=3, rate=10) as load:
        load.join()

    assert 15 <= sum(load.calls.values()) <= 31
    assert load.errors == Counter()


def test_a_killed_worker_is_replaced_and_nothing_is_left_of_a_server_with_its_job_runner() -> None:
    with Postgres(15) as database, MlflowServer(database.create_mlflow(), jobs=True) as server:
        killed = server.kill_worker()
        wait_for(lambda: len(server.worker_pids()) == 2, "the worker is replaced", 120)
        assert killed not in server.worker_pids()
        everything = [*server.family(), *database.family()]
        assert len(everything) > 10
        (queue,) = server.queues()
        directories = [Path(queue), server.directory, database.directory]
        assert all(directory.is_dir() for directory in directories)

    assert not list(filter(alive, everything))
    assert not [directory for directory in directories if directory.exists()]


def test_orphaned_workers_are_ended_too(postgres: Majors) -> None:
    uri = postgres(15).create_mlflow("lab_orphans")
    with MlflowServer(uri) as server:
        workers = [psutil.Process(pid) for pid in server.worker_pids()]
        supervisor = workers[0].parent()
        assert supervisor is not None
        supervisor.kill()
        wait_for(lambda: not server.running(), "the command ends when its supervisor is gone")
        assert all(map(alive, workers))

    assert not any(map(alive, workers))


def test_gunicorn_and_a_prefix_start_too(postgres: Majors) -> None:
    uri = postgres(15).create_mlflow("lab_gunicorn")
    options = ["--gunicorn-opts", "--threads 1", "--static-prefix", "/tracking"]
    with MlflowServer(uri, workers=3, options=options) as server:
        assert len(server.worker_pids()) == 3
        assert server.get("/version").text


def test_a_port_lost_to_somebody_else_is_replaced_by_a_free_one() -> None:
    alertmanager = Alertmanager({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]})
    with socket.create_server(("127.0.0.1", alertmanager.port)) as thief, alertmanager:
        assert alertmanager.port != thief.getsockname()[1]
        assert alertmanager.listens()


def test_a_server_that_cannot_start_shows_its_log_and_leaves_nothing() -> None:
    server = Prometheus({"no_such_section": 1})
    with pytest.raises(ServerError, match="no_such_section"):
        server.__enter__()
    assert not server.directory.exists()
    with pytest.raises(requests.ConnectionError):
        server.get("/-/ready")


def _shared_memory() -> set[str]:
    """Return the ids of all System V segments of this machine."""
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}
