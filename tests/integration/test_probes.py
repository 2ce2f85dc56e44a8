"""Probes against real sockets, real TLS, a real MLflow and a real Postgres."""

from __future__ import annotations

import gzip
import logging
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import trustme

from exporter.metric import Buckets
from exporter.samplers.attempt import Attempt, Failure
from exporter.samplers.database_probe import DatabaseProbe, DatabaseProbeSpec
from exporter.samplers.http_phases import BODY_BYTES, fetch
from exporter.samplers.http_probe import HttpProbe, HttpProbeSpec, server_probes
from exporter.samplers.loop import Loop
from exporter.samplers.probes import Probe
from exporter.secret import Secret
from exporter.settings import Probes, Server
from exporter.sources.conninfo import Target
from tests.lab.servers import PASSWORDS, MlflowServer, PgBouncer, Postgres, wait_for

pytestmark = pytest.mark.integration

# Long enough for an answer on a busy machine where one is expected, short where none is.
PATIENT = 10.0
SHORT = 0.4
SLACK = 2.0

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"

Handler = Callable[[socket.socket], None]


class Listener:
    """A TCP server that hands each connection to a function, on a thread, and notes what was sent to it."""

    def __init__(self, handler: Handler, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.stopping = threading.Event()
        self._handler = handler
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Listener:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._socket.close()

    def url(self, scheme: str = "http", path: str = "/") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=[connection])
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                if self._context is None:
                    self._answer(connection)
                else:
                    with self._context.wrap_socket(connection, server_side=True) as secured:
                        self._answer(secured)
            except OSError:
                pass  # the probe went away, as it should

    def _answer(self, connection: socket.socket) -> None:
        self.requests.append(connection.recv(65536))
        self._handler(connection)


