"""Runbooks do what they say: their SQL runs on real servers, their queries have an answer on a real Prometheus.

Their Python is run by test_runbook_code.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import ClientCursor

from tests.contract.rules import PRESSURE, RULES, records
from tests.contract.runbooks import Block, runbooks
from tests.lab.load import LEAVE_ONE_RUNNING, Load
from tests.lab.servers import Exporter, MlflowServer, Postgres, Prometheus, scrape_config, wait_for

pytestmark = pytest.mark.integration

MAJORS = (13, 15, 18)
PAGES = runbooks()

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


def blocks(*infos: str) -> list[Any]:
    found = [(page.slug, block) for page in PAGES for block in page.blocks if block.info in infos]
    return [
        pytest.param(block, id=f"{slug}-{block.section.lower().replace(' ', '-')}-{number}")
        for number, (slug, block) in enumerate(found)
    ]


def supported(block: Block, major: int) -> bool:
    """Say whether the block is for that major: it may begin with `-- Postgres 14 and later`."""
    first = block.text.partition("\n")[0]
    if "Postgres" in first and "and later" in first:
        return major >= int(first.partition("Postgres ")[2].split()[0])
    return True


def on_each_major(info: str) -> list[Any]:
    return [
        pytest.param(major, *one.values, id=f"{major}-{one.id}")
        for major in MAJORS
        for one in blocks(info)
        if supported(one.values[0], major)
    ]


# What a block undoes must be there: by a word of it, what makes that.
BEFORE = {
    "CREATE UNIQUE INDEX CONCURRENTLY param_pk": "ALTER TABLE params DROP CONSTRAINT param_pk",
    "_ccnew": "CREATE INDEX index_metrics_run_uuid_key_step_ccnew ON metrics (run_uuid, key, step)",
    "the_neighbour": "CREATE ROLE the_neighbour",
    "the_slot": "SELECT pg_create_physical_replication_slot('the_slot')",
}


@pytest.fixture(scope="module")
def store(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Return a Postgres whose database `mlflow` is MLflow's."""
    with Postgres(request.param) as postgres:
        postgres.create_mlflow()
        yield postgres


@pytest.mark.parametrize(("store", "block"), on_each_major("sql"), indirect=["store"], scope="module")
def test_sql_runs_for_a_role_that_may_only_look(store: Postgres, block: Block) -> None:
    with store.connect("exporter", "mlflow") as session:
        session.execute("SET default_transaction_read_only = on")
        session.execute("SET statement_timeout = '10s'")
        execute(session, block.text)


@pytest.mark.parametrize(("store", "block"), on_each_major("sql admin"), indirect=["store"], scope="module")
def test_sql_that_changes_something_runs_for_the_owner(store: Postgres, block: Block) -> None:
    name = "scratch"
    store.create_mlflow(name)
    try:
        with store.connect("postgres", name) as session:
            for word, made in BEFORE.items():
                if word in block.text:
                    execute(session, made)
            for statement in statements(block.text):
                execute(session, statement)
    finally:
        store.drop(name)
        for statement in ("ALTER SYSTEM RESET ALL", "ALTER ROLE mlflow RESET ALL", "SELECT pg_reload_conf()"):
            store.execute(statement)


def execute(session: psycopg.Connection[Any], text: str) -> None:
    # By the simple protocol, as psql does, in which a statement of no transaction runs alone.
    ClientCursor(session).execute(text.encode())


def statements(text: str) -> list[str]:
    """Return the statements of a block one by one, as psql sends them: each ends with a line's last semicolon."""
    found, current = [], ""
    for line in text.splitlines():
        current += f"{line}\n"
        if line.split("--")[0].rstrip().endswith(";"):
            found.append(current)
            current = ""
    return [one for one in (*found, current) if one.strip()]


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
        with (
            Exporter(("--server.port", str(server.port), *probes)) as exporter,
            Prometheus(configuration(exporter)) as prometheus,
        ):
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
