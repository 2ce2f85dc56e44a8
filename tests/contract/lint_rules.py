"""What pint and mixtool check of rules, without them: they come from the Go proxy alone, which not everybody may ask.

Each function is one of their checks, under its name, and gives what it has against a rule. Those that pint makes
against a live Prometheus and that the declarations can answer are here too: which series there are, with which
labels, and which of them are counters. `tests/integration/test_runbooks.py` asks the live one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import promql_parser as promql

from tests.contract.declared import series, values
from tests.contract.promql import COMPARISONS, impossible, is_scalar, labels
from tests.contract.rules import RULE_KEYS, Rule, parse, recorded, selectors, walk

SCRAPE = timedelta(seconds=15)
ANNOTATIONS = {
    "summary": r"[A-Z][^{}]*\.",
    "description": r".*\{\{.*",
    "diagnosis": r".+",
    "fix": r"(Now.*)?[Ff]or good\b.+",
    "runbook_url": r"https://\S+/v\d+\.\d+\.\d+/alerts/runbooks/[a-z-]+\.md#[a-z]+",
    "dashboard_url": r"/d/mlflow-causes\?\S.*#[a-z-]+",
}
LABELS = {"severity": r"critical|warning|info", "cause": r"[a-z-]+", "class": r"evidence|finding"}
OF_COUNTERS = ("rate", "irate", "increase", "resets")
SITE_LABELS = ("job", "instance", "tracking_server", "cluster", "env", "environment", "region", "replica")

# In templates: an action, a label, a text that `query` is given, perhaps through printf.
ACTION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
LABEL = re.compile(r"\$labels\.(\w+)")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|`([^`]*)`')

Found = Iterator[str]


def yaml_parse(rule: Rule) -> Found:
    for key in set(rule.raw) - RULE_KEYS:
        yield f"unknown field {key}"
    for name, value in (*rule.labels.items(), *rule.annotations.items()):
        if not isinstance(value, str):
            yield f"{name} is {value!r}, not a string"


def promql_syntax(rule: Rule) -> Found:
    try:
        parse(rule.text)
    except ValueError as error:
        yield str(error)


def alerts_comparison(rule: Rule) -> Found:
    conditions = [node for node in walk(rule.expr) if _is_condition(node)]
    if rule.is_alert and not conditions:
        yield "is always true: nothing is compared"


def alerts_for(rule: Rule) -> Found:
    for key, value in (("for", rule.wait), ("keep_firing_for", rule.keep)):
        if key in rule.raw and not value:
            yield f"{key} is 0, which is the default"


def alerts_absent(rule: Rule) -> Found:
    absent = any(isinstance(node, promql.Call) and node.func.name == "absent" for node in walk(rule.expr))
    if rule.is_alert and absent and rule.wait < 2 * SCRAPE:
        yield "absent() and a `for` of less than two scrapes"


def alerts_template(rule: Rule) -> Found:
    for name, value in rule.labels.items():
        if "$value" in value or "query" in value:
            yield f"label {name} changes with the value, and the alert with it"
    available = labels(rule.expr) | frozenset(rule.labels)
    for name, text in rule.annotations.items():
        for label in sorted(set(LABEL.findall(text)) - available):
            yield f"{name}: the result has no label {label}"
        for action in ACTION.findall(text):
            if "$value" in action and not re.search(r"humanize|printf", action):
                yield f"{name}: {action} shows all digits"
            if re.search(r"\bquery\b", action):
                yield from (f"{name}: {found}" for found in _template_query(action))


def _template_query(action: str) -> Found:
    for plain, raw in QUOTED.findall(action):
        text = (plain.encode().decode("unicode_escape") if plain else raw).replace("%q", '"x"')
        if not re.search(r"mlflow|\bup\b|ALERTS", text):
            continue
        try:
            expr = parse(text.replace("%s", "x").replace("%v", "x"))
        except ValueError as error:
            yield f"the query {text} is none: {error}"
        else:
            yield from (f"query of {one.name}, which is not declared" for one in _undeclared(expr))


def promql_fragile(rule: Rule) -> Found:
    if not rule.is_alert:
        return
    for node in walk(rule.expr):
        if isinstance(node, promql.AggregateExpr) and str(node.op) in ("topk", "bottomk", "limitk"):
            yield f"{node.op} takes others from one moment to the next"
        if isinstance(node, promql.BinaryExpr) and not rule.wait and str(node.op) in "+-*/%":
            sides = (_bare(node.lhs), _bare(node.rhs))
            if all(isinstance(side, promql.AggregateExpr) for side in sides):
                yield "two sums of several targets are not of one moment, and no `for` waits"


def promql_impossible(rule: Rule) -> Found:
    yield from impossible(rule.expr)


def promql_nan(rule: Rule) -> Found:
    for node in walk(rule.expr):
        if isinstance(node, promql.AggregateExpr) and str(node.op) in ("sum", "avg", "stddev", "stdvar"):
            for inner in walk(node.expr):
                if (
                    isinstance(inner, promql.BinaryExpr)
                    and str(inner.op) in "/%"
                    and not _positive(inner.rhs)
                ):
                    yield f"{node.op} of a division by what may be 0: {inner.rhs}"


def promql_regexp(rule: Rule) -> Found:
    for selector in selectors(rule.expr):
        for one in selector.matchers.matchers:
            if one.op in (promql.MatchOp.Re, promql.MatchOp.NotRe):
                if not re.search(r"[.*+?|()\[\]{}\\^$]", one.value):
                    yield f"{one} is no pattern: compare"
                if one.value.startswith("^") or re.search(r"(?<!\\)\$$", one.value):
                    yield f"{one}: patterns are anchored anyway"


def promql_series(rule: Rule) -> Found:
    for selector in _undeclared(rule.expr):
        yield f"nobody declares {selector.name}"
    for selector in selectors(rule.expr):
        if (selector.name or "") not in series():
            continue
        for one in selector.matchers.matchers:
            if one.name not in labels(selector):
                yield f"{selector.name} has no label {one.name}"
            known = values(selector.name or "", one.name)
            for value in _alternatives(one):
                if known is not None and not any(re.fullmatch(value, word) for word in known):
                    yield f"{one.name} of {selector.name} is never {value}"


def promql_counter(rule: Rule) -> Found:
    """Find counters read as they are, and rates of what is none; pint's promql/rate too."""
    under: dict[str, set[str]] = {}
    for node in walk(rule.expr):
        if isinstance(node, promql.Call) and node.func.name in OF_COUNTERS:
            for arg in node.args:
                for selector in selectors(arg):
                    under.setdefault(str(selector), set()).add(node.func.name)
                if isinstance(arg, promql.MatrixSelector) and arg.range < 4 * SCRAPE:
                    yield f"{node.func.name} over {arg.range}: one lost scrape and there is nothing"
                if isinstance(arg, promql.SubqueryExpr):
                    yield f"{node.func.name} of a subquery: a sum's reset is none of its counters'"
    for selector in selectors(rule.expr):
        found = series().get(selector.name or "")
        if found is None:
            continue
        if (found.kind == "counter") is not (str(selector) in under) and not _counted(rule, selector):
            yield f"{selector.name} is a {found.kind}"


