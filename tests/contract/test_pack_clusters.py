"""A site of several clusters: their label is wherever the job is, in rules, routes, messages and boards."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator

import promql_parser as promql
import pytest
import yaml

from exporter.pack import routes, rules
from exporter.pack.dashboards.pages import files
from exporter.pack.formats import dashboards
from exporter.pack.site import Site
from tests.contract.lint_dashboards import Json, expanded, queries, variables
from tests.contract.rules import parse, rule, selectors, walk
from tests.contract.test_dashboards import chosen

pytestmark = [pytest.mark.contract, pytest.mark.pack]

SITE = Site(cluster_label="k8s_cluster")
RULES = rules.of(SITE)
BOARDS: dict[str, Json] = {name: json.loads(text) for name, text in dashboards(SITE).items()}


def told_apart_by(expr: promql.Expr) -> Iterator[list[str]]:
    """Yield the labels by which sums and joins tell series apart, where they name any."""
    for node in walk(expr):
        match node:
            case promql.AggregateExpr() if node.modifier and node.modifier.type == promql.AggModifierType.By:
                yield node.modifier.labels
            case promql.BinaryExpr() if node.modifier and node.modifier.matching:
                if node.modifier.matching.type == promql.LabelModifierType.Include:
                    yield node.modifier.matching.labels


@pytest.mark.parametrize("name", sorted(RULES))
def test_rules_tell_servers_of_one_name_apart_by_their_cluster(name: str) -> None:
    raw = [one for group in yaml.safe_load(RULES[name])["groups"] for one in group["rules"]]
    found = [labels for one in raw for labels in told_apart_by(rule(name, one).expr)]
    # What names nothing asks whether there is any exporter at all.
    assert [labels for labels in found if labels and not {"job", "k8s_cluster"} <= {*labels}] == []
    assert any(found)


@pytest.mark.parametrize("name", sorted(RULES))
def test_links_and_questions_of_an_alert_are_of_its_cluster(name: str) -> None:
    for line in RULES[name].splitlines():
        if "dashboard_url:" in line:
            assert (
                "?var-k8s_cluster={{ or $labels.k8s_cluster $externalLabels.k8s_cluster }}&var-job=" in line
            )
        if "%q" in line:
            (asked,) = re.findall(r'printf "([^"]*)"((?: \$labels\.\w+)+)', line)
            assert re.findall(r"(\w+)=%q", asked[0]) == asked[1].replace("$labels.", "").split()
            assert "k8s_cluster=%q" in line


def test_a_message_is_of_one_cluster_and_names_it_and_inhibition_stays_in_one() -> None:
    found = yaml.safe_load(routes.alertmanager(SITE))
    equal = [one["equal"] for one in found["inhibit_rules"]]
    (ours,) = (one for one in found["route"]["routes"] if "Mlflow" in one["matchers"][0])
    assert [*equal, ours["group_by"]] == [["k8s_cluster", "job", "tracking_server"]] * (len(equal) + 1)
    assert "MLflow{{ with .k8s_cluster }} {{ . }}{{ end }}{{ with or .tracking_server" in routes.templates(
        SITE
    )


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_every_series_of_a_board_is_of_the_cluster_that_is_chosen(name: str) -> None:
    asked = [expr for _, expr in queries(BOARDS[name])] + [
        one["expr"] for one in BOARDS[name]["annotations"]["list"]
    ]
    for expr in asked:
        for selector in selectors(parse(expanded(expr))):
            assert {"k8s_cluster", "job", "tracking_server"} <= chosen(selector), f"{selector}"
    before: set[str] = set()
    for one in variables(BOARDS[name], "query"):
        series = one["definition"].removeprefix("label_values(").rpartition(",")[0]
        (selector,) = selectors(parse(series))
        assert chosen(selector) == before
        before.add(one["name"])
    first = BOARDS[name]["templating"]["list"][1]
    # Of several at once a query would join servers of one name.
    assert (first["name"], first["multi"], first["includeAll"]) == ("k8s_cluster", False, False)


def test_a_click_on_a_board_keeps_the_cluster() -> None:
    text = json.dumps([*BOARDS.values()])
    assert text.count("${job:queryparam}") == text.count("&${k8s_cluster:queryparam}&${job:queryparam}") > 0


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_nothing_else_of_a_board_is_another(name: str) -> None:
    before, after = json.loads(files()[name]), copy.deepcopy(BOARDS[name])
    del after["templating"]["list"][1]
    ours = r'k8s_cluster=~\\"\$k8s_cluster\\"(, )?|\$\{k8s_cluster:queryparam\}&'
    assert re.sub(ours, "", json.dumps(after)).replace("info{}, job)", "info, job)") == json.dumps(before)
