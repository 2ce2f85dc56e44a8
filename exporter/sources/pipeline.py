"""A libpq connection on which many queries are under way at once, each of them a transaction of its own.

psycopg's own pipeline object ends a pipeline at the first error and has no deadline for an answer; here every
query has its own Sync, so that one failure costs one query, and every wait is for the socket and a deadline.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import OperationalError, pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, PollingStatus
from psycopg.pq.abc import PGconn, PGresult

from exporter.collector import Reason, SourceError
from exporter.sources.names import resolved
from exporter.sources.postgres_errors import connect_error, query_error

Row = Mapping[str, object]

BINARY = 1

# Between the statements of one text.
NEXT = b"\n;\n"

# For the length of one transaction only (`is_local`): behind a pooler in transaction mode a session SET would
# stay on a server connection that clients of others get next.
# No schema that somebody else may create functions in is searched: they could run as our role. Whatever is not
# Postgres' own is qualified, here too, where the path is still the role's or the database's own.
LIMITS = b"""select pg_catalog.set_config('transaction_read_only', 'on', true),
 pg_catalog.set_config('statement_timeout', $1, true), pg_catalog.set_config('lock_timeout', $2, true),
 pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)"""


@dataclass(slots=True)
class Ticket:
    """One query under way: `result` or `error` is set when its answer has arrived."""

    name: str
    sent: float
    result: PGresult | None = None
    error: SourceError | None = None
    done: bool = False
    arrived: float = 0.0


@dataclass(slots=True)
class Limits:
    """What one query may cost: seconds that it may run, seconds that it may wait for a lock."""

    statement: float
    lock: float = 0.1

    def params(self) -> list[bytes]:
        # 1 ms at least: 0 would mean no limit at all.
        return [
            str(max(1, int(self.statement * 1000))).encode(),
            str(max(1, int(self.lock * 1000))).encode(),
        ]


@dataclass(slots=True)
class Link:
    """One connection in pipeline mode.

    Not for several threads. After SourceError with reason `unreachable` it is closed and stays so.
    """

    pgconn: PGconn
    heard: float = field(default_factory=time.monotonic)
    _under_way: deque[Ticket] = field(default_factory=deque)
    _broken: SourceError | None = None

    @property
    def open(self) -> bool:
        return self.pgconn.status == ConnStatus.OK

    def submit(self, name: str, sql: bytes, params: Sequence[object], limits: Limits) -> Ticket:
        """Queue one query behind those under way and send what the socket takes.

        A text may hold several statements, divided by a line `;`: one transaction, in which the first gets the
        parameters and the last gives the rows.
        """
        ticket = Ticket(name, time.monotonic())
        values, types, formats = _dumped(params)
        first, *others = sql.split(NEXT)
        try:
            self.pgconn.send_query_params(LIMITS, limits.params(), result_format=BINARY)
            self.pgconn.send_query_params(first, values, types, formats, BINARY)
            for other in others:
                self.pgconn.send_query_params(other, None, result_format=BINARY)
            self.pgconn.pipeline_sync()
            self.pgconn.flush()
        except OperationalError as error:
            raise self._lost(error) from None
        self._under_way.append(ticket)
        return ticket

    def wait(self, ticket: Ticket, deadline: float) -> list[Row]:
        """Return the rows of a query; raises its SourceError, or `timeout` at the deadline."""
        while not ticket.done:
            if not self._pump(deadline):
                raise SourceError(Reason.TIMEOUT, f"{ticket.name}: no answer before the deadline")
        if ticket.error is not None:
            raise ticket.error
        assert ticket.result is not None
        return _rows(ticket.result)

    def settle(self, silence: float) -> bool:
        """Read the answers still under way; False where none has come for `silence` seconds and some are due.

        It stays open then: a connection given up is a connection that a full server would not give back.
        """
        while self._under_way:
            try:
                # Heard of last may be long ago: the scrape before.
                if not self._pump(max(self.heard, self._under_way[0].sent) + silence):
                    return False
            except SourceError:
                break
        return True

    def close(self) -> None:
        self.pgconn.finish()
        self._under_way.clear()

    def _pump(self, deadline: float) -> bool:
        """Take in what has arrived, after waiting for the socket until the deadline; False when that passed."""
        try:
            wants_write = self.pgconn.flush() == 1
            if not _ready(self.pgconn.socket, deadline, wants_write):
                return False
            self.pgconn.consume_input()
            self.heard = time.monotonic()
            while self._under_way and not self.pgconn.is_busy():
                self._take(self.pgconn.get_result())
        except OperationalError as error:
            raise self._lost(error) from None
        if not self.open:
            raise self._lost(None)
        return True

    def _take(self, result: PGresult | None) -> None:
        if result is None:  # libpq's mark between two commands of one segment
            return
        ticket = self._under_way[0]
        match result.status:
            case ExecStatus.PIPELINE_SYNC:
                ticket.done = True
                self._under_way.popleft()
            case ExecStatus.TUPLES_OK | ExecStatus.COMMAND_OK:
                # The limits' own answer, and those of all statements but the last, are overwritten by the next.
                ticket.result = result
                ticket.arrived = self.heard
            case ExecStatus.PIPELINE_ABORTED:
                pass  # what comes after the statement of a segment that has said why
            case _:
                ticket.error = query_error(
                    ticket.name,
                    (result.error_field(DiagnosticField.SQLSTATE) or b"").decode(),
                    (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace"),
                )

    def _lost(self, raised: OperationalError | None) -> SourceError:
        """Close, and say why in the server's words where it had some ("terminating connection due to ...")."""
        if self._broken is None:
            said = next((ticket.error for ticket in self._under_way if ticket.error), None)
            why = " ".join((self.pgconn.get_error_message() or str(raised)).split())
            self._broken = said or SourceError(Reason.UNREACHABLE, f"connection lost: {why}")
            self.close()
        return self._broken


def connect(conninfo: bytes, deadline: float) -> Link:
    """Open a connection; raises SourceError, at the deadline at the latest but for a name service that hangs.

    Names are resolved in a blocking call, so only a thread that may hang should come here.
    """
    try:
        pgconn = pq.PGconn.connect_start(resolved(conninfo))
        while (state := pgconn.connect_poll()) not in (PollingStatus.OK, PollingStatus.FAILED):
            if not _ready(
                pgconn.socket, deadline, state == PollingStatus.WRITING, state == PollingStatus.READING
            ):
                pgconn.finish()
                raise SourceError(Reason.TIMEOUT, "no connection before the deadline")
        if state == PollingStatus.FAILED:
            message = pgconn.get_error_message()
            pgconn.finish()
            raise connect_error(message)
        pgconn.nonblocking = 1
        pgconn.enter_pipeline_mode()
    except OperationalError as error:
        raise connect_error(str(error)) from None
    return Link(pgconn)


def _ready(socket: int, deadline: float, write: bool, read: bool = True) -> bool:
    poller = select.poll()
    poller.register(socket, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
    return bool(poller.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _dumped(params: Sequence[object]) -> tuple[Sequence[bytes | None], Sequence[int], Sequence[int]]:
    transformer = Transformer()
    values = transformer.dump_sequence(params, [PyFormat.AUTO] * len(params))
    return (
        [None if value is None else bytes(value) for value in values],
        transformer.types or (),
        [int(form) for form in transformer.formats or ()],
    )


def _rows(result: PGresult) -> list[Row]:
    names = [(result.fname(i) or b"").decode() for i in range(result.nfields)]
    transformer = Transformer()
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, lambda values: dict(zip(names, values, strict=True)))
