"""The HTTP side against clients that are many, slow, silent or rude."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import requests

from exporter import web
from exporter.scrape import Scraper
from exporter.web import App, Server

pytestmark = pytest.mark.integration


@contextmanager
def serving() -> Iterator[str]:
    server = Server(
        ("127.0.0.1", 0), App(Scraper(), {"/-/healthy": lambda: ("200 OK", "text/plain", b"fine\n")})
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.stop(grace=0.0)
        thread.join(5)


def connection(address: str) -> socket.socket:
    host, _, port = address.partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def test_a_scrape_is_answered_while_silent_clients_hold_all_but_one_thread() -> None:
    with serving() as address, ExitStack() as stack:
        for _ in range(web.THREADS - 1):
            stack.enter_context(connection(address))
        started = time.monotonic()
        assert requests.get(f"http://{address}/metrics", timeout=10).status_code == 200
        assert time.monotonic() - started < web.SOCKET_SECONDS


def test_one_client_too_many_is_refused_rather_than_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "THREADS", 2)
    with serving() as address, connection(address), connection(address), connection(address) as third:
        assert third.recv(100).startswith(b"HTTP/1.0 503")


def test_a_silent_client_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web.Handler, "timeout", 0.2)
    with serving() as address, connection(address) as client:
        assert client.recv(100) == b""


def test_a_client_that_drips_its_request_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "CONNECTION_SECONDS", 0.3)
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


@pytest.mark.parametrize(
    "request_text",
    [b"\r\n", b"GET\r\n\r\n", b"nonsense\x00\xff\r\n\r\n", b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n"],
)
def test_a_malformed_request_ends_its_connection_and_nothing_else(request_text: bytes) -> None:
    with serving() as address:
        with connection(address) as client:
            client.sendall(request_text)
            client.shutdown(socket.SHUT_WR)
            try:
                while client.recv(1000):
                    pass
            except ConnectionResetError:
                pass  # answered before all of the request was read
        assert requests.get(f"http://{address}/-/healthy", timeout=10).text == "fine\n"


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
