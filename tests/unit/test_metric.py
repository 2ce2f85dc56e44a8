"""Declarations refuse what Prometheus would refuse later, and samples keep to them."""

from __future__ import annotations

import pytest

from exporter.metric import Buckets, Kind, Metric, check, counter, gauge

pytestmark = pytest.mark.unit

UP = gauge("mlflow_db_up", "1 where it answered.", "the connection")
CALLS = counter("mlflow_db_calls_total", "Calls.", "somewhere", labels=("operation",))


@pytest.mark.parametrize(
    ("name", "kind", "unit", "labels", "fault"),
    [
        ("db_up", Kind.GAUGE, "", (), "not a name"),
        ("mlflow_other_up", Kind.GAUGE, "", (), "not a name"),
        ("mlflow_db_" + "x" * 60, Kind.GAUGE, "", (), "at most 63"),
        ("mlflow_exporter_info", Kind.GAUGE, "", (), "reserved"),
        ("mlflow_db_calls", Kind.COUNTER, "", (), "_total"),
        ("mlflow_db_calls_total", Kind.GAUGE, "", (), "_total"),
        ("mlflow_db_wait_seconds", Kind.GAUGE, "", (), "its unit is ''"),
        ("mlflow_db_wait", Kind.GAUGE, "seconds", (), "does not end in its unit"),
        ("mlflow_db_wait_minutes", Kind.GAUGE, "minutes", (), "is not one of"),
        ("mlflow_db_rows_count", Kind.GAUGE, "", (), "histogram's series"),
        ("mlflow_db_rows", Kind.GAUGE, "", ("instance",), "label 'instance'"),
    ],
)
def test_a_declaration_against_the_naming_rules_is_refused(
    name: str, kind: Kind, unit: str, labels: tuple[str, ...], fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        Metric(name, kind, "A sentence.", "somewhere", unit, labels)


def test_a_sample_with_the_wrong_number_of_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="0 label values"):
        CALLS(1)


def test_a_histogram_takes_buckets_and_a_gauge_does_not() -> None:
    with pytest.raises(ValueError, match="cannot take"):
        UP(Buckets((1.0,), (0, 1), 2.0))


def test_a_series_that_comes_twice_is_named() -> None:
    with pytest.raises(ValueError, match=r"mlflow_db_calls_total\{'operation': 'a'\} twice"):
        check([CALLS(1, "a"), CALLS(2, "a")], frozenset({CALLS}))


def test_an_undeclared_metric_is_named() -> None:
    with pytest.raises(ValueError, match="mlflow_db_up is not declared"):
        check([UP(1)], frozenset({CALLS}))
