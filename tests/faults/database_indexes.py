"""An index is missing: MLflow's own on `metrics` are gone, or nobody made the one on `runs` that MLflow lacks.

A million runs in 50 experiments, people who search or look at charts beside a light load of jobs. Each fix makes
the indexes again beside the running load, as the runbook has it.
"""

from __future__ import annotations

import time
from functools import partial

from tests.faults import Fault, Lab, Needs
from tests.lab.bigdata import POPULATED
from tests.lab.load import Load
from tests.lab.shapes import Histories, Searches

# MLflow's own, as its migrations make them.
METRICS = {
    "index_metrics_run_uuid": "metrics (run_uuid)",
    "index_metrics_run_uuid_key_step": "metrics (run_uuid, key, step)",
}


def without_runs_index(lab: Lab) -> None:
    """Search in 20,000 runs each time, as often as keeps 0.4 of a session busy.

    A search then reads a million rows, which takes 0.04 to 0.4 s and not 0.1 ms, by the machine; Postgres
    puts up to two parallel workers to it, which are sessions too.
    """
    lab.sql("DROP INDEX runs_experiment_id_start_time_idx")
    one = "SELECT * FROM runs WHERE experiment_id = %s ORDER BY start_time DESC, run_uuid LIMIT 10"
    often = 0.4 / seconds(lab, one, int(POPULATED[0]))
    lab.begin(Load(lab.url, 3, rate=often, client=partial(Searches, experiments=POPULATED)))


def seconds(lab: Lab, query: str, *params: object) -> float:
    """Return what a statement takes when its table is in memory."""
    taken = []
    for _ in range(3):
        began = time.monotonic()
        lab.sql(query, *params)
        taken.append(time.monotonic() - began)
    return min(taken)


def make_runs_index(lab: Lab) -> None:
    lab.sql(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_runs_experiment_id_start_time"
        " ON runs (experiment_id, start_time)"
    )


def without_metrics_indexes(lab: Lab) -> None:
    """Show charts, as many as keep 0.8 of a session busy; without both indexes each reads the key's points of all runs.

    Each takes 21 to 26 ms then, with the indexes 0.13.
    """
    runs = [
        run
        for (run,) in lab.sql("SELECT DISTINCT run_uuid FROM latest_metrics WHERE key = 'key-1' LIMIT 500")
    ]
    for index in METRICS:
        lab.sql(f"DROP INDEX {index}")
    keys = [f"key-{number}" for number in range(1, 11)]
    one = "SELECT * FROM metrics WHERE run_uuid = %s AND key = %s"
    often = 0.8 / seconds(lab, one, runs[0], keys[0])
    lab.begin(Load(lab.url, 5, rate=often, client=partial(Histories, runs=runs, keys=keys)))


def make_metrics_indexes(lab: Lab) -> None:
    for index, on in METRICS.items():
        lab.sql(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index} ON {on}")
    lab.sql("ANALYZE metrics")


FAULTS = (
    Fault(
        "database-indexes",
        "no runs index",
        frozenset({"MlflowSearchScansRuns"}),
        without_runs_index,
        make_runs_index,
        Needs(data="million"),
        ci=True,
    ),
    Fault(
        "database-indexes",
        "no metrics indexes",
        frozenset({"MlflowSlowForMissingIndex"}),
        without_metrics_indexes,
        make_metrics_indexes,
        Needs(data="million"),
        shows=frozenset({"MlflowIndexMissing"}),
    ),
)
