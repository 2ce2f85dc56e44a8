"""The dashboards are what the builder makes, and what they name, link to and draw a line at is there."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import promql_parser as promql
import pytest

from exporter import __version__
from exporter.causes import CAUSES
from exporter.pack import REPOSITORY
from exporter.pack import RUNBOOKS as PAGES
from exporter.pack.dashboards import __main__, colours, headlines
from exporter.pack.dashboards.limits import Signal, signals
from exporter.pack.dashboards.pages import files
from exporter.pack.dashboards.promql import metrics, read
from exporter.runbooks.build import anchor
from tests.contract import lint_rules
from tests.contract.declared import values
from tests.contract.lint_dashboards import (
    TIMES,
    Json,
    compared_with_zero,
    expanded,
    panels,
    queries,
    variables,
    with_data,
)
from tests.contract.promql import labels
from tests.contract.rules import (
    PRESSURE,
    RUNBOOKS,
    SLUGS,
    Rule,
    alerts,
    fits,
    numbers,
    parse,
    recorded,
    rule,
    selectors,
    walk,
)

pytestmark = [pytest.mark.contract, pytest.mark.pack]

BUILT: dict[str, Json] = {name: json.loads(text) for name, text in files().items()}
NAMES = sorted(BUILT)
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24

# What Grafana 10 has without a plugin, of the keys those that are of use; __inputs and __requires are grafana.com's.
KINDS = {"stat", "timeseries", "table", "state-timeline", "text", "bargauge", "row"}
TRANSFORMATIONS = {"merge", "organize", "filterFieldsByName", "sortBy", "reduce", "joinByField"}
OF_DASHBOARD = {
    *("uid", "title", "description", "tags", "editable", "graphTooltip", "schemaVersion", "version", "time"),
    *("timepicker", "refresh", "timezone", "templating", "annotations", "links", "panels"),
    *("__inputs", "__requires"),
}
OF_ROW = {"id", "type", "title", "collapsed", "gridPos", "panels"}
OF_PANEL = {
    *("id", "type", "title", "description", "datasource", "gridPos", "fieldConfig", "options", "targets"),
    *("transformations", "links", "transparent", "interval", "maxDataPoints", "timeFrom", "timeShift"),
}
OF_FIELD = {
    *("unit", "noValue", "decimals", "min", "max", "mappings", "thresholds", "color", "custom", "links"),
    *("displayName", "description"),
}
OF_TARGET = {"refId", "datasource", "expr", "legendFormat", "instant", "range", "format", "interval", "hide"}

# Metrics that no panel shows, each with the reason.
UNSHOWN: dict[str, str] = {}

LEGEND = re.compile(r"\{\{ *(\w+) *\}\}")
FIELD = re.compile(r"\$\{__data\.fields\.(\w+)")
VARIABLE = re.compile(r"\$\{?([a-z_]\w*)")
# Grafana's own variables: of queries, of a variable's value, of links.
OWN = {*TIMES, "__all", "__data", "__value", "__field", "__url_time_range"}


def every(name: str) -> list[Json]:
    return list(panels(BUILT[name]))


def of_kind(kind: str) -> list[Any]:
    """Return the panels of a kind, for a test of each."""
    return [
        pytest.param(panel, id=f"{name.removesuffix('.json')}: {panel['title']}")
        for name in NAMES
        for panel in every(name)
        if panel["type"] == kind
    ]


def asked(name: str) -> list[tuple[str, Rule]]:
    """Return the queries of panels and marks after where they are, as rules, for which there are checks."""
    found = [
        *queries(BUILT[name]),
        *((one["name"], one["expr"]) for one in BUILT[name]["annotations"]["list"]),
    ]
    return [(where, rule("x", {"record": "x", "expr": expanded(expr)})) for where, expr in found]


def trees(panel: Json) -> list[promql.Expr]:
    return [parse(expanded(target["expr"])) for target in panel.get("targets", ())]


def made_of(expr: promql.Expr) -> frozenset[str]:
    """Return the names of all series that an expression is made of, through what rules record."""
    found = [one.name or "" for one in selectors(expr)]
    through = [made_of(record.expr) for one in selectors(expr) for record in recorded(one)]
    return frozenset(found).union(*through)


def chosen(selector: promql.VectorSelector) -> set[str]:
    """Return the labels of which a selector takes what the variable of their name says."""
    return {
        one.name
        for one in selector.matchers.matchers
        if one.op == promql.MatchOp.Re and one.value == f"${one.name}"
    }


def texts(of: object) -> Iterator[str]:
    if isinstance(of, dict | list):
        for value in of.values() if isinstance(of, dict) else of:
            yield from texts(value)
    elif isinstance(of, str):
        yield of


def promql_counter(one: Rule) -> Iterator[str]:
    """Check counters as of rules, but that it may be asked whether there ever was anything."""
    names = {found.name for found in compared_with_zero(one.expr)}
    return (found for found in lint_rules.promql_counter(one) if found.partition(" ")[0] not in names)


def sources(of: object) -> Iterator[object]:
    if isinstance(of, dict):
        yield from (value for key, value in of.items() if key == "datasource")
    if isinstance(of, dict | list):
        for value in of.values() if isinstance(of, dict) else of:
            yield from sources(value)


def overridden(panel: Json, by: str = "byName") -> set[str]:
    matchers = [one["matcher"] for one in panel["fieldConfig"]["overrides"]]
    return {one["options"] for one in matchers if one["id"] == by}


def shown(panel: Json) -> set[str]:
    """Return the names of the fields that a table's transformations leave."""
    of = {step["id"]: step["options"] for step in panel["transformations"]}
    if "filterFieldsByName" in of:
        return set(of["filterFieldsByName"]["include"]["names"])
    return set(of["organize"]["includeByName"])


