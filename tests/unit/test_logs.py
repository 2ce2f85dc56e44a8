"""What is logged never holds who logs it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from exporter import logs

pytestmark = pytest.mark.unit


class Pipe:
    """Standard error, as a pipe."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def fill(self) -> None:
        os.set_blocking(self.writer, False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(self.writer, b"x" * 4096)
        os.set_blocking(self.writer, True)

    def read(self) -> str:
        text = b""
        while True:
            try:
                text += os.read(self.reader, 1 << 16)
            except BlockingIOError:
                return text.decode()

    def close(self) -> None:
        for number in (self.reader, self.writer):
            try:
                os.close(number)
            except OSError:
                continue


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    made = Pipe()
    monkeypatch.setattr(logs, "STANDARD_ERROR", made.writer)
    yield made
    made.close()


def tell(handler: logging.Handler, text: str) -> None:
    handler.handle(logging.LogRecord("test", logging.INFO, "", 0, text, None, None))


def test_a_line_that_finds_no_room_is_lost_and_counted_once_there_is_some(pipe: Pipe) -> None:
    handler = logs.StandardError()
    tell(handler, "first")
    assert pipe.read() == "first\n"
    pipe.fill()
    for _ in range(3):
        tell(handler, "lost")
    assert set(pipe.read()) == {"x"}
    tell(handler, "second")
    tell(handler, "third")
    assert pipe.read() == "(3 lines before this one are lost)\nsecond\nthird\n"


def test_a_line_longer_than_a_pipe_holds_is_cut_rather_than_waited_for(pipe: Pipe) -> None:
    tell(logs.StandardError(), "long " * 100_000)
    assert pipe.read().startswith("long long ")


def test_a_reader_that_has_gone_is_no_error(pipe: Pipe) -> None:
    os.close(pipe.reader)
    tell(logs.StandardError(), "nobody reads this")


def test_a_line_has_no_secret_when_it_gets_out(pipe: Pipe) -> None:
    handler = logs.StandardError()
    handler.setFormatter(logs.Formatter("%(message)s"))
    tell(handler, "postgresql://u:hunter2@host/db")
    assert pipe.read() == "postgresql://u:***@host/db\n"
