"""Real tracking servers are found in every form they are started in, and followed through what befalls them."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from exporter.discovery import Discovery, Found, Sighting, backend_of
from tests.lab import tools
from tests.lab.servers import MlflowServer, Postgres, wait_for

pytestmark = pytest.mark.integration

Majors = Callable[[int], Postgres]

# Sees what another user's exporter would: as nobody where we are root, else as ourselves.
STRANGER = """
import json, os, sys
from exporter.collectors.limits import Limits
from exporter.collectors.sockets import Sockets
from exporter.collectors.workers import Workers
from exporter.discovery import Discovery
from exporter.sources.host import HostSource
if os.geteuid() == 0:
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
session = HostSource(Discovery(int(sys.argv[1]), sys.argv[2])).open((), float("inf"))
found = session.sighting.found
assert found, session.sighting
samples = [one for each in (Workers, Sockets, Limits) for one in each().collect(session)]
json.dump({
    "port": found.port,
    "backend": found.backend and found.backend.host,
    "workers": [one.pid for _, one in session.workers],
    "fds": {labels[0]: value for metric, value, labels in samples if metric.name.endswith("open_fds")},
    "http": sum(metric.name.endswith("http_connections") for metric, _, _ in samples),
    "problems": session.sighting.problems,
}, sys.stdout)
"""


def workers(sighting: Sighting) -> dict[int | None, int]:
    return {one.slot: one.pid for one in sighting.processes if one.role == "worker"}


def roles(sighting: Sighting) -> set[str]:
    return {one.role for one in sighting.processes}


def pids(sighting: Sighting) -> set[int]:
    return {one.pid for one in sighting.processes}


def slots(pids: Sequence[int]) -> dict[int, int]:
    """Return the workers by number, given in the order of their birth as a first look does."""
    return dict(enumerate(sorted(pids, key=lambda pid: (psutil.Process(pid).create_time(), pid))))


def test_uvicorn_with_workers_prefix_and_jobs(postgres: Majors) -> None:
    uri = postgres(15).create_mlflow("discovery_uvicorn")
    environ = {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "3", "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "0"}
    options = ("--static-prefix", "/mlf")
    with MlflowServer(uri, 4, options=options, env=environ, jobs=True) as server:
        discovery = Discovery(server.port)

        def complete() -> bool:
            seen = discovery.look()
            return "consumer" in roles(seen) and pids(seen) == {one.pid for one in server.family()}

        wait_for(complete, "the job runner has started its consumers, and all are seen", 60)
        sighting = discovery.look()
        assert sighting.found == Found(
            "127.0.0.1", server.port, "http", "/mlf", "uvicorn", False, backend_of(uri), True
        )
        assert workers(sighting) == slots(server.worker_pids())
        assert roles(sighting) == {
            "parent",
            "supervisor",
            "worker",
            "resource_tracker",
            "job_runner",
            "consumer",
        }
        assert (sighting.workers_configured, sighting.pool_capacity, sighting.jobs) == (4, 13, True)
        assert sighting.version == tools.mlflow_version()
        supervisor = next(one.pid for one in sighting.processes if one.role == "supervisor")
        assert sighting.started == pytest.approx(psutil.Process(supervisor).create_time(), abs=1.5)
        assert (sighting.problems, discovery.look()) == ((), sighting)


def test_one_uvicorn_worker_on_the_default_sqlite() -> None:
    with MlflowServer(workers=1) as server:
        sighting = Discovery(server.port).look()
        assert sighting.found and sighting.found.backend
        assert sighting.found.backend.dialect == "sqlite"
        assert Path(sighting.found.backend.path) == server.directory.resolve() / "mlflow.db"
        assert workers(sighting) == slots(server.worker_pids())
        assert roles(sighting) == {"parent", "worker"}
        assert sighting.jobs is False


def test_gunicorn(postgres: Majors) -> None:
    uri = postgres(15).create_mlflow("discovery_gunicorn").replace("postgresql://", "postgresql+psycopg2://")
    with MlflowServer(uri, 2, options=("--gunicorn-opts", "--timeout 60")) as server:
        sighting = Discovery(server.port).look()
        assert sighting.found == Found(
            "127.0.0.1", server.port, kind="gunicorn", backend=backend_of(uri), trusted=True
        )
        assert workers(sighting) == slots(server.worker_pids())
        assert roles(sighting) == {"parent", "supervisor", "worker"}
        assert sighting.version == tools.mlflow_version()


def test_basic_auth(postgres: Majors) -> None:
    uri = postgres(15).create_mlflow("discovery_auth")
    environ = {"MLFLOW_FLASK_SERVER_SECRET_KEY": "k" * 32, "MLFLOW_AUTH_ADMIN_PASSWORD": "long-enough-Zq84"}
    with MlflowServer(uri, 1, options=("--app-name", "basic-auth"), env=environ) as server:
        found = Discovery(server.port).look().found
        assert found == Found(
            "127.0.0.1", server.port, basic_auth=True, backend=backend_of(uri), trusted=True
        )


def test_server_that_comes_goes_and_moves_to_another_database_is_followed(postgres: Majors) -> None:
    before, after = (postgres(15).create_mlflow(f"discovery_{name}") for name in ("before", "after"))
    server = MlflowServer(before, 1)
    now = [0.0]
    discovery = Discovery(server.port, clock=lambda: now[0])
    assert discovery.look().found is None
    with server:
        now[0] += 6
        first = discovery.look()
        assert first.found and first.found.backend == backend_of(before)
        server.stop()
        assert discovery.look().found is None
        server.backend_uri = after
        server.start()
        assert discovery.look().found is None, "all processes were walked a moment ago"
        now[0] += 6
        second = discovery.look()
        assert second.found and second.found.backend == backend_of(after)
        assert first.key != second.key
    assert discovery.look().processes == ()


def test_workers_that_outlive_their_supervisor_are_orphans() -> None:
    with MlflowServer(workers=2) as server:
        discovery = Discovery(server.port)
        before = discovery.look()
        supervisor = next(one.pid for one in before.processes if one.role == "supervisor")
        os.kill(supervisor, signal.SIGKILL)
        wait_for(lambda: roles(discovery.look()) == {"worker"}, "only workers are left")
        after = discovery.look()
        assert (after.found, after.key) == (before.found, before.key)
        assert workers(after) == workers(before)
        assert all(one.orphaned for one in after.processes)
        assert server.get("/health").text == "OK", "they still answer"
        fresh = Discovery(server.port).look()
        assert fresh.found == before.found
        assert [one.orphaned for one in fresh.processes] == [True, True]
        for pid in workers(after).values():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: discovery.look().found is None, "no worker is left")


def test_another_users_server_is_found_with_what_all_may_read(postgres: Majors) -> None:
    uri = postgres(15).create_mlflow("discovery_stranger")
    root = os.geteuid() == 0
    with MlflowServer(uri, 2) as server:

        def seen(user: str) -> dict[str, object]:
            done = subprocess.run(
                [sys.executable, "-c", STRANGER, str(server.port), user],
                cwd=tools.ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert "mlflow-Zq82" not in done.stdout + done.stderr
            assert done.returncode == 0, done.stderr
            answer: dict[str, object] = json.loads(done.stdout)
            return answer

        anybody = seen("")
        assert anybody["port"] == server.port
        assert anybody["workers"] == list(slots(server.worker_pids()).values())
        assert anybody["backend"] == (None if root else "127.0.0.1")
        assert anybody["http"] == (0 if root else 2)
        assert bool(anybody["problems"]) is root
        counts = {
            str(slot): len(list(Path(f"/proc/{pid}/fd").iterdir()))
            for slot, pid in slots(server.worker_pids()).items()
        }
        release = tuple(int(part) for part in os.uname().release.split(".")[:2])
        assert anybody["fds"] == (counts if not root or release >= (6, 2) else {})
        trusted = seen(pwd.getpwuid(os.geteuid()).pw_name)
        assert trusted["backend"] == "127.0.0.1"
