"""MLflow / Queries: which operation and which statement take the database's time, and what they cost it."""

from __future__ import annotations

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Dashboard, Row
from exporter.pack.dashboards.limits import threshold
from exporter.pack.dashboards.panel import (
    Column,
    Limit,
    Panel,
    above,
    graph,
    limit_line,
    stat,
    table,
)
from exporter.pack.dashboards.terms import SERVER, leading

# One database, whoever reads it: several exporters count the same statements, some since later than others.
# The time of checks and of statements inside functions is in the statement around them too.
OWN = '{operation!~"fk_check|nested"}'
# For costs in bytes; a Postgres with another size of block is one that somebody has compiled.
BLOCK = 8192
# What is told by table too; the rest is by operation alone.
BY_TABLE = ("calls", "seconds", "rows")


def counted(kind: str, what: str, per: str = "rate", window: str = "[$__rate_interval]") -> str:
    """Return PromQL for what statements that read, or write, have added to a counter, once for each database."""
    by = f"{SERVER}, operation, table" if what in BY_TABLE else f"{SERVER}, operation"
    return f"max by ({by}) ({per}(mlflow_db_statement_{kind}_{what}_total{OWN}{window}))"


def both(what: str, per: str = "rate", window: str = "[$__rate_interval]") -> str:
    """Return PromQL for reads and writes of each operation, told apart by the label `kind`."""
    reads, writes = counted("read", what, per, window), counted("write", what, per, window)
    return (
        f'label_replace({reads}, "kind", "read", "", "") or label_replace({writes}, "kind", "write", "", "")'
    )


def summed(what: str) -> str:
    return f"sum({both(what)})"


def by_operation(what: str) -> str:
    return f"sum by (operation) ({both(what)})"


def shown(what: str) -> str:
    return both(what, "increase", "[$__range] @ end()")


def load() -> str:
    """Return PromQL for the sessions that each operation keeps busy, as its alerts see them."""
    seconds = 'mlflow_db_load_operation_seconds_total{database="mlflow"}'
    sessions = f"""
        sum by (operation) (
          max by ({SERVER}, operation) (
              rate({seconds}[$__rate_interval])
            / ignoring (operation, database) group_left ()
              (rate(mlflow_db_load_sampled_seconds_total[$__rate_interval]) > 0)
          )
        )"""
    return leading(sessions, f"max by ({SERVER}, operation) (increase({seconds}[$__range] @ end()))")


def ranked(title: str, text: str, expr: str, unit: str, *, log: bool = False, height: int = 8) -> Panel:
    """Return a graph by operation, beside it the operations by their mean over the time that is shown.

    Stacked but on a logarithmic scale, on which a stack means nothing.
    """
    made = graph(
        title,
        text,
        {"{{operation}}": expr},
        unit_=unit,
        stacked=not log,
        log=log,
        legend="side",
        height=height,
    )
    # One column: the others would leave the graph half of the panel.
    made.json["options"]["legend"] |= {"calcs": ["mean"], "sortBy": "Mean", "sortDesc": True}
    return made


