"""What Grafana's dashboard-linter checks, without it: it comes from the Go proxy alone, which not everybody may ask.

Each function is one of its rules, under its name without `-rule`, and gives what it has against a dashboard. As with
`--strict`, a warning is an error. Its two rules of Loki's queries have nothing to look at here. Where it checks some
kinds of panels only, all kinds that show data are checked, and where it looks at the last unit only, all of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import promql_parser as promql

from tests.contract.promql import COMPARISONS
from tests.contract.rules import parse, selectors, walk

Json = dict[str, Any]
Found = Iterator[str]

SOURCES = ("$datasource", "${datasource}")
WITHOUT_DATA = ("row", "text")
OF_COUNTERS = ("rate", "irate", "increase")

# Of the linter's list those that are of use here; Grafana's own list has each of them too.
UNITS = frozenset(
    (
        *(
            "none",
            "short",
            "string",
            "locale",
            "percent",
            "percentunit",
            "bool",
            "bool_yes_no",
            "bool_on_off",
        ),
        *(
            "ms",
            "s",
            "m",
            "h",
            "d",
            "dtdurations",
            "dthms",
            "dateTimeAsIso",
            "dateTimeAsLocal",
            "dateTimeFromNow",
        ),
        *("bytes", "decbytes", "Bps", "binBps", "bps"),
        *("ops", "reqps", "rps", "wps", "iops", "cps", "opm", "rpm", "cpm"),
    )
)

# Of Grafana's variables for a time, what stands for each in a query that is parsed: no query says such a one itself.
RATE_INTERVAL = "7m13s"
TIMES = {
    "__rate_interval": RATE_INTERVAL,
    "__interval": "1m7s",
    "__interval_ms": "67000",
    "__range": "6h7m",
    "__range_s": "22020",
    "__range_ms": "22020000",
}
# A variable in quotes is a matcher's value, and is compared as it is.
_VARIABLE = re.compile(r'"[^"]*"|\$\{?(?P<name>\w+)\}?')
_QUERY = re.compile(r"(?:label_values|label_names|metrics|query_result)\((.+?)(?:, *\w+)?\)")


def panels(dashboard: Json) -> Iterator[Json]:
    """Give all panels, rows and what is in them too."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


def with_data(dashboard: Json) -> Iterator[Json]:
    return (panel for panel in panels(dashboard) if panel["type"] not in WITHOUT_DATA)


def queries(dashboard: Json) -> Iterator[tuple[str, str]]:
    """Give each query after where it is."""
    for panel in panels(dashboard):
        for target in panel.get("targets", ()):
            yield f"{panel.get('title')} {target.get('refId')}", target.get("expr", "")


def expanded(expr: str) -> str:
    """Return PromQL that a parser takes; variables that Grafana does not have stay, and are no PromQL."""
    return _VARIABLE.sub(lambda found: TIMES.get(found["name"] or "", found[0]), expr)


def trees(dashboard: Json) -> Iterator[tuple[str, promql.Expr]]:
    """Give the syntax tree of each query that has one; target_promql says which have none."""
    for where, expr in queries(dashboard):
        try:
            yield where, parse(expanded(expr))
        except ValueError:
            continue


def variables(dashboard: Json, kind: str) -> list[Json]:
    return [one for one in dashboard["templating"]["list"] if one["type"] == kind]


def source_of(of: Json) -> str:
    """Return the address of a data source as a panel, a query or a variable has it."""
    found = of.get("datasource") or {}
    return str(found.get("uid", "") if isinstance(found, dict) else found)


def template_datasource(dashboard: Json) -> Found:
    found = variables(dashboard, "datasource")
    if not found:
        yield "no variable for the data source"
    for one in found:
        kind = one["query"].lower()
        names, labels = {f"{kind}_datasource"}, {f"{kind.capitalize()} data source"}
        if len(found) == 1:
            names, labels = names | {"datasource"}, labels | {"Data source"}
        if one["name"] not in names:
            yield f"the data source's variable is {one['name']}, not one of {sorted(names)}"
        if one.get("label") not in labels:
            yield f"the data source's label is {one.get('label')}, not one of {sorted(labels)}"


def template_job(dashboard: Json) -> Found:
    yield from _template(dashboard, "job")


def template_instance(dashboard: Json) -> Found:
    yield from _template(dashboard, "instance")


def _template(dashboard: Json, name: str) -> Found:
    found = [one for one in dashboard["templating"]["list"] if one["name"] == name]
    if not found:
        yield f"no variable {name}"
    for one in found:
        if one["type"] != "query":
            yield f"{name} is of type {one['type']}, not a query"
        if source_of(one) not in SOURCES:
            yield f"{name} asks {source_of(one) or 'no data source'}"
        if one.get("label") != name.capitalize():
            yield f"{name} has the label {one.get('label')}"
        if not one.get("multi"):
            yield f"{name} takes one value only"
        if one.get("allValue") != ".+":
            yield f"all of {name} is {one.get('allValue')!r}"


def template_label_promql(dashboard: Json) -> Found:
    for one in variables(dashboard, "query"):
        query = one["query"]["query"] if isinstance(one["query"], dict) else one["query"]
        found = _QUERY.fullmatch(query)
        if not found:
            yield f"{one['name']}: {query} is no query of a variable"
            continue
        try:
            parse(expanded(found[1]))
        except ValueError as error:
            yield f"{one['name']}: {found[1]}: {error}"


