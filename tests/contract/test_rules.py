"""The pack holds together: one slug everywhere, thresholds said once, what explains is there before the explained."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest

from exporter.pack import RUNBOOKS as PAGES
from tests.contract.rules import (
    ALERTS,
    PRESSURE,
    ROOT,
    RULES,
    RUNBOOKS,
    SLUGS,
    TESTS,
    Rule,
    alerts,
    all_rules,
    fits,
    groups,
    load,
    numbers,
    parse,
    recorded,
    records,
    selectors,
    walk,
)

pytestmark = [pytest.mark.contract, pytest.mark.pack]

# So much of a text a phone shows without scrolling.
LONGEST = 400

EVIDENCE = tuple(one for one in alerts() if one.evidence)
FINDINGS = tuple(one for one in alerts() if not one.evidence)
BY_NAME = {one.name: one for one in alerts()}
INHIBITIONS: list[dict[str, Any]] = load(ALERTS / "alertmanager.yml").get("inhibit_rules", [])


def name(one: Rule) -> str:
    return one.name


def terms(expr: promql.Expr) -> Iterator[promql.Expr]:
    """Give the operands of `or`, parentheses and an aggregation around the whole aside."""
    if isinstance(expr, promql.BinaryExpr) and str(expr.op) == "or":
        yield from (*terms(expr.lhs), *terms(expr.rhs))
    elif isinstance(expr, promql.ParenExpr | promql.AggregateExpr):
        yield from terms(expr.expr)
    else:
        yield expr


def compared(term: promql.Expr) -> tuple[promql.VectorSelector, float]:
    """Return the pressure and the factor of `(pressure > 1) * factor`; raises AssertionError for another form."""
    assert isinstance(term, promql.BinaryExpr) and str(term.op) == "*", f"not (pressure > 1) * T: {term}"
    assert isinstance(term.lhs, promql.ParenExpr) and isinstance(term.rhs, promql.NumberLiteral), str(term)
    inner = term.lhs.expr
    assert isinstance(inner, promql.BinaryExpr) and str(inner.op) == ">", str(inner)
    assert isinstance(inner.lhs, promql.VectorSelector) and inner.lhs.name == PRESSURE, str(inner.lhs)
    assert isinstance(inner.rhs, promql.NumberLiteral) and inner.rhs.val == 1, str(inner.rhs)
    return inner.lhs, term.rhs.val


def divisors(expr: promql.Expr) -> set[float]:
    return {
        node.rhs.val
        for node in walk(expr)
        if isinstance(node, promql.BinaryExpr)
        and str(node.op) == "/"
        and isinstance(node.rhs, promql.NumberLiteral)
    }


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("rules", {file.stem for file in RULES.glob("*")}),
        ("tests", {file.stem for file in TESTS.glob("*")}),
        ("runbooks", {file.stem for file in RUNBOOKS.glob("*")}),
    ],
)
def test_each_cause_has_one_file_of_its_name(what: str, found: set[str]) -> None:
    assert found == set(SLUGS), what


def test_each_cause_has_its_faults() -> None:
    made = {file.stem.replace("_", "-") for file in (ROOT / "tests/faults").glob("*.py")}
    assert set(SLUGS) - made == set()


@pytest.mark.parametrize("slug", groups())
def test_a_file_has_one_group_named_after_its_cause_which_the_global_interval_evaluates(slug: str) -> None:
    (group,) = groups()[slug]
    assert set(group) == {"name", "rules"}
    assert group["name"] == f"mlflow-{slug}"


@pytest.mark.parametrize("one", all_rules(), ids=str)
def test_the_cause_of_a_rule_is_its_file(one: Rule) -> None:
    if one.is_alert or one.name == PRESSURE:
        assert one.labels["cause"] == one.slug


def test_there_are_few_alerts_and_fewer_that_wake_somebody() -> None:
    assert len(alerts()) == len(BY_NAME) <= 44
    assert Counter(one.labels["severity"] for one in alerts())["critical"] <= 8


@pytest.mark.parametrize("one", FINDINGS, ids=name)
def test_a_finding_is_info_and_has_no_pressure(one: Rule) -> None:
    assert one.labels["severity"] == "info"
    assert PRESSURE not in {found.name for found in selectors(one.expr)}
    assert one.wait


@pytest.mark.parametrize("one", EVIDENCE, ids=name)
def test_evidence_compares_pressures_and_shows_the_figure_that_they_are_made_of(one: Rule) -> None:
    assert one.labels["severity"] in ("critical", "warning")
    for term in terms(one.expr):
        selector, factor = compared(term)
        assert {found.name for found in selector.matchers.matchers} >= {"cause", "signal"}
        read = recorded(selector)
        assert read, f"no record makes {selector}"
        for record in read:
            assert record.slug == one.slug
            assert factor in divisors(record.expr) or factor == 1, f"{record} is not divided by {factor}"


def test_every_pressure_has_exactly_one_alert() -> None:
    read = Counter(
        str(record)
        for one in EVIDENCE
        for selector in selectors(one.expr)
        if selector.name == PRESSURE
        for record in recorded(selector)
    )
    assert read == Counter({str(one): 1 for one in records() if one.name == PRESSURE})


@pytest.mark.parametrize("one", EVIDENCE, ids=name)
def test_evidence_keeps_firing_through_a_gap_of_scrapes(one: Rule) -> None:
    assert one.keep.total_seconds() >= 300


def shown(template: str) -> int:
    """Return how long a template's text is at most: of its branches the longest, of other actions a short word."""
    branches = [[0]]  # of each open block the lengths so far; the outermost has one
    for part in re.split(r"(\{\{.*?\}\})", " ".join(template.split()), flags=re.DOTALL):
        word = part.strip("{}- ").partition(" ")[0] if part.startswith("{{") else ""
        if word in ("if", "with", "range"):
            branches.append([0])
        elif word == "else":
            branches[-1].append(0)
        elif word == "end":
            length = max(branches.pop())
            branches[-1][-1] += length
        else:
            branches[-1][-1] += 6 if word else len(part)
    ((length,),) = branches
    return length


