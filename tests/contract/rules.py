"""The alert pack as data, loaded once: rules with their syntax trees, promtool tests, runbooks, Alertmanager's file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml

from exporter.causes import CAUSES

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "alerts"
RULES, TESTS, RUNBOOKS = ALERTS / "rules", ALERTS / "tests", ALERTS / "runbooks"
SLUGS = tuple(cause.slug for cause in CAUSES)

PRESSURE = "mlflow:pressure:ratio"
RULE_KEYS = {"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"}


class StrictLoader(yaml.SafeLoader):
    """Refuses a mapping that has a key twice, of which YAML keeps the last in silence."""


def _mapping(loader: StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValueError(f"{node.start_mark}: {', '.join(twice)} twice")
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)


@dataclass(frozen=True, slots=True)
class Rule:
    """A recording or an alerting rule; `name` is the record's or the alert's."""

    slug: str
    name: str
    is_alert: bool
    text: str
    labels: dict[str, str]
    annotations: dict[str, str]
    wait: timedelta = timedelta()
    keep: timedelta = timedelta()
    raw: tuple[str, ...] = ()

    @property
    def expr(self) -> promql.Expr:
        return parse(self.text)

    @property
    def evidence(self) -> bool:
        return self.is_alert and self.labels.get("class") == "evidence"

    def __str__(self) -> str:
        return f"{self.name}{self.labels}" if not self.is_alert else self.name


@cache
def parse(text: str) -> promql.Expr:
    """Return the syntax tree; raises ValueError."""
    return promql.parse(text)


def load(file: Path) -> Any:
    """Return a YAML file's content; raises ValueError for a key that comes twice."""
    return yaml.load(file.read_text(encoding="utf-8"), Loader=StrictLoader)  # a SafeLoader


def rule(slug: str, raw: dict[str, Any]) -> Rule:
    return Rule(
        slug,
        raw.get("alert") or raw["record"],
        "alert" in raw,
        raw["expr"] if isinstance(raw["expr"], str) else str(raw["expr"]),
        raw.get("labels", {}),
        raw.get("annotations", {}),
        duration(raw.get("for", "0s")),
        duration(raw.get("keep_firing_for", "0s")),
        tuple(raw),
    )


def duration(text: str) -> timedelta:
    return timedelta() if text in ("0", "0s", "0m", "0h") else promql.parse_duration(text)


@cache
def groups() -> dict[str, list[dict[str, Any]]]:
    """Return each rule file's groups as they are, by slug."""
    return {file.stem: load(file)["groups"] for file in sorted(RULES.glob("*.yml"))}


@cache
def all_rules() -> tuple[Rule, ...]:
    return tuple(
        rule(slug, raw) for slug, found in groups().items() for group in found for raw in group["rules"]
    )


def alerts() -> tuple[Rule, ...]:
    return tuple(one for one in all_rules() if one.is_alert)


def records() -> tuple[Rule, ...]:
    return tuple(one for one in all_rules() if not one.is_alert)


def recorded(selector: promql.VectorSelector) -> tuple[Rule, ...]:
    """Return the pack's recording rules that make what the selector reads."""
    return tuple(
        record
        for record in records()
        if record.name == selector.name
        and all(
            record.labels.get(one.name, one.value) == one.value
            for one in selector.matchers.matchers
            if one.op == promql.MatchOp.Equal
        )
    )


def fits(matcher: promql.Matcher, value: str) -> bool:
    if matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe):
        return bool(re.fullmatch(matcher.value, value)) is (matcher.op == promql.MatchOp.Re)
    return (matcher.value == value) is (matcher.op == promql.MatchOp.Equal)


def walk(expr: promql.Expr) -> Iterator[promql.Expr]:
    """Give the node and all below it, parents first."""
    found: list[promql.Expr] = []
    promql.walk(expr, pre_visit=found.append)
    yield from found


def selectors(expr: promql.Expr) -> Iterator[promql.VectorSelector]:
    return (node for node in walk(expr) if isinstance(node, promql.VectorSelector))


def numbers(expr: promql.Expr) -> list[float]:
    return [node.val for node in walk(expr) if isinstance(node, promql.NumberLiteral)]
