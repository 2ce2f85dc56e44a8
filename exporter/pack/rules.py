"""The rules of a site: other thresholds and severities, more labels, fewer alerts, in the text as it was written.

Only what a site changes is another text than the shipped one, so that comments stay and a comparison of the two
shows what was decided. Where a threshold stands is found on the expression's syntax tree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from exporter.pack import clusters
from exporter.pack.dashboards.limits import Signal
from exporter.pack.directory import PackError
from exporter.pack.shipped import alerts, rules
from exporter.pack.site import Site, named

SHIPPED_JOB = 'job="mlflow"'
# In MlflowMonitoringBlind's text, a collector a line: `{{- else if eq "wal" $labels.collector }} MlflowX MlflowY`.
BLINDED = re.compile(r'(?P<of>\{\{- else if eq "[^"]+" \$labels\.collector }})(?P<alerts>(?: Mlflow\w+)+)')


class Edit(NamedTuple):
    """Put `text` in the place of what is from `start` to `end`."""

    start: int
    end: int
    text: str


def of(site: Site) -> dict[str, str]:
    """Return each file of rules, by its name."""
    changed = {signal: site.thresholds[name] for name, signal in _named() if name in site.thresholds}
    return {name: _file(text, site, changed) for name, text in rules().items()}


def number(value: float) -> str:
    return f"{value:.12g}"


def _named() -> Iterator[tuple[str, Signal]]:
    return (pair for alert in alerts().values() for pair in named(alert))


def _file(text: str, site: Site, changed: Mapping[Signal, float]) -> str:
    root = yaml.compose(text, yaml.SafeLoader)
    found = [_keys(rule) for group in _keys(root)["groups"].value for rule in _keys(group)["rules"].value]
    edits: list[Edit] = []
    for place, rule in enumerate(found):
        if "alert" in rule and rule["alert"].value in site.exclude:
            after = found[place + 1] if place + 1 < len(found) else None
            edits.append(_without(text, rule, after))
        else:
            edits += _of_thresholds(text, rule, changed)
            edits += _of_labels(rule, site) if "alert" in rule else ()
    text = edited(text, edits).replace(SHIPPED_JOB, f'job="{site.job}"')
    text = clusters.rules(text, site.cluster_label) if site.cluster_label else text
    return BLINDED.sub(lambda line: line["of"] + _left(line["alerts"], site), text) if site.exclude else text


def edited(text: str, edits: list[Edit]) -> str:
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _keys(node: Node | None) -> dict[str, Node]:
    assert isinstance(node, MappingNode)
    return {key.value: value for key, value in node.value}


def _left(alerts: str, site: Site) -> str:
    left = [name for name in alerts.split() if name not in site.exclude]
    return f" {' '.join(left)}" if left else " no alert that is loaded here"


def _line(text: str, node: Node) -> int:
    """Return where the line begins in which the node does."""
    return text.rfind("\n", 0, node.start_mark.index) + 1


def _without(text: str, rule: Mapping[str, Node], after: Mapping[str, Node] | None) -> Edit:
    """Remove a rule with the comment above it, and leave the comment above the next one."""
    start, end = _line(text, rule["alert"]), len(text)
    if after:
        end = _line(text, next(iter(after.values())))
        end = _above(text, end)
    return Edit(_above(text, start), end, "" if after else "\n")


def _above(text: str, start: int) -> int:
    """Return where the comments and empty lines begin that are right above."""
    while (line := text.rfind("\n", 0, start - 1) + 1) < start and re.match(r"\s*(#.*)?\n", text[line:start]):
        start = line
    return start


def _of_labels(rule: Mapping[str, Node], site: Site) -> Iterator[Edit]:
    labels = rule["labels"]
    assert isinstance(labels, MappingNode)
    severity = _keys(labels)["severity"]
    if wanted := site.severities.get(rule["alert"].value):
        yield Edit(severity.start_mark.index, severity.end_mark.index, wanted)
    first = labels.value[0][0].start_mark
    more = "".join(
        f"{name}: {json.dumps(value)}\n{' ' * first.column}" for name, value in site.labels.items()
    )
    if more:
        yield Edit(first.index, first.index, more)


def _of_text(
    text: str, description: Node, changed: Mapping[Signal, float], signals: list[Signal]
) -> Iterator[Edit]:
    """Change the number in the two ways in which a text says its threshold; a test knows that there is no third."""
    for signal in signals:
        for said, scale in (
            (r"(?<![\w.])({})(?= %\s+allowed)", 100),
            (r"\(more\s+than\s+({})(?=\s+is\s)", 1),
        ):
            pattern = re.compile(said.format(re.escape(number(signal.threshold * scale))))
            for found in pattern.finditer(text, description.start_mark.index, description.end_mark.index):
                yield Edit(*found.span(1), number(changed[signal] * scale))


def _of_thresholds(text: str, rule: Mapping[str, Node], changed: Mapping[Signal, float]) -> Iterator[Edit]:
    if not changed:
        return
    try:
        from exporter.pack import thresholds  # noqa: PLC0415 - only this needs the extra
    except ModuleNotFoundError as error:
        raise PackError(f"thresholds are rewritten with {error.name}: pip install promql-parser") from None

    expr = rule["expr"]
    assert isinstance(expr, ScalarNode)
    if "alert" in rule:
        of_it = [one for one in changed if one.alert == rule["alert"].value]
        found = thresholds.factors(expr.value, of_it)
    else:
        labels = {key: node.value for key, node in _keys(rule["labels"]).items()} if "labels" in rule else {}
        of_it = [one for one in changed if one.measures(labels)]
        found = thresholds.divisors(expr.value, of_it, [one for one in changed if one not in of_it])
    if not found:
        return
    places = thresholds.places(text[expr.start_mark.index : expr.end_mark.index])
    for index, signal in found.items():
        start, end = (expr.start_mark.index + offset for offset in places[index])
        yield Edit(start, end, number(changed[signal]))
    start = _line(text, next(iter(rule.values())))
    indent = re.sub(r"\S.*", "", text[start:], flags=re.DOTALL)
    if "alert" in rule:
        yield from _of_text(text, _keys(rule["annotations"])["description"], changed, of_it)
    for signal in dict.fromkeys((*of_it, *found.values())):
        here, before = number(changed[signal]), number(signal.threshold)
        of = "Here" if signal in of_it else f"Of {signal.alert} here"
        yield Edit(
            start, start, f"{indent}# {of} {here}; {before} is shipped, and what is said above is of that.\n"
        )
