"""The SQL of the runbooks runs as it stands, on a real Postgres of each supported kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import psycopg
import pytest
from psycopg import ClientCursor

from tests.contract.runbooks import Block, blocks
from tests.lab.servers import Postgres

pytestmark = pytest.mark.integration

MAJORS = (13, 15, 18)


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
# What a block may have changed for all databases.
AFTERWARDS = (
    "ALTER SYSTEM RESET ALL",
    "SELECT pg_reload_conf()",
    "ALTER ROLE mlflow RESET ALL",
    "DROP ROLE IF EXISTS the_neighbour",
    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots",
)


@pytest.fixture(scope="module")
def stores() -> Iterator[Callable[[int], Postgres]]:
    """Return that major's Postgres, whose database `mlflow` is MLflow's; all tests share it."""
    with ExitStack() as stack:

        @cache
        def store(major: int) -> Postgres:
            postgres = stack.enter_context(Postgres(major))
            postgres.create_mlflow()
            return postgres

        yield store


@pytest.mark.parametrize(("major", "block"), on_each_major("sql"))
def test_sql_runs_for_a_role_that_may_only_look(
    stores: Callable[[int], Postgres], major: int, block: Block
) -> None:
    with stores(major).connect("exporter", "mlflow") as session:
        session.execute("SET default_transaction_read_only = on")
        session.execute("SET statement_timeout = '10s'")
        execute(session, block.text)


@pytest.mark.parametrize(("major", "block"), on_each_major("sql admin"))
def test_sql_that_changes_something_runs_for_the_owner(
    stores: Callable[[int], Postgres], major: int, block: Block
) -> None:
    store, name = stores(major), "scratch"
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
        for statement in AFTERWARDS:
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
