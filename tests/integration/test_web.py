"""The HTTP side against clients that are many, slow, silent or rude."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import requests

from exporter import connections
from exporter.access import Access
from exporter.connections import Server
from exporter.http1 import HEAD_BYTES
from exporter.scrape import Scraper
from exporter.web import PLAIN, App, Page
from tests.lab.process import wait_for

pytestmark = pytest.mark.integration


@contextmanager
def serving(**pages: Callable[[], bytes]) -> Iterator[str]:
    shown: dict[str, Page] = {"/-/healthy": lambda: (PLAIN, b"fine\n")}
    shown |= {f"/{name}": lambda page=page: (PLAIN, page()) for name, page in pages.items()}  # type: ignore[misc]
    server = Server(("127.0.0.1", 0), App(Scraper(), shown, Access("")))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        server.stop(grace=0.0)
        thread.join(5)


def connection(address: str) -> socket.socket:
    host, _, port = address.partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def answers(address: str, request: bytes) -> bytes:
    """Send bytes, and return all that comes until the connection ends."""
    with connection(address) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while data := client.recv(65536):
            received += data
        return received


def test_a_scrape_is_answered_while_silent_clients_hold_all_but_one_thread() -> None:
    with serving() as address, ExitStack() as stack:
        for _ in range(connections.THREADS - 1):
            stack.enter_context(connection(address))
        started = time.monotonic()
        assert requests.get(f"http://{address}/metrics", timeout=10).status_code == 200
        assert time.monotonic() - started < connections.SOCKET_SECONDS


def test_clients_one_after_the_other_are_answered_by_few_threads() -> None:
    names: list[str] = []

    def who() -> bytes:
        names.append(threading.current_thread().name)
        return b"told\n"

    with serving(who=who) as address:
        for _ in range(2 * connections.THREADS):
            assert answers(address, b"GET /who HTTP/1.0\r\n\r\n").endswith(b"told\n")
    # A thread is free a moment after its client has the end of the answer.
    assert len(names) == 2 * connections.THREADS
    assert len(set(names)) < connections.THREADS / 4


def test_who_wants_to_be_answered_takes_the_place_of_the_one_that_was_silent_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "THREADS", 3)
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0.1)
    with (
        serving() as address,
        connection(address) as first,
        connection(address),
        connection(address) as third,
    ):
        time.sleep(0.2)
        assert requests.get(f"http://{address}/-/healthy", timeout=10).status_code == 200
        assert first.recv(100) == b""
        third.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
        assert third.recv(100).startswith(b"HTTP/1.0 200")


def test_a_client_whose_answer_is_being_made_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "THREADS", 2)
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0.1)
    done = threading.Event()

    def slow() -> bytes:
        assert done.wait(10)
        return b"made\n"

    with serving(slow=slow) as address, connection(address) as one, connection(address) as other:
        for client in (one, other):
            client.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        time.sleep(0.3)
        with connection(address) as third:
            assert third.recv(100).startswith(b"HTTP/1.0 503")
        done.set()
        for client in (one, other):
            assert client.makefile("rb").read().endswith(b"made\n")


def test_a_silent_client_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SOCKET_SECONDS", 0.2)
    with serving() as address, connection(address) as client:
        assert client.recv(100) == b""


def test_a_client_that_drips_its_request_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTION_SECONDS", 0.3)
    with serving() as address, connection(address) as client:
        ended = threading.Event()

        def drip() -> None:
            while not ended.wait(0.02):
                try:
                    client.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert client.recv(100) == b""
        except ConnectionResetError:
            pass  # dropped with bytes of ours unread
        finally:
            ended.set()
            thread.join(5)


LONG = b"x" * HEAD_BYTES


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"\r\n", b""),
        (b"GET /-/healthy HTTP/1.1", b""),
        (b"GET /-/healthy HTTP/1.1\r\nHost: h\r\n", b""),
        (b"GET\r\n\r\n", b"400 Bad Request"),
        (b"nonsense\x00\xff\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/9\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/2.0\r\n\r\n", b"505 HTTP Version Not Supported"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n\r\n", b"400 Bad Request"),  # TLS to where none is spoken
        (b"GET /" + LONG + b" HTTP/1.1\r\n\r\n", b"414 Request-URI Too Long"),
        (b"GET / HTTP/1.1\r\nCookie: " + LONG + b"\r\n\r\n", b"431 Request Header Fields Too Large"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", b"431 Request Header Fields Too Large"),
        (b"GET /<script> HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505 HTTP Version Not Supported"),
        (
            b"POST /metrics HTTP/1.1\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000,
            b"405 Method Not Allowed",
        ),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", b"405 Method Not Allowed"),
        (b"GET /-/healthy\r\n\r\n", b"200 OK"),
    ],
)
def test_whatever_is_asked_has_one_answer_that_repeats_nothing_of_it(
    request_text: bytes, status: bytes
) -> None:
    with serving() as address:
        received = answers(address, request_text)
        assert received.startswith(b"HTTP/1.0 " + status if status else b"")
        head, _, body = received.partition(b"\r\n\r\n")
        assert (b"X-Content-Type-Options: nosniff" in head) == bool(status)
        assert b"Python" not in head
        assert b"<" not in body
        assert b"xxx" not in body
        assert requests.get(f"http://{address}/-/healthy", timeout=10).text == "fine\n"


def test_head_has_the_length_and_no_body() -> None:
    with serving() as address:
        head, _, body = answers(address, b"HEAD /-/healthy HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
        assert b"\r\nContent-Length: 5\r\n" in head
        assert body == b""


def test_a_connection_is_for_one_request_however_many_are_sent() -> None:
    with serving() as address:
        request = b"GET /-/healthy HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"
        received = answers(address, request * 3)
        assert received.count(b"HTTP/1.0 200 OK") == 1
        assert b"\r\nConnection: close\r\n" in received
        assert received.endswith(b"fine\n")


def test_a_page_with_a_bug_is_said_to_the_client_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> bytes:
        raise ZeroDivisionError

    with serving(broken=broken) as address:
        answer = requests.get(f"http://{address}/broken", timeout=10)
        assert (answer.status_code, answer.text) == (500, "Internal Server Error\n")
        assert requests.get(f"http://{address}/-/healthy", timeout=10).status_code == 200
    assert [record.exc_info is not None for record in caplog.records if record.levelno >= logging.ERROR] == [
        True
    ]


def test_scrapes_at_the_same_time_get_the_same_exposition() -> None:
    with serving() as address:
        texts: list[str] = []

        def scrape() -> None:
            texts.append(requests.get(f"http://{address}/metrics", timeout=10).text)

        threads = [threading.Thread(target=scrape) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(texts) == 10
    assert all("mlflow_exporter_build_info" in text for text in texts)


def test_no_place_is_lost_where_memory_is_short_when_it_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Short(list[connections.Inbox]):
        """Raises, every second time, what a list does that cannot grow."""

        times = 0

        def append(self, inbox: connections.Inbox) -> None:
            self.times += 1
            if self.times % 2:
                raise MemoryError
            super().append(inbox)

    monkeypatch.setattr(connections, "SHORT_SECONDS", 0.001)
    with Server(("127.0.0.1", 0), App(Scraper(), {}, Access(""))) as server:
        server._idle = places = Short(server._idle)
        for _ in range(connections.THREADS):
            ours, theirs = socket.socketpair()
            theirs.close()
            server.process_request(ours, ("127.0.0.1", 0))
        assert server.drain(5)
        wait_for(lambda: len(places) == connections.THREADS, "all places are free again")
