"""Each check finds what it is for and nothing in what is right; the dashboards pass all of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exporter.pack.dashboards.pages import files
from tests.contract import lint_dashboards
from tests.contract.lint_dashboards import CHECKS, Json, expanded

pytestmark = [pytest.mark.contract, pytest.mark.pack]

BUILT = {name: json.loads(text) for name, text in files().items()}

TARGET = 'job=~"$job", instance=~"$instance"'
UP = f"mlflow_db_up{{{TARGET}}}"
COMMITS = f"mlflow_db_commits_total{{{TARGET}}}"
PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
SOURCE = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def variable(name: str, **more: Any) -> Json:
    found = {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": PROMETHEUS,
        "query": {"query": f"label_values(mlflow_db_up, {name})", "refId": "x"},
        "refresh": 2,
        "multi": True,
        "allValue": ".+",
    }
    return found | more


def panel(*exprs: str, kind: str = "timeseries", **more: Any) -> Json:
    found = {
        "id": 1,
        "type": kind,
        "title": "Database",
        "description": "Whether it answers.",
        "datasource": PROMETHEUS,
        "fieldConfig": {"defaults": {"unit": "short"}, "overrides": []},
        "targets": [{"refId": "A", "expr": expr} for expr in exprs or (UP,)],
    }
    return found | more


def board(*panels: Json, variables: tuple[Json, ...] = (), **more: Any) -> Json:
    """Return a dashboard; `variables` take the place of those of the same name."""
    by_name = {"datasource": SOURCE, "job": variable("job"), "instance": variable("instance")}
    by_name |= {one["name"]: one for one in variables}
    found = {
        "uid": "mlflow-x",
        "title": "MLflow / X",
        "editable": False,
        "templating": {"list": [one for one in by_name.values() if one["type"] != "none"]},
        "panels": list(panels) or [panel()],
    }
    return found | more


def without(name: str) -> Json:
    return {"name": name, "type": "none"}


def asking(*exprs: str) -> Json:
    return board(panel(*exprs))


def units(*overrides: str, default: str = "", kind: str = "timeseries", **more: Any) -> Json:
    properties = [{"id": "unit", "value": one} for one in overrides]
    config = {"defaults": {"unit": default} if default else {}, "overrides": [{"properties": properties}]}
    return board(panel(kind=kind, fieldConfig=config, **more))


MAPPED = {"defaults": {"mappings": [{"type": "value", "options": {}}]}, "overrides": []}
ROW = {"type": "row", "title": "Database", "collapsed": True}
SECOND = {"name": "loki_datasource", "label": "Loki data source", "type": "datasource", "query": "loki"}
FIRST = {"name": "prometheus_datasource", "label": "Prometheus data source", "type": "datasource"}

# Of each check: what it accepts, and what it finds something in.
EXAMPLES: dict[str, tuple[list[Json], list[Json]]] = {
    "template_datasource": (
        [
            board(),
            board(variables=(without("datasource"), FIRST | {"query": "prometheus"})),
            board(variables=(without("datasource"), FIRST | {"query": "prometheus"}, SECOND)),
        ],
        [
            board(variables=(without("datasource"),)),
            board(variables=(without("datasource"), SOURCE | {"name": "source"})),
            board(variables=(SOURCE | {"label": "Datasource"},)),
            board(variables=(SECOND,)),
        ],
    ),
    "template_job": (
        [board(), board(variables=(variable("job", datasource={"uid": "$datasource"}),))],
        [
            board(variables=(without("job"),)),
            board(variables=(variable("job", type="custom"),)),
            board(variables=(variable("job", datasource={"uid": "abc"}),)),
            board(variables=(variable("job", label="The job"),)),
            board(variables=(variable("job", multi=False),)),
            board(variables=(variable("job", allValue=".*"),)),
        ],
    ),
    "template_instance": (
        [board()],
        [
            board(variables=(without("instance"),)),
            board(variables=(variable("instance", datasource=None),)),
            board(variables=(variable("instance", allValue=None),)),
        ],
    ),
    "template_label_promql": (
        [
            board(variables=(variable("x", query='label_values(mlflow_db_up{job=~"$job"}, x)'),)),
            board(variables=(variable("x", query="query_result(max(mlflow_db_up))"),)),
        ],
        [
            board(variables=(variable("x", query="mlflow_db_up"),)),
            board(variables=(variable("x", query="label_of(mlflow_db_up, x)"),)),
            board(variables=(variable("x", query={"query": "label_values(mlflow_db_up{, x)"}),)),
        ],
    ),
    "template_on_time_change_reload": (
        [board()],
        [board(variables=(variable("job", refresh=1),)), board(variables=(variable("x", refresh=0),))],
    ),
    "panel_datasource": (
        [
            board(),
            board(panel(datasource={"uid": "$datasource"})),
            board(ROW, panel(kind="text", datasource=None)),
        ],
        [
            board(panel(datasource={"uid": "abc"})),
            board(panel(datasource="-- Mixed --")),
            board(panel(datasource=None, kind="stat")),
            board(ROW | {"panels": [panel(datasource={"uid": "abc"})]}),
        ],
    ),
    "panel_title_description": (
        [board(), board(ROW, panel(kind="text", description=""))],
        [
            board(panel(title="")),
            board(panel(description="")),
            board(panel(description="", kind="state-timeline")),
            board(ROW | {"panels": [panel(description="")]}),
        ],
    ),
    "panel_units": (
        [
            units(default="s"),
            units("percentunit", kind="table"),
            board(panel(kind="stat", fieldConfig=MAPPED)),
            board(panel(kind="stat", fieldConfig={}, options={"reduceOptions": {"fields": "/^version$/"}})),
        ],
        [
            units(),
            units(default="rowsps"),
            units(default="suffix: runs"),
            units("none", "suffix: runs", default="s", kind="table"),
            board(panel(kind="stat", fieldConfig={}, options={"reduceOptions": {"fields": ""}})),
        ],
    ),
    "panel_no_targets": (
        [board(), board(ROW, panel(kind="text", targets=[]))],
        [board(panel(targets=[])), board(panel(targets=None, kind="stat"))],
    ),
    "target_promql": (
        [
            asking(f"rate({COMMITS}[$__rate_interval])", f"max_over_time({UP}[$__range])"),
            asking(f"max_over_time({UP}[${{__interval}}]) * $__range_s"),
        ],
        [
            asking(""),
            asking(f"sum({UP}"),
            asking(f"rate({COMMITS}[$interval])"),
            board(ROW | {"panels": [panel(f"{UP} +")]}),
        ],
    ),
    "target_rate_interval": (
        [asking(f"rate({COMMITS}[$__rate_interval])"), asking(f"increase({COMMITS}[15m])")],
        [
            asking(f"rate({COMMITS}[5m])"),
            asking(f"sum(irate({COMMITS}[$__interval]))"),
            asking(f"max_over_time(rate({COMMITS}[$__range])[1h:])"),
        ],
    ),
    "target_job": (
        [asking(UP), asking('ALERTS{job=~"$job"}')],
        [
            asking("mlflow_db_up"),
            asking('mlflow_db_up{job="$job"}'),
            asking('mlflow_db_up{job=~"mlflow"}'),
            asking("ALERTS"),
            asking(f"{UP} or mlflow_server_up"),
        ],
    ),
    "target_instance": (
        [asking(UP), asking("ALERTS"), asking("mlflow:pressure:ratio")],
        [
            asking("mlflow_db_up"),
            asking('up{job=~"$job"}'),
            asking('mlflow_db_up{instance!~"$instance"}'),
            board(ROW | {"panels": [panel("mlflow_db_up", kind="stat")]}),
        ],
    ),
    "target_counter_agg": (
        [
            asking(UP, f"sum by (job) (rate({COMMITS}[$__rate_interval]))"),
            asking(f"increase({COMMITS}[1h] offset 1d)"),
            asking(f"max by (job) ({COMMITS}) == bool 0"),
        ],
        [
            asking(COMMITS),
            asking(f"max_over_time({COMMITS}[1h])"),
            asking(f"rate({COMMITS}[1h]) / {COMMITS}"),
            asking(f"{COMMITS} == 1"),
            asking(f"{COMMITS} == 0 or {COMMITS}"),
            asking(f"rate(sum({COMMITS})[1h:1m])"),
        ],
    ),
    "uneditable_dashboard": ([board()], [board(editable=True), board(editable=None)]),
    "dashboard_title_uid": ([board()], [board(title=""), board(uid=None)]),
}


def test_every_check_has_examples() -> None:
    assert {check.__name__ for check in CHECKS} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_check_accepts_what_is_right_and_finds_what_is_wrong(name: str) -> None:
    check = getattr(lint_dashboards, name)
    good, bad = EXAMPLES[name]
    assert [found for one in good for found in check(one)] == []
    assert [one for one in bad if not list(check(one))] == []


def test_a_variable_in_quotes_is_left_as_it_is() -> None:
    assert expanded('x{job=~"$job"}[$__range] @ $here') == 'x{job=~"$job"}[6h7m] @ $here'


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", BUILT)
def test_the_dashboards_pass(name: str, check: Any) -> None:
    assert list(check(BUILT[name])) == []
