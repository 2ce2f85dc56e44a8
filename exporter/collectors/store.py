"""The workload: what users keep in the store, and how fast they add to it.

Runs started, points and parameters logged are `mlflow_db_table_rows_inserted_total` of `runs`, `metrics`, `params`.
"""

from __future__ import annotations

from exporter.metric import Metric, gauge
from exporter.sql import SqlCollector

SELDOM = 300.0
# Seconds for a query that goes through all of `runs`: enough for some 30 million of them.
PATIENCE = 5.0


def _gauge(name: str, help: str, source: str) -> Metric:
    age = "A reading every 5 minutes (rarer once one takes longer than 5 s), at most 15 minutes old."
    return gauge(f"mlflow_store_{name}", f"{help} {age}", source)


class StoreCounts(SqlCollector):
    name = "store_counts"
    queries = ("store_experiments", "store_runs")
    needs_store = True
    every = SELDOM
    timeout = PATIENCE
    metrics = (
        _gauge("experiments", "Experiments that are not deleted.", "experiments.lifecycle_stage"),
        _gauge(
            "deleted_experiments",
            "Experiments that users have deleted and `mlflow gc` has yet to remove.",
            "experiments.lifecycle_stage",
        ),
        _gauge(
            "running_runs",
            "Runs in state RUNNING, those of jobs that died without ending them included.",
            "runs.status",
        ),
        _gauge(
            "deleted_runs",
            "Runs that users have deleted and `mlflow gc` has yet to remove.",
            "runs.lifecycle_stage",
        ),
    )


class StoreEstimates(SqlCollector):
    name = "store_estimates"
    queries = ("store_estimates",)
    needs_store = True
    every = SELDOM
    metrics = (
        _gauge(
            "largest_experiment_runs",
            "Runs of the experiment that has most of them, as ANALYZE estimates it; absent before the first one, "
            "without SELECT on the table, and where none has 1 in 200 of all runs.",
            "pg_stats.most_common_freqs of runs.experiment_id",
        ),
        _gauge(
            "largest_run_points",
            "Points of the run that has most of them, as ANALYZE estimates it; absent before the first one, "
            "without SELECT on the table, and where none has 1 in 200 of all points.",
            "pg_stats.most_common_freqs of metrics.run_uuid",
        ),
    )


class StoreLogging(SqlCollector):
    name = "store_logging"
    queries = ("store_logging",)
    needs_store = True
    every = SELDOM
    timeout = PATIENCE
    metrics = (
        _gauge(
            "logging_runs",
            "Runs that logged a metric in the last 10 minutes, of the 200 RUNNING ones that started last.",
            "latest_metrics.timestamp",
        ),
        _gauge(
            "fastest_run_points_per_second",
            "Points of one key that a run logged in the minute up to that key's last point, a second: those of the "
            "run with most of them, in ten keys of the runs that log. Absent where none does.",
            "metrics.timestamp",
        ),
        _gauge(
            "max_params_per_run",
            "Parameters of the RUNNING run that has most of them, of the 200 that started last, counted up to 1,001; "
            "absent where none is RUNNING.",
            "params",
        ),
    )
