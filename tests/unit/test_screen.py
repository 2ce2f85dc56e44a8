"""The demo's screen says what it was told, of the time it says, and nothing where it was told nothing."""

from __future__ import annotations

import pytest
from prometheus_client.samples import Sample

from tests.lab.screen import Reading, line, screen

pytestmark = pytest.mark.unit

Values = dict[str, float]


def reading(time: float, values: Values) -> Reading:
    """Return a scrape of samples given as `name key=value ...`."""
    samples = []
    for series, value in values.items():
        name, *labels = series.split()
        samples.append(Sample(name, dict(label.split("=") for label in labels), value))
    return Reading(time, samples)


def probes(fast: int, slow: int, failed: int = 0, success: int = 1) -> Values:
    bucket = "mlflow_probe_duration_seconds_bucket probe=api vantage=local"
    return {
        f"{bucket} le=0.1": fast,
        f"{bucket} le=0.2": fast + slow,
        f"{bucket} le=+Inf": fast + slow,
        "mlflow_probe_failures_total probe=api vantage=local reason=http_5xx": failed,
        "mlflow_probe_failures_total probe=api vantage=local reason=timeout": 0,
        "mlflow_probe_failures_total probe=health vantage=local reason=timeout": 9,
        "mlflow_probe_success probe=health vantage=local": 1,
        "mlflow_probe_success probe=api vantage=local": success,
    }


def test_an_empty_scrape_is_dashes() -> None:
    nothing = reading(0, {})
    first, *_ = screen(nothing, nothing, nothing)

    assert first.startswith("server -   API - (last minute: p50 -, failed -)   workers - of -")
    assert line(nothing, nothing, nothing) == (
        "server -  API - (last minute: p50 -, failed -)  workers' CPU -  database -  load -  statements -/s  "
        "collectors 0 of 0"
    )


def test_the_api_is_what_it_was_in_the_last_minute_and_not_since_the_start() -> None:
    minute, now = reading(1000, probes(fast=500, slow=0)), reading(1060, probes(fast=500, slow=4))

    assert "API ok (last minute: p50 150.0 ms, failed 0)" in line(now, minute, minute)


def test_a_server_whose_calls_all_fail_has_no_latency_and_says_why() -> None:
    minute, now = reading(0, probes(9, 0)), reading(60, probes(9, 0, failed=4, success=0))
    up = {"mlflow_server_up": 1.0}
    now.samples.extend(reading(60, up).samples)

    assert line(now, minute, minute).startswith(
        "server up  API FAILS (last minute: p50 -, failed 4: http_5xx 4)"
    )


def test_load_is_a_share_of_the_seconds_that_were_sampled_and_leaves_out_waiting_clients() -> None:
    load, by = "mlflow_db_load_seconds_total", "mlflow_db_load_operation_seconds_total"
    sampled = "mlflow_db_load_sampled_seconds_total"
    minute = reading(0, {sampled: 10, f"{load} wait_class=cpu database=mlflow": 5})
    now = reading(
        60,
        {
            sampled: 50,
            f"{load} wait_class=cpu database=mlflow": 15,
            f"{load} wait_class=cpu database=other": 10,
            f"{load} wait_class=lock database=mlflow": 40,
            f"{load} wait_class=client database=mlflow": 80,
            f"{by} operation=log_metrics database=mlflow": 50,
        },
    )

    shown = next(text for text in screen(now, minute, minute) if "active sessions" in text)
    assert shown == "  active sessions 1.50   by wait: lock 1.00  cpu 0.50   by operation: log_metrics 1.25"


def test_names_that_do_not_say_what_they_are_are_explained_while_they_are_shown() -> None:
    def calls(operation: str, count: float) -> Values:
        return {
            f"mlflow_db_statement_read_{what}_total operation={operation}": count
            for what in ("calls", "seconds")
        }

    for operation, explained in (("catalog", True), ("log_metrics", False)):
        text = "\n".join(
            screen(reading(2, calls(operation, 8)), reading(0, calls(operation, 2)), reading(0, {}))
        )
        assert "3/s" in text
        assert (f"{operation}: " in text) is explained
