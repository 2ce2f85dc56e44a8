"""SQL by operation and table, from pg_stat_statements: calls, seconds, rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from operator import lt, sub
from typing import Any, NamedTuple, cast

from exporter.collector import Reason, SourceError
from exporter.metric import Metric, Sample, counter, gauge
from exporter.sources.facts import MONITOR, quoted
from exporter.sources.pipeline import Row
from exporter.sql import Answers, SqlCollector
from exporter.statements import KNOWN, Statement, classify

LABELS = ("operation", "table")


def _pair(what: str, help: str, source: str, unit: str = "") -> tuple[Metric, Metric]:
    """Declare a counter of what statements did, for those that read and for those that write."""
    absent = "Absent without pg_stat_statements, and of a kind of statement that never ran."
    source = f"pg_stat_statements.{source}"
    return (
        counter(
            f"mlflow_db_statement_read_{what}_total", f"{help} that read. {absent}", source, unit, LABELS
        ),
        counter(
            f"mlflow_db_statement_write_{what}_total",
            f"{help} that write, lock rows or commit. {absent}",
            source,
            unit,
            LABELS,
        ),
    )


CALLS = _pair("calls", "Executions of SQL statements", "calls")
SECONDS = _pair(
    "seconds",
    "Seconds in SQL statements (fk_check and nested: in those of the statement around them too)",
    "total_exec_time, total_plan_time",
    "seconds",
)
ROWS = _pair("rows", "Rows returned or changed by SQL statements", "rows")

TRACKED = gauge(
    "mlflow_db_statements_tracked",
    "Statements in pg_stat_statements, of all databases. Absent without it.",
    "pg_stat_statements",
)
LIMIT = gauge(
    "mlflow_db_statements_limit",
    "Statements that pg_stat_statements can track; more of them push others out. Absent without it.",
    "pg_settings pg_stat_statements.max",
)
EVICTED = counter(
    "mlflow_db_statements_evicted_total",
    "Times that pg_stat_statements pushed out its least used statements, whose counts we then lose."
    " Absent before Postgres 14.",
    "pg_stat_statements_info.dealloc",
)
HIDDEN = gauge(
    "mlflow_db_statements_hidden",
    "Statements of this database that the exporter's role may not see, so they are counted nowhere."
    " Absent without pg_stat_statements.",
    "pg_stat_statements.queryid",
)
PENDING = gauge(
    "mlflow_db_statements_pending",
    "Statements whose text is not yet read; their counts are kept until it is. Absent without pg_stat_statements.",
    "pg_stat_statements.query",
)

# What a statement counts as whose text was gone before it was read.
GONE = Statement("other", "", False)

QUERY_IDS = "compute_query_id = 'auto'  -- postgresql.conf or parameter group, then reload"
TRACK_TOP = "pg_stat_statements.track = 'top'  -- postgresql.conf or parameter group, then reload"

# Reading texts costs the server the whole file of them, 52 ms at 14 MB: at most a hundredth of its time.
REST = 100
# What is asked for at once: 4 MB of texts at most.
BATCH = 2_000

Key = tuple[int, int | None, bool]
"""Role, queryid (None where our role may not see it), whether it ran at top level."""
Shape = tuple[int, bool]
"""Queryid, whether it ran at top level: what has one class."""


class Counts(NamedTuple):
    """What pg_stat_statements has of one statement, and since when: 0 before Postgres 17."""

    since: float = 0.0
    calls: int = 0
    milliseconds: float = 0.0
    rows: int = 0

    def plus(self, calls: int, milliseconds: float, rows: int) -> Counts:
        return Counts(0.0, self.calls + calls, self.milliseconds + milliseconds, self.rows + rows)


class Read(NamedTuple):
    """One reading; times are the server's, `reset` is 0 before Postgres 14."""

    server_started: float
    reset: float
    read_at: float
    hidden: int
    entries: dict[Key, tuple[float, int, float, int]]


