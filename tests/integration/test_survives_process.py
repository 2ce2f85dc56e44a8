"""The exporter's own process at its limits, stopped, told the wrong time or reloaded, while it is being scraped."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.integration.survival import Survives, watching
from tests.lab import tools
from tests.lab.postgres import PASSWORDS, Postgres
from tests.lab.process import wait_for
from tests.lab.servers import Exporter

pytestmark = pytest.mark.integration

DOWN = {"mlflow_db_up", "mlflow_exporter_source_up postgres"}
HOST = {"mlflow_exporter_source_up host"}
NOBODY = 65534
SECONDS = 3.0  # the scrapes' timeout; the machine that runs the tests has other things to do
END_SESSIONS = (
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'mlflow-exporter'"
)


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with Postgres(17) as server:
        server.create_mlflow()
        yield server


@pytest.fixture
def dsn(database: Postgres) -> str:
    return database.dsn("exporter", "mlflow")


def used_up(process: psutil.Process) -> int:
    """Return the limit at which it has no descriptor left: the lowest free number, when what it keeps is below."""

    def lowest() -> int:
        used = {int(one.name): one.readlink() for one in Path(f"/proc/{process.pid}/fd").iterdir()}
        kept = max(number for number, target in used.items() if str(target) == os.devnull)
        free = min(set(range(len(used) + 1)) - used.keys())
        return free if free > kept else 0

    wait_for(lambda: lowest() > 0, "a descriptor kept below the free ones", 10, 0.01)
    return lowest()


def lines(exporter: Exporter) -> int:
    return len(exporter.log().splitlines())


@pytest.mark.survives("Host and process", "no file descriptor left")
def test_without_a_descriptor_it_says_so_and_nobody_else_is_blamed(
    survives: Survives, dsn: str, database: Postgres
) -> None:
    with watching(dsn) as exporter, survives(exporter, [database], SECONDS) as trial:
        process = psutil.Process(exporter.pid)
        allowed = process.rlimit(resource.RLIMIT_NOFILE)
        process.rlimit(resource.RLIMIT_NOFILE, (used_up(process), allowed[1]))
        seen = trial.during(5, until=lambda seen: seen.of("server") == {"exhausted"})
        assert seen.down == HOST
        assert seen.of("connections") == set()  # its session is open
        assert seen.of("probe database") == set()
        assert "LimitNOFILE=" in exporter.log()
        said = lines(exporter)
        trial.during(20, every=0.05)
        assert lines(exporter) - said <= 4  # as what lasts is not news
        process.rlimit(resource.RLIMIT_NOFILE, allowed)
        trial.recovered()


@pytest.mark.survives("Host and process", "no memory left (RLIMIT_AS)")
def test_without_memory_it_answers_with_what_it_can_or_refuses(
    survives: Survives, dsn: str, database: Postgres
) -> None:
    with watching(dsn) as exporter, survives(exporter, [database], SECONDS) as trial:
        process = psutil.Process(exporter.pid)
        process.rlimit(resource.RLIMIT_AS, (process.memory_info().vms, resource.RLIM_INFINITY))
        answers = []
        for _ in range(10):
            started = time.monotonic()
            answer = requests.get(exporter.url + "/metrics", timeout=10)
            trial.row.slowest = max(trial.row.slowest, time.monotonic() - started)
            answers.append(answer.status_code)
            assert answer.status_code == 200 or re.search("no memory left.*MemoryMax=", answer.text)
        whole = answers.count(200)
        trial.row.answer = f"{whole} of {len(answers)} answered, the others refused with 503 and why"
        trial.row.reasons = "exhausted"
        process.rlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        trial.recovered()
        # The log needs memory as well, so it may have said this only once there was some again.
        assert "MemoryMax=" in exporter.log() or whole == len(answers)


@pytest.mark.survives("Host and process", "no thread can be started (RLIMIT_NPROC)")
def test_without_a_new_thread_it_goes_on_with_those_that_it_has(
    survives: Survives, dsn: str, database: Postgres
) -> None:
    exporter = watching(dsn)
    exporter.user = "nobody" if os.geteuid() == 0 else ""  # root has no such limit
    exporter.own(exporter.directory)

    def limit(tasks: str) -> None:
        ours = (
            ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if exporter.user else []
        )
        subprocess.run([*ours, "prlimit", "--pid", str(exporter.pid), f"--nproc={tasks}"], check=True)

    with exporter, survives(exporter, [database], SECONDS) as trial:
        limit("1:")
        seen = trial.during(10)
        assert seen.down == set() and not seen.failing
        _, hard = psutil.Process(os.getpid()).rlimit(resource.RLIMIT_NPROC)
        limit(f"{hard if hard >= 0 else 'unlimited'}:")
        trial.recovered()


@pytest.mark.survives("Host and process", "stopped for 5 s (SIGSTOP)")
def test_after_a_stop_it_catches_up_without_a_jump(survives: Survives, dsn: str, database: Postgres) -> None:
    sampled = "mlflow_db_load_sampled_seconds_total"
    with watching(dsn) as exporter, survives(exporter, [database], SECONDS) as trial:
        process = psutil.Process(exporter.pid)
        before = trial.scrape()
        process.suspend()
        time.sleep(5)
        process.resume()
        seen = trial.during(1)
        assert seen.down == set()
        grown = (seen.last.value(sampled) or 0) - (before.value(sampled) or 0)
        assert grown <= 3.5  # two intervals for the gap, which nobody has seen
        trial.recovered()


@pytest.mark.survives("Host and process", "time of day set a day ahead, then two days back")
def test_a_clock_that_is_set_changes_no_answer(
    survives: Survives, dsn: str, database: Postgres, tmp_path: Path
) -> None:
    library = tools.faketime()
    if library is None:
        pytest.skip("libfaketime is not here: make tools")
    now = tmp_path / "now"
    now.write_text("+0")
    fake = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(now), "FAKETIME_NO_CACHE": "1"}
    fake |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
    when = "mlflow_exporter_collector_last_success_timestamp_seconds"
    with watching(dsn, **fake) as exporter, survives(exporter, [database], SECONDS) as trial:
        for days in (1, -2):
            now.write_text(f"{days * 86400:+d}")
            seen = trial.during(5)
            assert seen.down == set() and not seen.failing and not seen.reasons
            at = seen.last.value(when, collector="connections")
            assert at == pytest.approx(time.time() + days * 86400, abs=60)  # the process believes it
        now.write_text("+0")
        trial.recovered()


@pytest.mark.survives("Host and process", "SIGHUP as fast as it can be sent")
def test_a_storm_of_reloads_delays_no_scrape(
    survives: Survives, dsn: str, database: Postgres, tmp_path: Path
) -> None:
    config = tmp_path / "exporter.yml"
    config.write_text("log: {level: info}\n")
    with watching(dsn, "--config", str(config)) as exporter, survives(exporter, [database], SECONDS) as trial:
        over, sent = threading.Event(), [0]

        def storm() -> None:
            while not over.is_set():
                exporter.reload()
                sent[0] += 1

        sending = threading.Thread(target=storm)
        sending.start()
        try:
            seen = trial.during(5)
        finally:
            over.set()
            sending.join()
        assert seen.down == set() and not seen.failing
        assert sent[0] > 1000
        assert 0 < exporter.log().count("settings reloaded") < sent[0] / 2
        trial.recovered()


@pytest.mark.survives("Host and process", "settings file emptied, cut and gone at a reload")
def test_settings_that_cannot_be_read_change_nothing(
    survives: Survives, dsn: str, database: Postgres, tmp_path: Path
) -> None:
    config, whole = tmp_path / "exporter.yml", "collectors: [connections, 'database', server]\n"
    config.write_text(whole)
    with watching(dsn, "--config", str(config)) as exporter, survives(exporter, [database], SECONDS) as trial:
        for faults, damage in enumerate(("", whole[:25], None), 1):
            config.write_text(damage) if damage is not None else config.unlink()
            exporter.reload()
            wait_for(lambda: exporter.log().count("settings not reloaded") == faults, "a refusal", 5)  # noqa: B023
            seen = trial.during(1)
            assert seen.down == set() and not seen.failing
            assert seen.last.value("mlflow_exporter_config_last_reload_successful") == 0
        config.write_text(whole)
        exporter.reload()
        wait_for(lambda: "settings reloaded" in exporter.log(), "a reload", 5)
        assert trial.recovered().value("mlflow_exporter_config_last_reload_successful") == 1


@pytest.mark.survives("Host and process", "password file gone, and the sessions")
def test_a_password_that_is_gone_is_named_and_read_again(
    survives: Survives, database: Postgres, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORDS["exporter"])
    dsn = f"postgresql://exporter@127.0.0.1:{database.port}/mlflow"
    env = {"MLFLOW_EXPORTER_DATABASE_PASSWORD_FILE": str(file)}
    with watching(dsn, **env) as exporter, survives(exporter, [database], SECONDS) as trial:
        file.unlink()
        database.execute(END_SESSIONS)
        seen = trial.during(until=lambda seen: seen.of("probe database") == {"settings"})
        assert seen.down == DOWN
        assert seen.of("connections") == {"permission"}
        assert "database.password_file" in exporter.log()
        file.write_text(PASSWORDS["exporter"])
        trial.recovered()


@pytest.mark.survives("Host and process", "disk full where its log goes (ENOSPC)")
def test_a_log_that_cannot_be_written_costs_its_lines(
    survives: Survives, dsn: str, database: Postgres
) -> None:
    exporter = watching(dsn, "--log.level", "debug")
    exporter.wrapper = ["sh", "-c", 'exec "$@" >/dev/full 2>&1', "sh"]
    with exporter, survives(exporter, [database], SECONDS) as trial:
        seen = trial.during(10)
        assert seen.down == set() and not seen.failing
        trial.recovered()
        assert exporter.process is not None
        exporter.process.terminate()
        assert exporter.process.wait(5) == 0
        exporter.start()  # for the end of the trial, as before


@pytest.mark.survives("Host and process", "its log read by nobody: pipe full, then closed")
def test_a_log_that_nobody_reads_holds_no_thread(
    survives: Survives, dsn: str, database: Postgres, tmp_path: Path
) -> None:
    pipe = tmp_path / "log"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    exporter = watching(dsn, "--log.level", "debug")
    exporter.wrapper = ["sh", "-c", f'exec "$@" 2>{pipe}', "sh"]
    with exporter, survives(exporter, [database], SECONDS) as trial:
        full = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(full, b"x" * 4096)
        os.close(full)
        seen = trial.during(10)
        assert seen.down == set() and not seen.failing
        while b"lines before this one are lost" not in os.read(reader, 65536):
            trial.scrape()
        os.close(reader)
        trial.during(5)
        trial.recovered()


@pytest.mark.survives("Host and process", "started without standard streams")
def test_what_is_opened_first_is_not_taken_for_standard_error(
    survives: Survives, dsn: str, database: Postgres
) -> None:
    exporter = watching(dsn)
    exporter.wrapper = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    with exporter, survives(exporter, [database], SECONDS) as trial:
        taken = {str(Path(f"/proc/{exporter.pid}/fd/{number}").readlink()) for number in range(3)}
        assert taken == {os.devnull}
        seen = trial.during(3)
        assert seen.down == set() and not seen.failing
        trial.recovered()


@pytest.mark.survives("Host and process", "SIGTERM while a scrape hangs")
def test_a_scrape_under_way_is_answered_a_second_after_sigterm(
    survives: Survives, database: Postgres
) -> None:
    with watching(database.dsn("exporter", "mlflow")) as exporter:
        exporter.scrape()
        found: list[tuple[float, requests.Response]] = []
        hanging = threading.Thread(
            target=lambda: found.append(
                (time.monotonic(), requests.get(exporter.url + "/metrics", timeout=20))
            )
        )
        database.pause()
        try:
            hanging.start()
            time.sleep(0.5)
            assert exporter.process is not None
            ended = time.monotonic()
            exporter.process.terminate()
            status = exporter.process.wait(5)
            took = time.monotonic() - ended
            hanging.join()
        finally:
            database.resume()
    ((_, answer),) = found
    assert (status, answer.status_code) == (0, 200)
    assert took < 2
    assert 'mlflow_exporter_collector_success{collector="server"} 1.0' in answer.text
    assert 'mlflow_exporter_collector_success{collector="connections"} 0.0' in answer.text
    survives.measured("what was read by then, and exit status 0", took, 2.0, "timeout (postgres)", 0.0)
