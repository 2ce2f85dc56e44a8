"""Fill MLflow's tables with many runs and points by SQL alone: for measuring what a query costs."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from tests.lab import postgres, tools
from tests.lab.postgres import Postgres, digest, keep

KEYS = 10  # metric keys a run
BUSY = 20  # runs still RUNNING that logged a moment ago, one point of each key a second
FORGOTTEN = 500  # runs of jobs that were killed: RUNNING for ever

# Where the runs of `prepare` are.
POPULATED = tuple(str(number) for number in range(1, 51))

# Every hundredth run is deleted.
UNEQUAL = "(array[0, 1, 1, 2, 3])[1 + n % 5]"  # a few experiments hold all runs, one of them many
# Each experiment holds one in fifty: so few that an index of them is used, with a plan for any of them too.
EQUAL = "1 + n % 50"
RUNS = """
insert into runs (run_uuid, name, source_type, source_name, user_id, status, start_time, end_time, lifecycle_stage,
                  experiment_id, artifact_uri)
select md5(n::text), 'run-' || n, 'LOCAL', 'train.py', 'user-' || n % 50,
       case when n > {runs} - {busy} or n % greatest(3, {runs} / {forgotten}) = 1 then 'RUNNING' else 'FINISHED' end,
       (extract(epoch from now()) * 1000)::bigint - case when n > {runs} - {busy} then 1000 * ({points} / {keys})
                                                         else ({runs} - n) * 10000::bigint end,
       null, case when n % 100 = 0 then 'deleted' else 'active' end,
       {experiment}, 'mlflow-artifacts:/' || n
from generate_series(1, {runs}) n"""
EXPERIMENTS = """
insert into experiments (experiment_id, name, lifecycle_stage)
select n, 'experiment-' || n, case when n % 10 = 0 then 'deleted' else 'active' end
from generate_series(1, 200) n on conflict do nothing"""
# Numbers that were given by hand are unknown to the sequence: MLflow's next experiments would fail.
NEXT_EXPERIMENT = """
select setval(pg_get_serial_sequence('experiments', 'experiment_id'), max(experiment_id)) from experiments"""
# The runs that have points, as many as it takes: the last ones.
METRICS = """
insert into metrics (key, value, timestamp, run_uuid, step, is_nan)
select 'key-' || k, random(), r.start_time + 1000 * s, r.run_uuid, s, false
from (select run_uuid, start_time from runs order by start_time desc limit {metrics} / {points}) r,
     generate_series(0, {points} / {keys} - 1) s, generate_series(1, {keys}) k"""
LATEST = """
insert into latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
select 'key-' || k, 0.5, r.start_time + 1000 * ({points} / {keys} - 1), {points} / {keys} - 1, false, r.run_uuid
from (select run_uuid, start_time from runs order by start_time desc limit {metrics} / {points}) r,
     generate_series(1, {keys}) k"""
PARAMS = """
insert into params (key, value, run_uuid)
select 'param-' || k, 'x', r.run_uuid
from (select run_uuid from runs order by start_time desc limit 20000) r, generate_series(1, 15) k"""


def prepare(major: int, runs: int = 1_000_000, metrics: int = 1_200_000) -> Path:
    """Return the directory of a stopped cluster whose database `mlflow` is filled; made when missing, in a minute.

    Its runs are in experiments 1 to 50, equally, and the last ones of them have 100 points each. It has about
    1 GB, so that a copy takes two seconds.
    """

    def populate(server: Postgres) -> None:
        server.create_mlflow()
        fill(server, "mlflow", runs, metrics, points=100, experiment=EQUAL)

    made_by = digest(__file__, *postgres.MADE_BY)
    name = f"postgres-{major}-mlflow-{tools.mlflow_version()}-{runs}-{metrics}-{made_by}"
    return keep(name, lambda: Postgres(major), populate)


def fill(
    server: Postgres, dbname: str, runs: int, metrics: int, points: int = 1000, *, experiment: str = UNEQUAL
) -> None:
    """Add runs, and metric rows to the last of them, `points` each; 1,000,000 and 10,000,000 take about three minutes.

    Indexes of `metrics` are dropped meanwhile and made again, which is several times as fast; what they are does
    not change. `experiment` is that of the n-th run, as SQL.
    """
    numbers: dict[str, int | str] = {
        "runs": runs,
        "metrics": metrics,
        "points": points,
        "experiment": experiment,
    }
    numbers |= {"keys": KEYS, "busy": BUSY, "forgotten": FORGOTTEN}
    with contextlib.closing(server.connect(dbname=dbname)) as session:
        # The rows are right by themselves; to check foreign keys row by row takes longer than all else.
        session.execute("set session_replication_role = replica; set maintenance_work_mem = '512MB'")
        session.execute("set synchronous_commit = off; set max_parallel_maintenance_workers = 2")
        session.execute(EXPERIMENTS)
        session.execute(NEXT_EXPERIMENT)
        session.execute(RUNS.format(**numbers).encode())
        keys = session.execute(
            "select conname, pg_get_constraintdef(oid) from pg_constraint"
            " where conrelid = 'metrics'::regclass and contype = 'p'"
        ).fetchall()
        for name, _ in keys:
            session.execute(f"alter table metrics drop constraint {name}".encode())
        indexes = session.execute(
            "select indexname, indexdef from pg_indexes where tablename = 'metrics'"
        ).fetchall()
        for name, _ in indexes:
            session.execute(f"drop index {name}".encode())
        session.execute(METRICS.format(**numbers).encode())
        for name, definition in keys:
            session.execute(f"alter table metrics add constraint {name} {definition}".encode())
        for _, definition in indexes:
            session.execute(definition.encode())
        session.execute(LATEST.format(**numbers).encode())
        session.execute(PARAMS)
        session.execute("vacuum analyze")
        session.execute("checkpoint")


if __name__ == "__main__":  # python -m tests.lab.bigdata 1000000 10000000: a server to try queries on
    with Postgres(15) as one:
        one.create_mlflow()
        fill(one, "mlflow", int(sys.argv[1]), int(sys.argv[2]))
        print(one.dsn("mlflow", "mlflow"), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()
