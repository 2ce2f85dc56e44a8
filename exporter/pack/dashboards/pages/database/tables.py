"""Rows of the database's dashboard: MLflow's tables and their vacuum."""

from __future__ import annotations

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Row
from exporter.pack.dashboards.panel import (
    Column,
    Limit,
    Panel,
    above,
    graph,
    limit_line,
    table,
)

# What one kind of work fills: runs and what is logged to them in greens, experiments blue, traces in purples.
# Dead rows against those at which autovacuum is due, as MlflowAutovacuumBehind has it: a small table costs nothing.
DUE = """
    max by (table) (
        mlflow_db_table_dead_rows
      / (
          mlflow_db_table_rows
          * ignoring (table, name) group_left () mlflow_db_setting{name="autovacuum_vacuum_scale_factor"}
          + 50
        )
      and mlflow_db_table_rows > 100000
    )"""


def of(name: str) -> str:
    return f"max by (table) ({name})"


def change(name: str) -> str:
    """Return PromQL for a counter's change a second by table."""
    return f"max by (table) (rate({name}[$__rate_interval]))"


def by_table(
    title: str,
    text: str,
    query: str,
    *,
    limit: Limit | None = None,
    at_least: float | None = None,
    unit: str = "short",
    zeros: bool = False,
    otherwise: str = "",
) -> Panel:
    """Return a graph of the five tables that have most; those that have nothing only where `zeros` mean something.

    `otherwise` is what the query says where there is none of them.
    """
    return graph(
        title,
        text,
        {"{{table}}": f"topk(5, {query}{'' if zeros else ' > 0'}){otherwise}"},
        limit=limit,
        at_least=at_least,
        unit_=unit,
    )


def sizes() -> Panel:
    queries = {
        "share": "max by (table) ((mlflow_db_table_bytes + mlflow_db_table_index_bytes)"
        " / ignoring (table) group_left () mlflow_db_size_bytes)",
        "bytes": of("mlflow_db_table_bytes"),
        "index bytes": of("mlflow_db_table_index_bytes"),
        "rows": of("mlflow_db_table_rows"),
        "dead": of("mlflow_db_table_dead_rows"),
        "due": DUE,
        "scanned": change("mlflow_db_table_sequential_rows_read_total"),
        "inserted": change("mlflow_db_table_rows_inserted_total"),
        "updated": change("mlflow_db_table_rows_updated_total"),
        "deleted": change("mlflow_db_table_rows_deleted_total"),
        "hot": "max by (table) (increase(mlflow_db_table_rows_hot_updated_total[$__range])"
        " / (increase(mlflow_db_table_rows_updated_total[$__range]) > 0))",
        "vacuum": of("mlflow_db_table_vacuum_age_seconds"),
        "analyze": of("mlflow_db_table_analyze_age_seconds"),
    }
    return table(
        "Tables, largest first",
        "MLflow's tables with the changes a second of right now. Normal: metrics is by far the largest, dead rows "
        "stay near 1 of those that vacuum is due at (said of tables above 100,000 rows), most updates are HOT, "
        "without a new entry in an index. Vacuum and analyze: how long ago; empty is never.",
        queries,
        [
            Column("table", "Table"),
            Column("Value #A", "Share", "percentunit", 105, 1, bar=1),
            Column("Value #B", "Table size", "bytes", 85),
            Column("Value #C", "Indexes", "bytes", 80),
            Column("Value #D", "Rows", "short", 75),
            Column("Value #E", "Dead rows", "short", 85),
            Column(
                "Value #F",
                "Dead / due",
                "none",
                90,
                2,
                steps=(above(colours.NEAR, 1.2), Limit("MlflowAutovacuumBehind", "dead-rows").step()),
            ),
            Column("Value #G", "Scanned/s", "short", 85),
            Column("Value #H", "Inserts/s", "short", 80),
            Column("Value #I", "Updates/s", "short", 85),
            Column("Value #J", "Deletes/s", "short", 85),
            Column("Value #K", "HOT", "percentunit", 58, 0),
            Column("Value #L", "Vacuum", "s", 80, 1),
            Column("Value #M", "Analyze", "s", 80, 1),
        ],
        sort="Share",
        width=24,
        height=14,
    )


