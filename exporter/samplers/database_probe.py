"""The probe of the database: a new connection, then one round trip on it."""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import OperationalError, pq
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, PollingStatus
from psycopg.pq.abc import PGconn, PGresult

from exporter.collector import SourceError
from exporter.exhausted import exhausted
from exporter.samplers.attempt import Attempt, Failure, ProbeError, late
from exporter.samplers.probes import Probe
from exporter.sources.conninfo import Target
from exporter.sources.flood import Flood
from exporter.sources.names import resolved
from exporter.sources.pipeline import polled
from exporter.sources.postgres_errors import connect_error

# In slices, so that an attempt ended by another thread is noticed; libpq changes its socket from address to
# address, so none can be shut from outside.
SLICE_SECONDS = 0.1

# libpq gives no SQLSTATE of a failed connect, so the words decide: the server's, PgBouncer's, then libpq's own.
# In another language than English a refusal by the server counts as `rejected`, which is true as well. The first
# match wins: with sslmode=prefer one message tells of two tries.
WORDS = (
    (
        r"too many (?:clients|connections)|remaining connection slots|no more connections allowed",
        Failure.TOO_MANY,
    ),
    (
        r"password authentication failed|no password supplied|no pg_hba\.conf entry|SASL|SCRAM|"
        r'role ".*" (?:does not exist|is not permitted)|no such user|auth failed',
        Failure.AUTH,
    ),
    (r"could not translate host name", Failure.DNS),
    (r"timeout expired|timed out", Failure.TIMEOUT),
    (r"server closed the connection|Connection reset|terminating connection", Failure.RESET),
    (r"certificate|SSL", Failure.TLS),
    (r"Connection refused", Failure.REFUSED),
    (r"No route to host|is unreachable|No such file or directory", Failure.UNREACHABLE),
)

# SQLSTATEs of a statement that failed; the longest match wins.
STATES = {"53300": Failure.TOO_MANY, "28": Failure.AUTH, "57P01": Failure.RESET, "57014": Failure.TIMEOUT}

REASONS = (
    Failure.DNS, Failure.REFUSED, Failure.UNREACHABLE, Failure.TIMEOUT, Failure.TLS, Failure.RESET,
    Failure.AUTH, Failure.TOO_MANY, Failure.REJECTED, Failure.SETTINGS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DatabaseProbeSpec:
    """A database to probe; equal as long as the probe need not be rebuilt."""

    target: Target
    timeout: float = 3.0
    interval: float = 15.0
    vantage: str = "server"
    name: str = "database"


class DatabaseProbe(Probe):
    """Open a session at each interval and time its second statement.

    The first statement of a session reads catalogs, which measures the database's disk and not the way to it.
    Both are `SELECT 1`, alone in their transaction and without any SET, so that a pooler needs no special case.
    """

    def __init__(self, spec: DatabaseProbeSpec, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(
            name=spec.name,
            vantage=spec.vantage,
            interval=spec.interval,
            timeout=spec.timeout,
            reasons=REASONS,
            clock=clock,
        )
        self.spec = spec

    def measure(self, attempt: Attempt) -> float:
        try:
            conninfo = self.spec.target.conninfo()
        except SourceError as error:
            raise exhausted(error) or ProbeError(Failure.SETTINGS, error.detail, error.remedy) from None
        attempt.enter("connect")
        try:
            flood = Flood()
            with _connection(conninfo, attempt, flood) as connection:
                _ask(connection, attempt, flood)
                attempt.enter("processing")
                _ask(connection, attempt, flood)
                latency = attempt.seconds()["processing"]
                attempt.enter("")
        except OperationalError as error:
            raise _refused(str(error)) from None
        except SourceError as error:
            if exhausted(error):  # it is about us, and nobody was asked
                raise
            raise ProbeError(Failure.REJECTED, error.detail) from None
        return latency


@contextmanager
def _connection(conninfo: bytes, attempt: Attempt, flood: Flood) -> Iterator[PGconn]:
    # A name service that hangs is a timeout in `connect`, which the watchdog counts, while one that knows no such name
    # says so and is `dns`.
    connection = pq.PGconn.connect_start(resolved(conninfo))
    try:
        while (state := polled(connection, flood)) not in (PollingStatus.OK, PollingStatus.FAILED):
            _wait(connection, select.POLLIN if state == PollingStatus.READING else select.POLLOUT, attempt)
        if state == PollingStatus.FAILED:
            raise _refused(connection.get_error_message())
        connection.nonblocking = 1
        yield connection
    finally:
        connection.finish()


def _ask(connection: PGconn, attempt: Attempt, flood: Flood) -> None:
    connection.send_query(b"SELECT 1")
    while _flushed(connection, flood):
        _wait(connection, select.POLLIN | select.POLLOUT, attempt)
    while True:
        with flood:
            busy = connection.is_busy()
            result = None if busy else connection.get_result()
        if busy:
            _wait(connection, select.POLLIN, attempt)
            with flood:
                connection.consume_input()
        elif result is None:
            return
        else:
            _check(connection, result)


def _flushed(connection: PGconn, flood: Flood) -> int:
    with flood:
        return connection.flush()


def _check(connection: PGconn, result: PGresult) -> None:
    if result.status == ExecStatus.TUPLES_OK:
        return
    state = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode(errors="replace")
    if not state or connection.status != ConnStatus.OK:
        raise ProbeError(Failure.RESET, "the server closed the connection before it answered")
    failure = next((found for prefix, found in STATES.items() if state.startswith(prefix)), Failure.REJECTED)
    raise ProbeError(failure, " ".join(result.get_error_message().split()))


def _wait(connection: PGconn, events: int, attempt: Attempt) -> None:
    poller = select.poll()
    poller.register(connection.socket, events)
    try:
        while not poller.poll(min(attempt.left(), SLICE_SECONDS) * 1000):
            pass
    except TimeoutError:
        raise late(attempt.phase) from None


def _refused(message: str) -> ProbeError | SourceError:
    known = connect_error(message)  # its words and remedies; its reasons are a source's and fewer
    return exhausted(known) or ProbeError(failure_of(known.detail), known.detail, known.remedy)


def failure_of(message: str) -> Failure:
    """Return what libpq's message about a connection means."""
    return next((failure for words, failure in WORDS if re.search(words, message)), Failure.REJECTED)
