"""Row of the database's dashboard about the indexes of MLflow's tables."""

from __future__ import annotations

from exporter.pack.dashboards import colours
from exporter.pack.dashboards.dashboard import Row
from exporter.pack.dashboards.pages.database.tables import by_table, change
from exporter.pack.dashboards.panel import Column, Panel, above, fixed, graph, stat, table


def found() -> Panel:
    return table(
        "Indexes that are missing or invalid",
        "Indexes of MLflow's own that are not there, or that Postgres cannot use. Normal is one line that says so. "
        "Else mlflow-exporter explain prints the statement that makes each: MlflowIndexMissing, cause "
        "database-indexes.",
        """
          2 * max by (table, columns) (mlflow_db_missing_index_info)
        or
          max by (table, columns) (mlflow_db_invalid_index_info)
        or
          label_replace(
            label_replace(
              0 * (max(mlflow_db_indexes_missing + mlflow_db_indexes_invalid) == 0), "table", "all", "", ""
            ),
            "columns", "nothing is missing or invalid", "", ""
          )
        """,
        [
            Column("table", "Table", width=150),
            Column("columns", "Columns"),
            Column(
                "Value",
                "Index",
                "none",
                100,
                maps={
                    0: ("there", colours.OK),
                    1: ("invalid", colours.WARNING),
                    2: ("missing", colours.WARNING),
                },
                filled=True,
            ),
        ],
        sort="Index",
        width=12,
        height=6,
    )


def plans() -> Panel:
    return table(
        "Plans that read a table wholly",
        "How Postgres would run the ten slowest SELECTs of each operation: by an index, or reading all of a table of "
        "50,000 rows and more. An operation that does and leads the load: MlflowSearchScansRuns or "
        "MlflowSlowForMissingIndex. Empty without pg_stat_statements.",
        "max by (operation, table) (mlflow_db_plan_sequential_scan)",
        [
            Column("operation", "Operation"),
            Column("table", "Table"),
            Column(
                "Value",
                "Plan",
                "none",
                110,
                maps={0: ("by index", colours.OK), 1: ("reads all", colours.WARNING)},
                filled=True,
            ),
        ],
        sort="Plan",
        width=12,
        height=6,
    )


def index_tiles() -> list[Panel]:
    return [
        stat(
            "Missing",
            "Indexes of MLflow's own that are not there, of those expected for this schema. Not 0: MlflowIndexMissing.",
            "max(mlflow_db_indexes_missing)",
            absent_="not known",
            steps=[above(colours.OK, 0), above(colours.WARNING, 1)],
        ),
        stat(
            "Invalid",
            "Indexes that each write keeps up to date and no query can use, left by a CREATE INDEX CONCURRENTLY that "
            "failed. Drop and make them again.",
            "max(mlflow_db_indexes_invalid)",
            absent_="not known",
            steps=[above(colours.OK, 0), above(colours.WARNING, 1)],
        ),
        stat(
            "Expected",
            "Indexes that MLflow's migrations make for this schema, on the tables that grow. Not known: the schema is "
            "newer than this exporter.",
            "max(mlflow_db_indexes_expected)",
            absent_="not known",
        ),
        stat(
            "Redundant",
            "Indexes that somebody added and that serve no query which another one would not. Each makes writes "
            "slower; drop it.",
            "max(mlflow_db_indexes_redundant)",
            steps=[above(colours.OK, 0), above(colours.NEAR, 1)],
            absent_="not known",
        ),
        stat(
            "Waste",
            "Bytes of those as of the last VACUUM: what dropping them gives back. Normal is 0.",
            "max(mlflow_db_redundant_index_bytes)",
            absent_="not known",
        ),
        stat(
            "Runs index",
            "Whether runs has an index that begins with experiment_id. MLflow makes none; add one when searches take "
            "much of the load: MlflowSearchScansRuns has the statement.",
            "max(mlflow_db_runs_search_index_present)",
            maps={0: ("none", colours.NONE), 1: ("there", colours.OK)},
            absent_="not known",
        ),
        stat(
            "Whole reads",
            "Plans of the slowest SELECTs that read all of a large table; the list below names them. Not 0 while "
            "searches are slow: cause database-indexes.",
            "sum(max by (operation, table) (mlflow_db_plan_sequential_scan))",
            steps=[above(colours.OK, 0), above(colours.NEAR, 1)],
            absent_="not known",
        ),
        stat(
            "Reset",
            "When the statistics of this database were last reset: scans are counted from then on. That an index is "
            "never scanned says something after a week.",
            "max(mlflow_db_stats_reset_timestamp_seconds) * 1000",
            absent_="never",
        ),
    ]


