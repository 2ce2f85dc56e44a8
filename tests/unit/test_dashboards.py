"""How dashboards are built: queries, units and limits from what is declared, places in rows, words of the evidence."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from exporter.pack.dashboards import __main__ as command
from exporter.pack.dashboards import headlines, limits
from exporter.pack.dashboards.dashboard import COLUMNS, Row, line_of, placed
from exporter.pack.dashboards.limits import Signal, signals, threshold
from exporter.pack.dashboards.pages import files
from exporter.pack.dashboards.panel import Limit, Panel, graph, letter, panel, stat, words
from exporter.pack.dashboards.promql import QueryError, metrics, read, selected, series, unit

pytestmark = pytest.mark.unit

HERE = 'job=~"$job", tracking_server=~"$tracking_server"'
THERE = f'{HERE}, instance=~"$instance"'


@pytest.mark.parametrize(
    ("expr", "whole"),
    [
        ("mlflow_db_up", f"mlflow_db_up{{{THERE}}}"),
        ('up{job="x"} == 0', f'up{{{THERE}, job="x"}} == 0'),
        (
            "rate(mlflow_db_commits_total[5m] offset 1w)",
            f"rate(mlflow_db_commits_total{{{THERE}}}[5m] offset 1w)",
        ),
        # What rules make has no instance.
        ("mlflow:pressure:ratio", f"mlflow:pressure:ratio{{{HERE}}}"),
        ('ALERTS{alertstate="firing"}', f'ALERTS{{{HERE}, alertname=~"Mlflow.+", alertstate="firing"}}'),
        ("process_open_fds / mlflow_db_up", f"process_open_fds{{{THERE}}} / mlflow_db_up{{{THERE}}}"),
        # Functions, labels and texts are no series.
        ('label_replace(vector(1), "up", "mlflow_db_up", "", "")',) * 2,
        ("count by (job, up_since) (vector(1))",) * 2,
        ("max  by (job)\n    (vector(1))", "max by (job) (vector(1))"),
    ],
)
def test_every_series_of_a_query_gets_what_the_variables_select(expr: str, whole: str) -> None:
    assert selected(expr) == whole


def test_the_metrics_of_a_query_are_found_by_its_series() -> None:
    expr = (
        "sum(rate(mlflow_probe_duration_seconds_bucket[5m])) / mlflow_db_up + mlflow:pressure:ratio"
        ' + on () ALERTS{cause="mlflow_store_up"} + up + process_open_fds + mlflow_db_up'
    )
    assert [one.name for one in read(expr)] == ["mlflow_probe_duration_seconds", "mlflow_db_up"]
    assert series("mlflow_db_up + mlflow_db_up") == ["mlflow_db_up"]


@pytest.mark.parametrize(
    "expr",
    ["mlflow_db_upp", "mlflow_db_up_count", "mlflow_probe_duration_seconds", "mlflow_http_request_duration"],
)
def test_a_series_that_there_is_not_is_an_error_that_names_it(expr: str) -> None:
    with pytest.raises(QueryError, match=re.escape(expr)):
        read(f"max({expr})")


@pytest.mark.parametrize(
    ("expr", "grafana"),
    [
        ("max(mlflow_db_backends)", "short"),
        ("mlflow_db_size_bytes", "bytes"),
        ("mlflow_db_sqlite_lock_wait_seconds", "s"),
        ("rate(mlflow_db_commits_total[5m])", "ops"),
        ("increase(mlflow_db_commits_total[5m])", "short"),
        ("rate(mlflow_db_wal_bytes_total[5m])", "Bps"),
        # Seconds a second.
        ("rate(mlflow_server_worker_cpu_seconds_total[5m])", "short"),
        ("mlflow_server_start_timestamp_seconds * 1000", "dateTimeFromNow"),
        # A stroke in a text divides nothing.
        ('mlflow_db_setting{unit="1/s"}', "short"),
    ],
)
def test_the_unit_of_a_query_is_its_metric_s_or_that_of_a_rate_of_it(expr: str, grafana: str) -> None:
    assert unit(expr) == grafana


@pytest.mark.parametrize(
    "expr",
    [
        "mlflow_db_connections_used / mlflow_db_connections_limit",
        "mlflow_db_size_bytes + mlflow_db_sqlite_lock_wait_seconds",
        "mlflow:pressure:ratio",
        # A quantile is in seconds, a rate of its buckets is not.
        "histogram_quantile(0.5, sum by (le) (rate(mlflow_probe_duration_seconds_bucket[5m])))",
        "rate(mlflow_probe_duration_seconds_count[5m])",
    ],
)
def test_a_unit_that_is_not_the_metric_s_has_to_be_said(expr: str) -> None:
    with pytest.raises(QueryError, match="say the unit"):
        unit(expr)


def test_every_metric_has_a_unit_of_grafana() -> None:
    for metric in metrics().values():
        if metric.kind != "histogram":
            assert unit(metric.name)


def test_queries_of_several_units_are_not_drawn_on_one_scale() -> None:
    both = {"size": "mlflow_db_size_bytes", "sessions": "mlflow_db_backends"}
    with pytest.raises(ValueError, match="several units"):
        graph("Both", "x", both)
    assert graph("Both", "x", both, unit_="short").json["fieldConfig"]["defaults"]["unit"] == "short"


def test_a_panel_says_of_each_metric_what_it_means_and_whose_it_is_where_there_is_no_data() -> None:
    of = "mlflow_db_up"
    made = panel("stat", "Database", "It answers.", {"": f"max({of})", "again": f"min({of})"}).json
    assert made["description"] == f"It answers.\n\n- `{of}`: {metrics()[of].help}"
    assert "Collector: source" in made["fieldConfig"]["defaults"]["noValue"]
    assert [one["refId"] for one in made["targets"]] == ["A", "B"]
    assert [one["legendFormat"] for one in made["targets"]] == ["__auto", "again"]


def test_a_number_is_that_of_now_and_not_the_last_that_there_was() -> None:
    (one,) = stat("x", "x", "mlflow_db_up").json["targets"]
    assert (one["instant"], one["range"]) == (True, False)


def test_queries_are_lettered_as_columns_of_a_sheet_are() -> None:
    assert [letter(number) for number in (0, 25, 26, 51)] == ["A", "Z", "AA", "AZ"]


def signals_of(*found: tuple[str, str, float]) -> tuple[Signal, ...]:
    return tuple(
        Signal("cause", "cpu", f'cause="cause", signal="cpu", measure="{measure}"', number, alert, "warning")
        for alert, measure, number in found
    )


def test_a_limit_is_the_number_of_the_alert_s_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    of = signals_of(("MlflowOne", "load", 2.0), ("MlflowTwo", "load", 0.1), ("MlflowTwo", "host", 0.9))
    monkeypatch.setattr(limits, "signals", lambda: of)
    assert threshold("MlflowOne") == 2
    assert threshold("MlflowTwo", "host") == 0.9
    assert Limit("MlflowTwo", "load", 3).step() == {"color": "orange", "value": 0.3}
    for alert, measure in (("MlflowTwo", ""), ("MlflowOne", "host"), ("MlflowNone", "")):
        with pytest.raises(KeyError, match=f"{alert} {measure}"):
            threshold(alert, measure)
        with pytest.raises(KeyError, match=alert):
            Limit(alert, measure).step()


def test_an_alert_with_one_threshold_for_all_its_signals_needs_none_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = signals_of(("MlflowTwo", "load", 0.9), ("MlflowTwo", "host", 0.9))
    monkeypatch.setattr(limits, "signals", lambda: of)
    assert threshold("MlflowTwo") == 0.9


def box(width: int = 0, height: int = 8) -> Panel:
    return words("x", "x", width=width, height=height)


def widths(*line: Panel) -> list[int]:
    return [one["gridPos"]["w"] for one in line_of(line, 0, count(1))]


@pytest.mark.parametrize(
    ("line", "shares"),
    [
        ([0], [24]),
        ([0, 0, 0], [8, 8, 8]),
        ([0, 0, 0, 0, 0, 0, 0], [6, 3, 3, 3, 3, 3, 3]),
        ([6, 0, 0], [6, 9, 9]),
        ([14, 10], [14, 10]),
        ([20, 0, 0, 0, 0], [20, 1, 1, 1, 1]),
    ],
)
def test_panels_without_a_width_share_what_the_others_leave(line: list[int], shares: list[int]) -> None:
    assert widths(*map(box, line)) == shares


@pytest.mark.parametrize("line", [[], [12], [14, 11], [24, 0], [22, 0, 0, 0]])
def test_a_line_that_is_not_full_or_too_full_is_an_error(line: list[int]) -> None:
    with pytest.raises(ValueError, match=f"fill {COLUMNS} columns"):
        widths(*map(box, line))


def places(found: list[dict[str, Any]]) -> list[tuple[int, ...]]:
    return [(one["id"], *(one["gridPos"][key] for key in "xywh")) for one in found]


def test_rows_follow_each_other_and_a_closed_one_has_its_panels_inside() -> None:
    found = placed(
        [
            Row("", [[box(height=4)], [box(10), box()]]),
            Row("Open", [[box()]]),
            Row("Closed", [[box(height=5)], [box(), box()]], closed=True),
            Row("Last", [[box()]]),
        ]
    )
    assert places(found) == [
        *((1, 0, 0, 24, 4), (2, 0, 4, 10, 8), (3, 10, 4, 14, 8)),
        *((4, 0, 12, 24, 1), (5, 0, 13, 24, 8)),
        (6, 0, 21, 24, 1),
        *((10, 0, 22, 24, 1), (11, 0, 23, 24, 8)),
    ]
    open_, closed, last = (one for one in found if one["type"] == "row")
    assert places(closed["panels"]) == [(7, 0, 22, 24, 5), (8, 0, 27, 12, 8), (9, 12, 27, 12, 8)]
    assert (open_["collapsed"], closed["collapsed"], last["panels"]) == (False, True, [])


def phrase(text: str, number: float, scale: float, step: float) -> str:
    of = Signal("cause", "cpu", 'cause="cause", signal="cpu"', number, "MlflowOne", "warning")
    return headlines._of(of, headlines.Words(text, scale, step))


def test_evidence_is_the_pressure_times_its_threshold_in_the_unit_of_its_words() -> None:
    expr = phrase("CPU {} % busy", 0.07, 100, 0.1)
    # Not 7.000000000000001.
    assert 'round((mlflow:pressure:ratio{cause="cause", signal="cpu"} > 0) * 7, 0.1)' in expr
    assert re.search(r'"evidence", "CPU \$1 % busy[^"]*\b7[^"]*", "value", "\(\.\*\)"\)$', expr)


def test_a_share_of_a_fixed_time_is_shown_as_no_more_than_all_of_it() -> None:
    (locked,) = (one for one in signals() if one.name == "lock-wait")
    expr = headlines._of(locked, headlines.words(locked))
    assert re.search(r'"value", clamp_max\(round\(.* \* 20, 1\), 100\)\)', expr)


def test_words_without_a_number_say_none() -> None:
    expr = phrase("a crash loses data", 0.5, 0, 1)
    assert '"evidence", "a crash loses data", "value"' in expr


def test_every_signal_is_part_of_the_evidence_under_words_of_its_own() -> None:
    assert headlines.evidence().count("count_values") == len(signals())
    strange = Signal("cause", "new", 'cause="cause", signal="new"', 1, "MlflowNew", "warning")
    with pytest.raises(KeyError, match="new"):
        headlines.words(strange)


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr("sys.argv", ["dashboards", *options])
    return command.main()


def test_files_are_written_as_they_would_be_and_strange_ones_are_found_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "HERE", tmp_path)
    assert run(monkeypatch) == 0
    assert {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()} == files()
    assert run(monkeypatch, "--check") == 0

    missing, changed = "overview.json", "causes.json"
    (tmp_path / missing).unlink()
    (tmp_path / changed).write_text("{}")
    (tmp_path / "stray.json").write_text("{}")
    (tmp_path / "README.md").write_text("Not a dashboard.\n")
    assert command.differing() == [changed, missing, "stray.json"]
    assert run(monkeypatch, "--check") == 1
    assert "dashboards/stray.json" in capsys.readouterr().err
    assert run(monkeypatch) == 0
    assert command.differing() == []
    assert (tmp_path / "README.md").is_file()
