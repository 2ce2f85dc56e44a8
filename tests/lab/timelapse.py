"""The shipped rules and configurations with every duration divided, and no other number touched.

So an hour of a site passes in some minutes: ranges, `for`, intervals shrink together, and each window still has
as many samples as at real scale.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.lab.tools import ROOT

ALERTS = ROOT / "alerts"
UNITS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}

_DURATION = r"(?:[0-9]+(?:ms|[smhdwy]))+"
# What a duration could be mistaken in comes first. A number that goes on with letters is a duration, since
# PromQL has no other such token but 0x1f and 1e5.
_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`|\#[^\n]*)"""
    r"|(?P<name>[A-Za-z_][\w:]*|0[xX][0-9a-fA-F]+)"
    rf"|(?P<duration>{_DURATION}(?!\w))"
    r"|(?P<other>[0-9][\w.]*|.)",
    re.DOTALL,
)
_ACTION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_RANGE = re.compile(rf"(?<=\[)({_DURATION})(:(?:{_DURATION})?)?(?=\])|(?<=offset )({_DURATION})")

TIMED = frozenset(
    {
        *("for", "keep_firing_for", "interval", "query_offset"),
        *("group_wait", "group_interval", "repeat_interval", "resolve_timeout"),
        *("scrape_interval", "scrape_timeout", "evaluation_interval"),
    }
)


def duration(text: str, factor: float) -> str:
    """Return a duration of PromQL and of both configurations, such as 1h30m, divided; at least a millisecond."""
    parts = re.findall(r"([0-9]+)(ms|[smhdwy])", text)
    assert parts and re.fullmatch(_DURATION, text), f"{text!r} is no duration"
    whole = sum(int(number) * UNITS[unit] for number, unit in parts)
    return f"{max(round(whole / factor), 1) if whole else 0}ms"


def expression(promql: str, factor: float) -> str:
    """Return the expression with its ranges, subqueries and offsets divided."""

    def shrunk(token: re.Match[str]) -> str:
        return duration(token[0], factor) if token.lastgroup == "duration" else token[0]

    return _TOKEN.sub(shrunk, promql)


def annotation(text: str, factor: float) -> str:
    """Return the template with the ranges of the queries in its actions divided; prose stays."""

    def shrunk(action: re.Match[str]) -> str:
        return _RANGE.sub(
            lambda found: re.sub(_DURATION, lambda one: duration(one[0], factor), found[0]), action[0]
        )

    return _ACTION.sub(shrunk, text)


def shrink(node: Any, factor: float) -> Any:
    """Return a rule file's or a configuration's tree with its durations divided."""
    if isinstance(node, list):
        return [shrink(one, factor) for one in node]
    if not isinstance(node, dict):
        return node
    made: dict[str, Any] = {}
    for key, value in node.items():
        if key in TIMED:
            made[key] = duration(str(value), factor)
        elif key == "expr":
            made[key] = expression(str(value), factor)
        elif key == "annotations":
            made[key] = {name: annotation(text, factor) for name, text in value.items()}
        else:
            made[key] = shrink(value, factor)
    return made


def rules(target: Path, factor: float) -> None:
    """Write all shipped rules, divided, into that directory."""
    target.mkdir(exist_ok=True)
    for file in (ALERTS / "rules").glob("*.yml"):
        tree = shrink(yaml.safe_load(file.read_text()), factor)
        (target / file.name).write_text(yaml.safe_dump(tree, allow_unicode=True, width=10_000))


def alertmanager(webhook: str, factor: float) -> dict[str, Any]:
    """Return the shipped configuration, divided, each of its receivers that gets anything being the webhook."""
    config: dict[str, Any] = shrink(yaml.safe_load((ALERTS / "alertmanager.yml").read_text()), factor)
    people = [{"url": webhook, "send_resolved": True}]
    config["receivers"] = [
        {"name": one["name"]} | ({"webhook_configs": people} if one["name"] not in NOBODY else {})
        for one in config["receivers"]
    ]
    return config


# Receivers by which nobody is told: findings, and the Watchdog, which a service elsewhere waits for.
NOBODY = frozenset({"nobody", "watchdog"})


def prometheus(
    targets: Mapping[str, Sequence[str]], alertmanager: str, rules: Path, factor: float
) -> dict[str, Any]:
    """Return the shipped configuration, divided, with these targets by job; jobs without targets are left out."""
    config: dict[str, Any] = shrink(yaml.safe_load((ALERTS / "prometheus.yml").read_text()), factor)
    config["rule_files"] = [f"{rules}/*.yml"]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    # A tenth of 10 s would leave the exporter half a second: less than it is ever given.
    config["global"]["scrape_timeout"] = config["global"]["scrape_interval"]
    jobs = [job for job in config["scrape_configs"] if targets.get(job["job_name"])]
    for job in jobs:
        job["static_configs"][0]["targets"] = list(targets[job["job_name"]])
    config["scrape_configs"] = jobs
    return config


def options(factor: float) -> list[str]:
    """Return what of Prometheus is a duration and no part of its configuration, divided, as its flags."""
    defaults = {
        "query.lookback-delta": "5m",
        "rules.alert.resend-delay": "1m",
        "rules.alert.for-grace-period": "10m",
    }
    return [f"--{name}={duration(default, factor)}" for name, default in defaults.items()]
