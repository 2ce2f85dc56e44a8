"""A tracking server that dies, hangs, moves or grows, while a real exporter is scraped.

Server and exporter are in a pid namespace, as on a machine of their own: the exporter is told of no port, and pids can
be given out again. The server is gunicorn's, whose workers are forked after MLflow was loaded, so that there may be
many.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.integration.survival import Survives
from tests.lab.cgroup import NotMadeError
from tests.lab.pids import InnerExporter, Pids
from tests.lab.postgres import Postgres
from tests.lab.process import alive, free_port, wait_for
from tests.lab.servers import MlflowServer

pytestmark = pytest.mark.integration

PRELOAD = ("--gunicorn-opts", "--preload --timeout 300")
PROBES = ("--probes.interval", "1", "--probes.timeout", "1")
MANY = 64
SECONDS = 3.0  # the scrapes' timeout; the machine that runs the tests has other things to do


class Forking(MlflowServer):
    """A tracking server in a pid namespace, two workers of gunicorn."""

    def __init__(self, pids: Pids, backend_uri: str) -> None:
        super().__init__(backend_uri, workers=2, options=PRELOAD)
        self.wrapper = pids.wrapper

    def arbiter(self) -> psutil.Process:
        """Return the process that owns the workers."""
        holding = {one.pid for one in self.listeners()}
        (found,) = (pid for pid in holding if psutil.Process(pid).ppid() not in holding)
        return psutil.Process(found)


def children(parent: psutil.Process) -> list[psutil.Process]:
    """Return the living children; psutil's own would look at all processes, and as many times as there are workers."""
    listed = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    living = []
    for pid in map(int, listed):
        with suppress(psutil.NoSuchProcess):  # it has ended since
            living += [one for one in (psutil.Process(pid),) if alive(one)]
    return living


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with Postgres(17) as server:
        yield server


@pytest.fixture(scope="module")
def pids() -> Iterator[Pids]:
    try:
        with Pids() as made:
            yield made
    except NotMadeError as error:
        pytest.skip(f"no pid namespace can be made here: {error}")


@pytest.fixture(scope="module")
def kept(pids: Pids, database: Postgres) -> Iterator[Forking]:
    with Forking(pids, database.create_mlflow()) as made:
        yield made


@pytest.fixture
def server(kept: Forking) -> Forking:
    """Return the server, which runs, whatever a test before has left of it."""
    kept.resume()
    if not kept.running():
        kept.start()
    return kept


@pytest.fixture
def exporter(pids: Pids, server: Forking) -> Iterator[InnerExporter]:
    with InnerExporter(pids, PROBES) as made:
        yield made


@contextmanager
def comings_and_goings(pids: Pids) -> Iterator[None]:
    """Have some thousand processes a second start and end there."""
    storm = "while :; do (:) & (:) & wait; done"
    storms = [subprocess.Popen([*pids.wrapper, "sh", "-c", storm], start_new_session=True) for _ in range(2)]
    try:
        yield
    finally:
        for one in storms:
            os.killpg(one.pid, signal.SIGKILL)
            one.wait()


GONE = {"mlflow_server_up"}


@pytest.mark.survives("Tracking server", "killed (SIGKILL)")
def test_a_killed_server_is_down_and_its_database_is_not(
    survives: Survives, exporter: InnerExporter, server: Forking, database: Postgres
) -> None:
    with survives(exporter, [database], SECONDS) as trial:
        server.kill()
        seen = trial.during(until=lambda seen: "refused" in seen.of("probe health"))
        assert seen.down == GONE
        assert seen.last.value("mlflow_server_workers_alive") == 0
        assert seen.last.value("mlflow_db_up") == 1
        server.start()
        assert trial.recovered().value("mlflow_server_workers_alive") == 2


@pytest.mark.survives("Tracking server", "one of two workers stopped (SIGSTOP)")
def test_a_worker_that_hangs_is_alive_and_the_other_answers(
    survives: Survives, exporter: InnerExporter, server: Forking, database: Postgres
) -> None:
    worker = children(server.arbiter())[0]
    with survives(exporter, [database], SECONDS) as trial:
        worker.suspend()
        seen = trial.during(5)
        assert seen.down == set()
        assert seen.last.value("mlflow_server_workers_alive") == 2
        worker.resume()
        trial.recovered()


@pytest.mark.survives("Tracking server", "all its processes stopped (SIGSTOP)")
def test_a_server_that_hangs_is_up_and_answers_no_probe(
    survives: Survives, exporter: InnerExporter, server: Forking, database: Postgres
) -> None:
    asked = {"probe health", "probe version", "probe api"}
    with survives(exporter, [database], SECONDS) as trial:
        server.pause()
        seen = trial.during(until=lambda seen: seen.failing == asked)
        assert seen.down == set()
        assert all(seen.of(name) == {"timeout"} for name in asked)
        assert (seen.last.value("mlflow_server_accept_queue_length") or 0) > 0
        server.resume()
        trial.recovered()