def sends(*parts: bytes, pause: float = 0.0) -> Handler:
    def handler(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
            # Wait, but not for a client that has gone.
            if pause and select.select([connection], [], [], pause)[0]:
                return

    return handler


def silent(connection: socket.socket) -> None:
    connection.recv(1)  # until the probe closes it


def endless(head: bytes, part: bytes) -> Handler:
    def handler(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(part)

    return handler


def asked(url: str, timeout: float = PATIENT, *, api: bool = False, ca_file: str = "") -> HttpProbe:
    """Return a probe that has made one attempt."""
    probe = HttpProbe(HttpProbeSpec("p", url, timeout=timeout, api=api, ca_file=ca_file))
    attempt(probe, timeout)
    return probe


def attempt(probe: Probe, timeout: float) -> None:
    started = time.monotonic()
    probe.tick()
    assert time.monotonic() - started < timeout + SLACK
    assert values(probe, "attempts_total")[()] > 0


def values(probe: Probe, name: str) -> dict[tuple[str, ...], float]:
    wanted = f"mlflow_probe_{name}"
    found = {sample.labels[2:]: sample.value for sample in probe.samples() if sample.metric.name == wanted}
    return {labels: value for labels, value in found.items() if not isinstance(value, Buckets)}


def longest_phase(probe: Probe) -> str:
    phases = values(probe, "phase_seconds_total")
    return max(phases, key=lambda labels: phases[labels])[0]


def failed(probe: Probe) -> Failure:
    """Return why the last attempt failed, which is counted and shown."""
    assert probe.error is not None
    assert values(probe, "success") == {(): 0}
    assert values(probe, "failures_total")[(probe.error.failure.value,)] >= 1
    return probe.error.failure


def succeeded(probe: Probe) -> bool:
    assert probe.error is None, probe.error
    return values(probe, "success") == {(): 1}


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@contextmanager
def swallowing_port() -> Iterator[int]:
    """Give a port whose queue is full, so that a connect gets neither an answer nor a refusal."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1))
        address = server.getsockname()
        for _ in range(16):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield address[1]


# What a server may do to a probe.


def test_an_answer_is_a_success_with_all_its_phases() -> None:
    with Listener(sends(OK)) as server:
        probe = asked(server.url().replace("127.0.0.1", "localhost"))

    assert succeeded(probe)
    assert values(probe, "http_status_code") == {(): 200}
    phases = values(probe, "phase_seconds_total")
    assert [phase for (phase,) in phases] == ["resolve", "connect", "processing", "transfer"]
    total = next(one.value for one in probe.samples() if one.metric.name == "mlflow_probe_duration_seconds")
    assert isinstance(total, Buckets)
    assert total.sum == pytest.approx(sum(phases.values()))


def test_a_slow_first_byte_is_processing_and_a_slow_rest_is_transfer() -> None:
    def slowly(before: float, after: float) -> Handler:
        def handler(connection: socket.socket) -> None:
            select.select([connection], [], [], before)
            connection.sendall(OK[:10])
            select.select([connection], [], [], after)
            connection.sendall(OK[10:])

        return handler

    for before, after, slowest in ((0.5, 0.0, "processing"), (0.0, 0.5, "transfer")):
        with Listener(slowly(before, after)) as server:
            probe = asked(server.url())
        assert succeeded(probe)
        assert longest_phase(probe) == slowest


def test_each_attempt_opens_a_connection_of_its_own_and_asks_to_close_it() -> None:
    with Listener(sends(OK)) as server:
        probe = HttpProbe(HttpProbeSpec("p", server.url(path="/x?y=z"), timeout=PATIENT))
        for _ in range(3):
            attempt(probe, PATIENT)

    assert len(server.requests) == 3
    for request in server.requests:
        assert request.startswith(b"GET /x?y=z HTTP/1.1\r\n")
        assert b"\r\nConnection: close\r\n" in request
        assert b"\r\nUser-Agent: mlflow-exporter/" in request
        assert b"Authorization" not in request


def test_proxies_of_the_environment_and_netrc_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")

    with Listener(sends(OK)) as server:
        assert succeeded(asked(server.url()))

    assert b"Authorization" not in server.requests[0]


@pytest.mark.parametrize("drip", ["headers", "body", "body_without_length", "interim_answers"])
def test_a_server_that_drips_is_cut_at_the_deadline_as_a_whole(drip: str) -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    heads = {
        "headers": (head, b"X-A: 1\r\n"),
        "body": (head + b"Content-Length: 9999\r\n\r\n", b"x"),
        "body_without_length": (head + b"\r\n", b"x"),
        "interim_answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    }
    first, more = heads[drip]

    with Listener(sends(first, *[more] * 200, pause=0.05)) as server:
        probe = asked(server.url(), SHORT)

    assert failed(probe) is Failure.TIMEOUT
    assert sum(values(probe, "phase_seconds_total").values()) == pytest.approx(SHORT, abs=SLACK)


def test_a_server_that_accepts_and_says_nothing_is_a_timeout_in_processing() -> None:
    with Listener(silent) as server:
        probe = asked(server.url(), SHORT)

    assert failed(probe) is Failure.TIMEOUT
    assert "processing" in str(probe.error)
    assert longest_phase(probe) == "processing"


def test_an_address_that_swallows_packets_is_a_timeout_in_connect() -> None:
    with swallowing_port() as port:
        probe = asked(f"http://127.0.0.1:{port}/", SHORT)

    assert failed(probe) is Failure.TIMEOUT
    assert set(values(probe, "phase_seconds_total")) == {("resolve",), ("connect",)}


def test_a_port_where_nothing_listens_is_refused() -> None:
    assert failed(asked(f"http://127.0.0.1:{unused_port()}/")) is Failure.REFUSED


def test_a_name_that_does_not_exist_is_dns() -> None:
    probe = asked("http://nonexistent.invalid/")

    assert failed(probe) is Failure.DNS
    assert set(values(probe, "phase_seconds_total")) == {("resolve",)}


def test_a_name_that_cannot_be_one_is_dns() -> None:
    assert failed(asked(f"http://{'x' * 70}.example/")) is Failure.DNS


def test_the_second_address_of_a_name_is_tried_when_the_first_refuses_or_swallows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Listener(sends(OK)) as server, swallowing_port() as swallows:
        for bad in (unused_port(), swallows):
            addresses = [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
                for port in (bad, server.port)
            ]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, a=addresses, **__: a)
            assert succeeded(asked("http://two.example/", 1.0))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"", Failure.RESET),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nOK", Failure.RESET),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nOK", Failure.RESET),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Failure.BODY),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Failure.BODY),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", Failure.BODY),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, Failure.BODY),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip", Failure.BODY),
    ],
)
def test_half_an_answer_or_none_in_http_has_a_reason(sent: bytes, expected: Failure) -> None:
    with Listener(sends(sent)) as server:
        assert failed(asked(server.url())) is expected


@pytest.mark.parametrize("head", [b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_an_endless_body_is_read_up_to_the_limit_and_left(head: bytes) -> None:
    part = b"x" * 4096 if head == b"\r\n" else b"1000\r\n" + b"x" * 4096 + b"\r\n"
    with Listener(endless(b"HTTP/1.1 200 OK\r\n" + head, part)) as server:
        assert succeeded(asked(server.url()))


# Each of them ended the reading as a bug of the exporter, or took seconds of CPU.
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://[x\r\nContent-Length: 0\r\n\r\n", Failure.HTTP_3XX),
        (b"HTTP/1.1 302 Found\r\nLocation: //" + b"a" * 60_000 + b"\r\n\r\n", Failure.HTTP_3XX),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"[" * 60_000, Failure.BODY),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b'{"a":' * 12_000, Failure.BODY),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n", Failure.BODY),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + b"x" * 70_000, Failure.BODY),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n[]", Failure.BODY),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}", Failure.BODY),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}", Failure.BODY),
        (
            b"HTTP/1.1 200 OK\r\n" + (b"Set-Cookie: " + b"a=b; " * 12_000 + b"\r\n") * 90 + b"\r\n[]",
            Failure.BODY,
        ),
    ],
    ids=lambda sent: sent[17:40].decode() if isinstance(sent, bytes) else "",
)
def test_an_answer_that_means_harm_has_a_reason_at_once(sent: bytes, expected: Failure) -> None:
    with Listener(sends(sent)) as server:
        probe = asked(server.url(), api=True)
    assert failed(probe) is expected
    assert probe.error is not None
    assert len(str(probe.error)) < 300
    assert sum(values(probe, "phase_seconds_total").values()) < 1


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"])
def test_an_answer_without_an_end_is_a_timeout_at_the_deadline(head: bytes) -> None:
    def handler(connection: socket.socket) -> None:
        connection.settimeout(SHORT)
        endless(head, (b"X: y\r\n" if head else b"HTTP/1.1 100 Continue\r\n\r\n") * 1_000)(connection)

    with Listener(handler) as server:
        assert failed(asked(server.url(), SHORT)) is Failure.TIMEOUT


def test_a_redirect_leads_nowhere_whatever_it_names() -> None:
    with Listener(sends(OK)) as other:
        places = ["file:///etc/passwd", "http://169.254.169.254/latest/meta-data/", other.url()]
        for place in places:
            head = f"HTTP/1.1 307 Go\r\nLocation: {place}\r\nRefresh: 0; url={place}\r\nContent-Length: 0\r\n\r\n"
            with Listener(sends(head.encode())) as server:
                assert failed(asked(server.url(), api=True)) is Failure.HTTP_3XX
                assert len(server.requests) == 1
        assert other.requests == []


def test_a_gzip_bomb_does_not_unfold() -> None:
    bomb = gzip.compress(b"{" + b" " * 50_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    with Listener(sends(head + bomb)) as server, closing(Attempt(PATIENT)) as made:
        answer = fetch(server.url(), {}, made, None)

    assert len(answer.body) == BODY_BYTES
    assert not answer.whole


def test_a_packed_answer_of_the_api_is_understood() -> None:
    packed = gzip.compress(b'{"experiment": {}}')
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    with Listener(sends(head + packed)) as server:
        assert succeeded(asked(server.url(), api=True))

    assert b"Accept-Encoding: identity" in server.requests[0]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("301 Moved", Failure.HTTP_3XX),
        ("400 Bad Request", Failure.HTTP_400),
        ("401 Unauthorized", Failure.HTTP_401),
        ("403 Forbidden", Failure.HTTP_403),
        ("404 Not Found", Failure.HTTP_4XX),
        ("500 Internal Server Error", Failure.HTTP_5XX),
        ("503 Service Unavailable", Failure.HTTP_5XX),
    ],
)
def test_a_status_is_shown_and_a_redirect_not_followed(status: str, expected: Failure) -> None:
    head = f"HTTP/1.1 {status}\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".encode()
    with Listener(sends(head)) as server:
        probe = asked(server.url())

    assert failed(probe) is expected
    assert values(probe, "http_status_code") == {(): int(status[:3])}
    assert len(server.requests) == 1


def test_a_status_without_its_body_is_shown_with_the_timeout() -> None:
    with Listener(sends(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n", b"x", pause=5)) as server:
        probe = asked(server.url(), SHORT)

    assert failed(probe) is Failure.TIMEOUT
    assert values(probe, "http_status_code") == {(): 503}


def test_no_secret_reaches_a_log_whatever_goes_wrong(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    split = tmp_path / "token"
    split.write_text("zq81\r\nX-Injected: yes")
    answers = [OK, b"", b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nzq81", b"zq81 is not HTTP\r\n"]
    with caplog.at_level(logging.DEBUG):
        for sent in answers:
            with Listener(sends(sent)) as server:
                base = HttpProbeSpec("p", server.url(path="/x?key=zq81"), timeout=PATIENT)
                for spec in (
                    replace(base, token=Secret("zq81")),
                    replace(base, token_file=str(split)),
                    replace(base, username="u", password=Secret("zq81")),
                ):
                    probe = HttpProbe(spec)
                    probe.tick()
                    assert "zq81" not in repr(probe.error)
                    assert "zq81" not in str(probe.error)
                assert not any(b"X-Injected" in request for request in server.requests)

    assert caplog.records
    assert "zq81" not in caplog.text


# Its own time, and nobody else's.


def test_closing_ends_an_attempt_under_way_and_does_not_count_it() -> None:
    with Listener(silent) as server, swallowing_port() as swallows:
        for port, reached in ((server.port, lambda: bool(server.requests)), (swallows, lambda: True)):
            probe = HttpProbe(HttpProbeSpec("p", f"http://127.0.0.1:{port}/", timeout=60))
            thread = threading.Thread(target=probe.tick)
            thread.start()
            wait_for(reached, "the probe's request")
            started = time.monotonic()
            probe.close()
            thread.join(10)
            assert not thread.is_alive()
            assert time.monotonic() - started < SLACK
            assert values(probe, "attempts_total") == {(): 0}


def test_a_probe_that_hangs_delays_no_other() -> None:
    with Listener(silent) as hangs, Listener(sends(OK)) as answers:
        specs = [
            HttpProbeSpec("hangs", hangs.url(), timeout=30, interval=0.1),
            HttpProbeSpec("answers", answers.url(), timeout=PATIENT, interval=0.1),
        ]
        probes = [HttpProbe(spec) for spec in specs]
        loops = [Loop(probe) for probe in probes]
        for loop in loops:
            loop.start()
        try:
            wait_for(lambda: values(probes[1], "attempts_total")[()] >= 5, "five attempts of the other probe")
            assert values(probes[0], "attempts_total") == {(): 0}
            missed = [sample.value for sample in loops[0].samples() if "missed" in sample.metric.name]
            assert isinstance(missed[0], int)
            assert missed[0] >= 1
        finally:
            for loop in loops:
                loop.close()
    names = {f"sampler-{spec.name}" for spec in specs}
    wait_for(
        lambda: not names & {thread.name for thread in threading.enumerate()}, "the loops' threads to end"
    )


def test_many_attempts_leave_no_descriptor_and_no_thread_behind() -> None:
    closed = unused_port()
    earlier = set(threading.enumerate())

    def watchdogs() -> int:
        return sum(one.name.startswith("watchdog-") for one in set(threading.enumerate()) - earlier)

    def others() -> int:
        return len(set(threading.enumerate()) - earlier) - watchdogs()

    with Listener(sends(OK)) as server, Listener(sends(b"garbage\r\n")) as broken:
        probes = [
            HttpProbe(HttpProbeSpec("p", url, timeout=PATIENT))
            for url in (server.url(), broken.url(), f"http://127.0.0.1:{closed}/")
        ]

        def ours() -> int:
            return len(list(Path("/proc/self/fd").iterdir()))

        for probe in probes:
            probe.tick()
        wait_for(lambda: others() <= 2, "the listeners' own threads to end")
        before = ours()
        for _ in range(30):
            for probe in probes:
                probe.tick()
        wait_for(lambda: ours() <= before, "descriptors to return")
        assert watchdogs() == len(probes)
        for probe in probes:
            probe.close()
        wait_for(lambda: watchdogs() == 0, "no watchdog")


# TLS.


class Certificates:
    """Two CAs and what the first of them signed; `ca` and the others are PEM files."""

    def __init__(self, folder: Path) -> None:
        self.ca = folder / "ca.pem"
        self.other_ca = folder / "other.pem"
        self.signed = folder / "signed.pem"
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(self.ca)
        trustme.CA().cert_pem.write_to_path(self.other_ca)

    def context(self, days: int = 30, name: str = "127.0.0.1") -> ssl.SSLContext:
        """Return a server's context with a certificate that is valid for so many days from now."""
        ends = datetime.now(UTC) + timedelta(days=days)
        made = self._authority.issue_cert(name, not_after=ends)
        made.cert_chain_pems[0].write_to_path(self.signed)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.configure_cert(context)
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def test_tls_has_a_phase_and_its_certificate_an_expiry(certificates: Certificates) -> None:
    with Listener(sends(OK), certificates.context(days=30)) as server:
        probe = asked(server.url("https"), ca_file=str(certificates.ca))

    assert succeeded(probe)
    phases = [phase for (phase,) in values(probe, "phase_seconds_total")]
    assert phases == ["resolve", "connect", "tls", "processing", "transfer"]
    in_thirty_days = time.time() + 30 * 86400
    assert values(probe, "certificate_expiry_timestamp_seconds")[()] == pytest.approx(in_thirty_days, abs=600)


@pytest.mark.parametrize(
    ("days", "name", "ca", "words"),
    [
        (30, "127.0.0.1", "other_ca", "unable to get local issuer"),
        (30, "127.0.0.1", None, "unable to get local issuer"),
        (-1, "127.0.0.1", "ca", "expired"),
        (30, "elsewhere.example", "ca", "mismatch"),
    ],
)
def test_a_certificate_that_proves_nothing_is_tls_and_says_why(
    certificates: Certificates, days: int, name: str, ca: str | None, words: str
) -> None:
    ca_file = str(getattr(certificates, ca)) if ca else ""
    with Listener(sends(OK), certificates.context(days, name)) as server:
        probe = asked(server.url("https"), ca_file=ca_file)

    assert failed(probe) is Failure.TLS
    assert words in str(probe.error)
    assert server.requests == []
    assert values(probe, "certificate_expiry_timestamp_seconds") == {}


def test_a_ca_file_renewed_under_way_is_used_by_the_next_attempt(
    certificates: Certificates, tmp_path: Path
) -> None:
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(certificates.other_ca.read_bytes())
    with Listener(sends(OK), certificates.context()) as server:
        probe = asked(server.url("https"), ca_file=str(trusted))
        assert failed(probe) is Failure.TLS
        trusted.write_bytes(certificates.ca.read_bytes())
        attempt(probe, PATIENT)

    assert succeeded(probe)


def test_a_servers_own_certificate_can_be_what_is_trusted(certificates: Certificates) -> None:
    with Listener(sends(OK), certificates.context()) as server:
        assert succeeded(asked(server.url("https"), ca_file=str(certificates.signed)))


def test_tls_with_a_server_that_speaks_plain_http_is_tls() -> None:
    with Listener(sends(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        assert failed(asked(server.url("https"))) is Failure.TLS


def test_a_handshake_that_never_ends_is_a_timeout_in_tls() -> None:
    with Listener(silent) as server:
        probe = asked(server.url("https"), SHORT)

    assert failed(probe) is Failure.TIMEOUT
    assert longest_phase(probe) == "tls"


def test_dripping_over_tls_is_cut_at_the_deadline_too(certificates: Certificates) -> None:
    dripping = sends(b"HTTP/1.1 200 OK\r\n", *[b"X-A: 1\r\n"] * 200, pause=0.05)
    with Listener(dripping, certificates.context()) as server:
        probe = asked(server.url("https"), SHORT + 0.2, ca_file=str(certificates.ca))

    assert failed(probe) is Failure.TIMEOUT


# A real tracking server.


def server_probe(base_url: str, name: str, server: Server | None = None) -> HttpProbe:
    probes = Probes(timeout=PATIENT)
    return HttpProbe({spec.name: spec for spec in server_probes(base_url, probes, server or Server())}[name])


def test_a_tracking_server_answers_health_version_and_api(mlflow: MlflowServer) -> None:
    for name in ("health", "version", "api"):
        probe = server_probe(mlflow.url, name)
        attempt(probe, PATIENT)
        assert succeeded(probe)


def test_a_name_the_server_does_not_know_stops_the_api_and_says_how_to_allow_it(mlflow: MlflowServer) -> None:
    # 127.1 is an address to the resolver, and a Host that the server has never heard of.
    elsewhere = mlflow.url.replace("127.0.0.1", "127.1")
    health, api = server_probe(elsewhere, "health"), server_probe(elsewhere, "api")
    attempt(health, PATIENT)
    attempt(api, PATIENT)

    assert succeeded(health)
    assert failed(api) is Failure.HOST
    assert values(api, "http_status_code") == {(): 403}
    assert api.error is not None
    host = re.search(r"--allowed-hosts (\S+)", api.error.remedy)
    assert host is not None
    assert host[1] == f"127.1:{mlflow.port}"


def test_the_api_of_a_wrong_static_prefix_is_not_taken_for_a_missing_experiment(mlflow: MlflowServer) -> None:
    api = server_probe(mlflow.url + "/wrong", "api")
    attempt(api, PATIENT)

    assert failed(api) is Failure.HTTP_4XX


def test_a_deleted_default_experiment_is_no_failure(postgres: Callable[[int], Postgres]) -> None:
    database = postgres(15)
    with MlflowServer(database.create_mlflow("probes"), workers=1) as server:
        api = server_probe(server.url, "api")
        attempt(api, PATIENT)
        database.execute("DELETE FROM experiments WHERE experiment_id = 0", dbname="probes")
        attempt(api, PATIENT)
        assert succeeded(api)
        assert values(api, "http_status_code") == {(): 404}

        database.execute("ALTER DATABASE probes ALLOW_CONNECTIONS false")
        database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'probes'")
        attempt(api, PATIENT)
        assert failed(api) in (Failure.HTTP_5XX, Failure.TIMEOUT)  # MLflow retries for some seconds first
    database.drop("probes")


def test_basic_auth_below_a_static_prefix(tmp_path: Path) -> None:
    admin = "Admin-Zq84-password"
    secrets = {"MLFLOW_FLASK_SERVER_SECRET_KEY": "lab", "MLFLOW_AUTH_ADMIN_PASSWORD": admin}
    options = ["--app-name", "basic-auth", "--static-prefix", "/ml"]
    file = tmp_path / "password"
    file.write_text("wrong\n")
    login = Server(username="admin", password_file=str(file))
    with MlflowServer(workers=1, options=options, env=secrets) as server:
        anonymous = {name: server_probe(server.url, name) for name in ("health", "version", "api")}
        for probe in anonymous.values():
            attempt(probe, PATIENT)
        assert succeeded(anonymous["health"])
        assert failed(anonymous["version"]) is Failure.HTTP_401
        assert failed(anonymous["api"]) is Failure.HTTP_401

        known = server_probe(server.url, "api", login)
        attempt(known, PATIENT)
        assert failed(known) is Failure.HTTP_401
        file.write_text(f"{admin}\n")
        attempt(known, PATIENT)
        assert succeeded(known)


# A real Postgres.


@pytest.fixture(scope="module")
def small() -> Iterator[Postgres]:
    """Give a Postgres with few connections, to be frozen and filled."""
    with Postgres(15, {"max_connections": "8", "superuser_reserved_connections": "1"}) as server:
        yield server


def database_probe(dsn: str, timeout: float = PATIENT) -> DatabaseProbe:
    return DatabaseProbe(DatabaseProbeSpec(Target.from_dsn(Secret(dsn), Secret(""), "", ()), timeout=timeout))


def probed(dsn: str, timeout: float = PATIENT) -> DatabaseProbe:
    probe = database_probe(dsn, timeout)
    attempt(probe, timeout)
    return probe


def test_the_database_answers_and_only_the_second_statement_is_its_latency(small: Postgres) -> None:
    probe = database_probe(small.dsn("exporter"))
    for _ in range(5):
        attempt(probe, PATIENT)

    assert succeeded(probe)
    phases = values(probe, "phase_seconds_total")
    assert [phase for (phase,) in phases] == ["connect", "processing"]
    ping = next(one.value for one in probe.samples() if one.metric.name == "mlflow_probe_duration_seconds")
    assert isinstance(ping, Buckets)
    assert ping.sum == pytest.approx(phases[("processing",)], rel=0.5)
    assert ping.sum < phases[("connect",)]


def test_its_session_is_named_and_gone_afterwards(small: Postgres) -> None:
    small.configure({"log_connections": "on", "log_statement": "all"})
    small.execute("SELECT pg_reload_conf()")
    probed(small.dsn("exporter"))

    wait_for(lambda: small.log().count("statement: SELECT 1\n") >= 2, "both statements in the log")
    assert "application_name=mlflow-exporter" in small.log()
    own = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mlflow-exporter'"
    wait_for(lambda: small.execute(own) == [(0,)], "the probe's session to end")
    assert " SET " not in small.log()


def test_a_wrong_password_is_auth_and_not_quoted(small: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        probe = probed(small.dsn("exporter", password="zq81"))

    assert failed(probe) is Failure.AUTH
    assert "zq81" not in caplog.text


def test_a_database_that_is_not_there_is_rejected(small: Postgres) -> None:
    assert failed(probed(small.dsn("exporter", dbname="nowhere"))) is Failure.REJECTED


def test_full_slots_are_too_many(small: Postgres) -> None:
    with ExitStack() as stack:
        for _ in range(7):
            stack.enter_context(psycopg.connect(small.dsn("mlflow"), autocommit=True))
        for user in ("exporter", "postgres"):
            probe = database_probe(small.dsn(user))
            attempt(probe, PATIENT)
            if user == "postgres":
                assert succeeded(probe)  # the reserved one
            else:
                assert failed(probe) is Failure.TOO_MANY
        stack.enter_context(small.connect())
        assert failed(probed(small.dsn("postgres"))) is Failure.TOO_MANY


def test_a_frozen_postgres_is_a_timeout_and_recovers(small: Postgres) -> None:
    probe = database_probe(small.dsn("exporter"), timeout=1.0)
    attempt(probe, 1.0)
    assert succeeded(probe)

    small.pause()
    try:
        attempt(probe, 1.0)
        assert failed(probe) is Failure.TIMEOUT
    finally:
        small.resume()

    attempt(probe, 1.0)
    assert succeeded(probe)


def test_a_database_host_that_swallows_packets_is_a_timeout() -> None:
    with swallowing_port() as port:
        assert failed(probed(f"host=127.0.0.1 port={port} user=u dbname=d", SHORT)) is Failure.TIMEOUT


def test_a_database_port_where_nothing_listens_is_refused() -> None:
    assert failed(probed(f"host=127.0.0.1 port={unused_port()} user=u dbname=d")) is Failure.REFUSED


def test_a_database_name_that_does_not_resolve_is_dns() -> None:
    assert failed(probed("host=nonexistent.invalid user=u dbname=d")) is Failure.DNS


def test_a_server_that_hangs_up_on_libpq_is_a_reset() -> None:
    with Listener(sends(b"")) as server:
        assert failed(probed(f"host=127.0.0.1 port={server.port} user=u dbname=d")) is Failure.RESET


def test_a_database_without_tls_where_it_is_required_is_tls(small: Postgres) -> None:
    assert failed(probed(small.dsn("exporter") + "?sslmode=require")) is Failure.TLS


def test_closing_ends_a_wait_for_the_database() -> None:
    with Listener(silent) as server:
        probe = database_probe(f"host=127.0.0.1 port={server.port} user=u dbname=d", timeout=60)
        thread = threading.Thread(target=probe.tick)
        thread.start()
        wait_for(lambda: bool(server.requests), "libpq's first bytes")
        probe.close()
        thread.join(10)

    assert not thread.is_alive()
    assert values(probe, "attempts_total") == {(): 0}


def test_a_pooler_in_transaction_mode_needs_no_special_case(small: Postgres) -> None:
    with PgBouncer(small) as pooler:
        probe = probed(pooler.dsn("exporter", "postgres"))
        assert succeeded(probe)
        wrong = pooler.dsn("exporter", "postgres").replace(PASSWORDS["exporter"], "wrong")
        assert failed(probed(wrong)) is Failure.AUTH