def tiles() -> list[Panel]:
    read, hit = summed("blocks_read"), summed("blocks_hit")
    hidden = f"min by ({SERVER}) (mlflow_db_statements_hidden)"
    evicted = f"max by ({SERVER}) (increase(mlflow_db_statements_evicted_total[1h]))"
    return [
        stat(
            "Busy in SQL",
            "Statements that run at the same moment, on average. Near the number of the database's cores it is full: "
            "database-size. What waits for a connection or for the network is not in it.",
            summed("seconds"),
            unit_="short",
            decimals=2,
            absent_="unknown",
        ),
        stat(
            "Statements",
            "Executions a second. A logging call is six of them; ten times what it was means another use of MLflow, "
            "see Workload.",
            summed("calls"),
            unit_="ops",
            absent_="unknown",
        ),
        stat(
            "Mean time",
            "Time of one execution, over all kinds. Below 1 ms is normal, as most look up one run by its id; the table "
            "below says which do not.",
            f"{summed('seconds')} / {summed('calls')} >= 0",
            unit_="s",
            steps=[above(colours.OK, 0), above(colours.NEAR, 0.005), above(colours.WARNING, 0.02)],
            absent_="unknown",
        ),
        stat(
            "Reads' share",
            "Share of the time that goes to statements that only read. Most of it while the database's CPU is full: "
            "MlflowReadsCrowdOutWrites, cause read-load.",
            f"sum({counted('read', 'seconds')}) / {summed('seconds')} >= 0",
            unit_="percentunit",
            decimals=0,
            absent_="unknown",
        ),
        stat(
            "Cache misses",
            "Share of the blocks that were wanted and not in shared_buffers. Below 1 % is normal once warm; more is a "
            "working set that does not fit (database-size) or tables read wholly (database-indexes).",
            f"{read} / ({read} + {hit}) >= 0",
            unit_="percentunit",
            decimals=2,
            steps=[above(colours.OK, 0), above(colours.NEAR, 0.05)],
            absent_="unknown",
        ),
        stat(
            "Statistics",
            "Whether these figures are whole. EVICTING: more different statements than pg_stat_statements.max, so "
            "counts are lost. IN PART: statements of other roles are hidden from ours, which is no harm unless "
            "MLflow's are among them: GRANT pg_monitor. Not there at all: MlflowStatementsNotTracked.",
            f"max(2 * ({hidden} > bool 0) + ({evicted} > bool 5 or 0 * {hidden}))",
            unit_="short",
            maps={
                0: ("WHOLE", colours.OK),
                1: ("EVICTING", colours.WARNING),
                2: ("IN PART", colours.INFO),
                3: ("EVICTING", colours.WARNING),
            },
            filled=True,
            absent_="not tracked",
        ),
    ]


def work() -> list[Panel]:
    return [
        ranked(
            "Time by operation",
            "Statements of each operation that run at the same moment, reads and writes together, from what Postgres "
            "counts when they end. log_metrics leads where jobs log; what has grown since it was well is what to look "
            "at. What has less than one part in 200 of the time shown is left out here and below.",
            leading(by_operation("seconds"), shown("seconds")),
            "short",
            height=9,
        ),
        ranked(
            "Sessions by operation",
            "The same as somebody sees it who looks once a second: with statements that have not ended yet, COMMIT, "
            "and waits for locks and disks. Much higher than the time beside it: sessions wait, and Load by what "
            "sessions wait for, on Database, says why.",
            load(),
            "short",
            height=9,
        ),
    ]


def slowest() -> Panel:
    by = f"{SERVER}, queryid"
    # A text may differ between two exporters, of which one does not show any.
    texts = f"topk by ({by}) (1, last_over_time(mlflow_db_slow_statement_info[$__range]))"
    seconds = f"max by ({by}) (increase(mlflow_db_slow_statement_seconds_total[$__range]))"
    calls = f"max by ({by}) (increase(mlflow_db_slow_statement_calls_total[$__range]))"
    all_ = f"sum by ({SERVER}) ({both('seconds', 'increase', '[$__range]')})"

    def told(expr: str) -> str:
        return f"({expr} and on ({by}) {calls} > 0) * on ({by}) group_left (operation, table, query) {texts}"

    made = table(
        "Slowest statements",
        "The statements that took most time, over the time that is shown. Share: of all SQL. A high mean is a slow "
        "statement: `mlflow-exporter explain` shows its plan. A low mean with many calls is a matter of the caller: "
        "see Workload. $1 stands for a value; texts are cut, and not there with statements.texts off.",
        {
            "share": told(f"{seconds} / on ({SERVER}) group_left () {all_}"),
            "mean": told(f"{seconds} / ({calls} > 0)"),
            "calls": told(f"{calls} / $__range_s"),
        },
        [
            Column("tracking_server", "Server", width=90),
            Column("operation", "Operation", width=130),
            Column("table", "Table", width=125),
            Column("Value #A", "Share of time", "percentunit", 140, 1, bar=1),
            Column(
                "Value #B",
                "Mean",
                "s",
                85,
                steps=(above(colours.NEAR, 0.05), above(colours.WARNING, 0.5)),
            ),
            Column("Value #C", "Calls", "ops", 105, 2),
            Column("query", "Statement"),
        ],
        sort="Share of time",
        height=11,
    )
    made.json["fieldConfig"]["overrides"].append(
        {
            "matcher": {"id": "byName", "options": "Statement"},
            "properties": [
                {"id": "custom.cellOptions", "value": {"type": "auto", "wrapText": True}},
                {"id": "custom.wrapText", "value": True},  # where it is since Grafana 12
                {"id": "custom.inspect", "value": True},
            ],
        }
    )
    return made


