"""SQL by operation, from pg_stat_statements: what it did, what it cost, and the few statements that take most time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from exporter.collector import Reason, SourceError
from exporter.metric import Metric, Sample, counter, gauge
from exporter.rights import MONITOR
from exporter.sources.facts import quoted
from exporter.sources.pipeline import Row
from exporter.sql import Answers, SqlCollector
from exporter.statements import KNOWN, Statement
from exporter.statements.counts import Counts, Reading
from exporter.statements.totals import Totals

CLASS = ("operation", "table")
OPERATION = ("operation",)


def _pair(
    what: str, help: str, source: str, unit: str = "", labels: tuple[str, ...] = OPERATION
) -> tuple[Metric, Metric]:
    """Declare a counter of what statements did, for those that read and for those that write."""
    absent = "Absent without pg_stat_statements, and of a kind of statement that never " + (
        "ran." if labels == CLASS else "had any."
    )
    source = f"pg_stat_statements.{source}"
    return (
        counter(
            f"mlflow_db_statement_read_{what}_total", f"{help} that read. {absent}", source, unit, labels
        ),
        counter(
            f"mlflow_db_statement_write_{what}_total",
            f"{help} that write, lock rows or commit. {absent}",
            source,
            unit,
            labels,
        ),
    )


CALLS = _pair("calls", "Executions of SQL statements", "calls", labels=CLASS)
SECONDS = _pair(
    "seconds",
    "Seconds in SQL statements (fk_check and nested: in those of the statement around them too)",
    "total_exec_time, total_plan_time",
    "seconds",
    CLASS,
)
ROWS = _pair("rows", "Rows returned or changed by SQL statements", "rows", labels=CLASS)

# What they cost is told by operation alone: by table it would be 200 series more, and an operation's costly
# statements have one table.
HIT = _pair("blocks_hit", "Blocks found in shared buffers by SQL statements", "shared_blks_hit")
READ = _pair("blocks_read", "Blocks not found in shared buffers by SQL statements", "shared_blks_read")
TEMP = _pair(
    "temp_blocks",
    "Blocks of temporary files read and written, for sorts and hashes above work_mem, by SQL statements",
    "temp_blks_read, temp_blks_written",
)
WAL = counter(
    "mlflow_db_statement_write_wal_bytes_total",
    "Bytes of write-ahead log made by SQL statements that write, lock rows or commit. Absent without"
    " pg_stat_statements, and of a kind of statement that never had any.",
    "pg_stat_statements.wal_bytes",
    "bytes",
    OPERATION,
)
IO = _pair(
    "io_seconds",
    "Seconds of waiting for blocks to be read or written, with track_io_timing on (those of temporary files from"
    " Postgres 15 on), by SQL statements",
    "shared_blk_read_time and the like (before 17: blk_read_time)",
    "seconds",
)

POINTS = counter(
    "mlflow_store_points_logged_total",
    "Points of metrics inserted, those that are rolled back after a duplicate too. Divided by"
    " mlflow_store_log_calls_total: points in a logging call, with either driver. Absent without pg_stat_statements.",
    "pg_stat_statements.rows of INSERT INTO metrics",
)
LOG_CALLS = counter(
    "mlflow_store_log_calls_total",
    "Calls that logged metrics of a run (log_metric, log_batch), one for each 500 keys of a call that has more, so"
    " that points in a call seem fewer. Absent without pg_stat_statements.",
    "pg_stat_statements.calls of SELECT latest_metrics.key",
)
PARAMS = counter(
    "mlflow_store_params_logged_total",
    "Parameters of runs inserted. Divided by mlflow_store_log_param_calls_total: parameters in a logging call, with"
    " either driver. Absent without pg_stat_statements.",
    "pg_stat_statements.rows of INSERT INTO params",
)
PARAM_CALLS = counter(
    "mlflow_store_log_param_calls_total",
    "Calls that logged parameters of a run; the end of a run counts as one too, so that parameters in a call seem"
    " fewer where calls are few. Absent without pg_stat_statements.",
    "pg_stat_statements.calls of SELECT params by run",
)

DRIVER = gauge(
    "mlflow_db_driver_info",
    "Always 1; driver of the tracking server as its statements show it (psycopg2, psycopg3), both where both ran in"
    " the last quarter of an hour of activity. Absent until one ran, and without pg_stat_statements.",
    "pg_stat_statements.query",
    labels=("driver",),
)

SLOW_SECONDS = counter(
    "mlflow_db_slow_statement_seconds_total",
    "Seconds in this statement since it came among the slowest (statements.slowest), at most of five minutes ago."
    " Absent of all others.",
    "pg_stat_statements.total_exec_time, total_plan_time",
    "seconds",
    ("queryid",),
)
SLOW_CALLS = counter(
    "mlflow_db_slow_statement_calls_total",
    "Executions of this statement since it came among the slowest. Absent of all others.",
    "pg_stat_statements.calls",
    labels=("queryid",),
)
SLOW_INFO = gauge(
    "mlflow_db_slow_statement_info",
    "Always 1; operation, table and start of the text, without any value, of a statement that is among the slowest."
    " Absent of all others; query is empty with statements.texts off.",
    "pg_stat_statements.query",
    labels=("queryid", "operation", "table", "query"),
)

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
    "Statements that ran and whose text is not yet read; their counts are kept until it is. "
    "Absent without pg_stat_statements.",
    "pg_stat_statements.query",
)

QUERY_IDS = "compute_query_id = 'auto'  -- postgresql.conf or parameter group, then reload"
TRACK_TOP = "pg_stat_statements.track = 'top'  -- postgresql.conf or parameter group, then reload"

# What a dashboard takes the increase of starts at 0; of the rest, a series that would stay 0 is none.
EVERYDAY = {(known.operation, known.writes) for known in KNOWN if known.table}


class Statements(SqlCollector):
    """Add up what statements did, by class, from the first reading on.

    `slowest` are shown one by one, with the start of their `texts`. Raises SourceError `permission` where the
    role sees statements, but none of MLflow's, and `unsupported` where the server tracks none.
    """

    name = "statements"
    queries = ("statements_info", "statements")
    metrics = (
        *(*CALLS, *SECONDS, *ROWS, *HIT, *READ, *TEMP, *IO, WAL),
        *(POINTS, LOG_CALLS, PARAMS, PARAM_CALLS, DRIVER),
        *(SLOW_SECONDS, SLOW_CALLS, SLOW_INFO),
        *(TRACKED, LIMIT, EVICTED, HIDDEN, PENDING),
    )

    def __init__(
        self, slowest: int = 10, texts: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.totals = Totals(slowest, texts, clock)

    def collect(self, session: Answers) -> Iterable[Sample]:
        # First, as its error tells an extension that pg_upgrade left behind from one that is not there.
        (row,) = session.rows("statements")
        (info,) = session.rows("statements_info")
        if info["track"] == "none":
            raise SourceError(Reason.UNSUPPORTED, "pg_stat_statements.track is none", TRACK_TOP)
        if info.get("query_ids") == "off":  # a setting since 14
            raise SourceError(Reason.UNSUPPORTED, "compute_query_id is off, so nothing is tracked", QUERY_IDS)
        now = Reading.of(info, row, self.totals.last)
        self.totals.add(now)
        self.totals.read_texts(session)
        if now.hidden and not self.totals.sees_mlflow:
            raise SourceError(
                Reason.PERMISSION,
                f"{now.hidden} statements belong to other roles, and none of those seen is MLflow's",
                MONITOR.format(role=quoted(session.facts.role)),
            )
        self.totals.choose_slow()
        return self._samples({**info, **row}, now)

    def _samples(self, row: Row, now: Reading) -> Iterator[Sample]:
        yield from self.samples(row)
        yield HIDDEN(now.hidden)
        yield PENDING(self.totals.pending)
        for one, counts in self.totals.by_class.items():
            yield CALLS[one.writes](counts.calls, one.operation, one.table)
            yield SECONDS[one.writes](counts.milliseconds / 1000, one.operation, one.table)
            yield ROWS[one.writes](counts.rows, one.operation, one.table)
        for (operation, writes), counts in self.totals.by_operation().items():
            yield from _costs(operation, writes, counts, bool(row["io_timing"]))
        yield from _workload(self.totals.by_class)
        for driver in self.totals.drivers():
            yield DRIVER(1, driver)
        for queryid, slow in self.totals.slow:
            yield SLOW_SECONDS(slow.milliseconds / 1000, str(queryid))
            yield SLOW_CALLS(slow.calls, str(queryid))
            yield SLOW_INFO(1, str(queryid), slow.statement.operation, slow.statement.table, slow.text)


def _costs(operation: str, writes: bool, counts: Counts, io_timing: bool) -> Iterator[Sample]:
    everyday = (operation, writes) in EVERYDAY
    costs = [
        (HIT[writes], counts.blocks_hit, everyday),
        (READ[writes], counts.blocks_read, everyday),
        (TEMP[writes], counts.temp_blocks, everyday),
        # A time that nobody takes is not 0; it may be taken of MLflow's role and not of ours.
        (IO[writes], counts.io_milliseconds / 1000, everyday and io_timing),
    ]
    if writes:  # what a SELECT leaves in it is the cleaning of pages
        costs.append((WAL, counts.wal_bytes, everyday))
    return (metric(value, operation) for metric, value, starts in costs if value or starts)


def _workload(totals: Mapping[Statement, Counts]) -> Iterator[Sample]:
    yield POINTS(totals[Statement("log_metrics", "metrics", True)].rows)
    yield LOG_CALLS(totals[Statement("log_metrics", "latest_metrics", False)].calls)
    yield PARAMS(totals[Statement("log_params", "params", True)].rows)
    yield PARAM_CALLS(totals[Statement("log_params", "params", False)].calls)