def properties(panel: Json, key: str) -> list[Any]:
    """Return all values of a field's property: the default and those of overrides."""
    found = [one for override in panel["fieldConfig"]["overrides"] for one in override["properties"]]
    return [
        panel["fieldConfig"]["defaults"].get(key),
        *(one["value"] for one in found if one["id"] == key),
    ]


def test_the_files_are_what_the_builder_makes() -> None:
    assert __main__.differing() == [], "run `python -m exporter.pack.dashboards`"


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_has_the_address_of_its_file_and_what_grafana_10_knows(name: str) -> None:
    board = BUILT[name]
    assert f"{board['uid']}.json" == f"mlflow-{name}"
    assert len(board["uid"]) <= 40  # which is what Grafana takes
    assert 39 <= board["schemaVersion"] <= 41
    assert set(board) <= OF_DASHBOARD
    for panel in every(name):
        assert panel["type"] in KINDS
        assert set(panel) <= (OF_ROW if panel["type"] == "row" else OF_PANEL), panel["title"]
        assert set(panel.get("fieldConfig", {}).get("defaults", {})) <= OF_FIELD, panel["title"]
        for target in panel.get("targets", ()):
            assert set(target) <= OF_TARGET, panel["title"]
        for step in panel.get("transformations", ()):
            assert step["id"] in TRANSFORMATIONS, panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_the_oldest_grafana_is_one_that_can_leave_out_columns(name: str) -> None:
    """Before 10.3 a table has all its columns, whatever `includeByName` says; `filterFieldsByName` always worked."""
    steps = [step for panel in every(name) for step in panel.get("transformations", ())]
    ((major, minor, _),) = [
        map(int, one["version"].split(".")) for one in BUILT[name]["__requires"] if one["type"] == "grafana"
    ]
    assert (major, minor) >= (10, 3) or not [one for one in steps if "includeByName" in one["options"]]


