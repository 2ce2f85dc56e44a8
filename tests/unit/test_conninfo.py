"""How a DSN becomes what libpq takes, and that nothing of it leaks."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import psutil
import pytest

from exporter.backend import Backend
from exporter.collector import Reason, SourceError
from exporter.logs import Formatter, redacted
from exporter.secret import Secret
from exporter.sources import command, flood
from exporter.sources.conninfo import Target

pytestmark = pytest.mark.unit

WORD = "hunter2-s3cr3t"


def target(dsn: str, password: str = "", file: str = "", command: tuple[str, ...] = ()) -> Target:
    return Target.from_dsn(Secret(dsn), Secret(password), file, command)


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://mlflow:{WORD}@db.example:6432/mlflow",
        f"host=db.example port=6432 dbname=mlflow user=mlflow password={WORD}",
        f"postgresql+psycopg2://mlflow:{WORD}@db.example:6432/mlflow",
        f"postgresql://db.example:6432/mlflow?user=mlflow&password={WORD}",
    ],
)
def test_every_form_of_dsn_gives_the_same_target_and_shows_no_password(dsn: str) -> None:
    found = target(dsn)
    assert found.place == "mlflow@db.example:6432/mlflow"
    assert WORD not in repr(found)
    assert f"password={WORD}".encode() in found.conninfo()


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql:/mlflow:{WORD}@db/x",
        f"{WORD}",
        f"host=db {WORD}",
        f"nonsense={WORD} host=x",
        f"postgresql://mlflow:a@{WORD}@db/x",
        f"postgresql://mlflow:a/{WORD}@db/x",
        f"postgresql://mlflow:{WORD}/a@db/x",
    ],
)
def test_a_broken_dsn_is_not_quoted_in_the_error(dsn: str) -> None:
    with pytest.raises(SourceError) as caught:
        target(dsn)
    assert caught.value.reason is Reason.BAD_ANSWER
    assert "postgresql://USER@HOST" in caught.value.remedy
    for text in (str(caught.value), caught.value.remedy, repr(caught.value)):
        assert WORD not in text
    assert caught.value.__cause__ is caught.value.__context__ is None  # nor in a traceback


def test_the_password_file_is_read_at_each_connect(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    found = target("host=db", file=str(file))
    assert b"password=first" in found.conninfo()
    file.write_text("second\n")
    assert b"password=second" in found.conninfo()


def test_a_password_command_that_fails_is_a_named_failure_without_its_output() -> None:
    found = target("host=db", command=("sh", "-c", f"echo {WORD}; echo {WORD} >&2; exit 3"))
    with pytest.raises(SourceError) as caught:
        found.conninfo()
    assert caught.value.reason is Reason.PERMISSION
    assert WORD not in str(caught.value)


def test_a_password_command_has_the_usual_limits_although_a_flood_is_held_back_meanwhile() -> None:
    found = target("host=db", command=("sh", "-c", "sleep 0.05; ulimit -d"))
    usual = found.conninfo()
    guard, reading, done = flood.Flood(), threading.Event(), threading.Event()

    def read() -> None:
        while not done.is_set():
            with guard:
                reading.set()
                time.sleep(0.005)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        reading.wait()
        assert [found.conninfo() for _ in range(5)] == [usual] * 5
    finally:
        done.set()
        reader.join()


def test_a_password_command_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "SECONDS", 0.01)
    found = target("host=db", command=("sleep", "60"))
    started = time.monotonic()
    with pytest.raises(SourceError) as caught:
        found.conninfo()
    assert "TimeoutExpired" in caught.value.detail
    assert time.monotonic() - started < 30, "it was waited for"
    assert not list(psutil.Process().children())


def test_a_password_command_that_prints_without_end_is_killed_and_fills_no_memory() -> None:
    before = psutil.Process().memory_info().rss
    with pytest.raises(SourceError) as caught:
        target("host=db", command=("yes", WORD)).conninfo()
    assert "TooLongError" in caught.value.detail
    assert WORD not in str(caught.value)
    assert psutil.Process().memory_info().rss - before < 8 << 20
    assert not list(psutil.Process().children())


def test_no_credential_of_our_own_user_goes_to_an_address_found_in_an_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPASSWORD", WORD)
    conninfo = Target.from_backend(Backend("postgresql", "stranger.example", 5432, "db", "mlflow")).conninfo()
    assert b"passfile=/dev/null/none" in conninfo
    assert b"password=''" in conninfo
    assert b"sslcertmode=disable" in conninfo


def test_startup_options_are_sent_only_where_the_dsn_has_them() -> None:
    assert b"options=''" in target("host=db").conninfo()
    assert b"options=-csearch_path=x" in target("host=db options=-csearch_path=x").conninfo()


@pytest.mark.parametrize(
    "line",
    [
        f"cannot parse postgresql+psycopg2://mlflow:{WORD}@db/mlflow",
        f"dsn host=db password={WORD} user=x",
        f"dsn host=db password='{WORD} with \\' space' user=x",
        f"url http://x/y?token={WORD}&a=b",
    ],
)
def test_log_lines_are_redacted(line: str) -> None:
    assert WORD not in redacted(line)
    assert "***" in redacted(line)


def test_tracebacks_in_the_log_are_redacted() -> None:
    try:
        raise ValueError(f"postgresql://u:{WORD}@h/d")
    except ValueError as error:
        record = logging.LogRecord(
            "x", logging.ERROR, "f", 1, "failed", (), (ValueError, error, error.__traceback__)
        )
    assert WORD not in Formatter("%(message)s").format(record)


def test_a_remedy_names_the_role_as_postgres_takes_it() -> None:
    error = SourceError(Reason.PERMISSION, "no", "ALTER ROLE {role} LOGIN;")
    named = target("postgresql://o%27brien%22x@db/mlflow")
    assert named.exact(error).remedy == """ALTER ROLE "o'brien""x" LOGIN;"""
