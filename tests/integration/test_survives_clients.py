"""What clients do to the exporter: many, slow, stuck, rude or wrong, none of them keeps a scrape from its answer."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import bcrypt
import pytest
import requests
from requests.adapters import HTTPAdapter

from exporter.connections import THREADS
from exporter.http1 import HEAD_BYTES
from tests.integration.guarded import Certificates, Guarded
from tests.integration.survival import Survives, Trial, watching
from tests.lab.servers import Exporter, Postgres

pytestmark = pytest.mark.integration

# More than there are places.
CROWD = THREADS + 40
# Some tenths of a second, but on a machine that runs other tests and the crowd itself.
CROWDED_SECONDS = 3.0
USER, PASSWORD = "prometheus", "right"  # at a cost of which no test takes long
USERS = f"basic_auth_users: {{{USER}: {bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(8)).decode()}}}\n"
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def database(postgres: Callable[[int], Postgres]) -> Iterator[tuple[Postgres, str]]:
    server = postgres(15)
    yield server, server.create_mlflow("clients")
    server.drop("clients")


@pytest.fixture(scope="module")
def exporter(database: tuple[Postgres, str]) -> Iterator[Exporter]:
    with watching(database[1]) as running:
        yield running


class Secured(Guarded):
    """An exporter with TLS and a password, which are in its address and in the environment, as curl may have them."""

    @property
    def url(self) -> str:
        return f"https://{USER}:{PASSWORD}@localhost:{self.port}"


@pytest.fixture(scope="module")
def secured(database: tuple[Postgres, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    made = Certificates(tmp_path_factory.mktemp("secured"))
    made.issue("server", "localhost")
    args, env = (
        ("--server.port", "1", "--probes.interval", "1", "--probes.timeout", "1"),
        {"MLFLOW_EXPORTER_DATABASE_DSN": database[1]},
    )
    config = "tls_server_config: {cert_file: server.pem, key_file: server.key}\n" + USERS
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", made.trusted["verify"])
        with Secured(made.folder, config, made.trusted, args, env) as running:
            yield running


def connect(exporter: Exporter, receive_buffer: int = 0) -> socket.socket:
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(10)
    client.connect(("127.0.0.1", exporter.port))
    return client


def send(client: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # dropped, as it may be
        client.sendall(data)


@contextmanager
def crowd(exporter: Exporter, first: bytes, receive_buffer: int = 0) -> Iterator[Sequence[socket.socket]]:
    """Hold more connections than there are places, each of which has said the same."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(exporter, receive_buffer)) for _ in range(CROWD)]
        for client in clients:
            send(client, first)
        yield clients


