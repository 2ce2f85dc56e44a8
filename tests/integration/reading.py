"""What collectors make of a real Postgres, read once."""

from __future__ import annotations

import time

from exporter.collector import Reason
from exporter.lane import Lane
from exporter.secret import Secret
from exporter.sources.conninfo import Target
from exporter.sources.postgres import PostgresSource
from exporter.sql import SqlCollector


def failures(dsn: str, *collectors: SqlCollector) -> dict[str, tuple[Reason, str]]:
    """Return reason and remedy of each collector that fails over a new connection."""
    return _read(dsn, collectors)[1]


def figures(dsn: str, *collectors: SqlCollector) -> dict[str, float]:
    """Return values, read over a new connection, by name without `mlflow_db_` and labels."""
    values, failed = _read(dsn, collectors)
    assert failed == {}
    return values


def _read(
    dsn: str, collectors: tuple[SqlCollector, ...]
) -> tuple[dict[str, float], dict[str, tuple[Reason, str]]]:
    lane = Lane(PostgresSource(Target.from_dsn(Secret(dsn), Secret(""), "", ())), collectors)
    try:
        deadline = time.monotonic() + 30  # for a busy machine
        outcomes = lane.read(lane.begin(deadline), deadline).outcomes
    finally:
        lane.close()
    values: dict[str, float] = {}
    for outcome in outcomes.values():
        for metric, value, labels in outcome.samples:
            assert isinstance(value, int | float)
            values[" ".join((metric.name.removeprefix("mlflow_db_"), *labels))] = value
    failed = {name: (outcome.reason, outcome.remedy) for name, outcome in outcomes.items() if outcome.reason}
    return values, failed
