"""Another user's processes that pose as a tracking server: what they say is neither believed nor rewarded."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.test_hostile_database import peak
from tests.integration.test_service import command
from tests.lab.impostor import ASK_CLEARTEXT, ASK_GSS, ASK_MD5, Impostor
from tests.lab.postgres import Postgres
from tests.lab.pretender import crowd, pretending
from tests.lab.process import UNPRIVILEGED, wait_for
from tests.lab.servers import Exporter

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users"),
]

MEMORY = 256 << 20
RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} level=[A-Z]+ logger=[\w.]+ |  ")
# What would be a line of the exposition or of the log, an escape of a terminal, and an end of HTML.
EVIL = '"} 1\nevil_metric 1\n2026-01-01 00:00:00,000 level=ERROR logger=evil forged \x1b]0;evil\x07<script>'


def marked(uri: str, **more: str) -> dict[str, str]:
    return {"_MLFLOW_SERVER_BOOT_ID": "b007", "_MLFLOW_SERVER_FILE_STORE": uri, **more}


def test_a_crowd_with_endless_command_lines_and_environments_takes_no_memory_and_hides_no_server() -> None:
    words = ["mlflow.server", "--port", "5000", *["ab"] * 90_000]
    with (
        pretending(marked("sqlite:////x.db"), user="root") as own,
        crowd(40, words, dict.fromkeys(map(str, range(40_000)), "")),
        Exporter(("--server.port", str(own.port), "--collectors", "server,workers")) as exporter,
    ):
        started = time.monotonic()
        assert exporter.values("mlflow_server_up") == [1.0]
        assert time.monotonic() - started < 2
        assert peak(exporter.pid) < MEMORY


def test_what_a_process_says_of_itself_makes_no_series_no_log_record_and_steers_no_terminal() -> None:
    uri = f"postgresql://{EVIL.replace('/', '')}:pw@127.0.0.1:1/{EVIL}"
    environment = marked(
        uri, _MLFLOW_STATIC_PREFIX=f"/{EVIL}", _MLFLOW_SERVER_BOOT_ID=EVIL, PGUSER=EVIL, PGDATABASE=EVIL
    )
    with pretending(environment, EVIL, f"--workers={EVIL}", user="root") as one:
        with Exporter(
            ("--server.port", str(one.port), "--probes.interval", "1", "--probes.timeout", "1")
        ) as exporter:
            wait_for(
                lambda: exporter.values("mlflow_probe_attempts_total", probe="version")[0] > 0,
                "a probe's attempt",
            )
            text = exporter.scrape()
            page = requests.get(exporter.url + "/", timeout=5).text
            log = exporter.log()
        told = command("check", "--server.port", str(one.port)).stdout
    names = {family.name for family in text_string_to_metric_families(text)}
    assert all(name.startswith(("mlflow_", "process_")) for name in names), names
    assert "<script>" not in page
    assert all(RECORD.match(line) for line in log.splitlines()), log
    for shown in (log, told):
        assert all(line.isprintable() for line in shown.splitlines()), shown


@contextmanager
def credentials(folder: Path) -> Iterator[dict[str, str]]:
    """Give the variables of an exporter that has credentials of every kind for other servers."""
    (folder / ".pgpass").write_text("*:*:*:*:from-pgpass-Zq92\n")
    (folder / ".pgpass").chmod(0o600)
    (folder / ".netrc").write_text("machine 127.0.0.1 login u password from-netrc-Zq92\n")
    (folder / "password").write_text("from-settings-Zq92\n")
    file = str(folder / "password")
    yield {
        "HOME": str(folder),
        "PGPASSWORD": "from-environment-Zq92",
        "MLFLOW_EXPORTER_DATABASE_PASSWORD_FILE": file,
        "MLFLOW_EXPORTER_SERVER_USERNAME": "watcher-Zq92",
        "MLFLOW_EXPORTER_SERVER_PASSWORD_FILE": file,
        "MLFLOW_EXPORTER_PROBES_INTERVAL": "1",
        "MLFLOW_EXPORTER_PROBES_TIMEOUT": "1",
    }


@pytest.mark.parametrize("asks", [ASK_CLEARTEXT, ASK_MD5, ASK_GSS])
def test_no_credential_of_ours_goes_where_another_users_process_leads(tmp_path: Path, asks: bytes) -> None:
    with credentials(tmp_path) as environment, Impostor(lambda _: None, asks=asks) as database:
        options = "passfile=%2Froot%2F.pgpass&sslkey=%2Froot%2Fkey&service=s&options=-c%20x&gssdelegation=1"
        uri = f"postgresql://u:theirs-Zq93@127.0.0.1:{database.port}/d?{options}"
        with (
            pretending(marked(uri)) as one,
            Exporter(("--server.port", str(one.port)), environment) as exporter,
        ):
            wait_for(lambda: len(database.heard) >= 4 and len(one.requests) >= 4, "attempts on both")
            shown = exporter.scrape() + requests.get(exporter.url + "/", timeout=5).text + exporter.log()
            sent = "".join(one.requests)
    # Kerberos is refused at once; a password that is asked for is the one that the same process has named.
    heard = b"".join(database.heard)
    assert (b"theirs-Zq93\0" in heard) is (asks == ASK_CLEARTEXT)
    assert b"Zq92" not in heard
    assert "Authorization" not in sent
    assert "Zq9" not in sent + shown
    assert "set server.user" in shown


def test_the_rights_of_our_own_user_at_a_unix_socket_open_no_database_that_another_user_names(
    postgres: Callable[[int], Postgres],
) -> None:
    server = postgres(15)
    rules = server.data / "pg_hba.conf"
    before = rules.read_text()
    server.execute("CREATE ROLE root LOGIN SUPERUSER")
    try:
        rules.write_text(f"local all root peer\n{before}")
        server.execute("SELECT pg_reload_conf()")
        uri = f"postgresql://root@/postgres?host={server.directory}&port={server.port}"
        with pretending(marked(uri)) as one:
            refused = command("check", "--server.port", str(one.port)).stdout
            allowed = command("check", "--server.port", str(one.port), "--server.user", UNPRIVILEGED).stdout
    finally:
        rules.write_text(before)
        server.execute("SELECT pg_reload_conf()")
        server.execute("DROP ROLE root")
    assert re.search(r"source +postgres: .*authentication", refused), refused
    assert "collector  connections" in allowed, allowed


def test_a_file_that_another_users_process_names_as_its_store_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret.db").write_text("x" * 4321)
    with pretending(marked(f"sqlite:///{tmp_path}/secret.db")) as one:
        told = command("check", "--server.port", str(one.port)).stdout
        with Exporter(("--server.port", str(one.port))) as exporter:
            assert "4321" not in exporter.scrape()
    assert "Its SQLite file is not opened, since another user names it: set server.user to nobody" in told