@contextmanager
def again_and_again(act: Callable[[], object], threads: int = 1) -> Iterator[list[object]]:
    """Do something over and over meanwhile; yields what it returned or raised."""
    ended = threading.Event()
    results: list[object] = []

    def go_on() -> None:
        while not ended.is_set():
            try:
                results.append(act())
            except OSError as error:  # requests' own among them
                results.append(error)

    running = [threading.Thread(target=go_on) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield results
    finally:
        ended.set()
        for thread in running:
            thread.join(30)


def answer(exporter: Exporter, request: bytes) -> bytes:
    """Return what is answered, or b"" where the client is dropped."""
    with contextlib.suppress(ConnectionResetError), connect(exporter) as client:
        send(client, request)
        received = b""
        while data := client.recv(65536):
            received += data
        return received
    return b""


def unmoved(trial: Trial) -> None:
    """Require that scrapes say all that they said before, in time."""
    seen = trial.during(5)
    assert (seen.down, seen.failing, seen.reasons) == (set(), set(), {})


@pytest.mark.survives("Clients", "50 scrape at once")
def test_fifty_scrapers_all_get_the_whole_answer(
    exporter: Exporter, database: tuple[Postgres, str], survives: Survives
) -> None:
    def scrape() -> tuple[int, bool]:
        got = requests.get(exporter.url + "/metrics", timeout=10)
        return got.status_code, "mlflow_db_up 1.0" in got.text

    with survives(exporter, [database[0]], timeout=5.0) as trial:
        with again_and_again(scrape, threads=50) as results:
            unmoved(trial)
        assert len(results) >= 50
        assert set(results) == {(200, True)}
        trial.recovered()


@pytest.mark.survives("Clients", "silent ones on every place")
def test_silent_clients_lose_their_place_to_who_speaks(
    exporter: Exporter, database: tuple[Postgres, str], survives: Survives
) -> None:
    with survives(exporter, [database[0]], CROWDED_SECONDS) as trial:
        with crowd(exporter, b""):
            unmoved(trial)
        trial.recovered()


@pytest.mark.survives("Clients", "requests that drip in, byte by byte (slowloris)")
def test_requests_that_never_end_lose_their_place_to_who_speaks(
    exporter: Exporter, database: tuple[Postgres, str], survives: Survives
) -> None:
    with survives(exporter, [database[0]], CROWDED_SECONDS) as trial:
        with crowd(exporter, GET + b"X-Slow: ") as clients:

            def drip() -> None:
                for client in clients:
                    send(client, b"x")
                time.sleep(0.05)

            with again_and_again(drip):
                unmoved(trial)
        trial.recovered()


@pytest.mark.survives("Clients", "answers read a byte at a time")
def test_slow_readers_lose_their_place_to_who_reads(
    exporter: Exporter, database: tuple[Postgres, str], survives: Survives
) -> None:
    with survives(exporter, [database[0]], CROWDED_SECONDS) as trial:
        with crowd(exporter, GET + b"\r\n", receive_buffer=1) as clients:

            def sip() -> None:
                for client in clients:
                    with contextlib.suppress(OSError):
                        client.recv(1)
                time.sleep(0.05)

            with again_and_again(sip):
                unmoved(trial)
        trial.recovered()


@pytest.mark.survives("Clients", "requests too large: line, header, many headers, body")
def test_large_requests_are_refused_and_not_kept(
    exporter: Exporter, database: tuple[Postgres, str], survives: Survives
) -> None:
    long = b"x" * (4 * HEAD_BYTES)
    large = {
        b"GET /" + long + b" HTTP/1.1\r\n\r\n": b"414",
        GET + b"Cookie: " + long + b"\r\n\r\n": b"431",
        GET + b"X-A: b\r\n" * 4000 + b"\r\n": b"431",
        b"POST /metrics HTTP/1.1\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 10_000_000: b"405",
    }

    def ask() -> None:
        for request, status in large.items():
            got = answer(exporter, request)
            assert got == b"" or got.startswith(b"HTTP/1.0 " + status)

    with survives(exporter, [database[0]]) as trial:
        with again_and_again(ask, threads=4) as results:
            unmoved(trial)
        assert set(results) == {None}
        trial.recovered()


@pytest.mark.survives("Clients", "malformed requests")
def test_malformed_requests_are_refused(
    exporter: Exporter, database: tuple[Postgres, str], survives: Survives
) -> None:
    malformed = (
        b"\x16\x03\x01\x00\xff\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/x\r\n\r\n",
        b"GET / / HTTP/1.1\r\n\r\n",
    )

    def ask() -> None:
        for request in (*malformed, secrets.token_bytes(4000) + b"\r\n\r\n"):
            got = answer(exporter, request)
            assert got == b"" or got.startswith(b"HTTP/1.0 4"), got

    with survives(exporter, [database[0]]) as trial:
        with again_and_again(ask, threads=2) as results:
            unmoved(trial)
        assert set(results) == {None}
        trial.recovered()


@pytest.mark.survives("Clients", "HEAD, OPTIONS and other methods")
def test_nothing_but_get_and_head_is_answered(
    exporter: Exporter, database: tuple[Postgres, str], survives: Survives
) -> None:
    def ask() -> tuple[tuple[int, bool], ...]:
        methods = ("HEAD", "OPTIONS", "POST", "DELETE", "TRACE", "BREW")
        got = [requests.request(method, exporter.url + "/metrics", timeout=10) for method in methods]
        return tuple((one.status_code, bool(one.content)) for one in got)

    with survives(exporter, [database[0]]) as trial:
        with again_and_again(ask) as results:
            unmoved(trial)
        assert set(results) == {((200, False), *[(405, True)] * 5)}
        trial.recovered()


@pytest.mark.survives("Clients", "keep-alive and pipelined requests")
def test_a_connection_is_closed_after_its_answer(
    exporter: Exporter, database: tuple[Postgres, str], survives: Survives
) -> None:
    def ask() -> int:
        return answer(exporter, (GET + b"Connection: keep-alive\r\n\r\n") * 20).count(b"HTTP/1.0 200 OK")

    with survives(exporter, [database[0]]) as trial:
        with again_and_again(ask, threads=4) as results:
            unmoved(trial)
        assert set(results) == {1}
        trial.recovered()


@pytest.mark.survives("Clients", "TLS handshakes that stop half-way, on every place")
def test_unfinished_handshakes_lose_their_place_to_who_shakes_hands(
    secured: Secured, database: tuple[Postgres, str], survives: Survives
) -> None:
    with survives(secured, [database[0]], CROWDED_SECONDS) as trial:
        with crowd(secured, b"\x16\x03\x01\x02\x00\x01") as clients:

            def drip() -> None:
                for client in clients:
                    send(client, b"\0")
                time.sleep(0.1)

            with again_and_again(drip):
                unmoved(trial)
        trial.recovered()


@pytest.mark.survives("Clients", "plain HTTP on the port of TLS")
def test_plain_http_is_told_that_tls_is_spoken(
    secured: Secured, database: tuple[Postgres, str], survives: Survives
) -> None:
    def ask() -> bool:
        got = answer(secured, GET + b"\r\n")
        return got.startswith(b"HTTP/1.0 400") and b"https://" in got and b"mlflow_" not in got

    with survives(secured, [database[0]]) as trial:
        with again_and_again(ask, threads=4) as results:
            unmoved(trial)
        assert set(results) == {True}
        trial.recovered()


@pytest.mark.survives("Clients", "wrong passwords without end, from 100 addresses")
def test_wrong_passwords_do_not_keep_the_right_one_out(
    secured: Secured, database: tuple[Postgres, str], survives: Survives
) -> None:
    def guess() -> int:
        guessed = f"https://{USER}:{secrets.token_hex(8)}@localhost:{secured.port}/metrics"
        with requests.Session() as session:
            session.mount("https://", From(f"127.0.0.{2 + secrets.randbelow(100)}"))
            return session.get(guessed, timeout=10).status_code

    with survives(secured, [database[0]]) as trial:
        with again_and_again(guess, threads=2) as results:
            unmoved(trial)
        assert set(results) <= {401, 429}
        trial.recovered()


class From(HTTPAdapter):
    """Ask from one of this machine's addresses."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, source_address=(self.address, 0), **options)
