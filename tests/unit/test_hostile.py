"""What other users' processes, files and servers say of themselves, where it is read."""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path

import pytest

from exporter.backend import Backend
from exporter.collector import Reason, SourceError
from exporter.discovery import Discovery
from exporter.host import processes, servers
from exporter.host.servers import WANTED
from exporter.logs import Formatter, harmless
from exporter.page import page
from exporter.samplers.attempt import Failure, ProbeError
from exporter.sources.conninfo import Target
from exporter.sources.sqlite import SqliteSource
from exporter.statements.counts import KEY, MOST_STATEMENTS, ROW, Reading
from exporter.statements.texts import shown
from tests.unit.proctree import PYTHON, ProcTree, environment, uvicorn

pytestmark = pytest.mark.unit


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProcTree:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return ProcTree(tmp_path / "proc")


def test_of_an_environment_only_what_is_asked_for_is_kept_and_nothing_too_long(proc: ProcTree) -> None:
    given = {"PGHOST": "db", "PGPORT": "5" * 5_000, "OTHER": "x", "AFTER_PGHOST": "no"} | {
        f"PGHOST{number}": "" for number in range(9_000)
    }
    pid = proc.process([PYTHON], environ=given)
    assert processes.environ(proc.root, pid, WANTED) == {"PGHOST": "db"}
    (proc.root / str(pid) / "environ").write_bytes(b"PGUSER=cut off")
    assert processes.environ(proc.root, pid, WANTED) == {"PGUSER": "cut off"}


def test_of_a_command_line_the_first_words_are_kept(proc: ProcTree) -> None:
    pid = proc.process([PYTHON, *["ab"] * 5_000])
    assert len(processes.command(proc.root, pid)) == processes.MOST_WORDS
    pid = proc.process([PYTHON, "x" * 50_000])
    assert sum(map(len, processes.command(proc.root, pid))) <= processes.LONGEST_COMMAND


def test_a_crowd_of_one_user_hides_no_other_users_server(
    proc: ProcTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "MOST_CANDIDATES", 20)
    for _ in range(30):
        proc.process(uvicorn(5000, 1), environ=environment(), uid=65_534)
    proc.server(port=5001)
    found = Discovery(5001, "", proc.root).look().found
    assert found is not None
    assert found.port == 5001


def test_of_many_servers_the_first_are_named(proc: ProcTree) -> None:
    for number in range(30):
        inode = proc.listen(6_000 + number)
        proc.process(uvicorn(6_000 + number, 1), environ=environment(str(number)), sockets=[inode])
    (problem,) = Discovery(None, "", proc.root).look().problems
    assert problem.count("(user ") == 10
    assert "and 20 more" in problem


def test_a_file_that_a_stranger_names_as_its_store_is_none(proc: ProcTree) -> None:
    inode = proc.listen(5000, uid=65_534)
    uri = environment(uri="sqlite:////root/secret.db")
    proc.process(uvicorn(5000, 1), environ=uri, sockets=[inode], uid=65_534)
    stranger = Discovery(None, "", proc.root).look()
    assert stranger.found is not None
    assert stranger.found.backend == Backend("sqlite")
    assert any("another user names it" in problem for problem in stranger.problems)
    named = Discovery(None, "65534", proc.root).look()
    assert named.found is not None
    assert named.found.backend == Backend("sqlite", path="/root/secret.db")


def test_the_package_is_looked_for_in_few_entries(proc: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "MOST_ENTRIES", 50)
    pids = proc.server()
    folder = proc.root / str(pids["supervisor"][0]) / "root/opt/mlflow/lib/python3.11/site-packages"
    folder.mkdir(parents=True)
    (folder / "mlflow-3.17.0.dist-info").mkdir()
    assert Discovery(5000, "", proc.root).look().version == "3.17.0"
    monkeypatch.setattr(servers, "MOST_ENTRIES", 0)
    assert Discovery(5000, "", proc.root).look().version == ""


def test_a_group_whose_files_cannot_be_read_is_said_to_cost_its_limits(proc: ProcTree) -> None:
    pids = proc.server()
    (proc.root / str(pids["supervisor"][0]) / "cgroup").write_text("0::/pod/mlflow\n")
    assert any(
        "files of its control group cannot be read" in one
        for one in Discovery(5000, "", proc.root).look().problems
    )


