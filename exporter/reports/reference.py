"""METRICS.md: every metric and every setting, from their declarations."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from exporter import collectors, lane, scrape, service
from exporter.metric import AREAS, Metric
from exporter.samplers import load, loop, probes
from exporter.settings import Leaf, leaves, schema

TITLES = {
    "server": "The tracking server's processes",
    "host": "The host",
    "db": "The database",
    "store": "MLflow's tables",
    "probe": "Probes",
    "exporter": "The exporter itself",
}

PREFACE = """# Metrics and settings

Made by `mlflow-exporter reference` from the declarations in the code; do not edit. Beside these the exporter gives
`process_*` about its own process. Counters of processes, statements and probes start at 0 with the exporter, those of
Postgres' own views go on from where Postgres stands.
"""


def declared() -> Iterator[tuple[str, Sequence[Metric]]]:
    """Give every metric there is, by the part that makes it."""
    for name, collector in collectors.BY_NAME.items():
        yield name, collector.metrics
    yield "source", (collectors.DATABASE_UP, *lane.METRICS)
    yield "probe", probes.Probe.metrics
    yield load.NAME, load.LoadSampler.metrics
    yield "sampler", (loop.TICKS, loop.MISSED, loop.ERRORS)
    yield "exporter", (*scrape.METRICS, *service.Reloads.metrics)


def reference() -> str:
    """Return METRICS.md."""
    settings = settings_reference(leaves())
    return f"{PREFACE}\n{metrics_reference(declared())}\n## Settings\n\n{settings}"


def settings_schema() -> str:
    """Return the JSON schema of the settings file, as text."""
    return json.dumps(schema(), indent=2) + "\n"


def write(file: Path, text: str) -> None:
    """Write a text to a file, or to standard output where that is `-`."""
    if str(file) == "-":
        sys.stdout.write(text)
    else:
        file.write_text(text, encoding="utf-8")


def metrics_reference(parts: Iterable[tuple[str, Sequence[Metric]]]) -> str:
    """Return a table for each area, sorted by name; `parts` are collectors, samplers and the like by name.

    Raises ValueError where two declarations share a name.
    """
    declared: dict[str, Metric] = {}
    given_by: dict[str, list[str]] = {}
    for part, metrics in parts:
        for metric in metrics:
            if declared.setdefault(metric.name, metric) is not metric:
                raise ValueError(f"{metric.name} is declared twice, the second time for {part}")
            given_by.setdefault(metric.name, []).append(part)
    sections = []
    for area in AREAS:
        names = sorted(name for name in declared if name.startswith(f"mlflow_{area}_"))
        rows = [_metric_row(declared[name], given_by[name]) for name in names]
        if rows:
            head = ("Metric", "Type", "Labels", "Unit", "Meaning", "Source", "Collector")
            sections.append(f"## {TITLES[area]}\n\n{_table(head, rows)}")
    return "\n".join(sections)


def settings_reference(leaves: Iterable[Leaf]) -> str:
    """Return a table of every key, in the order of the file."""
    head = ("Key", "Variable", "Flag", "Takes", "Default", "Meaning")
    return _table(head, [_setting_row(leaf) for leaf in leaves])


def _metric_row(metric: Metric, parts: Sequence[str]) -> list[str]:
    return [
        f"`{metric.name}`",
        metric.kind,
        ", ".join(f"`{label}`" for label in metric.labels),
        metric.unit.replace("_", " "),
        metric.help,
        metric.source,
        ", ".join(sorted(set(parts))),
    ]


def _setting_row(leaf: Leaf) -> list[str]:
    return [
        f"`{leaf.path}`",
        f"`{leaf.environment}`" if leaf.environment else "",
        f"`{leaf.flag}`" if leaf.flag else "",
        leaf.allowed,
        f"`{leaf.default_text}`" if leaf.default_text else "",
        leaf.description,
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    # Inside backticks an entity would show as such, and no metric, key or default holds one of these.
    escaped = text if text.startswith("`") else text.replace("&", "&amp;").replace("<", "&lt;")
    return escaped.replace("|", "\\|").replace("\n", " ")
