"""Answers of the kernel about Unix sockets that are cut short or of an unknown form."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

import pytest

from exporter.host import unix_sockets

pytestmark = pytest.mark.unit

PATH = b"/run/postgresql/.s.PGSQL.5432"
END = struct.pack("=IHHIII", 20, 3, 2, 1, 0, 0)


class Kernel:
    """A netlink socket that gives these answers, one a call."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self.answers = list(answers)

    def __call__(self, *_: int) -> Kernel:
        return self

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def settimeout(self, seconds: float) -> None:
        assert seconds <= 1

    def send(self, data: bytes) -> None:
        assert len(data) == 40

    def recv(self, size: int) -> bytes:
        if not self.answers:
            raise TimeoutError
        return self.answers.pop(0)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def connection(path: bytes, peer: int) -> bytes:
    body = (
        struct.pack("=BBBBIII", 1, 1, 1, 0, 83250, 1, 0)
        + attribute(0, path)
        + attribute(2, struct.pack("=I", peer))
    )
    return struct.pack("=IHHII", 16 + len(body), 20, 2, 1, 0) + body


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([connection(PATH, 7) + connection(PATH + b"\0", 8), connection(b"/run/other", 9), END], {7, 8}),
        ([connection(b"\xff" * 9, 7) + END], set()),
        ([END], set()),
        ([struct.pack("=IHHIIi", 20, 3, 2, 1, 0, -2)], None),  # an end that is an error
        ([struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -1)], None),
        ([connection(PATH, 7)], None),  # then silence
        ([b"", connection(PATH, 7)[:30], b"\x00" * 64], None),
    ],
)
def test_clients_are_known_only_from_a_whole_answer(
    monkeypatch: pytest.MonkeyPatch, answers: list[bytes], expected: set[int] | None
) -> None:
    monkeypatch.setattr(socket, "socket", Kernel(answers))
    assert unix_sockets.clients(".s.PGSQL.5432") == (None if expected is None else frozenset(expected))