def tables_row() -> Row:
    return Row(
        "Tables",
        [
            [sizes()],
            [
                by_table(
                    "Size with indexes",
                    "Bytes of each table with its indexes, the five largest. They grow with what jobs log and never "
                    "shrink by themselves: mlflow gc removes deleted runs, and VACUUM makes their room free for new "
                    "ones.",
                    "max by (table) (mlflow_db_table_bytes + mlflow_db_table_index_bytes)",
                    unit="bytes",
                ),
                by_table(
                    "Rows",
                    "Rows of each table as Postgres estimates them, the five with most. It moves in steps, at each "
                    "ANALYZE. 100 million rows of metrics and more: log fewer points, or fewer keys.",
                    of("mlflow_db_table_rows"),
                ),
                by_table(
                    "Rows inserted",
                    "Rows inserted into each table, a second: of metrics the points logged, of params the parameters, "
                    "of runs those started. A peak that everything else follows is a job that logs too much: "
                    "logging-pattern.",
                    change("mlflow_db_table_rows_inserted_total"),
                ),
            ],
        ],
    )


def vacuum_row() -> Row:
    return Row(
        "Vacuum",
        [
            [
                by_table(
                    "Dead rows against those due",
                    "Dead rows of each table above 100,000 rows for those at which autovacuum begins; up to 1 is "
                    "normal. Above the line: MlflowAutovacuumBehind; an old transaction, a slot that nobody reads, or "
                    "too few workers.",
                    DUE,
                    limit=Limit("MlflowAutovacuumBehind", "dead-rows"),
                    at_least=2.2,
                    unit="none",
                    zeros=True,
                    otherwise=" or on () label_replace(0 * max(mlflow_db_table_dead_rows), "
                    '"table", "all smaller", "", "")',
                ),
                graph(
                    "Transaction ids used",
                    "Part of the transaction ids that are used up since the oldest database was frozen. Below 10 % is "
                    "normal. Above the line: MlflowAutovacuumBehind; at 100 % Postgres takes no more writes.",
                    {"used": "max(mlflow_db_transaction_id_age_ratio)"},
                    limit=Limit("MlflowAutovacuumBehind", "transaction-ids"),
                    at_least=0.55,
                ),
                graph(
                    "Autovacuum workers",
                    "Autovacuum workers at work in any database of the server. At the maximum for hours while dead "
                    "rows grow: raise autovacuum_vacuum_cost_limit, then the workers. Always 0 while they grow: it is "
                    "off.",
                    {
                        "at work": "max(mlflow_db_autovacuum_workers)",
                        "limit": 'max(mlflow_db_setting{name="autovacuum_max_workers"})',
                    },
                    overrides=[limit_line()],
                ),
            ],
            [
                by_table(
                    "Dead rows",
                    "Rows that were updated or deleted and that vacuum has yet to remove, the five tables with most. "
                    "A saw is normal; a line that only rises means that something holds vacuum back.",
                    of("mlflow_db_table_dead_rows"),
                ),
                by_table(
                    "Inserted since the last vacuum",
                    "Rows inserted since: tables that only grow, as metrics, are vacuumed for them, once a fifth was "
                    "added (autovacuum_vacuum_insert_scale_factor). Normal is a saw; a line that only climbs is a "
                    "vacuum that does not come.",
                    of("mlflow_db_table_rows_inserted_since_vacuum"),
                ),
                by_table(
                    "Changed since the last analyze",
                    "Rows changed since the planner's statistics were made. More than half of a table: plans may be "
                    "wrong; ANALYZE it. It falls back to 0 at each ANALYZE.",
                    of("mlflow_db_table_rows_changed_since_analyze"),
                ),
            ],
        ],
        closed=True,
    )
