"""Which alert explains another: what the inhibition rules for Alertmanager silence, told here with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

import yaml

from exporter.pack import alerts
from exporter.pack.matchers import Matcher, parsed


class Inhibition(NamedTuple):
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]


def explained(labels: Mapping[str, str], firing: Iterable[Mapping[str, str]]) -> str:
    """Return the name of the firing alert that explains the one with these labels, empty where none does."""
    rules = [one for one in inhibitions() if matches(one.target, labels)]
    for source in firing:
        if any(matches(one.source, source) for one in rules):
            return source["alertname"]
    return ""


@cache
def inhibitions() -> tuple[Inhibition, ...]:
    """Return those that we ship; all of them are within one tracking server."""
    text = (alerts() / "alertmanager.yml").read_text(encoding="utf-8")
    return tuple(
        Inhibition(parsed(rule["source_matchers"]), parsed(rule["target_matchers"]))
        for rule in yaml.safe_load(text)["inhibit_rules"]
    )


def matches(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Say whether labels fit, as Alertmanager does: an absent one is empty, a regular expression is for the whole."""
    return all(
        (
            re.fullmatch(value, labels.get(name, "")) is not None
            if "~" in how
            else labels.get(name, "") == value
        )
        is not how.startswith("!")
        for name, how, value in matchers
    )