@pytest.mark.survives("Tracking server", "replaced by one on another port")
def test_a_server_that_moved_to_another_port_is_followed(
    survives: Survives, exporter: InnerExporter, server: Forking, database: Postgres
) -> None:
    with survives(exporter, [database], SECONDS) as trial:
        server.stop()
        seen = trial.during(until=lambda seen: "refused" in seen.of("probe health"))
        assert seen.down == GONE
        server.port = free_port()
        server.start()
        trial.recovered()
        assert f":{server.port}" in exporter.get("/").text


@pytest.mark.survives("Tracking server", "replaced by one with another database")
def test_the_database_of_the_server_that_runs_now_is_watched(
    survives: Survives, exporter: InnerExporter, server: Forking, database: Postgres
) -> None:
    with survives(exporter, [database], SECONDS) as trial:
        server.stop()
        seen = trial.during()
        assert seen.down == GONE
        server.backend_uri = database.create_mlflow("second")
        server.start()
        trial.recovered()
        wait_for(lambda: "/second<" in exporter.get("/").text, "the other database", 5)


@pytest.mark.survives("Tracking server", "looked for while processes come and go by the thousand")
def test_entries_of_proc_that_vanish_hide_no_server(
    survives: Survives, server: Forking, database: Postgres, pids: Pids, tmp_path: Path
) -> None:
    config = tmp_path / "exporter.yml"
    users = ("''", "root")  # whose server it may be; another setting has all processes looked at anew
    config.write_text("server: {user: ''}\n")
    with (
        InnerExporter(pids, (*PROBES, "--config", str(config))) as exporter,
        survives(exporter, [database], SECONDS) as trial,
    ):
        with comings_and_goings(pids):
            for number in range(20):
                config.write_text(f"server: {{user: {users[number % 2]}}}\n")
                exporter.reload()
                seen = trial.during(1)
                assert seen.down == set() and not seen.failing
                assert seen.last.value("mlflow_server_workers_alive") == 2
            assert exporter.log().count("settings reloaded") > 1
        trial.recovered()


@pytest.mark.survives("Tracking server", "pids of its dead processes given to others")
def test_a_pid_is_not_the_process_that_had_it(
    survives: Survives, exporter: InnerExporter, server: Forking, database: Postgres, pids: Pids
) -> None:
    had = [pids.inner(one.pid) for one in (server.arbiter(), *children(server.arbiter()))]
    with survives(exporter, [database], SECONDS) as trial:
        server.kill()
        for pid in had:
            pids.take(pid)
        seen = trial.during()
        assert seen.down == GONE
        assert seen.last.value("mlflow_server_workers_alive") == 0
        assert seen.last.by("mlflow_server_processes", "role") == {}
        server.start()
        now = trial.recovered()
        assert now.value("mlflow_server_workers_alive") == 2
        assert not {pids.inner(one.pid) for one in children(server.arbiter())} & set(had)


@pytest.mark.survives("Tracking server", "2 workers, 64, 64 others, none, 64 again")
def test_workers_that_come_and_go_take_over_slots(
    survives: Survives, exporter: InnerExporter, server: Forking, database: Postgres
) -> None:
    arbiter = server.arbiter()

    def kill_all() -> None:
        for worker in children(arbiter):
            with suppress(psutil.NoSuchProcess):
                worker.kill()

    def are(number: int) -> Callable[[], bool]:
        return lambda: len(children(arbiter)) == number

    with survives(exporter, [database], SECONDS) as trial:
        for number in range(3, MANY + 1):  # one by one, as signals that wait together are one
            arbiter.send_signal(signal.SIGTTIN)
            wait_for(are(number), f"worker {number}", 10, 0.005)
        many = trial.during(1).last
        assert many.value("mlflow_server_workers_alive") == MANY
        old = set(children(arbiter))
        kill_all()
        wait_for(lambda: are(MANY)() and not old & set(children(arbiter)), "64 others", 30)
        others = trial.during(1).last
        assert others.value("mlflow_server_worker_replacements_total") == MANY
        for name in ("cpu_seconds_total", "threads"):
            slots = {(str(slot),) for slot in range(MANY)}
            assert set(others.by(f"mlflow_server_worker_{name}", "worker")) == slots
        arbiter.suspend()  # or it would replace them
        kill_all()
        wait_for(are(0), "the end of 64 processes", 30)
        none = trial.during(3).last
        assert none.value("mlflow_server_workers_alive") == 0
        assert none.value("mlflow_server_up") == 1
        arbiter.resume()
        wait_for(are(MANY), "64 again", 30)
        assert trial.recovered().value("mlflow_server_workers_alive") == MANY
