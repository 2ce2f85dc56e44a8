"""Each check finds what it is for and nothing in what is right; the pack passes all of them, without exceptions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract import lint_rules
from tests.contract.lint_rules import CHECKS, group_faults, promql_syntax
from tests.contract.rules import Rule, all_rules, groups, rule

pytestmark = [pytest.mark.contract, pytest.mark.pack]

UP = "max by (job, tracking_server) (mlflow_server_up) < 1"
RATE = "rate(mlflow_db_commits_total[5m])"
BY = "by (job, tracking_server)"


def alert(expr: str = UP, **more: Any) -> Rule:
    return rule("x", {"alert": "MlflowServerDown", "expr": expr, "for": "1m", **more})


def record(expr: str, **more: Any) -> Rule:
    return rule("x", {"record": "mlflow:pressure:ratio", "expr": expr, **more})


ANNOTATIONS = {
    "summary": "The server is down.",
    "description": "{{ $labels.tracking_server }} is down.",
    "diagnosis": "Look.",
    "fix": "Now: start it. For good: watch it.",
    "runbook_url": "https://example.org/v0.1.0/alerts/runbooks/availability.md#mlflowserverdown",
    "dashboard_url": "/d/mlflow-causes?var-job=x#availability",
}
LABELS = {"severity": "critical", "cause": "availability", "class": "evidence"}

# Of each check: what it accepts, and what it finds something in.
EXAMPLES: dict[str, tuple[list[Rule], list[Rule]]] = {
    "yaml_parse": (
        [alert(labels=LABELS)],
        [alert(labels={"severity": 1}), alert(annotations={"summary": None}), alert(expression=UP)],
    ),
    "promql_syntax": (
        [alert()],
        [alert("sum (mlflow_db_up"), alert("mlflow_db_up[5m"), alert("sum by (mlflow_db_up) > 1")],
    ),
    "alerts_comparison": (
        [alert(), alert('absent(up{job="mlflow"})'), record(f"sum {BY} ({RATE})")],
        [alert(f"sum {BY} (mlflow_db_up)"), alert("mlflow_db_up > bool 0")],
    ),
    "alerts_for": (
        [alert(), rule("x", {"alert": "X", "expr": UP})],
        [alert(**{"for": "0m"}), alert(keep_firing_for="0s")],
    ),
    "alerts_absent": (
        [alert('absent(up{job="mlflow"})', **{"for": "30s"})],
        [alert('absent(up{job="mlflow"})', **{"for": "15s"})],
    ),
    "alerts_template": (
        [
            alert(annotations={"description": "{{ $labels.job }}: {{ $value | humanizePercentage }}"}),
            alert(annotations={"description": "{{ $labels.cause }}"}, labels={"cause": "x"}),
            alert(
                annotations={"fix": '{{ range printf "mlflow_db_up{job=%q}" $labels.job | query }}{{ end }}'}
            ),
            alert(
                annotations={"fix": '{{ with query "mlflow_db_up == 0" }}{{ . | first | value }}{{ end }}'}
            ),
        ],
        [
            alert(annotations={"description": "{{ $labels.worker }}"}),
            alert(annotations={"description": "{{ $value }}"}),
            alert(labels={"severity": "{{ $value }}"}),
            alert(annotations={"fix": '{{ with query "mlflow_db_up{" }}{{ end }}'}),
            alert(annotations={"fix": '{{ with query "mlflow_db_upp" }}{{ end }}'}),
        ],
    ),
    "promql_fragile": (
        [alert(f"sum {BY} (mlflow_db_backends) / sum {BY} (mlflow_db_connections_limit) > 1")],
        [
            alert("topk(1, mlflow_db_backends) > 5"),
            alert(f"sum {BY} (mlflow_db_backends) - sum {BY} (mlflow_db_up) > 1", **{"for": "0s"}),
        ],
    ),
    "promql_impossible": (
        [
            alert("mlflow_db_connections_used / mlflow_db_connections_limit > 0.8"),
            alert(
                f"max {BY} (mlflow_server_up) * on (job, tracking_server) group_left (version) mlflow_db_info > 0"
            ),
            alert("mlflow_db_connections / ignoring (state) group_left () mlflow_db_connections_limit > 0.8"),
        ],
        [
            alert("max by (worker) (mlflow_server_up) < 1"),
            alert("mlflow_db_connections / mlflow_db_connections_limit > 0.8"),
            alert("sum by (job) (mlflow_server_up) / on (tracking_server) mlflow_db_up > 1"),
            alert("sum by (job, worker) (sum by (job) (mlflow_server_worker_open_fds)) > 1"),
        ],
    ),
    "promql_nan": (
        [
            record(f"sum {BY} (mlflow_db_backends / (mlflow_db_connections_limit > 0))"),
            record(f"sum {BY} (mlflow_db_backends / clamp_min(mlflow_db_connections_limit, 1))"),
            record(f"max {BY} (mlflow_db_backends / mlflow_db_connections_limit)"),
            record(f"sum {BY} (mlflow_db_size_bytes / 1024)"),
        ],
        [
            record(f"sum {BY} (mlflow_db_backends / mlflow_db_connections_limit)"),
            record(f"avg {BY} (mlflow_db_backends % mlflow_db_connections_limit)"),
        ],
    ),
    "promql_regexp": (
        [alert('mlflow_probe_success{probe=~"api|health"} < 1')],
        [
            alert('mlflow_probe_success{probe=~"api"} < 1'),
            alert('mlflow_probe_success{probe!~"^a.*"} < 1'),
            alert('mlflow_probe_success{probe=~"a.*$"} < 1'),
        ],
    ),
    "promql_series": (
        [
            alert('mlflow_db_connections{state="idle in transaction"} > 1'),
            alert('mlflow_probe_duration_seconds_bucket{probe="api", le="0.004"} > 1'),
            alert('mlflow_probe_failures_total{reason=~"too_many|refused|http_.*"} > 1'),
            alert('mlflow_db_setting{name="fsync"} == 0'),
            alert('mlflow_http_request_duration_seconds_bucket{le="1.0"} > 1'),
        ],
        [
            alert("mlflow_db_upp == 0"),
            alert("mlflow:other:ratio > 1"),
            alert('mlflow_db_up{state="idle"} == 0'),
            alert('mlflow_db_connections{state="idling"} > 1'),
            alert('mlflow_probe_duration_seconds_bucket{le="0.004s"} > 1'),
            alert('mlflow_probe_failures_total{reason=~"too_many|fused"} > 1'),
            alert('mlflow_exporter_collector_errors_total{reason="refused"} > 1'),
            alert('mlflow_db_load_seconds_total{wait_class!="cpus"} > 1'),
            alert('mlflow_db_setting{name="fsynk"} == 0'),
        ],
    ),
    "promql_counter": (
        [
            alert(f"{RATE} > 1"),
            alert("mlflow_db_up < 1"),
            alert("sum by (job) (increase(mlflow_server_oom_kills_total[15m])) > 0"),
            alert("mlflow_db_up == 1 unless mlflow_db_commits_total"),
            alert("count by (job) (last_over_time(mlflow_db_commits_total[5m])) > 0"),
            alert("present_over_time(mlflow_db_commits_total[5m]) > 0"),
        ],
        [
            alert("mlflow_db_commits_total > 10"),
            alert("mlflow_db_up == 1 unless mlflow_db_commits_total > 10"),
            alert("count by (job) (mlflow_db_commits_total > 10) > 0"),
            alert("rate(mlflow_db_backends[5m]) > 1"),
            alert("rate(mlflow_db_commits_total[30s]) > 1"),
            alert("max_over_time(mlflow_db_commits_total[5m]) > 1"),
            alert("rate(sum by (job) (mlflow_db_commits_total)[5m:15s]) > 1"),
            alert("mlflow_db_commits_total > 10 and on (job) count by (job) (mlflow_db_commits_total)"),
        ],
    ),
    "window": (
        [
            record("max_over_time(mlflow_db_up[2m])"),
            record(f"{RATE} / (last_over_time(mlflow_db_cpu_cores[5m]) > 0)"),
            alert('absent(up{job="mlflow"})', labels={"class": "finding"}),
        ],
        [
            record("mlflow_db_up"),
            record(f"{RATE} / mlflow_db_cpu_cores"),
            alert("mlflow_db_up < 1", labels={"class": "evidence"}),
        ],
    ),
    "promql_aggregate": (
        [alert(), alert("mlflow_db_up < 1"), alert('absent(up{job="mlflow"})')],
        [alert("max by (job) (mlflow_db_up) < 1"), alert("max(mlflow_db_up) < 1"), alert("absent(up)")],
    ),
    "labels_conflict": (
        [alert(labels=LABELS)],
        [alert(labels={"job": "x"}), record("mlflow_db_up", labels={"cluster": "x"})],
    ),
    "alerts_annotation": (
        [alert(annotations=ANNOTATIONS)],
        [
            alert(annotations=ANNOTATIONS | {"summary": "server down"}),
            alert(annotations=ANNOTATIONS | {"summary": "Server {{ $labels.job }} down."}),
            alert(annotations=ANNOTATIONS | {"description": "It is down."}),
            alert(annotations=ANNOTATIONS | {"fix": "Start it."}),
            alert(annotations=ANNOTATIONS | {"runbook_url": "availability.md"}),
            alert(annotations=ANNOTATIONS | {"message": "x"}),
            alert(annotations={name: text for name, text in ANNOTATIONS.items() if name != "diagnosis"}),
        ],
    ),
    "rule_label": (
        [alert(labels=LABELS)],
        [alert(labels=LABELS | {"severity": "page"}), alert(labels={"severity": "info", "cause": "x"})],
    ),
    "rule_name": (
        [alert(), record("mlflow_db_up")],
        [
            rule("x", {"alert": "MlflowDB", "expr": UP}),
            rule("x", {"alert": "Mlflow_down", "expr": UP}),
            rule("x", {"alert": "ServerDown", "expr": UP}),
            rule("x", {"alert": "MlflowServerDown" + "Indeed" * 5, "expr": UP}),
            rule("x", {"record": "pressure", "expr": UP}),
        ],
    ),
}


def test_every_check_has_examples() -> None:
    assert {check.__name__ for check in CHECKS} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_check_accepts_what_is_right_and_finds_what_is_wrong(name: str) -> None:
    check = getattr(lint_rules, name)
    good, bad = EXAMPLES[name]
    assert {one.text: list(check(one)) for one in good} == {one.text: [] for one in good}
    assert [one for one in bad if not list(check(one))] == []


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("g", (record("mlflow_db_up"),) * 2),
        ("g", tuple(record("mlflow_db_up", labels={"signal": str(number)}) for number in range(21))),
        ("g" * 41, ()),
    ],
)
def test_a_group_of_too_many_rules_or_of_twins_is_found(name: str, rules: tuple[Rule, ...]) -> None:
    assert list(group_faults(name, rules))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_pack_passes(check: Any) -> None:
    readable = [one for one in all_rules() if check is promql_syntax or not list(promql_syntax(one))]
    assert {str(one): found for one in readable if (found := list(check(one)))} == {}


@pytest.mark.parametrize("slug", groups())
def test_every_group_passes(slug: str) -> None:
    for group in groups()[slug]:
        assert list(group_faults(group["name"], tuple(rule(slug, raw) for raw in group["rules"]))) == []
