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
            "without SELECT on the table, and where no experiment stands out.",
            "pg_stats.most_common_freqs of runs.experiment_id",
        ),
        _gauge(
            "largest_run_points",
            "Points of the run that has most of them, as ANALYZE estimates it; absent before the first one, "
            "without SELECT on the table, and where no run stands out.",
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
            "fastest_run_steps_per_second",
            "Steps a second of the fastest of those runs since its start; points a second of one key where the user "
            "logs a point at each step, more than that where not. Absent where none of them logs with steps.",
            "latest_metrics.step, runs.start_time",
        ),
        _gauge(
            "fastest_run_points_per_second",
            "Points a second that the fastest of twenty of those runs logs of one key, over its last 200 points. "
            "Absent before MLflow 3.12, which has the index for it, and where none has 20 points.",
            "metrics.timestamp",
        ),
        _gauge(
            "max_params_per_run",
            "Parameters of the RUNNING run that has most of them, of the 200 that started last, counted up to 1,001; "
            "absent where none is RUNNING.",
            "params",
        ),
    )