def test_titles_are_unique_and_each_dashboard_is_in_every_menu() -> None:
    boards = BUILT.values()
    assert len({board["title"] for board in boards}) == len(BUILT)
    for board in boards:
        (link,) = board["links"]
        assert all(set(link["tags"]) <= set(other["tags"]) for other in boards)
        assert link["includeVars"] and link["keepTime"]


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_unique_and_no_data_source_is_a_site_s_own(name: str) -> None:
    assert set(Counter(panel["id"] for panel in every(name)).values()) == {1}
    assert [one for one in sources(BUILT[name]) if one != SOURCE] == []
    for panel in every(name):
        refs = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(refs)) == len(refs), panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_panels_fill_their_lines_and_do_not_overlap(name: str) -> None:
    """Grafana moves panels up into a hole: a line of several heights would not stay as it is."""
    top = BUILT[name]["panels"]
    inside = [(row["panels"], row["gridPos"]["y"] + 1) for row in top if row.get("panels")]
    for group, begin in ((top, 0), *inside):
        below = begin
        for y, line in groupby(group, key=lambda panel: panel["gridPos"]["y"]):
            places = [(panel["title"], panel["gridPos"]) for panel in line]
            assert y == below, places
            assert len({place["h"] for _, place in places}) == 1, places
            edges = [place["x"] for _, place in places]
            assert [*edges, COLUMNS] == [0, *(place["x"] + place["w"] for _, place in places)], places
            below += places[0][1]["h"]


@pytest.mark.parametrize("name", NAMES)
def test_a_row_has_its_panels_inside_while_it_is_closed_and_below_while_it_is_open(name: str) -> None:
    top = BUILT[name]["panels"]
    for row, after in zip(top, [*top[1:], None], strict=True):
        if row["type"] == "row":
            assert bool(row["panels"]) is row["collapsed"], row["title"]
            assert row["collapsed"] or (after and after["type"] != "row"), f"{row['title']} is empty"
            assert "row" not in {panel["type"] for panel in row["panels"]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "check",
    [
        promql_counter,
        lint_rules.promql_series,
        lint_rules.promql_impossible,
        lint_rules.promql_nan,
        lint_rules.promql_regexp,
    ],
    ids=lambda check: check.__name__,
)
def test_queries_name_what_is_declared_and_can_give_something(
    name: str, check: Callable[[Rule], Iterator[str]]
) -> None:
    assert {where: found for where, one in asked(name) if (found := list(check(one)))} == {}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_of_alerts_and_records_is_what_rules_make(name: str) -> None:
    for where, one in asked(name):
        for selector in selectors(one.expr):
            # Of an alert any severity, since a query for all of a cause's asks for those too that it has none of.
            made = [found.labels for found in recorded(selector)]
            if selector.name == "ALERTS":
                made = [
                    alert.labels | {"alertname": alert.name, "severity": severity}
                    for alert in alerts()
                    for severity in colours.SEVERITY
                ]
            matchers = selector.matchers.matchers
            if made:
                assert {matcher.name for matcher in matchers} <= labels(selector), f"{where}: {selector}"
                assert any(
                    all(fits(matcher, given[matcher.name]) for matcher in matchers if matcher.name in given)
                    for given in made
                ), f"{where}: no rule makes {selector}"


@pytest.mark.parametrize("name", NAMES)
def test_every_series_is_of_what_is_selected_and_each_variable_of_those_before_it(name: str) -> None:
    for where, one in asked(name):
        for selector in selectors(one.expr):
            assert {"job", "tracking_server"} <= chosen(selector), f"{where}: {selector}"
    before: set[str] = set()
    for variable in variables(BUILT[name], "query"):
        (series,) = selectors(
            parse(variable["query"]["query"].removeprefix("label_values(").rpartition(",")[0])
        )
        assert chosen(series) == before
        before.add(variable["name"])
    known = before | OWN | {variable["name"] for variable in variables(BUILT[name], "datasource")}
    for text in texts(BUILT[name]):
        assert set(VARIABLE.findall(text)) <= known, text


@pytest.mark.parametrize("name", NAMES)
def test_legends_are_of_labels_that_the_result_has(name: str) -> None:
    for panel in every(name):
        legends = [target["legendFormat"] for target in panel.get("targets", ())]
        if panel["type"] in ("timeseries", "state-timeline", "bargauge"):
            assert "__auto" not in legends, f"{panel['title']}: the legend is the query"
            assert len(set(legends)) == len(legends), f"{panel['title']}: two series of one name"
        for legend, tree in zip(legends, trees(panel), strict=True):
            assert set(LEGEND.findall(legend)) <= labels(tree), f"{panel['title']}: {legend}"