def _counted(rule: Rule, selector: promql.VectorSelector) -> bool:
    """Say whether only the presence of the series counts, which is no reading of a counter.

    The tree is made anew for each walk of it, so its nodes are told apart by how often they are read: as often as
    their presence is asked for.
    """
    asked = [str(one) for part in _of_presence(rule) for one in selectors(part)]
    read = [str(one) for one in selectors(rule.expr)]
    return asked.count(str(selector)) >= read.count(str(selector))


def _of_presence(rule: Rule) -> Iterator[promql.Expr]:
    for node in walk(rule.expr):
        asked = node
        if isinstance(node, promql.AggregateExpr) and str(node.op) in ("count", "group"):
            asked = _bare(node.expr)
        if isinstance(node, promql.BinaryExpr) and str(node.op) in ("and", "unless"):
            asked = _bare(node.rhs)
        # Not where a value is compared before that.
        last = isinstance(asked, promql.Call) and asked.func.name == "last_over_time"
        if asked is not node and (last or isinstance(asked, promql.VectorSelector)):
            yield asked
        if isinstance(node, promql.Call) and node.func.name == "present_over_time":
            yield node


def window(rule: Rule) -> Found:
    """Find evidence that is read as of this moment: one failed scrape and the alert begins to wait anew. Our own."""
    if rule.is_alert and rule.labels.get("class") != "evidence":
        return
    ranged = {
        str(node.vector_selector) for node in walk(rule.expr) if isinstance(node, promql.MatrixSelector)
    }
    for selector in selectors(rule.expr):
        if selector.name in series() and str(selector) not in ranged:
            yield f"{selector} is gone while a scrape fails: take it over a window"


