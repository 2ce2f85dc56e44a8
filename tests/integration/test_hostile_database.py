"""A server at the database's address that means harm: it ends no process, fills no memory, gets no credential."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import psycopg
import pytest

from exporter.collector import Reason, SourceError
from exporter.collectors.statements import Statements
from exporter.exposition import Writer
from exporter.lane import Lane
from exporter.samplers.database_probe import DatabaseProbe, DatabaseProbeSpec
from exporter.samplers.load import LoadSampler, LoadSpec
from exporter.secret import Secret
from exporter.sources.conninfo import Target
from exporter.sources.pipeline import Limits, Link, connect
from exporter.sources.postgres import PostgresSource
from tests.integration.test_postgres import lane_to, read, reasons
from tests.lab.impostor import (
    BOUND,
    DONE,
    FLOODS,
    LIMITS,
    READY,
    Act,
    Impostor,
    answer,
    columns,
    error,
    message,
    row,
)
from tests.lab.postgres import Postgres
from tests.lab.servers import Exporter

pytestmark = pytest.mark.integration

Start = Callable[[int], Postgres]

# What the unit of systemd gives the exporter.
MEMORY = 256 << 20


def sends(data: bytes) -> Act:
    def act(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(data)

    return act


def linked(server: Impostor, path: Path | None = None) -> Link:
    where = f"host={path}" if path else f"host=127.0.0.1 port={server.port}"
    return connect(f"{where} user=u dbname=d sslmode=disable password=''".encode(), time.monotonic() + 5)


def asked(link: Link, seconds: float = 2.0) -> list[dict[str, object]]:
    ticket = link.submit("q", b"select 1", (), Limits(2.0))
    return [dict(one) for one in link.wait(ticket, time.monotonic() + seconds)]


def peak(pid: int) -> int:
    """Return the most bytes that were ever resident."""
    (line,) = (one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) << 10


# Until then two of these kept a thread busy for ever, one ended the process, and one showed what lay in memory.
@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"\xff" * 64, "lost synchronization"),
        (BOUND + message(b"H", b"\0\0\0"), "copy"),
        (BOUND + message(b"G", b"\0\0\0"), "copy"),
        (BOUND + message(b"W", b"\0\0\0"), "copy"),
        (READY * 50, "without an answer"),
        (BOUND + message(b"I") + READY, "q: "),
        (answer(columns(("a", 23)), row(b"")), "type"),
        (answer(columns(("a", 701)), row(b"\0" * 7)), "type"),
        (answer(columns(("a", 1700)), row(struct.pack(">HhHH", 65535, 32767, 0, 0))), "type"),
        (answer(columns(("a", 1007)), row(struct.pack(">IIIiI", 1, 0, 23, 2**31 - 1, 1))), "type"),
        (answer(columns(("a", 1009)), row(struct.pack(">IIIiI", 1, 0, 25, 2**31 - 1, 1))), "type"),
        (answer(columns(("a", 1009)), row(struct.pack(">IIIiII", 1, 0, 25, 2, 1, 2**31))), "type"),
        (answer(columns(("a", 600), ("b", 3904)), row(b"", b"")), "type"),
        (answer(columns(*(("a", 23) for _ in range(1_600))), row(*[None] * 1_600) * 200), "no answer"),
        (answer(columns(("a", 25)), row(b"x" * (17 << 20))), "so large"),
    ],
)  # fmt: skip
def test_what_postgres_would_never_send_is_a_bad_answer_at_once(sent: bytes, said: str) -> None:
    with Impostor(sends(sent)) as server:
        link = linked(server)
        started = time.monotonic()
        with pytest.raises(SourceError) as told:
            asked(link)
        assert (told.value.reason, said in told.value.detail) == (Reason.BAD_ANSWER, True), told.value.detail
        assert time.monotonic() - started < 1
        link.close()


def test_texts_of_another_encoding_are_read_and_names_stay_distinct() -> None:
    sent = answer(
        columns(("a", 25), (b"\xe9", 25)), row(b"caf\xe9", b"x"), row(b"caf\xe8", b"y" * 999 + b"\xff" * 9)
    )
    with Impostor(sends(sent)) as server:
        first, second = asked(linked(server))
    assert first == {"a": "caf\\xe9", "\\xe9": "x"}
    assert second == {"a": "caf\\xe8", "\\xe9": "y" * 999 + "\ufffd" * 9}


def test_an_error_is_one_line_that_steers_no_terminal_and_its_remedy_is_no_trap() -> None:
    text = (
        b"permission denied for table x;drop/**/table/**/runs;\n2026-01-01 level=ERROR \x1b]0;title\x07"
        + b"y" * 9_000
    )
    with (
        Impostor(sends(LIMITS + error(text, b"42501") + READY)) as server,
        pytest.raises(SourceError) as told,
    ):
        asked(linked(server))
    assert told.value.detail.isprintable()
    assert len(told.value.detail) < 1_100
    assert "drop" not in told.value.remedy


def test_messages_in_any_order_and_of_any_content_end_in_time() -> None:
    chance = random.Random(8)
    kinds = b"123CDEGHIKNRSTVWZdcntsvA"

    def nonsense() -> bytes:
        parts = [LIMITS, BOUND, DONE, READY, columns(("a", 23)), row(b"\0\0\0\1"), row(None), error(b"no")]
        for _ in range(chance.randrange(1, 8)):
            parts.append(message(bytes([chance.choice(kinds)]), chance.randbytes(chance.randrange(40))))
        return b"".join(chance.choices(parts, k=chance.randrange(1, 14)))

    with Impostor(*(sends(nonsense()) for _ in range(300))) as server:
        reasons = []
        for _ in range(300):
            link = linked(server)
            started = time.monotonic()
            try:
                asked(link, 0.02)
            except SourceError as told:
                reasons.append(told.reason)
            assert time.monotonic() - started < 1
            link.close()
    assert {Reason.BAD_ANSWER, Reason.TIMEOUT} <= set(reasons) <= set(Reason) - {Reason.BUG}


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_an_answer_without_end_is_cut_before_it_fills_the_memory(way: str, tmp_path: Path) -> None:
    path = tmp_path if way == "unix" else None
    process = psutil.Process()
    for name, act in FLOODS.items():
        before = process.memory_info().rss
        with Impostor(act, path=path) as server:
            link = linked(server, path)
            started = time.monotonic()
            with pytest.raises(SourceError) as told:
                asked(link, 1.0)
            assert time.monotonic() - started < 1.8, name
            assert told.value.reason in (Reason.BAD_ANSWER, Reason.TIMEOUT), name
            link.close()
        assert process.memory_info().rss - before < 160 << 20, name
        if path:
            (path / ".s.PGSQL.5432").unlink()


def test_an_exporter_before_such_a_server_answers_in_time_and_stays_within_its_memory() -> None:
    with Impostor(*FLOODS.values()) as server:
        dsn = f"postgresql://u:secret-Zq91@127.0.0.1:{server.port}/d?sslmode=disable"
        env = {"MLFLOW_EXPORTER_DATABASE_DSN": dsn, "MLFLOW_EXPORTER_PROBES_INTERVAL": "1"}
        with Exporter(("--server.port", "1", "--probes.timeout", "1"), env) as exporter:
            reasons = set()
            for _ in range(2 * len(FLOODS)):
                started = time.monotonic()
                text = exporter.scrape(1.5)
                assert time.monotonic() - started < 2
                assert 'mlflow_exporter_source_up{source="postgres"} 0.0' in text
                reasons.add('reason="bug"' in text)
            assert reasons == {False}
            assert peak(exporter.pid) < MEMORY
            assert "secret-Zq91" not in exporter.log() + text


def test_the_probe_of_the_database_ends_in_time_and_takes_no_memory() -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    for name, act in FLOODS.items():
        with Impostor(act) as server:
            target = Target.from_dsn(Secret(f"postgresql://u@127.0.0.1:{server.port}/d"), Secret(""), "", ())
            probe = DatabaseProbe(DatabaseProbeSpec(target, timeout=0.7))
            started = time.monotonic()
            probe.tick()
            assert time.monotonic() - started < 1.5, name
            assert probe.error is not None, name
            probe.close()
    assert process.memory_info().rss - before < 160 << 20


def test_passwords_in_statements_are_not_shown(postgres: Start) -> None:
    server = postgres(17)
    server.create_mlflow("spoken")
    server.execute("CREATE ROLE spoken LOGIN")
    slow = (
        "ALTER ROLE spoken PASSWORD 'word-Zq95'",
        "SET app.token = 'word-Zq95'",
        'SELECT pg_sleep(0.4), \'word-Zq95\', $x$word-Zq95$x$, "a\x1b[31m" FROM (SELECT 1) AS t ("a\x1b[31m")',
        "DO $x$ BEGIN PERFORM pg_sleep(0.4); /* word-Zq95 */ END $x$",
    )
    try:
        target = Target.from_dsn(Secret(server.dsn("exporter", "spoken")), Secret(""), "", ())
        # Texts are read now and then, so its clock is fast.
        lane = Lane(PostgresSource(target), [Statements(10, True, lambda: 1_000 * time.monotonic())])
        with server.connect("postgres", "spoken") as session, closing(lane):
            assert reasons(read(lane)) == {}
            held = threading.Event()
            holder = threading.Thread(target=holds_roles, args=[server, held])
            holder.start()
            held.wait(10)
            for text in slow:
                session.execute(text.encode())
            holder.join()
            shown = ""
            until = time.monotonic() + 30
            while "ALTER ROLE" not in shown and time.monotonic() < until:
                shown, _ = Writer().text(lane.samples(read(lane)))
                time.sleep(0.2)
    finally:
        server.drop("spoken")
        server.execute("DROP ROLE spoken")
    assert "Zq95" not in shown
    assert 'query="ALTER ROLE spoken PASSWORD ?"' in shown
    assert "\\\\x1b[31m" in shown
    assert "\x1b" not in shown


def test_bytes_of_a_neighbour_without_an_encoding_cost_texts_alone_and_say_what_mends_it(
    postgres: Start,
) -> None:
    server = postgres(17)
    server.create_mlflow("beside")
    server.execute(
        "CREATE DATABASE bytes ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    odd = f"{server.dsn('postgres', 'bytes')}?client_encoding=SQL_ASCII&application_name=mlflow-exporter"
    target = Target.from_dsn(Secret(server.dsn("exporter", "beside")), Secret(""), "", ())
    sampler = LoadSampler(LoadSpec(target))
    stop = threading.Event()
    busy = threading.Thread(target=says, args=[odd, b'SELECT pg_sleep(0.05) AS "\xe9\xff\xfe"', stop])
    busy.start()
    try:
        with lane_to(server.dsn("exporter", "beside")) as lane:
            for _ in range(5):
                sampler.tick()
                time.sleep(0.03)
            assert sampler.failure is None
            outcomes = read(lane).outcomes
            stop.set()
            busy.join()
            failed = {name: one for name, one in outcomes.items() if one.reason}
            assert {one.reason for one in failed.values()} == {Reason.BAD_ANSWER}
            assert set(failed) <= {"statements", "plans"}
            (remedy,) = {one.remedy for one in failed.values()}
            server.execute(remedy, dbname="beside")
            with lane_to(server.dsn("exporter", "beside")) as again:
                assert reasons(read(again)) == {}
    finally:
        stop.set()
        sampler.close()
        server.drop("bytes")
        server.drop("beside")


def holds_roles(server: Postgres, held: threading.Event) -> None:
    """Make whoever changes a role wait for a while."""
    with server.connect() as session:
        session.execute("BEGIN")
        session.execute("LOCK TABLE pg_authid IN SHARE MODE")
        held.set()
        session.execute("SELECT pg_sleep(0.4)")
        session.execute("ROLLBACK")


def says(dsn: str, text: bytes, stop: threading.Event) -> None:
    with psycopg.connect(dsn, autocommit=True) as session:
        while not stop.is_set():
            session.execute(text)
