"""Runbooks do what they say: their queries have an answer on a real Prometheus, and so have the rules.

Their SQL is run by test_runbook_sql.py, their Python by test_runbook_code.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.rules import PRESSURE, RULES, records
from tests.contract.runbooks import Block, blocks
from tests.lab.load import LEAVE_ONE_RUNNING, Load
from tests.lab.servers import Exporter, MlflowServer, Postgres, Prometheus, scrape_config, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.long]

# Pressures that cannot be there before a healthy Postgres on this machine, and why.
WITHOUT_A_SERIES = {
    ("availability", "error-budget"): "MLflow's own metrics are not scraped here",
    ("availability", "latency-budget"): "MLflow's own metrics are not scraped here",
    ("read-load", "replica-lag"): "there is no replica",
    ("read-load", "replica-conflicts"): "there is no replica",
    ("sqlite-backend", "lock-wait"): "the backend is Postgres",
    ("server-resources", "memory"): "the server has no memory limit",
    ("network-latency", "client-round-trip"): "nobody probes from another place",
}


@pytest.fixture(scope="module")
def watched() -> Iterator[Prometheus]:
    """Return a Prometheus with the rules, before an exporter, before a busy and healthy server, for two minutes."""
    with (
        Postgres(17, {"fsync": "on", "track_wal_io_timing": "on"}) as postgres,
        MlflowServer(postgres.create_mlflow(), workers=2, jobs=True) as server,
        Load(server.url, clients=3, rate=15) as load,
    ):
        # What is read every five minutes, and by autovacuum, is there at once on a server that has run for a while.
        wait_for(lambda: load.points > 100, "points logged", 120)
        postgres.execute(LEAVE_ONE_RUNNING, dbname="mlflow")
        postgres.execute("ANALYZE", dbname="mlflow")
        probes = ("--probes.interval", "2", "--probes.timeout", "2")
        with Exporter(("--server.port", str(server.port), *probes)) as exporter:
            exporter.scrape(30)  # what is read every five minutes would stay failed as long, had it only 2 s
            with Prometheus(configuration(exporter)) as prometheus:
                wait_for(lambda: settled(prometheus), "rules evaluated over two minutes of samples", 300)
                yield prometheus


def configuration(exporter: Exporter) -> dict[str, Any]:
    config = scrape_config({"mlflow": f"127.0.0.1:{exporter.port}"}, 2.0, RULES)
    config["scrape_configs"][0]["static_configs"][0]["labels"] = {"tracking_server": "main"}
    config["global"] |= {"evaluation_interval": "2s"}
    return config


def settled(prometheus: Prometheus) -> bool:
    return (prometheus.value("max(count_over_time(mlflow_server_up[5m]))") or 0) >= 60


def test_every_rule_can_be_evaluated(watched: Prometheus) -> None:
    groups = watched.get("/api/v1/rules").json()["data"]["groups"]
    assert groups
    assert {
        one["name"]: one["lastError"] for group in groups for one in group["rules"] if one["health"] != "ok"
    } == {}


def test_a_healthy_server_has_a_figure_for_every_pressure(watched: Prometheus) -> None:
    there = {(one["metric"]["cause"], one["metric"]["signal"]) for one in watched.query(PRESSURE)}
    wanted = {(one.labels["cause"], one.labels["signal"]) for one in records() if one.name == PRESSURE}
    assert wanted - there == set(WITHOUT_A_SERIES)


@pytest.mark.parametrize("block", blocks("promql"))
def test_a_query_has_an_answer(watched: Prometheus, block: Block) -> None:
    assert watched.query(block.text)


@pytest.mark.parametrize("block", blocks("promql event"))
def test_a_query_that_only_a_fault_answers_runs(watched: Prometheus, block: Block) -> None:
    watched.query(block.text)