Drawn = tuple[str, frozenset[str], frozenset[str]]


def drawn(panel: Json) -> list[Drawn]:
    """Return each query's legend, the series it is made of, and the labels to which it gives values of its own."""
    found = []
    for target, tree in zip(panel["targets"], trees(panel), strict=True):
        calls = [node for node in walk(tree) if isinstance(node, promql.Call)]
        own = frozenset(call.args[1].val for call in calls if call.func.name.startswith("label_"))
        found.append((target["legendFormat"], made_of(tree), own))
    return found


def can_be(name: str, of: Drawn) -> bool:
    """Say whether a series can have that name, as far as the values of its labels are declared."""
    legend, made, own = of
    parts = LEGEND.split(legend)
    pattern = "".join("(.*)" if number % 2 else re.escape(part) for number, part in enumerate(parts))
    found = re.fullmatch(pattern, name)
    # A rule too can make values of its own.
    return found is not None and all(
        label in own
        or any(":" in one or (known := values(one, label)) is None or value in known for one in made)
        for label, value in zip(parts[1::2], found.groups(), strict=True)
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_has_a_colour_or_a_style_of_its_own_is_drawn(name: str) -> None:
    somewhere: dict[str, bool] = {}  # of panels that share their overrides, on one at least
    for panel in every(name):
        if panel["type"] == "timeseries":
            series = drawn(panel)
            for one in overridden(panel):
                somewhere[one] = somewhere.get(one, False) or any(can_be(one, of) for of in series)
            for pattern in overridden(panel, "byRegexp"):
                # What a label says is open.
                assert [
                    legend
                    for legend, *_ in series
                    if LEGEND.search(legend) or re.search(pattern.strip("/"), legend)
                ], pattern
    assert [one for one, found in somewhere.items() if not found] == []


@pytest.mark.parametrize("panel", of_kind("table"))
def test_a_table_s_columns_are_what_its_queries_give(panel: Json) -> None:
    several = len(panel["targets"]) > 1
    values_ = {f"Value #{target['refId']}" if several else "Value" for target in panel["targets"]}
    assert shown(panel) - values_.union(*map(labels, trees(panel))) == set()
    (organized,) = [one["options"] for one in panel["transformations"] if one["id"] == "organize"]
    titles = {organized["renameByName"].get(name, name) for name in shown(panel)}
    assert len(titles) == len(shown(panel)), "two columns of one title"
    assert overridden(panel) - titles == set()
    assert {one["displayName"] for one in panel["options"].get("sortBy", ())} - titles == set()
    # What is left out is not there for links either; a column can be hidden instead.
    linked = {name for text in texts(panel) for name in FIELD.findall(text)}
    assert linked - shown(panel) - titles == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_moment_is_in_milliseconds(name: str) -> None:
    """Prometheus has seconds, of which Grafana makes January 1970."""
    for panel in with_data(BUILT[name]):
        if any(str(unit).startswith("dateTime") for unit in properties(panel, "unit")):
            found = [one for one in panel["targets"] if re.search(r"\b1000 \*|\* 1000\b", one["expr"])]
            assert found, panel["title"]


def test_every_metric_is_on_a_panel_or_has_a_reason_not_to_be() -> None:
    found = {metric.name for name in NAMES for _, one in asked(name) for metric in read(one.text)}
    told = "add it to a panel in exporter/pack/dashboards/pages, or say in UNSHOWN why none shows it"
    assert sorted(metrics().keys() - found) == sorted(UNSHOWN), told


def test_every_pressure_of_an_alert_has_a_headline_and_no_headline_is_left_over() -> None:
    assert {one.alert for one in signals()} == {one.name for one in alerts() if one.evidence}
    assert {headlines.words(one) for one in signals()} == set(headlines.WORDS.values())
    assert len(set(headlines.WORDS.values())) == len(headlines.WORDS)


@pytest.mark.parametrize("one", signals(), ids=lambda one: one.matchers)
def test_the_headline_of_what_fires_is_not_rounded_to_nothing(one: Signal) -> None:
    said = headlines.words(one)
    assert not said.scale or one.threshold * said.scale >= said.step / 2


def pressures(of: Signal) -> list[promql.Expr]:
    """Return what the rules make a signal's pressure of."""
    (selector,) = selectors(parse(f"{PRESSURE}{{{of.matchers}}}"))
    return [one.expr for one in recorded(selector)]


def begins(of: Signal) -> set[float]:
    """Return where a line can be: the threshold in other units, and times a factor of the rule's own."""
    factors = {1.0, 100.0, 1000.0}.union(*(numbers(expr) for expr in pressures(of)))
    return {round(of.threshold * factor, 6) for factor in factors}


@pytest.mark.parametrize("panel", of_kind("timeseries"))
def test_a_line_is_the_threshold_of_an_alert_that_the_text_names_and_whose_evidence_is_drawn(
    panel: Json,
) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    steps = defaults["thresholds"]["steps"][1:]
    assert bool(steps) is (defaults["custom"]["thresholdsStyle"]["mode"] != "off")
    read_ = {one.name for tree in trees(panel) for one in selectors(tree)}
    made = frozenset[str]().union(*map(made_of, trees(panel)))
    for step in steps:
        if step["color"] not in colours.SEVERITY.values() or (step["value"] == 1 and read_ == {PRESSURE}):
            continue
        named = [
            one
            for one in signals()
            if re.search(rf"\b{one.alert}\b", panel["description"])
            and (one.severity == "critical" or step["color"] != colours.CRITICAL)
            and step["value"] in begins(one)
        ]
        assert named, f"no alert that the text names begins at {step['value']}"
        assert any(made & made_of(expr) for one in named for expr in pressures(one)), "of another alert"


@pytest.mark.parametrize("name", NAMES)
def test_a_panel_says_what_it_shows_and_what_is_normal_or_to_do(name: str) -> None:
    own = {one["title"]: one["description"].partition("\n\n- `")[0] for one in with_data(BUILT[name])}
    short = {title: text for title, text in own.items() if len(re.findall(r"[.?!](?=\s|$)", text)) < 2}
    assert short == {}, "say what it shows, and in a second sentence what is normal or what to do"


@pytest.mark.parametrize("name", NAMES)
def test_alerts_and_dashboards_that_a_text_names_are_there(name: str) -> None:
    found = " ".join(texts(BUILT[name]["panels"]))
    assert set(re.findall(r"\bMlflow[A-Z]\w+", found)) <= {one.name for one in alerts()}
    titles = tuple(board["title"] for board in BUILT.values())
    begun = {found[one.start() : one.end() + 20] for one in re.finditer("MLflow / ", found)}
    assert [one for one in begun if not one.startswith(titles)] == []


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_dashboards_and_to_runbooks_of_this_version(name: str) -> None:
    for text in texts(BUILT[name]):
        for uid in re.findall(r"/d/([^/?#\s\"')]+)", text):
            assert uid in {board["uid"] for board in BUILT.values()}, text
        for link in re.findall(re.escape(REPOSITORY) + r"[^\s\"')>]*", text):
            assert f"/v{__version__}/" in link
            page, _, place = link.removeprefix(f"{PAGES}/").removesuffix(".md").partition(".md#")
            for slug in SLUGS if page.startswith("$") else (page,):
                found = (RUNBOOKS / f"{slug}.md").read_text(encoding="utf-8")
                headings = re.findall(r"(?m)^#+ (.+)$", found)
                assert not place or place in {anchor(one, Counter()) for one in headings}, link


@pytest.mark.parametrize("one", alerts(), ids=lambda one: one.name)
def test_an_alert_s_link_opens_the_dashboard_that_has_a_row_of_its_cause(one: Rule) -> None:
    uid = one.annotations["dashboard_url"].removeprefix("/d/").partition("?")[0]
    (board,) = (board for board in BUILT.values() if board["uid"] == uid)
    title = next(cause.title for cause in CAUSES if cause.slug == one.slug)
    rows = [panel for panel in board["panels"] if panel["type"] == "row" and title in panel["title"]]
    assert len(rows) == 1 and rows[0]["title"].endswith(f"({one.slug})")
