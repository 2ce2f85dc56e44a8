"""What others do to the database and to our way into it, while a real exporter is scraped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.integration.survival import Survives, Trial, disconnect, read_all_anew, reloadable, watching
from tests.lab.postgres import PASSWORDS, Postgres
from tests.lab.process import wait_for

pytestmark = pytest.mark.integration

DOWN = {"mlflow_db_up", "mlflow_exporter_source_up postgres"}
HOST = "database.example"
TABLES = "experiments, runs, metrics, latest_metrics, params, tags, alembic_version"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """Return a Postgres with TLS; each test leaves it as it was."""
    with Postgres(17) as server:
        server.create_mlflow()
        present(server, trustme.CA().issue_cert(HOST))
        yield server


def present(server: Postgres, certificate: trustme.LeafCert) -> None:
    """Let the server show this certificate to who connects from now on."""
    chain, key = server.directory / "server.crt", server.directory / "server.key"
    chain.write_bytes(b"".join(one.bytes() for one in certificate.cert_chain_pems))
    key.touch(0o600)
    key.write_bytes(certificate.private_key_pem.bytes())
    server.own(chain, key)
    server.configure({"ssl": "on", "ssl_cert_file": str(chain), "ssl_key_file": str(key)})
    reload(server)


def reload(server: Postgres) -> None:
    before = server.execute("select pg_conf_load_time()")
    server.execute("select pg_reload_conf()")
    wait_for(lambda: server.execute("select pg_conf_load_time()") != before, "the new configuration")


def refused(trial: Trial, server: Postgres, probe: str, *words: str) -> None:
    """Require that who cannot log in any more is told so; the first scrape may find the session just ended."""
    disconnect(server)
    seen = trial.during(until=lambda seen: probe in seen.of("probe database"))
    assert seen.down == DOWN
    log = trial.exporter.log()
    assert [word for word in words if word not in log] == []
    assert PASSWORDS["exporter"] not in log


@pytest.mark.survives("Postgres", "sessions ended by pg_terminate_backend")
def test_sessions_that_an_administrator_ends_are_opened_again_by_the_next_scrape(
    survives: Survives, server: Postgres
) -> None:
    with watching(server.dsn("exporter", "mlflow")) as exporter, survives(exporter, [server]) as trial:
        disconnect(server)
        assert trial.during(1).down == set()
        trial.recovered()


@pytest.mark.survives("Postgres", "password changed")
def test_a_changed_password_is_read_anew_from_its_file(
    survives: Survives, server: Postgres, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORDS["exporter"])
    dsn = f"host=127.0.0.1 port={server.port} user=exporter dbname=mlflow"
    with (
        watching(dsn, "--database.password_file", str(file)) as exporter,
        survives(exporter, [server]) as trial,
    ):
        try:
            server.execute("ALTER ROLE exporter PASSWORD 'renewed-Zq86'")
            refused(trial, server, "auth", "permission", "database.password_file")
            file.write_text("renewed-Zq86")
            trial.recovered()
        finally:
            server.execute(f"ALTER ROLE exporter PASSWORD '{PASSWORDS['exporter']}'")
        assert "renewed-Zq86" not in exporter.log()


@pytest.mark.survives("Postgres", "connection limit of the role reached")
def test_a_role_limit_is_named_with_the_statement_that_raises_it(
    survives: Survives, server: Postgres
) -> None:
    with watching(server.dsn("exporter", "mlflow")) as exporter, survives(exporter, [server]) as trial:
        try:
            server.execute("ALTER ROLE exporter CONNECTION LIMIT 0")
            refused(trial, server, "too_many", 'ALTER ROLE "exporter" CONNECTION LIMIT')
        finally:
            server.execute("ALTER ROLE exporter CONNECTION LIMIT -1")
        trial.recovered()


@pytest.mark.survives("Postgres", "TLS required of a DSN without it")
def test_a_server_that_begins_to_require_tls_says_so(survives: Survives, server: Postgres) -> None:
    rules = server.data / "pg_hba.conf"
    before = rules.read_text()
    dsn = server.dsn("exporter", "mlflow") + "?sslmode=disable"
    with watching(dsn) as exporter, survives(exporter, [server]) as trial:
        try:
            rules.write_text(before.replace("\nhost ", "\nhostssl "))
            reload(server)
            refused(trial, server, "auth", "no encryption", "pg_hba.conf")
        finally:
            rules.write_text(before)
            reload(server)
        trial.recovered()


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(HOST, marks=pytest.mark.survives("Postgres", "certificate of another CA")),
        pytest.param("other.example", marks=pytest.mark.survives("Postgres", "certificate for another host")),
    ],
)
def test_a_certificate_that_cannot_be_trusted_is_refused_until_it_is_replaced(
    survives: Survives, server: Postgres, tmp_path: Path, host: str
) -> None:
    trusted = trustme.CA()
    right = trusted.issue_cert(HOST)
    present(server, right)
    file = tmp_path / "ca.pem"
    file.write_bytes(trusted.cert_pem.bytes())
    where = f"host={HOST} hostaddr=127.0.0.1 port={server.port} user=exporter dbname=mlflow"
    dsn = f"{where} password={PASSWORDS['exporter']} sslmode=verify-full sslrootcert={file}"
    with watching(dsn) as exporter, survives(exporter, [server]) as trial:
        present(server, (trustme.CA() if host == HOST else trusted).issue_cert(host))
        refused(trial, server, "tls", "permission", "sslrootcert")
        present(server, right)
        trial.recovered()


@pytest.mark.survives("Postgres", "MLflow's tables locked (ACCESS EXCLUSIVE)")
def test_locked_tables_cost_only_what_reads_them(
    survives: Survives, server: Postgres, tmp_path: Path
) -> None:
    with reloadable(server, "mlflow", tmp_path) as exporter, survives(exporter, [server]) as trial:
        with server.connect("mlflow", "mlflow") as holder, holder.transaction():
            holder.execute(f"LOCK TABLE {TABLES} IN ACCESS EXCLUSIVE MODE")
            read_all_anew(exporter, tmp_path)
            seen = trial.during()
        assert seen.down == set()
        assert seen.failing == {"schema", "sizes", "store_counts", "store_logging"}
        assert {why for name in seen.failing for why in seen.of(name)} == {"busy"}
        trial.recovered()


@pytest.mark.survives("Postgres", "pg_stat_statements dropped, created again")
def test_without_the_extension_the_rest_is_read_and_its_return_is_noticed_at_once(
    survives: Survives, server: Postgres
) -> None:
    with watching(server.dsn("exporter", "mlflow")) as exporter, survives(exporter, [server]) as trial:
        server.execute("DROP EXTENSION pg_stat_statements", dbname="mlflow")
        seen = trial.during()
        assert (seen.down, seen.failing) == (set(), {"statements"})
        assert seen.of("statements") == {"unsupported"}
        assert "CREATE EXTENSION pg_stat_statements" in exporter.log()
        server.execute("CREATE EXTENSION pg_stat_statements", dbname="mlflow")
        trial.recovered()


@pytest.mark.survives("Postgres", "pg_stat_statements reset")
def test_a_reset_of_the_statements_lets_no_counter_fall(survives: Survives, server: Postgres) -> None:
    calls = "mlflow_db_statement_read_calls_total"
    with watching(server.dsn("exporter", "mlflow")) as exporter, survives(exporter, [server]) as trial:
        for _ in range(20):
            server.execute("select count(*) from runs", dbname="mlflow", user="mlflow")
        counted = trial.scrape().by(calls, "operation", "table")
        assert sum(counted.values()) >= 20
        server.execute("select pg_stat_statements_reset()", dbname="mlflow")
        now = trial.during().last.by(calls, "operation", "table")
        assert {key for key, value in counted.items() if now[key] < value} == set()
        trial.recovered()
