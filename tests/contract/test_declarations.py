"""What is declared once agrees with itself everywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporter import queries
from exporter.collectors import BY_NAME, DATABASE_UP
from exporter.reports.reference import declared
from exporter.sql import SqlCollector
from exporter.statements import classify

pytestmark = pytest.mark.contract

DIRECTORY = Path(queries.__file__).parent
SQL = {name: type_ for name, type_ in BY_NAME.items() if issubclass(type_, SqlCollector)}
# Queries that are no collector's own: read by the source, or asked for in a round trip of their own.
OTHERS = {"facts", "load", "statement_texts", "explain", "explain_sessions", "writers"}


def test_no_metric_is_declared_twice() -> None:
    metrics = [metric for _, metrics in declared() for metric in set(metrics)]
    names = [metric.name for metric in dict.fromkeys(metrics)]
    assert sorted(names) == sorted(set(names))


def test_no_two_collectors_share_a_name_or_a_metric() -> None:
    owners: dict[str, str] = {DATABASE_UP.name: "lane"}
    for name, collector in BY_NAME.items():
        assert collector.name == name
        for metric in collector.metrics:
            assert metric.name not in owners, f"{metric.name}: {name} and {owners[metric.name]}"
            owners[metric.name] = name


def test_every_query_has_a_file_and_every_file_a_query() -> None:
    used = {query for collector in BY_NAME.values() for query in collector.queries} | OTHERS
    assert used == set(queries.variants())


@pytest.mark.parametrize("file", sorted(DIRECTORY.glob("*.sql")), ids=lambda file: file.stem)
def test_a_query_says_what_it_reads_and_only_reads(file: Path) -> None:
    text = file.read_text()
    assert text.startswith("-- ")
    words = {word.lower() for line in text.splitlines() if not line.startswith("--") for word in line.split()}
    assert not words & {
        "insert",
        "update",
        "delete",
        "drop",
        "create",
        "alter",
        "set",
        "truncate",
        "grant",
        "lock",
    }


@pytest.mark.parametrize("name", sorted(SQL))
def test_every_metric_of_an_sql_collector_is_a_column_of_its_queries(name: str) -> None:
    collector = SQL[name]
    if collector.collect is not SqlCollector.collect and not collector.metrics[0].name.startswith(
        "mlflow_db_"
    ):
        pytest.fail(f"{name} is not of the database")
    texts = [
        (DIRECTORY / file).read_text() for query in collector.queries for _, file in queries.variants()[query]
    ]
    if name == "statements":  # its rows are arrays, added up here
        return
    for metric in collector.metrics:
        assert any(metric.name in text for text in texts), metric.name


@pytest.mark.parametrize("name", sorted(queries.variants()))
def test_our_own_statements_are_known_as_such_whether_postgres_keeps_comments_or_not(name: str) -> None:
    for major, _ in queries.variants()[name]:
        text = queries.sql(name, major or 13)
        assert text is not None
        for statement in text.decode().split("\n;\n"):
            assert classify(statement).operation == "exporter"
            # Postgres 18 stores a statement from its first word on.
            bare = re.sub(r"\A(?:\s*--[^\n]*\n)+", "", statement)
            assert classify(bare).operation == "exporter", bare[:100]
