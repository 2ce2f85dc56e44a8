"""The exposition's text means what the samples say, and what is kept of it from scrape to scrape changes nothing."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.exposition import Writer
from exporter.metric import Buckets, counter, gauge, histogram

pytestmark = pytest.mark.unit

UP = gauge("mlflow_db_up", "1 where it answered.", "the connection")
CALLS = counter("mlflow_db_calls_total", "Calls.", "somewhere", labels=("operation",))
WAIT = histogram("mlflow_probe_wait_seconds", "Waits.", "a probe", "seconds", ("probe",))
# Python's splitlines() ends a line at the last two, Prometheus does not.
ODD = 'a "quoted" \\ name\nwith a break, in ünïcode \u2028 \x85'


def parsed(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_sorted_and_parse_back_to_the_same_values() -> None:
    text, series = Writer().text([UP(1), CALLS(3, ODD), WAIT(Buckets((0.5, 1.0), (1, 2, 4), 7.5), "api")])
    assert parsed(text) == {
        ("mlflow_db_calls_total", (ODD,)): 3.0,
        ("mlflow_db_up", ()): 1.0,
        ("mlflow_probe_wait_seconds_bucket", ("0.5", "api")): 1.0,
        ("mlflow_probe_wait_seconds_bucket", ("1.0", "api")): 2.0,
        ("mlflow_probe_wait_seconds_bucket", ("+Inf", "api")): 4.0,
        ("mlflow_probe_wait_seconds_count", ("api",)): 4.0,
        ("mlflow_probe_wait_seconds_sum", ("api",)): 7.5,
    }
    assert series == 7
    assert text.index("mlflow_db_calls") < text.index("mlflow_db_up") < text.index("mlflow_probe_wait")
    assert "# TYPE mlflow_db_calls_total counter\n" in text
    assert "# HELP mlflow_db_up 1 where it answered. Source: the connection.\n" in text


def test_the_next_text_has_the_new_values_the_new_series_and_none_that_are_gone() -> None:
    writer = Writer()
    writer.text([UP(1), CALLS(3, "a"), WAIT(Buckets((0.5,), (1, 2), 7.5), "api")])
    text, _ = writer.text([CALLS(4, "b"), CALLS(5, "a"), WAIT(Buckets((0.5,), (6, 8), 9.25), "api")])
    assert parsed(text) == {
        ("mlflow_db_calls_total", ("a",)): 5.0,
        ("mlflow_db_calls_total", ("b",)): 4.0,
        ("mlflow_probe_wait_seconds_bucket", ("0.5", "api")): 6.0,
        ("mlflow_probe_wait_seconds_bucket", ("+Inf", "api")): 8.0,
        ("mlflow_probe_wait_seconds_count", ("api",)): 8.0,
        ("mlflow_probe_wait_seconds_sum", ("api",)): 9.25,
    }
    assert writer.text([CALLS(5, "a"), CALLS(4, "b")])[0] == Writer().text([CALLS(5, "a"), CALLS(4, "b")])[0]


def test_no_more_is_kept_than_the_last_text_had() -> None:
    writer = Writer()
    for number in range(100):
        writer.text([CALLS(1, str(number))])
    assert len(writer._series) == 1
