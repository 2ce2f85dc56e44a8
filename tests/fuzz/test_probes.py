"""Whatever a server sends to a probe: a success, or a failure that has one of the declared reasons."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import strategies as st

from exporter.samplers.attempt import Attempt, Failure, ProbeError
from exporter.samplers.http_phases import BODY_BYTES, Answer, fetch
from exporter.samplers.http_probe import HttpProbeSpec, judge
from tests.fuzz.cases import holds
from tests.fuzz.inputs import anything, mutated_bytes

pytestmark = pytest.mark.fuzz

BOMB = gzip.compress(b"x" * 4_000_000)
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nOK",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"HTTP/1.0 200\r\n\r\n" + b'{"experiment": ' + b"[" * 3_000,
    b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 307 X\r\nLocation: http://[::1/\r\n\r\n",
    b'HTTP/1.1 404 X\r\nContent-Length: 45\r\n\r\n{"error_code": "RESOURCE_DOES_NOT_EXIST"}    ',
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB,
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nSet-Cookie: a=b\r\n\r\n",
)


class Sender:
    """A server that sends what it is told to whoever connects, and hangs up."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.sent = b""
        self.thread = threading.Thread(target=self.live)
        self.thread.start()

    def live(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(5)
                try:
                    client.recv(1 << 16)
                    client.sendall(self.sent)
                    client.shutdown(socket.SHUT_WR)
                    client.recv(1 << 16)
                except OSError:
                    continue

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@pytest.fixture(scope="module")
def sender() -> Iterator[Sender]:
    server = Sender()
    yield server
    server.close()


@holds(
    was_wrong={
        "brackets nested too deep to be read": {"sent": ANSWERS[2], "api": True},
        "a malformed header was logged, with the URL": {
            "sent": b"HTTP/1.1 200 OK\r\nLo\r\n\r\n",
            "api": False,
        },
    },
    sent=st.one_of(mutated_bytes(ANSWERS), mutated_bytes(ANSWERS), st.binary(max_size=300)),
    api=st.booleans(),
)
def test_any_bytes_of_a_server_are_a_success_or_a_failure_with_a_reason(
    sent: bytes, api: bool, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    sender.sent = sent
    url = f"http://127.0.0.1:{sender.listener.getsockname()[1]}/x?token=QZ57QZ57"
    attempt = Attempt(3.0)
    try:
        answer = fetch(url, {"Authorization": "Bearer QZ57QZ57"}, attempt, None)
        assert len(answer.body) <= BODY_BYTES
        judge(HttpProbeSpec("x", url, api=api), answer)
    except ProbeError as error:
        assert error.failure in Failure
        for text in (str(error), error.detail, error.remedy):
            assert "QZ57QZ" not in text
            assert text.isprintable()
    finally:
        attempt.close()
    assert sum(attempt.seconds().values()) >= 0
    assert caplog.records == []


LOCATIONS = st.one_of(
    anything, st.sampled_from(("http://[", "//[::1", "http://x:y/", "javascript:1", "http://\x1b[31m/"))
)


@holds(
    was_wrong={
        "a redirect to half an address": {"status": 302, "location": "http://[", "body": b"", "api": False},
        "a redirect to what steers a terminal": {
            "status": 302,
            "location": "http://\x1b[31m/",
            "body": b"",
            "api": False,
        },
    },
    status=st.integers(-1, 1000),
    location=LOCATIONS,
    body=st.one_of(
        st.binary(max_size=60), st.just(b"[" * 10_000), st.just(b"9" * 10_000), st.just(b'{"a":' * 9_000)
    ),
    api=st.booleans(),
)
def test_any_answer_is_judged(status: int, location: str, body: bytes, api: bool) -> None:
    judged(
        lambda: judge(
            HttpProbeSpec("x", "http://x/", api=api), Answer(status, {"Location": location}, body, True)
        )
    )


def judged(judge: Callable[[], None]) -> None:
    try:
        judge()
    except ProbeError as error:
        assert error.failure in Failure
        assert str(error).isprintable()


@holds(
    url=st.one_of(
        anything, anything.map(lambda text: "http://" + text), anything.map(lambda text: "http://h" + text)
    )
)
def test_any_url_is_one_that_a_probe_can_ask_or_refused_without_it(url: str) -> None:
    try:
        spec = HttpProbeSpec("x", url)
    except ValueError as error:
        assert str(error).startswith(("x: not a URL of the form", "probe x: the URL has a user in it"))
    else:
        assert spec.place.startswith(("http://", "https://"))
