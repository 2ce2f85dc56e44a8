"""Graphs with a line for each worker or replica, in the same colours on every panel."""

from __future__ import annotations

from typing import Any

from exporter.pack.dashboards.panel import Panel, Queries, graph

# A worker's slot has the same hue on every panel, and that of another replica a shade of it.
WORKER = "{{instance}} #{{worker}}"
SLOTS = ("blue", "green", "purple", "yellow", "#4EC5B1", "#B392D6", "dark-blue", "dark-green")


def workers(title: str, text: str, query: str, **options: Any) -> Panel:
    """Return a graph with a line for each worker, with a table beside it that names the highest first."""
    slots = [
        {
            "matcher": {"id": "byRegexp", "options": f"/#{slot}$/"},
            "properties": [{"id": "color", "value": {"mode": "shades", "fixedColor": colour}}],
        }
        for slot, colour in enumerate(SLOTS)
    ]
    return graph(title, text, {WORKER: query}, legend="side", overrides=slots, **options)


def instances(title: str, text: str, queries: Queries, **options: Any) -> Panel:
    """Return a graph with a line for each replica in the palette's order: by name a single one may be red."""
    named = {"{{instance}}": queries} if isinstance(queries, str) else queries
    made = graph(title, text, named, **options)
    made.json["fieldConfig"]["defaults"]["color"] = {"mode": "palette-classic"}
    return made
