"""Users and passwords: who is let in, what it costs, and what can be learnt from being refused."""

from __future__ import annotations

import base64
import itertools
import sys
import threading
from collections.abc import Iterator
from typing import Any

import bcrypt
import pytest

from exporter.access import passwords
from exporter.access.bucket import Bucket
from exporter.access.gate import Gate, credentials
from exporter.access.passwords import WAITING, Passwords, Verdict

pytestmark = pytest.mark.unit

ALICE, BOB = b"alice", b"bob"
HASHES = {
    ALICE: bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)),
    BOB: bcrypt.hashpw(b"staple", bcrypt.gensalt(5)),
}


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield each password that bcrypt was asked about, with the hash."""
    asked: list[tuple[bytes, bytes]] = []
    real = bcrypt.checkpw

    def checkpw(password: bytes, hashed: bytes) -> bool:
        asked.append((password, hashed))
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    yield asked


def check(door: Passwords, user: bytes, password: bytes, address: str = "10.0.0.1") -> Verdict:
    return door.check(HASHES, user, password, address)


def test_the_right_password_and_no_other_lets_its_user_in() -> None:
    door = Passwords()
    assert check(door, ALICE, b"correct horse") is Verdict.RIGHT
    assert check(door, BOB, b"correct horse") is Verdict.WRONG
    assert check(door, ALICE, b"correct hors") is Verdict.WRONG
    assert check(door, ALICE, b"") is Verdict.WRONG


def test_who_was_right_is_checked_once_and_who_was_wrong_too(checked: list[Any]) -> None:
    door = Passwords()
    for _ in range(5):
        assert check(door, ALICE, b"correct horse") is Verdict.RIGHT
        assert check(door, ALICE, b"wrong") is Verdict.WRONG
    assert len(checked) == 2


def test_a_user_that_is_not_there_costs_the_most_that_any_user_costs(checked: list[Any]) -> None:
    assert (
        check(Passwords(), b"mallory", b"staple") is Verdict.WRONG
    )  # which is Bob's, whose hash is compared
    assert checked == [(b"staple", HASHES[BOB])]


def test_a_changed_hash_is_another_password(checked: list[Any]) -> None:
    door = Passwords()
    assert check(door, ALICE, b"correct horse") is Verdict.RIGHT
    changed = {ALICE: bcrypt.hashpw(b"new", bcrypt.gensalt(4))}
    assert door.check(changed, ALICE, b"correct horse", "a") is Verdict.WRONG
    assert door.check(changed, ALICE, b"new", "a") is Verdict.RIGHT
    assert door.check({BOB: HASHES[BOB]}, ALICE, b"new", "a") is Verdict.WRONG


def test_an_address_that_is_often_wrong_is_not_checked_for_a_while(checked: list[Any]) -> None:
    door = Passwords()
    verdicts = [check(door, ALICE, b"%d" % number) for number in range(20)]
    assert verdicts == [Verdict.WRONG] * 5 + [Verdict.LATER] * 15
    assert len(checked) == 5


def test_a_flood_from_one_address_neither_locks_out_another_nor_one_that_is_remembered() -> None:
    door = Passwords()
    assert check(door, ALICE, b"correct horse", "10.0.0.1") is Verdict.RIGHT
    for number in range(20):
        check(door, ALICE, b"%d" % number, "10.0.0.1")
    assert check(door, ALICE, b"correct horse", "10.0.0.1") is Verdict.RIGHT
    assert check(door, BOB, b"staple", "10.0.0.1") is Verdict.LATER
    assert check(door, BOB, b"staple", "10.0.0.2") is Verdict.RIGHT


def test_who_is_right_uses_nothing_up() -> None:
    door = Passwords()
    users = {b"user%d" % number: bcrypt.hashpw(b"x", bcrypt.gensalt(4)) for number in range(20)}
    assert {door.check(users, user, b"x", "10.0.0.1") for user in users} == {Verdict.RIGHT}


def test_wrong_passwords_of_a_thousand_addresses_take_a_bounded_time_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch, checked: list[Any]
) -> None:
    clock = itertools.count(step=0.05)  # what a check with a cost of 10 takes, here without taking it
    monkeypatch.setattr("exporter.access.passwords.time.thread_time", lambda: next(clock))
    door = Passwords()
    for number in range(1000):
        check(door, ALICE, b"%d" % number, f"10.0.{number >> 8}.{number & 255}")
    assert len(checked) * 0.05 <= passwords.BURST_SECONDS + 0.2


def test_what_is_remembered_of_the_wrong_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bcrypt, "checkpw", lambda password, hashed: False)
    monkeypatch.setattr(passwords, "CORES", 1e9)
    door = Passwords()
    for number in range(3 * passwords.REMEMBERED):
        check(door, ALICE, b"%d" % number, f"address {number}")
    assert len(door._wrong) == len(door._addresses) == passwords.REMEMBERED


def test_one_password_is_checked_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once: list[int] = []
    inside = threading.Semaphore(2)
    real = bcrypt.checkpw

    def checkpw(password: bytes, hashed: bytes) -> bool:
        with inside:
            at_once.append(inside._value)
            return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    door = Passwords()
    threads = [threading.Thread(target=check, args=(door, ALICE, b"x%d" % n, f"{n}")) for n in range(WAITING)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert at_once == [1] * WAITING


def test_who_comes_when_as_many_wait_for_their_turn_as_may_is_told_to_come_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(bcrypt, "checkpw", lambda password, hashed: not go_on.wait(10))
    door = Passwords()
    verdicts: list[Verdict] = []
    threads = [
        threading.Thread(target=lambda n=n: verdicts.append(check(door, ALICE, b"x%d" % n, f"10.0.{n}.1")))
        for n in range(WAITING)
    ]
    for thread in threads:
        thread.start()
    while door._queue._value:
        pass  # until all are in line
    assert check(door, ALICE, b"y", "10.0.9.1") is Verdict.LATER
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert verdicts == [Verdict.WRONG] * WAITING


def test_a_password_is_not_cut_at_a_zero_byte_and_a_long_one_where_bcrypt_cuts_it() -> None:
    users = {ALICE: bcrypt.hashpw(b"a" * 72, bcrypt.gensalt(4)), BOB: bcrypt.hashpw(b"a", bcrypt.gensalt(4))}
    door = Passwords()
    assert door.check(users, ALICE, b"a" * 80, "") is Verdict.RIGHT  # as htpasswd and Go have it
    assert door.check(users, BOB, b"a\0b", "") is Verdict.WRONG


def test_no_password_is_kept() -> None:
    door = Passwords()
    check(door, ALICE, b"correct horse")
    check(door, ALICE, b"wrong horse")
    assert b"horse" not in repr(vars(door)).encode()


def test_a_log_line_has_the_address_and_neither_user_nor_password(caplog: pytest.LogCaptureFixture) -> None:
    door = Passwords()
    for number in range(20):
        check(door, b"hunter2", b"hunter3%d" % number)
    assert [record.getMessage() for record in caplog.records] == ["a wrong user or password from 10.0.0.1"]


@pytest.mark.parametrize(
    ("header", "login"),
    [
        ("Basic " + base64.b64encode(b"alice:a:b").decode(), (ALICE, b"a:b")),
        ("bAsIc  " + base64.b64encode(b"alice:").decode(), (ALICE, b"")),
        ("Basic " + base64.b64encode("ä:ö".encode()).decode(), ("ä".encode(), "ö".encode())),
        ("Basic " + base64.b64encode(b"alice").decode(), None),
        ("Basic !!!!", None),
        ("Basic \xe4", None),
        ("Basic", None),
        ("Bearer abc", None),
        ("", None),
    ],
)
def test_credentials_are_read_or_there_are_none(header: str, login: tuple[bytes, bytes] | None) -> None:
    assert credentials(header) == login


def test_without_users_everybody_comes_in_and_with_users_nobody_without_a_login() -> None:
    assert Gate().verdict(Passwords(), "", "") is Verdict.RIGHT
    assert Gate(users=HASHES).verdict(Passwords(), "", "") is Verdict.WRONG


def test_a_bucket_gives_what_it_has_and_fills_with_time() -> None:
    now = [0.0]
    bucket = Bucket(0.5, 2, lambda: now[0])
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    now[0] = 2
    assert [bucket.take() for _ in range(2)] == [True, False]
    bucket.charge(3)
    now[0] = 8
    assert [bucket.take(), bucket.take(0)] == [False, True]
    now[0] = 1000
    assert [bucket.take() for _ in range(3)] == [True, True, False]


def test_nothing_of_it_is_loaded_where_nobody_has_a_password() -> None:
    import subprocess  # noqa: PLC0415

    code = "import sys, exporter.serve; print('bcrypt' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