def operations() -> list[list[Panel]]:
    def kinds(what: str) -> dict[str, str]:
        return {f"{kind}s": f"sum({counted(kind, what)})" for kind in ("read", "write")}

    def per_call(what: str) -> str:
        return leading(f"{by_operation(what)} / ({by_operation('calls')} > 0) > 0", shown("seconds"), 0.0005)

    return [
        [
            ranked(
                "Calls by operation",
                "Executions a second. log_metrics and run_lookup lead where jobs log, four to eight to a logging call; "
                "many calls of few points are logging-pattern. ping and transaction come with each call of the API.",
                leading(by_operation("calls"), shown("calls")),
                "ops",
            ),
            ranked(
                "Mean time of a call",
                "Time of one execution, on a logarithmic scale. Writes and look-ups are below 1 ms; search_runs and "
                "metric_history take 1 to 100 ms and grow with the tables. One line that rises: database-indexes or "
                "database-size. All that rise: CPU, disk or locks.",
                per_call("seconds"),
                "s",
                log=True,
            ),
        ],
        [
            ranked(
                "Rows of a call",
                "Rows returned or changed by one execution, on a logarithmic scale. With psycopg2 the points of a call "
                "are the rows of log_metrics. Thousands from fetch_runs or metric_history are large answers, which "
                "cost the server's Python more than the database: server-resources.",
                per_call("rows"),
                "short",
                log=True,
            ),
            graph(
                "Time, reads and writes",
                "Statements at the same moment that only read, and that write, lock or commit. Reads far above writes "
                "while jobs wait: read-load.",
                kinds("seconds"),
                unit_="short",
                stacked=True,
                width=6,
            ),
            graph(
                "Calls, reads and writes",
                "Executions a second. Jobs make about as many of one as of the other; people who search make reads.",
                kinds("calls"),
                unit_="ops",
                stacked=True,
                width=6,
            ),
        ],
    ]


def costs() -> list[list[Panel]]:
    wal = "mlflow_db_statement_write_wal_bytes_total"
    each = f"max by ({SERVER}, operation)"
    return [
        [
            ranked(
                "Read past the cache",
                "What operations wanted and shared_buffers did not have, in blocks of 8 KiB. Near 0 is normal once "
                "warm. search_runs or metric_history that read here all the time need an index (database-indexes) or "
                "memory (database-size).",
                leading(f"{BLOCK} * {by_operation('blocks_read')}", shown("blocks_read")),
                "Bps",
            ),
            ranked(
                "Waiting for data blocks",
                "Sessions of each operation that wait for the disk. Near 0 is normal; near what the operation takes in "
                "all, it is the disk: database-size. Empty while track_io_timing is off.",
                leading(by_operation("io_seconds"), shown("io_seconds")),
                "short",
            ),
        ],
        [
            ranked(
                "Temporary files",
                "Sorts and hashes that did not fit into work_mem, written and read again, in blocks of 8 KiB. 0 is "
                "normal. More work_mem ends it: MlflowDatabaseSettingUnsuitable, database-configuration.",
                leading(f"{BLOCK} * {by_operation('temp_blocks')}", shown("temp_blocks")),
                "Bps",
            ),
            ranked(
                "WAL by operation",
                "Log that writes make, which the disk has to take before a COMMIT ends. log_metrics makes nearly all "
                "of it; a jump right after a checkpoint is whole pages and normal. Too much of it for max_wal_size: "
                "MlflowDatabaseWalTooSmall.",
                leading(
                    f"sum by (operation) ({each} (rate({wal}[$__rate_interval])))",
                    f"{each} (increase({wal}[$__range] @ end()))",
                ),
                "Bps",
            ),
        ],
    ]


