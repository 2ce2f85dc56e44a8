"""PromQL as panels send it: with the dashboards' variables in every selector, and with what its metrics declare."""

from __future__ import annotations

import re
from functools import cache

from exporter.metric import Kind, Metric
from exporter.reports.reference import declared

# What the variables select. Rules and ALERTS know no instance: their rules aggregate over a tracking server's.
SERVER = 'job=~"$job", tracking_server=~"$tracking_server"'
INSTANCE = f'{SERVER}, instance=~"$instance"'
# Of all the alerts that a Prometheus evaluates, ours: All selects every job.
ALERTS = f'{SERVER}, alertname=~"Mlflow.+"'

# A text in quotes is passed over; the name of a series may have matchers of its own.
_TOKEN = re.compile(
    r'"[^"]*"|(?<![\w:.])(?P<name>mlflow[_:][\w:]+|process_\w+|ALERTS|up)(?![\w:(])(?P<own>\{[^}]*\})?'
)

# Of a metric's unit, Grafana's; of a rate of it.
UNITS = {"": "short", "seconds": "s", "bytes": "bytes", "ratio": "percentunit", "cores": "short"}
RATES = {"": "ops", "seconds": "short", "bytes": "Bps", "cores": "short"}


class QueryError(ValueError):
    """A panel's query cannot work; the message has the query and why."""


@cache
def metrics() -> dict[str, Metric]:
    """Return every metric of the exporter by name."""
    return {metric.name: metric for _, found in declared() for metric in found}


@cache
def collectors() -> dict[str, str]:
    """Return the part of the exporter that gives each metric."""
    return {metric.name: part for part, found in declared() for metric in found}


def series(expr: str) -> list[str]:
    """Return the names of the series that the expression reads, each once, in order."""
    return list(dict.fromkeys(found["name"] for found in _TOKEN.finditer(expr) if found["name"]))


def read(expr: str) -> list[Metric]:
    """Return the exporter's own metrics that the expression reads; raises QueryError for one that there is not."""
    found = []
    for name in series(expr):
        if ":" in name or name in ("ALERTS", "up") or name.startswith("process_"):
            continue
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        metric = metrics().get(name) or metrics().get(base)
        if metric is None or (metric.kind is Kind.HISTOGRAM) is not (metric.name != name):
            raise QueryError(f"{name} in {expr!r} is no series of the exporter")
        found.append(metric)
    return found


def selected(expr: str) -> str:
    """Return the expression with the variables' matchers in each selector, and its white space made single."""

    def variables(token: re.Match[str]) -> str:
        name = token["name"]
        if not name:
            return token[0]
        matchers = ALERTS if name == "ALERTS" else SERVER if ":" in name else INSTANCE
        own = (token["own"] or "")[1:-1]
        return f"{name}{{{', '.join(part for part in (matchers, own) if part)}}}"

    return re.sub(r"\s+", " ", _TOKEN.sub(variables, expr)).strip()


def unit(expr: str) -> str:
    """Return Grafana's unit of the expression's values, from its metrics and whether they are rates.

    Raises QueryError where that is not enough: at a quotient, or metrics of several units.
    """
    metrics_ = read(expr)
    found = {metric.unit for metric in metrics_}
    plain = all(metric.kind is not Kind.HISTOGRAM for metric in metrics_)
    if len(found) == 1 and plain and "/" not in re.sub(r'"[^"]*"', "", expr):
        (name,) = found
        if name == "timestamp_seconds":
            return "dateTimeFromNow"
        return RATES[name] if re.search(r"\b(rate|irate)\(", expr) else UNITS[name]
    raise QueryError(f"say the unit of {expr!r}")
