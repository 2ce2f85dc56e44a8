"""The role that `grants` prints, on each major: all that the exporter reads, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

import psycopg
import pytest

from exporter import queries
from exporter.collectors.schema import Schema
from exporter.reports.grants import CONNECTIONS, grants
from exporter.rights import MONITOR, PLANNED, READ
from exporter.sources.facts import quoted
from tests.integration.test_explain import explain
from tests.integration.test_postgres import lane_to, read, reasons
from tests.lab.postgres import MAJORS, Postgres
from tests.unit.test_grants import statements

pytestmark = pytest.mark.integration

Start = Callable[[int], Postgres]
ROLE = """o'brien"x"""
PASSWORD = "watcher-Zq87"
SEARCH = "SELECT runs.run_uuid, runs.name FROM runs WHERE runs.experiment_id IN (1) LIMIT 10"
FETCH = "SELECT params.key, params.value, params.run_uuid FROM params WHERE params.run_uuid IN ('a')"


@contextmanager
def granted(server: Postgres, name: str, text: str) -> Iterator[str]:
    """Make the role as printed, each part as whom it says, in a new database; returns its DSN."""
    server.create_mlflow(name)
    try:
        administrators, owners = text.split("\n-- Then, as the owner")
        for part, user in ((administrators, "postgres"), (owners, "mlflow")):
            for statement in statements(part.partition("\n\n")[2]):
                server.execute(statement, dbname=name, user=user)
        # Nobody is there to type it.
        server.execute(f"ALTER ROLE {quoted(ROLE)} PASSWORD '{PASSWORD}'")
        yield f"postgresql://{quote(ROLE)}:{PASSWORD}@127.0.0.1:{server.port}/{name}"
    finally:
        server.execute(f"DROP OWNED BY {quoted(ROLE)}", dbname=name)
        server.drop(name)
        server.execute(f"DROP ROLE IF EXISTS {quoted(ROLE)}")