def promql_aggregate(rule: Rule) -> Found:
    absent = any(isinstance(node, promql.Call) and node.func.name == "absent" for node in walk(rule.expr))
    for label in {"job", "tracking_server"} - labels(rule.expr):
        if not absent or label == "job":
            yield f"loses {label}, by which servers are told apart"


def labels_conflict(rule: Rule) -> Found:
    for label in sorted(set(rule.labels) & set(SITE_LABELS)):
        yield f"sets {label}, which is the site's to set"


def alerts_annotation(rule: Rule) -> Found:
    if rule.is_alert:
        yield from _match(ANNOTATIONS, rule.annotations)
        if strange := set(rule.annotations) - set(ANNOTATIONS):
            yield f"annotations {sorted(strange)}"


def rule_label(rule: Rule) -> Found:
    if rule.is_alert:
        yield from _match(LABELS, rule.labels)


def rule_name(rule: Rule) -> Found:
    """Check names as mixtool does: alert-name-camelcase, alert-name-length."""
    if not rule.is_alert and not re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", rule.name):
        yield "is no level:metric:operations"
    if rule.is_alert and not (re.fullmatch(r"Mlflow([A-Z]+[a-z0-9]+)+", rule.name) and len(rule.name) <= 40):
        yield "is not Mlflow and capitalised words of at most 40 characters"


CHECKS: tuple[Callable[[Rule], Found], ...] = (
    yaml_parse,
    promql_syntax,
    alerts_comparison,
    alerts_for,
    alerts_absent,
    alerts_template,
    alerts_annotation,
    promql_fragile,
    promql_impossible,
    promql_nan,
    promql_regexp,
    promql_series,
    promql_counter,
    window,
    promql_aggregate,
    labels_conflict,
    rule_label,
    rule_name,
)


def group_faults(name: str, rules: tuple[Rule, ...]) -> Found:
    """Check a group: pint's rule/duplicate and rule/dependency, mixtool's alert-group-rule-count and -name-length."""
    if len(rules) > 20:
        yield f"{len(rules)} rules, more than 20"
    if len(name) > 40:
        yield "a name of more than 40 characters"
    seen: set[tuple[str, str]] = set()
    made: set[tuple[str, str]] = set()
    for rule in rules:
        key = (rule.name, str(sorted(rule.labels.items())))
        if key in seen:
            yield f"{rule} twice"
        seen.add(key)
        for selector in selectors(rule.expr):
            for record in recorded(selector):
                if (record.name, str(sorted(record.labels.items()))) not in made:
                    yield f"{rule} reads {record}, which no earlier rule of its group makes"
        if not rule.is_alert:
            made.add(key)


def _match(wanted: dict[str, str], given: dict[str, str]) -> Found:
    for name, pattern in wanted.items():
        if name not in given:
            yield f"has no {name}"
        elif not re.fullmatch(pattern, " ".join(given[name].split())):
            yield f"{name} is {given[name]!r}"


def _is_condition(node: promql.Expr) -> bool:
    if isinstance(node, promql.Call):
        return node.func.name in ("absent", "absent_over_time")
    if not isinstance(node, promql.BinaryExpr) or str(node.op) not in (*COMPARISONS, "unless"):
        return False
    return not (node.modifier and node.modifier.return_bool)


def _undeclared(expr: promql.Expr) -> Iterator[promql.VectorSelector]:
    for selector in selectors(expr):
        if selector.name not in series() and not recorded(selector):
            yield selector


def _alternatives(one: promql.Matcher) -> list[str]:
    if one.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual):
        return [re.escape(one.value)]
    return one.value.split("|") if not re.search(r"[()\[]", one.value) else [one.value]


def _bare(expr: promql.Expr) -> promql.Expr:
    return _bare(expr.expr) if isinstance(expr, promql.ParenExpr) else expr


def _positive(expr: promql.Expr) -> bool:
    expr = _bare(expr)
    if isinstance(expr, promql.BinaryExpr):
        return str(expr.op) == ">" and is_scalar(expr.rhs)
    if isinstance(expr, promql.Call):
        return expr.func.name == "clamp_min"
    return isinstance(expr, promql.NumberLiteral) and expr.val != 0
