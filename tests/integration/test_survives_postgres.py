"""Postgres that goes, hangs, comes back or is another one, while a real exporter is scraped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from tests.integration.survival import Survives, watching
from tests.lab.postgres import PASSWORDS, Postgres
from tests.lab.process import wait_for
from tests.lab.replica import Standby

pytestmark = pytest.mark.integration

DOWN = {"mlflow_db_up", "mlflow_exporter_source_up postgres"}


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """Return a small Postgres with database `mlflow`; each test that breaks it leaves it running."""
    with Postgres(17, {"max_connections": "12", "superuser_reserved_connections": "3"}) as server:
        server.create_mlflow()
        yield server


@pytest.fixture(scope="module")
def replica(own: Postgres) -> Iterator[Standby]:
    """Return its replica, for the last tests: one promotes it."""
    with Standby(own) as replica:
        yield replica
        replica.kill()  # nobody needs its last checkpoint


@pytest.mark.survives("Postgres", "killed (SIGKILL)")
def test_a_killed_server_is_unreachable_until_it_is_back(survives: Survives, own: Postgres) -> None:
    with watching(own.dsn("exporter", "mlflow")) as exporter, survives(exporter, [own]) as trial:
        own.kill()
        seen = trial.during(until=lambda seen: seen.of("probe database") == {"refused"})
        assert seen.down == DOWN
        assert seen.of("connections") == {"unreachable"}
        own.start()
        trial.recovered()


@pytest.mark.survives("Postgres", "stopped (SIGSTOP)")
def test_a_frozen_server_is_a_timeout_then_busy_and_read_again_over_the_same_connections(
    survives: Survives, own: Postgres
) -> None:
    ours = (
        "select pid from pg_stat_activity where application_name = 'mlflow-exporter' order by backend_start"
    )
    with watching(own.dsn("exporter", "mlflow")) as exporter, survives(exporter, [own]) as trial:
        kept = own.execute(ours)[:2]
        own.pause()
        seen = trial.during(until=lambda seen: seen.of("probe database") == {"timeout"})
        assert seen.down == DOWN
        assert seen.of("connections") == {"timeout", "busy"}
        own.resume()
        trial.recovered()
        assert own.execute(ours)[:2] == kept


@pytest.mark.survives("Postgres", "restarted between two scrapes")
def test_a_restart_between_two_scrapes_is_not_even_noticed(survives: Survives, own: Postgres) -> None:
    with watching(own.dsn("exporter", "mlflow")) as exporter, survives(exporter, [own]) as trial:
        own.stop()
        own.start()
        seen = trial.during(1)
        assert seen.down == set()
        trial.recovered()


@pytest.mark.survives("Postgres", "starting up")
def test_a_server_that_is_starting_up_is_unreachable_in_its_own_words(
    survives: Survives, own: Postgres
) -> None:
    held = own.directory / "held"
    with watching(own.dsn("exporter", "mlflow")) as exporter, survives(exporter, [own]) as trial:
        own.stop()
        # It asks for its archive before it lets anybody in, and that takes as long as we like.
        own.configure({"restore_command": f"while test -e {held}; do sleep 0.05; done; false"})
        for file in (held, own.data / "recovery.signal"):
            file.touch()
            own.own(file)
        starting = threading.Thread(target=own.start)
        starting.start()
        try:
            wait_for(lambda: "starting up" in own.log(), "a server that refuses who connects")
            seen = trial.during(until=lambda seen: seen.of("probe database") >= {"rejected"})
        finally:
            held.unlink()
            starting.join()
            own.configure({"restore_command": ""})
        assert seen.down == DOWN
        assert seen.of("connections") == {"unreachable"}
        assert "the database system is starting up" in exporter.log()
        trial.recovered()


@pytest.mark.survives("Postgres", "out of slots, our sessions lost")
def test_a_full_server_is_named_and_read_as_soon_as_a_slot_is_free(survives: Survives, own: Postgres) -> None:
    with watching(own.dsn("exporter", "mlflow")) as exporter, survives(exporter, [own]) as trial:
        with ExitStack() as taken, own.connect() as admin:

            def take_all() -> bool:
                admin.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'exporter'"
                )
                try:
                    while True:
                        taken.enter_context(own.connect("mlflow", "mlflow"))
                except psycopg.OperationalError:
                    return bool(
                        admin.execute(
                            "select count(*) = 0 from pg_stat_activity where usename = 'exporter'"
                        ).fetchall()[0][0]
                    )

            wait_for(take_all, "all slots taken by others")
            seen = trial.during(until=lambda seen: "too_many" in seen.of("probe database"))
            assert seen.down == DOWN
            assert seen.of("connections") == {"unreachable"}
            assert "raise max_connections" in exporter.log()
        trial.recovered()


@pytest.mark.survives("Postgres", "queries cancelled on a standby for recovery")
def test_what_recovery_cancels_is_busy_and_the_rest_is_read(
    survives: Survives, own: Postgres, replica: Standby
) -> None:
    ended = threading.Event()

    def lock_catalog() -> None:
        with own.connect("postgres", "mlflow") as session:
            while not ended.wait(0.005):
                with session.transaction():
                    session.execute("LOCK TABLE pg_class IN ACCESS EXCLUSIVE MODE")

    with (
        watching(replica.dsn("exporter", "mlflow")) as exporter,
        survives(exporter, [own, replica]) as trial,
    ):
        locking = threading.Thread(target=lock_catalog)
        locking.start()
        try:
            seen = trial.during(until=lambda _: "due to conflict with recovery" in exporter.log(), every=0.0)
            assert {why for whys in seen.reasons.values() for why in whys} == {"busy"}
        finally:
            ended.set()
            locking.join()
        trial.recovered()


@pytest.mark.survives("Postgres", "failed over to the second host of the DSN")
def test_the_second_host_is_read_once_it_is_promoted(
    survives: Survives, own: Postgres, replica: Standby
) -> None:
    hosts = f"host=127.0.0.1,127.0.0.1 port={own.port},{replica.port} target_session_attrs=read-write"
    dsn = f"{hosts} user=exporter dbname=mlflow password={PASSWORDS['exporter']}"
    with replica.connect("mlflow", "mlflow") as session:
        for _ in range(100):
            session.execute("select count(*) from runs")
    with watching(dsn) as exporter, survives(exporter, [own, replica]) as trial:
        own.kill()
        seen = trial.during(until=lambda seen: bool(seen.of("probe database")))
        assert seen.down == DOWN
        assert seen.of("connections") == {"unreachable"}
        replica.execute("select pg_promote()")
        now = trial.recovered()
        before, after = (
            sum(one.by("mlflow_db_statement_read_calls_total", "operation", "table").values())
            for one in (trial.before, now)
        )
        assert before <= after < before + 100  # what the replica had counted before is no news