@pytest.mark.parametrize("major", MAJORS)
def test_the_role_reads_all_that_the_exporter_needs_and_can_do_nothing_else(
    postgres: Start, major: int
) -> None:
    server, name = postgres(major), "granted"
    text = grants(ROLE, name, "public", "postgres")
    with granted(server, name, text) as dsn, server.connect("mlflow", name) as session:
        for statement in (SEARCH, FETCH):  # to be planned, in a session that is not the role's
            session.execute(statement.encode())
        with lane_to(dsn) as lane:
            assert reasons(read(lane)) == {}
        assert "NOT READ" not in explain(dsn).stdout
        pid = session.info.backend_pid
        with psycopg.connect(dsn, autocommit=True) as role:
            assert [role.execute("SHOW default_transaction_read_only").fetchone()] == [("on",)]
            role.execute("SET default_transaction_read_only = off")
            assert allowed(role, name) == {(table.name, "SELECT") for table in (*READ, *PLANNED)}
            for forbidden in (
                "INSERT INTO tags VALUES ('a', 'b', 'c')",
                "DELETE FROM runs",
                "SELECT * FROM model_versions",
                "SELECT * FROM trace_info",
                "CREATE ROLE another",
                "CREATE SCHEMA another",
                "COPY experiments TO PROGRAM 'cat'",
                "SELECT pg_read_file('postgresql.conf')",
                "SELECT pg_ls_logdir()",
                f"SELECT pg_terminate_backend({pid})",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    role.execute(forbidden.encode())
            if major < 15:  # as the SQL says, with what ends it
                role.execute("CREATE TABLE public.mine (); DROP TABLE public.mine")
                (revoke,) = re.findall(r"REVOKE CREATE[^;]*;", re.sub(r"\n-- ", " ", text))
                server.execute(revoke, dbname=name)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                role.execute("CREATE TABLE public.mine ()")


def test_for_a_role_that_is_there_it_may_be_run_again_and_again_by_one_superuser(postgres: Start) -> None:
    server, name = postgres(17), "again"
    server.create_mlflow(name)
    server.execute(f"CREATE ROLE {quoted(ROLE)} LOGIN PASSWORD '{PASSWORD}'")
    try:
        for _ in range(2):
            for statement in statements(grants(ROLE, name, "public", "postgres", existing=True)):
                server.execute(statement, dbname=name)
        with lane_to(f"postgresql://{quote(ROLE)}:{PASSWORD}@127.0.0.1:{server.port}/{name}") as lane:
            assert "permission" not in reasons(read(lane)).values()
        limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s"
        assert server.execute(limit, ROLE) == [(CONNECTIONS,)]
    finally:
        server.execute(f"DROP OWNED BY {quoted(ROLE)}", dbname=name)
        server.drop(name)
        server.execute(f"DROP ROLE IF EXISTS {quoted(ROLE)}")


def allowed(role: psycopg.Connection[tuple[object, ...]], name: str) -> set[tuple[object, ...]]:
    """Return what the role may do with each relation of its database that is not Postgres' own or the extension's."""
    return set(
        role.execute(
            "SELECT c.relname, p FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE',"
            " 'REFERENCES', 'TRIGGER']) p WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f')"
            " AND c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'pg_stat_statements%%'"
            " AND has_table_privilege(c.oid, p)"
        )
    )


def test_single_columns_are_enough_without_plans_and_none_of_them_is_too_much(postgres: Start) -> None:
    server, name = postgres(15), "columns"
    with granted(server, name, grants(ROLE, name, "public", "postgres", plans=False)) as dsn:
        with server.connect("mlflow", name) as session, lane_to(dsn) as lane:
            session.execute(FETCH.encode())
            assert set(reasons(read(lane))) == {"plans"}
        with psycopg.connect(dsn, autocommit=True) as role:
            for values in ("params", "metrics", "latest_metrics"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    role.execute(f"SELECT value FROM {values}".encode())
            assert not refused(role)
            for table in READ:
                for column in table.columns:
                    what = f"SELECT ({column}) ON {table.name}"
                    server.execute(f"REVOKE {what} FROM {quoted(ROLE)}", dbname=name)
                    assert refused(role), f"{what} is granted and no query needs it"
                    server.execute(f"GRANT {what} TO {quoted(ROLE)}", dbname=name)


def refused(role: psycopg.Connection[tuple[object, ...]]) -> set[str]:
    """Return which of the queries that read MLflow's tables this role may not run."""
    parameters = {"schema": Schema.params, "writers": (0, ["a"])}
    failed = set()
    cursor = psycopg.RawCursor(role)
    for query in queries.variants():
        text = queries.sql(query, 15)
        if text is None or b"{store}" not in text or query == "store_estimates":
            continue
        text = text.replace(b"{store_oid}", b"'public'::regnamespace").replace(b"{store}", b"public")
        try:
            cursor.execute(text, parameters.get(query))
        except psycopg.errors.InsufficientPrivilege:
            failed.add(query)
    return failed


def test_who_follows_check_ends_with_no_more_rights_than_who_follows_grants(postgres: Start) -> None:
    server, name = postgres(15), "followed"
    text = grants(ROLE, name, "public", "postgres")
    with granted(server, name, text) as dsn, server.connect("mlflow", name) as session:
        for statement in (SEARCH, FETCH):
            session.execute(statement.encode())
        with psycopg.connect(dsn) as role:
            most = allowed(role, name)
        for given in ("pg_read_all_stats", "pg_read_all_settings"):
            server.execute(f"REVOKE {given} FROM {quoted(ROLE)}")
        server.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {quoted(ROLE)}", dbname=name)
        followed = set()
        for _ in range(4):
            with lane_to(dsn) as lane:
                remedies = {one.remedy for one in read(lane).outcomes.values() if one.reason}
            for remedy in remedies:
                server.execute(remedy, dbname=name)
            followed |= remedies
        assert remedies == set()
        assert MONITOR.format(role=quoted(ROLE)) in followed
        with psycopg.connect(dsn) as role:
            assert allowed(role, name) <= most