@pytest.mark.parametrize("one", alerts(), ids=name)
def test_texts_are_short(one: Rule) -> None:
    lengths = {key: shown(one.annotations[key]) for key in ("summary", "description", "diagnosis", "fix")}
    assert {key: length for key, length in lengths.items() if length > LONGEST} == {}


def test_of_a_template_the_longest_branch_counts() -> None:
    assert shown("abc {{ $value }}") == 10
    assert (
        shown("{{ if $a }}four{{ else if $b }}sixsix{{ else }}one{{ end }}{{ range query `up` }}xx{{ end }}")
        == 8
    )


@pytest.mark.parametrize("one", alerts(), ids=name)
def test_an_alert_links_to_its_place_in_the_runbook_and_on_the_board(one: Rule) -> None:
    assert one.annotations["runbook_url"] == f"{PAGES}/{one.slug}.md#{one.name.lower()}"
    assert one.annotations["dashboard_url"] == (
        "/d/mlflow-causes?var-job={{ $labels.job }}&var-tracking_server={{ $labels.tracking_server }}"
        f"#{one.slug}"
    )


def _alerts_of(matchers: list[str]) -> tuple[list[Rule], dict[str, str]]:
    """Return the alerts that the matchers choose, and the matchers as texts by label."""
    selector = parse("{" + ", ".join(matchers) + "}")
    assert isinstance(selector, promql.VectorSelector)
    found = []
    for one in alerts():
        given = one.labels | {"alertname": one.name}
        if all(fits(matcher, given.get(matcher.name, "")) for matcher in selector.matchers.matchers):
            found.append(one)
    return found, {matcher.name: matcher.value for matcher in selector.matchers.matchers}


@pytest.mark.parametrize("raw", INHIBITIONS, ids=lambda raw: str(raw["source_matchers"][-1])[:60])
def test_what_explains_is_there_before_what_it_explains_and_stays_as_long(raw: dict[str, Any]) -> None:
    assert raw["equal"] == ["job", "tracking_server"]
    (sources, source), (targets, target) = (
        _alerts_of(raw[key]) for key in ("source_matchers", "target_matchers")
    )
    for found, text in ((sources, source["alertname"]), (targets, target["alertname"])):
        assert {one.name for one in found} == set(text.split("|")), (
            "an alert that there is not, or too severe"
        )
    for one in sources:
        assert one.evidence and source["class"] == "evidence"
        for other in targets:
            assert other.labels["severity"] in ("warning", "info")
            assert other.slug not in ("availability", "connections")
            assert one is not other
            assert one.wait <= other.wait, f"{one} comes after {other}, which it explains"
            assert one.keep >= other.keep, f"{one} goes before {other}, which it explains"


def test_there_is_something_to_inhibit() -> None:
    assert len(INHIBITIONS) >= 7


def test_a_threshold_is_looked_for_in_syntax_trees() -> None:
    """The checks above find what they are for."""
    selector, factor = compared(parse(f'({PRESSURE}{{cause="x", signal="y"}} > 1) * 0.8'))
    assert (selector.name, factor) == (PRESSURE, 0.8)
    assert divisors(parse("max by (job) (mlflow_server_up / 2) / 0.8 * (mlflow_db_up > bool 3)")) == {2, 0.8}
    assert numbers(parse("mlflow_db_up < 4096")) == [4096]
    for wrong in (
        f"{PRESSURE} > 1",
        f"({PRESSURE} > 2) * 3",
        "(mlflow_db_up > 1) * 3",
        f"({PRESSURE} > 1) / 3",
    ):
        with pytest.raises(AssertionError):
            compared(parse(wrong))
