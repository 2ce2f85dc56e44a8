"""The alerts as they are shipped: what a site's options may name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import yaml

from exporter.causes import CAUSES
from exporter.pack import alerts as directory
from exporter.pack.dashboards import limits


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert of the rules.

    `thresholds` are its signals by what tells them apart in options: the measure, else the signal's name. A finding
    has none. `ratio` says that its figure is a part of a whole.
    """

    name: str
    thresholds: Mapping[str, limits.Signal]
    ratio: bool


@cache
def alerts() -> Mapping[str, Alert]:
    """Return all alerts by name, in the causes' order."""
    return {
        rule["alert"]: Alert(
            rule["alert"],
            {of(one): one for one in limits.signals() if one.alert == rule["alert"]},
            bool(re.search(r"\$value\s*\|\s*humanizePercentage", rule["annotations"]["description"])),
        )
        for cause in CAUSES
        for group in yaml.safe_load(rules()[f"{cause.slug}.yml"])["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }


def of(signal: limits.Signal) -> str:
    measure = re.search(r'measure="([^"]*)"', signal.matchers)
    return measure[1] if measure else signal.name


@cache
def rules() -> Mapping[str, str]:
    """Return the rules' files as they are shipped, by name."""
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(directory().glob("rules/*.yml"))}