# The indexes of MLflow's own that serve runs, in their table's colour.
INDEX_COLOURS = {
    "metric_pk": "green",
    "index_metrics_run_uuid": "semi-dark-green",
    "index_metrics_run_uuid_key_step": "super-light-green",
    "latest_metric_pk": "light-green",
    "index_latest_metrics_run_uuid": "#7FBF9E",
    "param_pk": "#C9B458",
    "index_params_run_uuid": "#E0CF86",
    "tag_pk": "#A0C75B",
    "index_tags_run_uuid": "#C4DE96",
    "run_pk": "dark-green",
    "experiment_pk": "blue",
    "uq_experiments_workspace_name": "light-blue",
}


def indexes_row() -> Row:
    return Row(
        "Indexes",
        [
            index_tiles(),
            [found(), plans()],
            [
                by_table(
                    "Rows read by whole-table scans",
                    "Live rows that scans of the whole table read, a second. Small tables are always read so. "
                    "Hundreds of thousands of runs, metrics or tags: searches without an index, database-indexes. The "
                    "exporter itself reads runs every 5 minutes.",
                    change("mlflow_db_table_sequential_rows_read_total"),
                ),
                by_table(
                    "Whole-table scans",
                    "Scans of each table from its beginning to its end, a second; parallel workers count. Many of a "
                    "small table are normal, some each minute of a large one are not.",
                    change("mlflow_db_table_sequential_scans_total"),
                ),
                by_table(
                    "HOT updates",
                    "Share of each table's updates that needed no new entry in any index. Near 100 % is normal; it "
                    "falls when an index on a value that changes was added, or pages have no room: a lower fillfactor.",
                    "max by (table) (clamp_max(rate(mlflow_db_table_rows_hot_updated_total[$__rate_interval])"
                    " / (rate(mlflow_db_table_rows_updated_total[$__rate_interval]) > 0), 1))",
                    unit="percentunit",
                    at_least=1,
                    zeros=True,
                ),
            ],
            [
                graph(
                    "Index scans, a second",
                    "The fifteen indexes that are used most. One that falls to 0 while its table's whole-table scans "
                    "rise was dropped, is invalid, or the planner's statistics are old: ANALYZE.",
                    {
                        "{{index}}": "topk(15, max by (table, index)"
                        " (rate(mlflow_db_index_scans_total[$__rate_interval])) > 0)"
                    },
                    unit_="short",
                    legend="side",
                    overrides=[fixed(name, colour) for name, colour in INDEX_COLOURS.items()],
                    width=12,
                    height=9,
                ),
                table(
                    "Indexes that were never scanned",
                    "Indexes without a scan since the statistics began, those of the largest tables first. Many are "
                    "normal: they serve what you do not use. Never drop MLflow's own, least of all primary keys.",
                    "max by (table) (mlflow_db_table_index_bytes) * on (table) group_right ()"
                    " (max by (table, index) (mlflow_db_index_scans_total) == bool 0) > 0",
                    [
                        Column("index", "Index"),
                        Column("table", "Table", width=140),
                        Column("Value", "Indexes of table", "bytes", 135),
                    ],
                    sort="Indexes of table",
                    width=12,
                    height=9,
                ),
            ],
        ],
    )
