"""Who is notified and what silences what, from `alertmanager.yml`: for a site's alerts, and for an operator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node

from exporter.pack import alerts as directory
from exporter.pack import clusters
from exporter.pack.matchers import parsed
from exporter.pack.rules import Edit, edited
from exporter.pack.site import Site

# `alertname="X"` and `alertname=~"X|Y"`, with names and no other expression.
ALERTS = re.compile(r'alertname=~?"(?P<names>Mlflow\w+(?:\|Mlflow\w+)*)"')


def alertmanager(site: Site) -> str:
    """Return `alertmanager.yml`.

    Its inhibition names no alert that the site has excluded, and lets none silence that nobody is told of.
    """
    text = (directory() / "alertmanager.yml").read_text(encoding="utf-8")
    root = yaml.compose(text, yaml.SafeLoader)
    assert isinstance(root, MappingNode)
    (rules,) = (value for key, value in root.value if key.value == "inhibit_rules")
    edits: list[Edit] = []
    for rule in rules.value:
        edits += _of_inhibition(text, rule, site)
    text = edited(text, edits)
    return clusters.routes(text, site.cluster_label) if site.cluster_label else text


def templates(site: Site) -> str:
    """Return what notifications say, as Alertmanager's templates."""
    text = (directory() / "templates/mlflow.tmpl").read_text(encoding="utf-8")
    return clusters.templates(text, site.cluster_label) if site.cluster_label else text


def _of_inhibition(text: str, rule: MappingNode, site: Site) -> list[Edit]:
    edits = []
    for key, matchers in rule.value:
        gone = {*site.exclude}
        if key.value == "source_matchers":
            gone |= {name for name, severity in site.severities.items() if severity == "info"}
        for node in matchers.value:
            found = ALERTS.fullmatch(node.value)
            if not found or not gone & {*found["names"].split("|")}:
                continue
            left = [name for name in found["names"].split("|") if name not in gone]
            if not left:
                return [_whole(text, rule)]
            said = f'alertname{"=~" if len(left) > 1 else "="}"{"|".join(left)}"'
            edits.append(Edit(node.start_mark.index, node.end_mark.index, said))
    return edits


def _whole(text: str, rule: Node) -> Edit:
    """Remove a rule from the comment above it to its last line, `equal`."""
    start = text.rfind("\n\n", 0, rule.start_mark.index) + 1
    first = text.rfind("inhibit_rules:\n", 0, rule.start_mark.index) + len("inhibit_rules:\n")
    end = text.index("\n", text.index("equal:", rule.start_mark.index)) + 1
    return Edit(max(start, first), end, "")


def operated(site: Site) -> dict[str, Any]:
    """Return the `spec` of an AlertmanagerConfig with the routes, the inhibition and receivers of the same names."""
    given = yaml.safe_load(alertmanager(site))
    (ours,) = (one for one in given["route"]["routes"] if "Mlflow" in one["matchers"][0])
    inhibition = [
        {
            "sourceMatch": _matchers(one["source_matchers"]),
            "targetMatch": _matchers(one["target_matchers"]),
            "equal": one["equal"],
        }
        for one in given["inhibit_rules"]
    ]
    route = _route(ours)
    receivers = {route["receiver"], *(one["receiver"] for one in route["routes"])}
    return {
        "route": route,
        "inhibitRules": inhibition,
        "receivers": [{"name": one["name"]} for one in given["receivers"] if one["name"] in receivers],
    }


def _route(route: dict[str, Any]) -> dict[str, Any]:
    words = {"group_by": "groupBy", "group_wait": "groupWait", "group_interval": "groupInterval"}
    words |= {"repeat_interval": "repeatInterval"}
    found: dict[str, Any] = {words.get(key, key): value for key, value in route.items()}
    found["matchers"] = _matchers(route["matchers"])
    if "routes" in route:
        found["routes"] = [_route(one) for one in route["routes"]]
    return found


def _matchers(texts: Sequence[str]) -> list[dict[str, str]]:
    return [{"name": one.name, "matchType": one.how, "value": one.value} for one in parsed(texts)]
