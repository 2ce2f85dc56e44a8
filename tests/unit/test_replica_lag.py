"""How old a replica's data are said to be when its primary has been idle for long."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from exporter.collectors.replication import LAG, Replication

pytestmark = pytest.mark.unit


def lag(replica: Replication, seconds: float | None) -> list[object]:
    row: Mapping[str, object] = {LAG.name: seconds}
    return [sample.value for sample in replica.samples(row) if sample.metric is LAG]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_replica_seen_level_a_moment_ago_is_only_that_old_however_old_the_last_transaction_is(
    clock: list[float],
) -> None:
    replica = Replication()
    assert lag(replica, 0) == [0]
    clock[0] += 15
    assert lag(replica, 7200.0) == [15]
    clock[0] += 15
    assert lag(replica, 7215.0) == [30]
    assert lag(replica, 0) == [0]


def test_a_transaction_replayed_since_is_newer_than_the_last_time_it_was_level(clock: list[float]) -> None:
    replica = Replication()
    lag(replica, 0)
    clock[0] += 600
    assert lag(replica, 4.0) == [4]


def test_at_first_the_age_of_the_last_transaction_is_all_that_is_known(clock: list[float]) -> None:
    assert lag(Replication(), 7200.0) == [7200]


def test_without_a_transaction_there_is_no_lag(clock: list[float]) -> None:
    assert lag(Replication(), None) == []