def test_hidden_processes_are_said_to_be_hidden(proc: ProcTree, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = proc.root / "self" / "mounts"
    mounts.write_text(f"proc {proc.root} proc rw 0 0\nproc {proc.root} proc rw,gid=4,hidepid=invisible 0 0\n")
    assert Discovery(None, "", proc.root).look().problems == ()  # root sees all
    monkeypatch.setattr(os, "geteuid", lambda: 65_534)
    (problem,) = Discovery(None, "", proc.root).look().problems
    assert "hidepid=invisible" in problem
    mounts.write_text(f"proc {proc.root} proc rw,hidepid=off 0 0\n")
    assert Discovery(None, "", proc.root).look().problems == ()


@pytest.mark.parametrize(
    ("host", "trusted", "allowed"),
    [
        ("db.example", False, "scram-sha-256,md5,password,none"),
        ("/run/postgresql", True, "scram-sha-256,md5,password,none"),
        ("/run/postgresql", False, "scram-sha-256,md5,password"),
        ("", False, "scram-sha-256,md5,password"),
    ],
)
def test_who_we_are_opens_no_socket_that_a_stranger_names_and_no_ticket_goes_anywhere(
    host: str, trusted: bool, allowed: str
) -> None:
    target = Target.from_backend(Backend("postgresql", host, user="root"), trusted)
    assert dict(target.options)["require_auth"] == allowed
    assert dict(target.options)["gssencmode"] == "disable"


def test_a_schema_that_somebody_has_written_is_not_taken_in(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table a (b)")
        connection.execute("pragma writable_schema = on")
        connection.execute(
            "update sqlite_master set name = ?, sql = 'nonsense'", ["x\nlevel=ERROR " + "y" * 100_000]
        )
        connection.commit()
    reading = SqliteSource(str(path)).open((), time.monotonic() + 5)
    assert not reading.locked
    path.write_bytes(b"no database" * 1_000)
    with pytest.raises(SourceError) as told:
        SqliteSource(str(path)).open((), time.monotonic() + 5)
    assert told.value.reason is Reason.BAD_ANSWER


def test_more_statements_than_can_be_kept_in_mind_are_a_named_failure() -> None:
    info, many = {"server_started": 1.0, "reset": 0.0}, MOST_STATEMENTS + 1
    row = {"read_at": 2.0, "statements": bytes(many * KEY.size), "counts": bytes(many * ROW.size)}
    with pytest.raises(SourceError) as told:
        Reading.of(info, row, None)
    assert told.value.reason is Reason.UNSUPPORTED
    with pytest.raises(SourceError) as told:
        Reading.of(info, row | {"statements": bytes(17)}, None)
    assert told.value.reason is Reason.BAD_ANSWER
    assert struct.calcsize("q") == 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SET app.token = Zq", "SET app.token = ?"),
        ('set  local\n app.token to "Zq"', "set local app.token = ?"),
        ("SET SESSION app.token='Zq' -- Zq", "SET SESSION app.token = ?"),
        ("UPDATE t SET a = $1", "UPDATE t SET a = $1"),
        ('SELECT "\x1b[31m" FROM t', 'SELECT "\\x1b[31m" FROM t'),
    ],
)
def test_a_text_shows_neither_what_is_set_nor_an_escape(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_a_log_record_is_one_line_and_what_follows_it_is_indented() -> None:
    format = Formatter("%(asctime)s level=%(levelname)s %(message)s").format
    record = logging.LogRecord(
        "x", logging.INFO, "f", 1, "a %s", ("b\n2026 level=ERROR forged\r\x1b[2J\u202e",), None
    )
    first, *more = format(record).splitlines()
    assert first.endswith("level=INFO a b")
    assert more == ["  2026 level=ERROR forged\\r\\x1b[2J\\u202e"]


@pytest.mark.parametrize("kind", [SourceError, ProbeError])
def test_what_a_server_said_is_one_line_of_bounded_length(kind: type[SourceError | ProbeError]) -> None:
    first = Reason.BAD_ANSWER if kind is SourceError else Failure.BODY
    detail = kind(first, "x\ny\x00\ud800" + "z" * 10_000).detail  # type: ignore[arg-type]
    assert detail.startswith("x\\ny\\x00\\ud800zz")
    assert len(detail) < 1_100


def test_what_no_encoding_can_write_is_shown_and_ends_no_page() -> None:
    assert b"\\udce9" in page("a\udce9", "b")
    assert harmless("a\udce9") == "a\\udce9"