def indexes() -> list[Panel]:
    searches = threshold("MlflowSearchScansRuns")
    others = threshold("MlflowSlowForMissingIndex")
    evidence = f"""
        max by (resource) (
            label_replace(
              {searches:g} * mlflow:pressure:ratio{{signal="runs-scanned"}}, "resource", "search_runs", "", ""
            )
          or
            {others:g} * mlflow:pressure:ratio{{signal="missing-index"}}
        )"""
    rows = "rate(mlflow_db_table_sequential_rows_read_total[$__rate_interval])"
    some = "increase(mlflow_db_table_sequential_rows_read_total[$__range] @ end())"
    return [
        graph(
            "Slow for want of an index",
            "Sessions busy with an operation, while a table that it reads has an index missing or is read wholly; 0 "
            "where neither is so. Above the line MlflowSearchScansRuns or MlflowSlowForMissingIndex is pending: "
            "`mlflow-exporter explain` prints the CREATE INDEX.",
            {"{{resource}}": evidence},
            unit_="short",
            named=tuple(colours.OPERATIONS),
            limit=Limit("MlflowSlowForMissingIndex"),
            at_least=1.5 * others,
            height=9,
        ),
        graph(
            "Rows a second in whole scans",
            "Rows that were read by going through all of a table. Small tables are read so, and the exporter reads "
            "runs every 5 minutes. Of runs or metrics, all rows as often as there are searches is a missing index.",
            {
                "{{table}}": f"sum by (table) (max by ({SERVER}, table) ({rows})) "
                f"and on (table) (sum by (table) ({some}) > 0)"
            },
            unit_="short",
            height=9,
        ),
        table(
            "Plans",
            "Whether one of the slowest SELECTs of the operation would read all of the table, one of 50,000 rows or "
            "more; read every 10 minutes. WHOLLY matters where the operation is busy: database-indexes.",
            f"max by ({SERVER}, operation, table) (mlflow_db_plan_sequential_scan)",
            [
                Column("operation", "Operation", width=145),
                Column("table", "Table", width=125),
                Column(
                    "Value",
                    "Read",
                    "none",
                    95,
                    maps={0: ("in part", colours.OK), 1: ("WHOLLY", colours.WARNING)},
                ),
            ],
            sort="Read",
            height=9,
        ),
    ]


def statistics() -> list[Panel]:
    return [
        graph(
            "Statements tracked",
            "Different statements in pg_stat_statements, of all databases of the server, and how many it can hold. At "
            "the limit it pushes out: pg_stat_statements.max (restart).",
            {
                "tracked": "max(mlflow_db_statements_tracked)",
                "limit": "max(mlflow_db_statements_limit)",
            },
            overrides=[limit_line()],
            width=6,
        ),
        graph(
            "Evictions in an hour",
            "Times that the least used twentieth of the statements was pushed out, with its counts. 0 is normal; above "
            "5 in an hour MlflowStatementsNotTracked says so.",
            {"evictions": "max(increase(mlflow_db_statements_evicted_total[1h]))"},
            unit_="short",
            width=6,
        ),
        graph(
            "Statements not counted",
            "hidden: of roles that ours may not see, counted nowhere; GRANT pg_monitor. pending: texts not read yet, "
            "counted as soon as they are. 0 of both is normal.",
            {
                "hidden": "min(mlflow_db_statements_hidden)",
                "pending": "max(mlflow_db_statements_pending)",
            },
            width=7,
        ),
        stat(
            "Statistics reset",
            "When somebody last set the database's statistics back. Rates stand that; what counts since then starts at "
            "0.",
            "max(mlflow_db_stats_reset_timestamp_seconds) * 1000",
            unit_="dateTimeFromNow",
            absent_="never",
            width=5,
            height=8,
        ),
    ]


def dashboard() -> Dashboard:
    return Dashboard(
        "queries",
        "Queries",
        "Which operation and which statement take the database's time, and what they cost it.",
        [
            Row("", [tiles(), work(), [slowest()]]),
            Row("By operation", operations()),
            Row("What operations cost", costs()),
            Row("Indexes", [indexes()]),
            Row("What pg_stat_statements sees", [statistics()], closed=True),
        ],
    )
