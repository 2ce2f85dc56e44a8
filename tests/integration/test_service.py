"""The whole exporter beside a real server: settings that change, servers that come, go and break."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests

from exporter import __version__
from tests.lab import tools
from tests.lab.postgres import PASSWORDS
from tests.lab.process import free_port, wait_for
from tests.lab.servers import Exporter, MlflowServer, Postgres

pytestmark = [pytest.mark.integration, pytest.mark.long]

Start = Callable[[int], Postgres]
DEADLINE = 3.0


def command(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "exporter", *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(tools.ROOT), "PATH": "/usr/bin:/bin"} | env,
    )


def timed_scrape(exporter: Exporter) -> float:
    """Scrape with a timeout as Prometheus would, and return the seconds it took; raises where it was not 200."""
    started = time.monotonic()
    exporter.scrape(DEADLINE)
    return time.monotonic() - started


def test_version_and_help_name_the_commands() -> None:
    assert command("--version").stdout == f"mlflow-exporter {__version__}\n"
    shown = command("--help").stdout
    for word in ("serve", "once", "check", "explain", "grants", "reference", "examples:"):
        assert word in shown


def test_faulty_settings_end_with_status_2_and_every_fault(tmp_path: Path) -> None:
    file = tmp_path / "exporter.yml"
    file.write_text("server:\n  prot: 5000\nprobes:\n  interval: soon\n")
    done = command("check", "--config", str(file), "--log.level", "loud")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 3
    assert f"{file}:2: server.prot" in done.stderr
    assert "port" in done.stderr.splitlines()[0]


def test_a_broken_dsn_ends_with_status_2_and_is_not_shown() -> None:
    done = command("check", MLFLOW_EXPORTER_DATABASE_DSN="postgresql:/u:hunter2@host")
    assert done.returncode == 2
    assert "postgresql://USER@HOST" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_an_address_in_use_ends_with_status_1_and_says_what_to_change() -> None:
    with Exporter(("--server.port", "1")) as exporter:
        done = command("serve", "--web.listen", f"127.0.0.1:{exporter.port}")
    assert done.returncode == 1
    assert "--web.listen" in done.stderr
    assert "Traceback" not in done.stderr


def test_reference_writes_every_metric_and_the_schema(tmp_path: Path) -> None:
    done = command("reference", str(tmp_path / "METRICS.md"), "--schema", str(tmp_path / "schema.json"))
    assert done.returncode == 0
    assert "mlflow_server_up" in (tmp_path / "METRICS.md").read_text()
    assert "database" in json.loads((tmp_path / "schema.json").read_text())["$defs"]["Settings"]["properties"]


def test_check_shows_server_backend_and_missing_right_without_the_password(
    postgres: Start, mlflow: MlflowServer
) -> None:
    server = postgres(15)
    server.execute("CREATE ROLE looker LOGIN PASSWORD 'looker-Zq85'")
    try:
        dsn = server.dsn("looker", "mlflow_shared", "looker-Zq85")
        with server.connect("mlflow", "mlflow_shared"):
            done = command("check", "--server.port", str(mlflow.port), MLFLOW_EXPORTER_DATABASE_DSN=dsn)
    finally:
        server.execute("DROP ROLE looker")
    assert done.returncode == 0
    assert (
        f"uvicorn on http://127.0.0.1:{mlflow.port}, postgresql mlflow@127.0.0.1:{server.port}" in done.stdout
    )
    assert "2 configured" in done.stdout
    assert 'GRANT pg_read_all_stats TO "looker";' in done.stdout
    for secret in (*PASSWORDS.values(), "looker-Zq85"):
        assert secret not in done.stdout + done.stderr


def test_once_prints_two_scrapes_so_that_rates_show(mlflow: MlflowServer) -> None:
    done = command("once", "--for", "1s", "--server.port", str(mlflow.port))
    assert done.returncode == 0
    assert done.stdout.count("# scrape ") == 2
    assert done.stdout.count("\nmlflow_server_up 1.0\n") == 2


def test_a_reload_keeps_the_old_plan_where_the_file_is_faulty(tmp_path: Path, mlflow: MlflowServer) -> None:
    file = tmp_path / "exporter.yml"
    file.write_text(f"server: {{port: {mlflow.port}}}\n")
    with Exporter(("--config", str(file))) as exporter:
        assert exporter.values("mlflow_exporter_config_last_reload_successful") == [1.0]
        file.write_text(f"server: {{port: {mlflow.port}}}\ncollectors: [workers, conections]\n")
        exporter.reload()
        wait_for(
            lambda: exporter.values("mlflow_exporter_config_last_reload_successful") == [0.0], "a bad reload"
        )
        assert "did you mean" in exporter.log()
        assert exporter.values("mlflow_exporter_collector_success", collector="database") == [1.0]
        file.write_text(f"server: {{port: {mlflow.port}}}\ncollectors: [workers, connections]\n")
        exporter.reload()
        wait_for(
            lambda: exporter.values("mlflow_exporter_config_last_reload_successful") == [1.0], "a good reload"
        )
        assert exporter.values("mlflow_exporter_collector_success", collector="database") == []
        assert exporter.values("mlflow_exporter_collector_success", collector="workers") == [1.0]


def test_a_reload_that_changes_one_probe_leaves_the_others_with_their_counts(
    tmp_path: Path, mlflow: MlflowServer
) -> None:
    file = tmp_path / "exporter.yml"
    settings = f"server: {{port: {mlflow.port}}}\nprobes: {{interval: 1, timeout: 1}}\n"
    file.write_text(settings)
    with Exporter(("--config", str(file))) as exporter:
        wait_for(
            lambda: exporter.values("mlflow_probe_attempts_total", probe="health") >= [3.0], "three attempts"
        )
        file.write_text(
            settings.replace("}\n", f", urls: {{ui: 'http://127.0.0.1:{mlflow.port}/'}}}}\n").replace(
                f"{mlflow.port}, urls: {{ui: 'http://127.0.0.1:{mlflow.port}/'}}}}\nprobes",
                f"{mlflow.port}}}\nprobes",
            )
        )
        exporter.reload()
        wait_for(lambda: exporter.values("mlflow_probe_attempts_total", probe="ui") != [], "the new probe")
        assert exporter.values("mlflow_probe_attempts_total", probe="health") >= [3.0]


def test_no_server_at_the_start_is_fine_and_a_moved_one_is_followed(postgres: Start) -> None:
    server, port = postgres(15), free_port()
    uris = [server.create_mlflow("first"), server.create_mlflow("second")]
    try:
        with Exporter(("--server.port", str(port))) as exporter:
            assert exporter.values("mlflow_server_up") == [0.0]
            assert exporter.values("mlflow_db_up") == []  # nothing is known to be down
            for name, uri in zip(("first", "second"), uris, strict=True):
                with MlflowServer(uri, workers=1, port=port):
                    wait_for(lambda: exporter.values("mlflow_server_up") == [1.0], "the server")
                    wait_for(lambda name=name: f"/{name}<" in exporter.get("/").text, f"database {name}")  # type: ignore[misc]
                    assert exporter.values("mlflow_db_up") == [1.0]
                wait_for(lambda: exporter.values("mlflow_server_up") == [0.0], "its end")
                # The server is gone; its database is not.
                assert exporter.values("mlflow_db_up") == [1.0]
    finally:
        server.drop("first")
        server.drop("second")


def test_whatever_breaks_each_scrape_is_in_time_with_the_rest_and_recovers() -> None:
    with Postgres(15) as server:
        uri = server.create_mlflow()
        tracking = MlflowServer(uri, workers=2)
        with tracking, Exporter(("--server.port", str(tracking.port))) as exporter:

            def state() -> tuple[float, float]:
                (up,), (database,) = exporter.values("mlflow_server_up"), exporter.values("mlflow_db_up")
                return up, database

            took = [timed_scrape(exporter)]
            assert state() == (1.0, 1.0)

            server.pause()
            took += [timed_scrape(exporter) for _ in range(3)]
            assert exporter.values("mlflow_server_workers_alive") == [2.0]
            assert state() == (1.0, 0.0)
            server.resume()
            wait_for(lambda: state() == (1.0, 1.0), "Postgres again, after SIGSTOP")

            server.kill()
            took += [timed_scrape(exporter) for _ in range(3)]
            assert state() == (1.0, 0.0)
            tracking.kill()
            took += [timed_scrape(exporter) for _ in range(3)]
            assert state() == (0.0, 0.0)

            server.start()
            assert state() == (0.0, 1.0)
            tracking.start()
            wait_for(lambda: state() == (1.0, 1.0), "both again")
            took.append(timed_scrape(exporter))
    print(f"slowest scrape: {max(took):.2f} s of {DEADLINE:g} s")
    assert max(took) < DEADLINE


@pytest.mark.parametrize(
    "uri",
    ["mysql+pymysql://u:hunter2@127.0.0.1:1/db", "mariadb://u:hunter2@h/db", "mssql+pyodbc://u:hunter2@h/db"],
)
def test_another_kind_of_database_is_named_with_what_watches_it(uri: str) -> None:
    port = free_port()
    dialect = uri.partition(":")[0].partition("+")[0]
    # MLflow's own server process; `mlflow server` would first wait for a database that is not there.
    python = tools.mlflow().parent / "python"
    process = subprocess.Popen(
        [
            python,
            "-m",
            "uvicorn",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "mlflow.server.fastapi_app:app",
        ],
        env={"PATH": "/usr/bin:/bin", "_MLFLOW_SERVER_FILE_STORE": uri, "_MLFLOW_SGI_NAME": "uvicorn"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with Exporter(("--server.port", str(port))) as exporter:
            wait_for(
                lambda: exporter.values("mlflow_server_info", backend=dialect) == [1.0], "the server", 60
            )
            wait_for(lambda: dialect in exporter.get("/").text, "the plan")
            page, text = exporter.get("/").text, exporter.scrape()
            assert exporter.values("mlflow_exporter_collector_errors_total", collector="statements") != []
        assert "unsupported" in page
        assert ("mysqld_exporter" in page) is (dialect != "mssql")
        assert "mlflow_server_worker_open_fds" in text
        assert "hunter2" not in page + text + exporter.log()
    finally:
        process.kill()
        process.wait(10)


def test_a_password_shows_nowhere_in_any_form_of_dsn(postgres: Start, mlflow: MlflowServer) -> None:
    server = postgres(15)
    secret = PASSWORDS["mlflow"]
    place = f"127.0.0.1:{server.port}"
    dsns = {
        "uri": server.dsn("mlflow", "mlflow_shared"),
        "driver": server.dsn("mlflow", "mlflow_shared").replace("postgresql:", "postgresql+psycopg2:"),
        "keywords": f"host=127.0.0.1 port={server.port} dbname=mlflow_shared user=mlflow password={secret}",
        "query": f"postgresql://{place}/mlflow_shared?user=mlflow&password={secret}",
        "refused": f"postgresql://nobody:{secret}@{place}/mlflow_shared",
        "unreachable": f"postgresql://mlflow:{secret}@127.0.0.1:1/mlflow_shared",
        "wrong option": f"postgresql://mlflow:{secret}@{place}/mlflow_shared?sslmode={secret}",
    }
    for form, dsn in dsns.items():
        args = ("--server.port", str(mlflow.port), "--log.level", "debug")
        with Exporter(args, {"MLFLOW_EXPORTER_DATABASE_DSN": dsn}) as exporter:
            text = exporter.scrape() + exporter.get("/").text
            text += " ".join(psutil.Process(exporter.pid).cmdline())
            up = exporter.values("mlflow_db_up")
            log = exporter.log()
        assert up == [float(form in ("uri", "driver", "keywords", "query"))], form
        assert secret not in text + log, form
        done = command("check", "--server.port", str(mlflow.port), MLFLOW_EXPORTER_DATABASE_DSN=dsn)
        assert secret not in done.stdout + done.stderr, form


def test_sqlite_is_read_and_its_lock_is_seen() -> None:
    with MlflowServer(workers=1) as tracking, Exporter(("--server.port", str(tracking.port))) as exporter:
        wait_for(lambda: exporter.values("mlflow_db_sqlite_locked") == [0.0], "the SQLite backend")
        assert exporter.values("mlflow_db_sqlite_file_bytes")[0] > 0
        assert exporter.values("mlflow_db_up") == [1.0]
        hold = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('begin exclusive'); print(); input()"
        file = tracking.directory / "mlflow.db"
        with subprocess.Popen(
            [sys.executable, "-u", "-c", hold, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            assert exporter.values("mlflow_db_sqlite_locked") == [1.0]
            holder.communicate(b"\n")
        assert exporter.values("mlflow_db_sqlite_locked") == [0.0]


def test_sigterm_ends_it_with_status_0_within_two_seconds() -> None:
    with Exporter(("--server.port", "1")) as exporter:
        assert requests.get(f"{exporter.url}/-/ready", timeout=5).status_code == 200
        assert exporter.process is not None
        started = time.monotonic()
        exporter.process.terminate()
        assert exporter.process.wait(5) == 0
        assert time.monotonic() - started < 2
