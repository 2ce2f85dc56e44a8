"""How the workload is asked for: rarely, under a limit of its own, with one GRANT for all of it."""

from __future__ import annotations

import pytest

from exporter.collector import Reason
from exporter.collectors.schema import Schema
from exporter.collectors.store import StoreCounts, StoreEstimates, StoreLogging
from exporter.collectors.tables import BUSIEST, TABLES, Indexes, Sizes, Tables
from exporter.schema import catalogue
from exporter.sources.postgres_errors import query_error

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("collector", [StoreCounts, StoreLogging])
def test_what_grows_with_runs_is_rare_has_its_own_limit_and_says_so(collector: type[StoreCounts]) -> None:
    assert collector.every >= 300
    assert {query.timeout for query in collector.wanted()} == {5.0}
    assert all("every 5 minutes" in metric.help for metric in collector.metrics)


def test_all_else_has_the_common_limit() -> None:
    for collector in (StoreEstimates, Schema, Tables, Indexes, Sizes):
        assert {query.timeout for query in collector.wanted()} == {2.0}


def test_the_tables_watched_are_listed_once_and_reach_the_queries_as_a_parameter() -> None:
    assert set(BUSIEST) < set(TABLES) <= set(catalogue().tables())
    assert [query.params for query in Tables.wanted()] == [(list(TABLES),)]
    assert [query.params for query in Indexes.wanted()] == [(list(BUSIEST),)]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("store_runs", "permission denied for table runs"),
        ("store_logging", "keine Berechtigung für Tabelle latest_metrics"),
        ("schema", "permission denied for table alembic_version"),
    ],
)
def test_a_right_that_is_missing_is_granted_with_all_others_at_once(query: str, message: str) -> None:
    error = query_error(query, "42501", message)
    assert error.reason is Reason.PERMISSION
    assert error.remedy == (
        "GRANT SELECT ON {store}.alembic_version, {store}.experiments, {store}.runs, {store}.metrics, "
        "{store}.latest_metrics, {store}.params, {store}.tags TO {role};"
    )
