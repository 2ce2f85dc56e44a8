"""The alerts as `diagnose` needs them: what they compare, and what they say; as loaded, else as we ship them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from exporter.causes import CAUSES
from exporter.pack import alerts
from exporter.pack.dashboards.limits import Signal, compared

# `{{ if eq $labels.setting "wal_buffers" }}this{{ else }}that{{ end }}`: no fix and no diagnosis has more.
EITHER = re.compile(
    r'\{\{-? if eq \$labels\.(\w+) "([^"]*)" -?\}\}(.*?)\{\{-? else -?\}\}(.*?)\{\{-? end -?\}\}', re.S
)
# A line of the description of MlflowMonitoringBlind: a collector, or a pattern of sources, and what it blinds.
BLINDS = re.compile(r'if (eq|match) "([^"]+)" \$labels\.collector -?\}\} ?([^\n{]+)')


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert; `labels` are the names of those that it gives itself, of which a site may have more than we ship."""

    name: str
    cause: str
    signals: tuple[Signal, ...]
    labels: frozenset[str]
    annotations: Mapping[str, str]


def loaded(rules: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Return those of ours among the alerts that Prometheus' API lists, in the causes' order.

    Their thresholds and links are the site's own.
    """
    slugs = [cause.slug for cause in CAUSES]
    ours = {
        str(rule["name"]): _rule(str(rule["name"]), rule["query"], rule)
        for rule in rules
        if "name" in rule and rule.get("labels", {}).get("cause") in slugs
    }
    return tuple(sorted(ours.values(), key=lambda rule: slugs.index(rule.cause)))


@cache
def shipped() -> tuple[Rule, ...]:
    """Return the alerts of this version."""
    return tuple(_shipped())


def _shipped() -> Iterator[Rule]:
    for cause in CAUSES:
        text = (alerts() / "rules" / f"{cause.slug}.yml").read_text(encoding="utf-8")
        for group in yaml.safe_load(text)["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    yield _rule(rule["alert"], rule["expr"], rule)


def _rule(name: str, expr: str, rule: Mapping[str, Any]) -> Rule:
    labels = rule.get("labels", {})
    signals = tuple(compared(expr, name, labels.get("severity", "")))
    return Rule(name, labels["cause"], signals, frozenset(labels), rule.get("annotations") or {})


def resolved(text: str, labels: Mapping[str, str]) -> str:
    """Return an annotation as one line, with what its template chooses for these labels."""
    chosen = EITHER.sub(lambda found: found[3] if labels.get(found[1]) == found[2] else found[4], text)
    return " ".join(chosen.split())


def silenced(description: str, part: str) -> str:
    """Return what the description says is silent while a part cannot be read."""
    for how, what, text in BLINDS.findall(description):
        if what == part if how == "eq" else re.search(what, part):
            return str(text).strip()
    return ""
