"""One request on one new connection of urllib3's, every phase of it timed.

Without `requests` around it, which would bring redirects, proxies, `.netrc` and cookies, none of them wanted here, and
5 MiB of resident memory.
"""

from __future__ import annotations

import functools
import http.client
import logging
import socket
import ssl
import zlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, IncompleteRead, LocationValueError, ReadTimeoutError
from urllib3.response import BaseHTTPResponse
from urllib3.util import parse_url

from exporter.collector import SourceError
from exporter.exhausted import exhausted
from exporter.samplers.attempt import Attempt, Failure, ProbeError, late

# More of an answer than this is not read, packed or unpacked.
BODY_BYTES = 64 * 1024

# Its debug lines quote whole URLs, and a URL may carry somebody's token; so does its warning of a malformed header,
# with all that the server has sent. Here too, for whoever probes without the program's log.
logging.getLogger("urllib3").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server sent; `body` is its first 64 KiB, `whole` whether that is all of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool


def fetch(url: str, headers: Mapping[str, str], attempt: Attempt, context: ssl.SSLContext | None) -> Answer:
    """GET a URL once, on a new connection; raises ProbeError.

    Returns at the attempt's end at the latest, if somebody calls that at the deadline: a socket's own
    timeout is for one read, and a server that sends a byte now and then never exceeds it.
    """
    try:
        target, pool = parse_url(url).request_uri, _pool(url, attempt, context)
    except LocationValueError:
        # Without its text, which quotes the URL.
        raise ProbeError(Failure.SETTINGS, "the URL cannot be sent") from None
    # Not asked for packed, an answer is of the size that it has on the wire.
    ours = {"Connection": "close", "Accept-Encoding": "identity"}
    try:
        with closing(pool):
            response = pool.urlopen(
                "GET",
                target,
                headers={**headers, **ours},
                timeout=attempt.left(),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            with closing(response):
                attempt.status = response.status
                body = _body(response)
            # To be shut at the deadline looks like the end of a body that has no length.
            attempt.left()
            attempt.enter("")
        return _answer(response, body)
    # A ValueError: http.client takes a chunk of negative length for one to be read.
    except (HTTPError, http.client.HTTPException, OSError, ValueError, zlib.error) as error:
        raise _failure(_innermost(error), attempt.phase) from None


def _body(response: BaseHTTPResponse) -> bytes:
    """Read on after a short read: only the next one tells the end from a body that breaks off."""
    body = b""
    while len(body) <= BODY_BYTES and (
        part := response.read(BODY_BYTES + 1 - len(body), decode_content=False)
    ):
        body += part
    return body


def _answer(response: BaseHTTPResponse, body: bytes) -> Answer:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        # gzip or zlib, whichever its header says; a bomb unfolds no further than the limit.
        body = zlib.decompressobj(wbits=47).decompress(body[:BODY_BYTES], BODY_BYTES + 1)
    whole = len(body) <= BODY_BYTES
    return Answer(response.status, response.headers, body[:BODY_BYTES], whole)


def _pool(url: str, attempt: Attempt, context: ssl.SSLContext | None) -> HTTPConnectionPool:
    place = parse_url(url)
    assert place.host is not None
    pool = (
        HTTPSConnectionPool(place.host, place.port, ssl_context=context)
        if place.scheme == "https"
        else HTTPConnectionPool(place.host, place.port)
    )
    kind = _TlsConnection if place.scheme == "https" else _Connection
    # The pool only calls it, to which each attempt needs its own.
    pool.ConnectionCls = functools.partial(kind, attempt=attempt)  # type: ignore[assignment]
    return pool


class _Connection(HTTPConnection):
    connected_phase = "processing"

    def __init__(self, *args: Any, attempt: Attempt, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.attempt = attempt
        self.response_class = functools.partial(_Response, attempt=attempt)  # type: ignore[assignment] # called only

    def _new_conn(self) -> socket.socket:
        assert self.port is not None
        try:
            connection = _dial(self._dns_host.strip("[]"), self.port, self.attempt)
        except (OSError, UnicodeError) as error:
            # Not through urllib3: a connect that the watchdog cuts may be a broken pipe, which it passes over.
            raise _failure(error, self.attempt.phase) from None
        self.attempt.enter(self.connected_phase)
        return connection


class _TlsConnection(_Connection, HTTPSConnection):
    connected_phase = "tls"

    def connect(self) -> None:
        super().connect()
        assert isinstance(self.sock, ssl.SSLSocket)
        certificate = self.sock.getpeercert()
        if certificate:
            self.attempt.certificate_expiry = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        self.attempt.enter("processing")


class _Response(http.client.HTTPResponse):
    def __init__(self, *args: Any, attempt: Attempt, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._attempt = attempt

    def begin(self) -> None:
        if self.fp.peek(1):  # waits for the first byte and leaves it there
            self._attempt.enter("transfer")
        super().begin()


def _dial(host: str, port: int, attempt: Attempt) -> socket.socket:
    """Try a name's addresses in their order; each gets its share of what is left, as one may swallow packets."""
    attempt.enter("resolve")
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    attempt.enter("connect")
    failed: OSError = TimeoutError()
    for untried, (family, kind, protocol, _, address) in zip(
        range(len(addresses), 0, -1), addresses, strict=True
    ):
        connection: socket.socket | None = None
        try:
            connection = socket.socket(family, kind, protocol)
            attempt.hold(connection)
            connection.settimeout(attempt.left() / untried)
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(attempt.left())
            return connection
        except OSError as error:
            failed = error
            if connection is not None:
                connection.close()
    raise failed


def _innermost(error: BaseException) -> BaseException:
    """Return what urllib3 has wrapped, sometimes twice."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _failure(error: BaseException, phase: str) -> ProbeError | SourceError:
    if ours := exhausted(error):
        return ours
    remedy = ""
    match error:
        case TimeoutError() | ReadTimeoutError():
            return late(phase)
        case socket.gaierror():
            failure, detail = Failure.DNS, str(error.strerror)
        case UnicodeError():
            failure, detail = Failure.DNS, "not a name that a name service could know"
        case ssl.SSLCertVerificationError():
            failure, detail = Failure.TLS, error.verify_message or "certificate not valid"
            remedy = "server.ca_file holds the CA's certificate where it is a private one"
        case ssl.SSLError() if phase == "tls" or not isinstance(error, ssl.SSLEOFError):
            failure, detail = Failure.TLS, error.reason or error.strerror or "handshake failed"
        case OSError() if phase == "tls":
            failure, detail = Failure.TLS, f"connection lost in the handshake: {error.strerror}"
        case ConnectionRefusedError():
            failure, detail = Failure.REFUSED, "nothing listens there"
        case OSError() if phase in ("resolve", "connect"):
            failure, detail = Failure.UNREACHABLE, str(error.strerror)
        case OSError() | http.client.IncompleteRead() | IncompleteRead():
            failure, detail = Failure.RESET, "the connection was closed before the answer was complete"
        case _:
            failure, detail = Failure.BODY, f"not an answer in HTTP: {type(error).__name__}"
    return ProbeError(failure, detail, remedy)
