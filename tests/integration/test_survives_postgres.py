"""Postgres that goes, hangs, comes back or is another one, while a real exporter is scraped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from tests.integration.survival import Survives, watching
from tests.lab.postgres import Postgres
from tests.lab.process import wait_for
from tests.lab.replica import Standby

pytestmark = pytest.mark.integration

DOWN = {"mlflow_db_up", "mlflow_exporter_source_up postgres"}


@pytest.fixture
def own(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Return a Postgres that the test may break, with database `mlflow`."""
    with Postgres(17, getattr(request, "param", {})) as server:
        server.create_mlflow()
        yield server


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
        assert seen.down == DOWN
        assert seen.of("connections") == {"unreachable"}
        assert "the database system is starting up" in exporter.log()
        trial.recovered()


@pytest.mark.survives("Postgres", "failed over to the second host of the DSN")
def test_the_second_host_is_read_once_it_is_promoted(survives: Survives, own: Postgres) -> None:
    with Standby(own) as replica:
        both = f"host=127.0.0.1,127.0.0.1 port={own.port},{replica.port} target_session_attrs=read-write"
        dsn = f"{both} user=exporter dbname=mlflow password={own.dsn('exporter').split(':')[2].split('@')[0]}"
        with watching(dsn) as exporter, survives(exporter, [own, replica]) as trial:
            own.kill()
            seen = trial.during(until=lambda seen: bool(seen.of("probe database")))
            assert seen.down == DOWN
            assert seen.of("connections") == {"unreachable"}
            replica.execute("select pg_promote()")
            trial.recovered()


@pytest.mark.survives("Postgres", "out of slots, our sessions lost")
@pytest.mark.parametrize(
    "own", [{"max_connections": "12", "superuser_reserved_connections": "3"}], indirect=True
)
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
