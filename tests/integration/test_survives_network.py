"""The way to Postgres in every kind of trouble, while a real exporter is scraped."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from exporter.sources.postgres import SILENCE_SECONDS
from tests.integration.survival import Survives, disconnect, watching
from tests.lab.nameserver import NameServer
from tests.lab.postgres import PASSWORDS, PgBouncer, Postgres
from tests.lab.process import wait_for
from tests.lab.proxy import Proxy

pytestmark = pytest.mark.integration

DOWN = {"mlflow_db_up", "mlflow_exporter_source_up postgres"}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres(17) as server:
        server.create_mlflow()
        yield server


@pytest.fixture
def proxy(server: Postgres) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


def through(proxy: Proxy) -> str:
    where = f"host=127.0.0.1 port={proxy.port} user=exporter dbname=mlflow"
    return f"{where} password={PASSWORDS['exporter']} sslmode=disable"


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("reset", marks=pytest.mark.survives("Network", "cut in mid-answer (reset)")),
        pytest.param("end", marks=pytest.mark.survives("Network", "answers truncated")),
    ],
)
def test_an_answer_that_is_cut_off_leaves_what_came_before(
    survives: Survives, server: Postgres, proxy: Proxy, how: Literal["reset", "end"]
) -> None:
    with watching(through(proxy)) as exporter, survives(exporter, [server]) as trial:
        proxy.cut_by, proxy.cut_after = how, 6000
        seen = trial.during()
        assert "unreachable" in seen.of("statements")
        assert "bug" not in {why for whys in seen.reasons.values() for why in whys}
        proxy.cut_after = None
        trial.recovered()


@pytest.mark.survives("Network", "silent: nothing passes, nothing is refused")
def test_a_silent_network_is_a_timeout_each_time(survives: Survives, server: Postgres, proxy: Proxy) -> None:
    with watching(through(proxy)) as exporter, survives(exporter, [server]) as trial:
        proxy.silent = True
        seen = trial.during(until=lambda seen: seen.of("probe database") == {"timeout"})
        assert seen.down == DOWN
        assert seen.of("connections") <= {"timeout", "busy"}
        proxy.silent = False
        trial.recovered()


@pytest.mark.survives("Network", "connections forgotten by a firewall")
def test_connections_that_a_firewall_has_forgotten_are_replaced(
    survives: Survives, server: Postgres, proxy: Proxy
) -> None:
    with watching(through(proxy)) as exporter, survives(exporter) as trial:
        proxy.silent = True
        proxy.forget()
        # What was asked over the old connections is waited for so long, less than Prometheus waits between two scrapes.
        until = time.monotonic() + SILENCE_SECONDS + 1
        seen = trial.during(until=lambda seen: time.monotonic() > until, every=1.0)
        assert seen.down == DOWN
        proxy.silent = False
        trial.recovered()


@pytest.mark.survives("Network", "slow link: 4 kB/s, 100 ms away")
def test_of_a_slow_link_comes_what_can_come_in_time(
    survives: Survives, server: Postgres, proxy: Proxy
) -> None:
    with watching(through(proxy)) as exporter, survives(exporter, [server]) as trial:
        proxy.rate, proxy.delay = 4000.0, 0.05
        seen = trial.during()
        assert seen.down == set() or "timeout" in seen.of("connections")
        proxy.rate = proxy.delay = 0.0
        trial.recovered()


@pytest.mark.survives("Network", "address moved to another server")
def test_the_server_that_an_address_has_moved_to_is_read(
    survives: Survives, server: Postgres, proxy: Proxy
) -> None:
    with Postgres(16) as other, watching(through(proxy)) as exporter:
        other.create_mlflow()
        with survives(exporter, [server, other]) as trial:
            assert set(trial.before.by("mlflow_db_info", "version")) != set()
            proxy.target = 1
            proxy.drop()
            seen = trial.during(until=lambda seen: bool(seen.of("probe database")))
            assert seen.down == DOWN
            proxy.target = other.port
            now = trial.recovered()
            assert now.by("mlflow_db_info", "version") != trial.before.by("mlflow_db_info", "version")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may have a resolv.conf of its own")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(
            "no such name", "dns", marks=pytest.mark.survives("Network", "DNS name gone, our sessions lost")
        ),
        pytest.param(
            "nothing",
            "timeout",
            marks=pytest.mark.survives("Network", "DNS server silent, our sessions lost"),
        ),
    ],
)
def test_a_name_that_is_not_found_is_told_and_found_again(
    survives: Survives,
    server: Postgres,
    tmp_path: Path,
    answer: Literal["no such name", "nothing"],
    reason: str,
) -> None:
    where = f"host=database.example port={server.port} user=exporter dbname=mlflow"
    exporter = watching(f"{where} password={PASSWORDS['exporter']}")
    with NameServer(tmp_path) as names:
        exporter.wrapper = names.wrapper
        with exporter, survives(exporter, [server]) as trial:
            names.answer = answer
            disconnect(server)
            seen = trial.during(until=lambda seen: reason in seen.of("probe database"))
            assert seen.down == DOWN
            names.answer = "address"
            trial.recovered()


def answers(pooler: PgBouncer) -> bool:
    """Say whether who logs in as we do is let in; what a pooler holds to the server is its own to count."""
    try:
        with psycopg.connect(pooler.dsn("exporter"), connect_timeout=2) as connection:
            connection.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.survives("Network", "PgBouncer restarted")
def test_a_pooler_that_restarts_is_connected_to_again(survives: Survives, server: Postgres) -> None:
    with (
        PgBouncer(server) as pooler,
        watching(pooler.dsn("exporter")) as exporter,
        survives(exporter) as trial,
    ):
        pooler.kill()
        seen = trial.during(until=lambda seen: seen.of("probe database") == {"refused"})
        assert seen.down == DOWN
        pooler.start()
        trial.recovered()


@pytest.mark.survives("Network", "Postgres restarted behind PgBouncer")
def test_a_server_that_restarts_behind_a_pooler_is_read_when_the_pooler_lets_others_in(
    survives: Survives, server: Postgres
) -> None:
    with (
        PgBouncer(server, {"server_login_retry": "1"}) as pooler,
        watching(pooler.dsn("exporter")) as exporter,
        survives(exporter) as trial,
    ):
        server.stop()
        seen = trial.during(until=lambda seen: bool(seen.of("probe database")))
        assert seen.down == DOWN
        server.start()
        wait_for(lambda: answers(pooler), "an independent client's answer")
        trial.recovered()
