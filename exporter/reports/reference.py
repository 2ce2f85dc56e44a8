"""METRICS.md: every metric and every setting, from their declarations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exporter.metric import AREAS, Metric
from exporter.settings import Leaf

TITLES = {
    "server": "The tracking server's processes",
    "host": "The host",
    "db": "The database",
    "store": "MLflow's tables",
    "probe": "Probes",
    "exporter": "The exporter itself",
}


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
