"""Counters as Prometheus sees them: rates that agree with the machine, and no jump through any restart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.lab.load import Load
from tests.lab.process import wait_for
from tests.lab.servers import Exporter, MlflowServer, Postgres, Prometheus, scrape_config

pytestmark = pytest.mark.integration

# What stands for a REST call among the statements: what is counted of which operation on which table, and the
# calls of the load that each make one of it. A new run gets its name as a tag. log-batch goes by points instead.
CALLS = {
    ("write_calls", "create_run", "runs"): ("runs/create",),
    ("read_calls", "search_runs", "runs"): ("runs/search",),
    ("read_calls", "metric_history", "metrics"): ("metrics/get-history",),
    ("write_rows", "set_tags", "tags"): ("runs/set-tag", "runs/create"),
}
POINTS = ("write_rows", "log_metrics", "metrics")


@pytest.fixture(scope="module")
def stage() -> Iterator[tuple[Postgres, MlflowServer]]:
    with Postgres(15) as postgres, MlflowServer(postgres.create_mlflow(), workers=4) as server:
        yield postgres, server


def statements(exporter: Exporter, what: str, operation: str, table: str) -> float:
    return sum(exporter.values(f"mlflow_db_statement_{what}_total", operation=operation, table=table))


def test_statements_by_operation_agree_with_the_calls_that_the_load_made(
    stage: tuple[Postgres, MlflowServer],
) -> None:
    _, server = stage
    with Exporter(("--server.port", str(server.port))) as exporter:
        with Load(server.url, clients=1, runs=1):
            pass  # classifies what there is, so that nothing waits for its text below
        exporter.scrape()
        wait_for(lambda: exporter.values("mlflow_db_statements_pending") == [0.0], "all texts to be read")
        before = {key: statements(exporter, *key) for key in (*CALLS, POINTS)}
        with Load(server.url, clients=3, runs=4, seed=7) as load:
            load.join()
        wait_for(
            lambda: exporter.scrape() != "" and exporter.values("mlflow_db_statements_pending") == [0.0],
            "all texts to be read",
        )
        grown = {key: statements(exporter, *key) - before[key] for key in before}
    assert load.errors == {}
    assert grown.pop(POINTS) == load.points > 0
    assert grown == {key: sum(load.succeeded[call] for call in calls) for key, calls in CALLS.items()}


def test_connections_by_state_agree_with_pg_stat_activity(stage: tuple[Postgres, MlflowServer]) -> None:
    postgres, server = stage
    with Exporter(("--server.port", str(server.port), "--probes.database", "false")) as exporter:
        exporter.scrape()
        wait_for(
            lambda: exporter.values("mlflow_db_load_sampled_seconds_total") != [],
            "the load sampler's session",
        )
        held = [postgres.connect("mlflow", "mlflow") for _ in range(7)]
        for connection in held[:3]:
            connection.autocommit = False
            connection.execute("select 1")
        try:
            truth = dict(
                postgres.execute(
                    "select state, count(*) from pg_stat_activity where datname = 'mlflow'"
                    " and backend_type = 'client backend' and application_name <> 'mlflow-exporter' group by 1"
                )
            )
            assert truth["idle in transaction"] == 3
            states = {
                found.labels["state"]: found.value
                for found in exporter.samples()
                if found.name == "mlflow_db_connections" and found.value
            }
            assert states.pop("idle in transaction") == 3
            # Ours are two: the one that looks, and the load sampler's, which rests or looks.
            assert states.keys() == {"idle", "active"}
            assert sum(states.values()) == truth["idle"] + 2
        finally:
            for connection in held:
                connection.close()


def test_no_rate_jumps_when_a_worker_is_killed_or_the_exporter_restarts(
    stage: tuple[Postgres, MlflowServer],
) -> None:
    _, server = stage
    # Started before anything is measured: what it has used until now must not show in a rate.
    used = {pid: sum(psutil.Process(pid).cpu_times()[:2]) for pid in server.worker_pids()}
    assert min(used.values()) > 1.0
    exporter = Exporter(("--server.port", str(server.port)))
    with (
        exporter,
        Prometheus(scrape_config({"mlflow": f"127.0.0.1:{exporter.port}"}, 0.5)) as prometheus,
        Load(server.url, clients=2, rate=30) as load,
    ):

        def seen(count: int) -> Callable[[], bool]:
            return lambda: (prometheus.value("count_over_time(mlflow_server_up[5m])") or 0) >= count

        wait_for(seen(6), "six scrapes")
        server.kill_worker()
        wait_for(
            lambda: exporter.values("mlflow_server_worker_replacements_total") == [1.0], "the replacement", 60
        )
        wait_for(lambda: exporter.values("mlflow_server_workers_alive") == [4.0], "four workers", 60)
        exporter.stop()
        exporter.start()
        wait_for(lambda: prometheus.value("up") == 1, "a scrape after the restart")
        calls = sum(load.calls.values())
        wait_for(lambda: sum(load.calls.values()) > calls + 60, "more load")
        time.sleep(1)  # two scrapes

        # A worker is one Python process with a few threads outside the GIL: hardly more than one core. The window
        # is four scrapes, in which what a worker used before, 1 s and more, would be half a core of jump at least.
        worker = prometheus.query("max_over_time(rate(mlflow_server_worker_cpu_seconds_total[2s])[5m:500ms])")
        assert len(worker) == 4
        assert max(float(one["value"][1]) for one in worker) < 1.8
        written = prometheus.value(
            "max_over_time(sum(rate(mlflow_db_statement_write_rows_total"
            '{operation="log_metrics",table="metrics"}[2s]))[5m:500ms])'
        )
        # 30 calls a second, of which a batch logs at most 50 points.
        assert written is not None
        assert 0 < written < 30 * 50
        for counter in ("mlflow_server_worker_cpu_seconds_total", "mlflow_db_statement_write_calls_total"):
            # Exactly one reset: the exporter's own restart. A worker's end is none.
            resets = {one["value"][1] for one in prometheus.query(f"resets({counter}[5m]) > 0")}
            assert resets <= {"1"}