class Statements(SqlCollector):
    """Add up what statements did, by class, from the first reading on.

    Raises SourceError `permission` where the role sees statements, but none of MLflow's, and `unsupported`
    where the server tracks none.
    """

    name = "statements"
    queries = ("statements_info", "statements")
    metrics = (*CALLS, *SECONDS, *ROWS, TRACKED, LIMIT, EVICTED, HIDDEN, PENDING)

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: Read | None = None
        self._totals: dict[Statement, Counts] = dict.fromkeys(KNOWN, Counts())
        self._classes: dict[Shape, Statement] = {}
        self._pending: dict[Shape, Counts] = {}
        self._sees_mlflow = False
        self._rested = -math.inf
        self._failure: tuple[Reason, str, str] | None = None

    def collect(self, session: Answers) -> Iterable[Sample]:
        (info,) = session.rows("statements_info")
        (row,) = session.rows("statements")
        if info["track"] == "none":
            raise SourceError(Reason.UNSUPPORTED, "pg_stat_statements.track is none", TRACK_TOP)
        if info.get("query_ids") == "off":  # a setting since 14
            raise SourceError(Reason.UNSUPPORTED, "compute_query_id is off, so nothing is tracked", QUERY_IDS)
        now = _read(info, row)
        self._add(now)
        self._read_texts(session)
        if now.hidden and not self._sees_mlflow:
            raise SourceError(
                Reason.PERMISSION,
                f"{now.hidden} statements belong to other roles, and none of those seen is MLflow's",
                MONITOR.format(role=quoted(session.facts.role)),
            )
        return self._samples({**info, **row}, now)

    def _add(self, now: Read) -> None:
        """Add what was counted since the last reading."""
        if self._last is None or self._last.entries.keys() != now.entries.keys():
            self._track({(queryid, toplevel) for _, queryid, toplevel in now.entries if queryid is not None})
        for shape, (_, calls, milliseconds, rows) in deltas(self._last, now):
            if shape in self._pending:
                self._pending[shape] = self._pending[shape].plus(calls, milliseconds, rows)
            else:
                self._count(self._classes[shape], calls, milliseconds, rows)
        self._last = now

    def _track(self, shapes: set[Shape]) -> None:
        """Forget the statements that are no longer tracked, so that we hold no more than the server does."""
        self._classes = {shape: one for shape, one in self._classes.items() if shape in shapes}
        for shape in self._pending.keys() - shapes:
            self._classify(shape, None)
        for shape in shapes - self._classes.keys() - self._pending.keys():
            self._pending[shape] = Counts()

    def _read_texts(self, session: Answers) -> None:
        """Read the texts of pending statements, all together, when the server has rested from the last time.

        Raises what the last reading raised until one succeeds: without texts the counters would stand still
        while the database is busy.
        """
        started = self._clock()
        if not self._pending:
            self._failure = None
        elif started >= self._rested:
            batch = list(self._pending)[:BATCH]
            try:
                rows = session.ask("statement_texts", sorted({queryid for queryid, _ in batch}))
                self._failure = None
            except SourceError as error:
                self._failure = (error.reason, error.detail, error.remedy)
            finally:
                now = self._clock()
                self._rested = now + REST * (now - started)
            if self._failure is None:
                texts = {row["queryid"]: str(row["text"] or "") for row in rows}
                for shape in batch:
                    self._classify(shape, texts.get(shape[0]))
        if self._failure is not None:
            raise SourceError(*self._failure)

    def _classify(self, shape: Shape, text: str | None) -> None:
        statement = GONE if text is None else classify(text, shape[1])
        if text is not None:
            self._classes[shape] = statement
        self._sees_mlflow = self._sees_mlflow or bool(statement.table)
        _, calls, milliseconds, rows = self._pending.pop(shape)
        self._count(statement, calls, milliseconds, rows)

    def _count(self, statement: Statement, calls: int, milliseconds: float, rows: int) -> None:
        self._totals[statement] = self._totals.get(statement, Counts()).plus(calls, milliseconds, rows)

    def _samples(self, row: Row, now: Read) -> Iterator[Sample]:
        yield from self.samples(row)
        yield HIDDEN(now.hidden)
        yield PENDING(len(self._pending))
        for one, counts in self._totals.items():
            yield CALLS[one.writes](counts.calls, one.operation, one.table)
            yield SECONDS[one.writes](counts.milliseconds / 1000, one.operation, one.table)
            yield ROWS[one.writes](counts.rows, one.operation, one.table)


def deltas(before: Read | None, now: Read) -> Iterator[tuple[Shape, Counts]]:
    """Return what was counted between two readings; never more than the truth.

    Less by what ran before the first reading, what was born and evicted between two readings, and what ran
    after the last reading before a reset, an eviction or a restart of the server.
    """
    # Another server (failover), or ours after a restart: there is nothing to subtract from.
    if before is None or before.server_started != now.server_started:
        return
    # Our role was allowed to see more: what appears now may be old.
    baseline = now.hidden < before.hidden
    reset = now.reset > before.read_at
    for key, counts in now.entries.items():
        old = before.entries.get(key)
        _, queryid, toplevel = key
        if (counts == old and not reset) or queryid is None or (old is None and baseline):
            continue
        # Evicted and back, or after a reset, all it has came after the last reading. Where the server does not
        # tell (evictions before Postgres 17, resets before 14) one that is back with more than it had looks as if
        # it had stayed, and counts for the difference: too little, never too much.
        if old is None or reset or counts[0] > before.read_at or any(map(lt, counts, old)):
            yield (queryid, toplevel), Counts(*counts)
        else:
            yield (queryid, toplevel), Counts(*map(sub, counts, old))


def _read(info: Row, row: Row) -> Read:
    # Without a single statement the aggregates are NULL.
    userid, queryid, toplevel, since, calls, milliseconds, rows = (
        cast("list[Any]", row[name] or [])
        for name in ("userid", "queryid", "toplevel", "since", "calls", "milliseconds", "rows")
    )
    entries = dict(
        zip(
            zip(userid, queryid, toplevel, strict=True),
            zip(since, calls, milliseconds, rows, strict=True),
            strict=True,
        )
    )
    started, reset, read_at = (
        cast(float, one) for one in (info["server_started"], info["reset"], row["read_at"])
    )
    return Read(started, reset, read_at, queryid.count(None), entries)