def template_on_time_change_reload(dashboard: Json) -> Found:
    for one in variables(dashboard, "query"):
        if one.get("refresh") != 2:
            yield f"{one['name']} is not asked anew when the time changes"


def panel_datasource(dashboard: Json) -> Found:
    names = {
        form
        for one in variables(dashboard, "datasource")
        for form in (f"${one['name']}", f"${{{one['name']}}}")
    }
    for panel in with_data(dashboard):
        if source_of(panel) not in names:
            yield f"{panel.get('title')} asks {source_of(panel) or 'no data source'}"


def panel_title_description(dashboard: Json) -> Found:
    for panel in with_data(dashboard):
        if not panel.get("title") or not panel.get("description"):
            yield f"panel {panel.get('id')} {panel.get('title')!r} has no title or no description"


def panel_units(dashboard: Json) -> Found:
    for panel in with_data(dashboard):
        config = panel.get("fieldConfig", {})
        properties = [one for override in config.get("overrides", ()) for one in override["properties"]]
        mapped = config.get("defaults", {}).get("mappings") or any(
            one["id"] == "mappings" for one in properties
        )
        labels = panel["type"] == "stat" and panel.get("options", {}).get("reduceOptions", {}).get("fields")
        units = [one["value"] for one in properties if one["id"] == "unit"]
        units += [unit] if (unit := config.get("defaults", {}).get("unit")) else []
        if not units and not (mapped or labels):
            yield f"{panel.get('title')} has no unit"
        for unit in sorted(set(units) - UNITS):
            yield f"{panel.get('title')}: {unit} is none of Grafana's units"


def panel_no_targets(dashboard: Json) -> Found:
    for panel in with_data(dashboard):
        if not panel.get("targets"):
            yield f"{panel.get('title')} asks nothing"


def target_promql(dashboard: Json) -> Found:
    for where, expr in queries(dashboard):
        try:
            parse(expanded(expr))
        except ValueError as error:
            yield f"{where}: {expr}: {error}"


def target_rate_interval(dashboard: Json) -> Found:
    wanted = promql.parse_duration(RATE_INTERVAL)
    for where, expr in trees(dashboard):
        for node in walk(expr):
            if isinstance(node, promql.Call) and node.func.name in ("rate", "irate"):
                for arg in node.args:
                    if isinstance(arg, promql.MatrixSelector) and arg.range != wanted:
                        yield f"{where}: {node} is not over $__rate_interval"


def target_job(dashboard: Json) -> Found:
    yield from _matched(dashboard, "job")


def target_instance(dashboard: Json) -> Found:
    yield from _matched(dashboard, "instance")


def _matched(dashboard: Json, label: str) -> Found:
    for where, expr in trees(dashboard):
        for selector in selectors(expr):
            if label == "instance" and has_no_instance(selector.name or ""):
                continue
            matchers = [
                one.op == promql.MatchOp.Re and one.value == f"${label}"
                for one in selector.matchers.matchers
                if one.name == label
            ]
            if matchers != [True]:
                yield f'{where}: {selector} is not of {label}=~"${label}"'


def has_no_instance(name: str) -> bool:
    """Say whether the series is exempt from target_instance, the one exemption that there is.

    Alerts and what rules record are of a tracking server: the rules aggregate over its replicas and over the
    exporters that watch it, and a matcher of `instance` would find nothing.
    """
    return name == "ALERTS" or ":" in name


def target_counter_agg(dashboard: Json) -> Found:
    """Find counters as they are; the linter looks at how a selector's text ends, and sees none that has matchers."""
    for where, expr in trees(dashboard):
        read = Counter(str(one) for one in selectors(expr) if (one.name or "").endswith("_total"))
        under = Counter(
            str(arg.vector_selector)
            for node in walk(expr)
            if isinstance(node, promql.Call) and node.func.name in OF_COUNTERS
            for arg in node.args
            if isinstance(arg, promql.MatrixSelector)
        )
        for selector in read - under - Counter(str(one) for one in compared_with_zero(expr)):
            yield f"{where}: {selector} only ever grows: take its rate"


def compared_with_zero(expr: promql.Expr) -> Iterator[promql.VectorSelector]:
    """Give the selectors of which is asked whether they are 0: of a counter, whether there ever was anything."""
    for node in walk(expr):
        if isinstance(node, promql.BinaryExpr) and str(node.op) in COMPARISONS:
            inner = node.lhs
            while isinstance(inner, promql.ParenExpr | promql.AggregateExpr):
                inner = inner.expr
            zero = isinstance(node.rhs, promql.NumberLiteral) and node.rhs.val == 0
            if zero and isinstance(inner, promql.VectorSelector):
                yield inner


def uneditable_dashboard(dashboard: Json) -> Found:
    if dashboard.get("editable") is not False:
        yield "can be edited, and the next version of the file undoes that"


def dashboard_title_uid(dashboard: Json) -> Found:
    """Check what mixtool asks of a dashboard before it asks the linter."""
    for key in ("title", "uid"):
        if not dashboard.get(key):
            yield f"has no {key}"


CHECKS: tuple[Callable[[Json], Found], ...] = (
    template_datasource,
    template_job,
    template_instance,
    template_label_promql,
    template_on_time_change_reload,
    panel_datasource,
    panel_title_description,
    panel_units,
    panel_no_targets,
    target_promql,
    target_rate_interval,
    target_job,
    target_instance,
    target_counter_agg,
    uneditable_dashboard,
    dashboard_title_uid,
)
